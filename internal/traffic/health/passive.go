package health

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
)

// Passive is a passive health check: servers are judged by what becomes of ordinary requests.
type Passive struct {
	window   time.Duration
	attempts int
	active   bool
}

// maxAttempts bounds the memory of failures.
const maxAttempts = 10_000

// NewPassive returns the check that c describes. active tells that an active check runs too: then only that one brings a
// server back, otherwise it comes back when the failure window is over.
func NewPassive(c *dynamic.PassiveHealthCheck, active bool) *Passive {
	p := &Passive{window: time.Duration(c.FailureWindow), attempts: c.MaxFailedAttempts, active: active}
	if p.window <= 0 {
		p.window = 10 * time.Second
	}
	p.attempts = min(max(p.attempts, 1), maxAttempts)
	return p
}

// Failures are the recent failures of one server. That a client went away is none of them. The zero value has none. Safe
// for concurrent use.
type Failures struct {
	any atomic.Bool // recent is not empty; spares the lock to requests that succeed

	mu     sync.Mutex
	recent []time.Time // oldest first
}

// Failed counts a failure and takes the server out when there are too many.
func (f *Failures) Failed(p *Passive, s *balance.State) {
	now := time.Now()
	f.mu.Lock()
	old := 0
	for old < len(f.recent) && now.Sub(f.recent[old]) > p.window {
		old++
	}
	f.recent = append(f.recent[:0], f.recent[old:]...)
	f.recent = append(f.recent, now)
	out := len(f.recent) >= p.attempts
	if out {
		f.recent = f.recent[:0]
	}
	f.any.Store(len(f.recent) > 0)
	f.mu.Unlock()
	switch {
	case !out:
	case p.active:
		s.SetUp(false)
	default:
		s.DownFor(p.window)
	}
}

// Fine forgets the failures.
func (f *Failures) Fine() {
	if !f.any.Load() {
		return
	}
	f.mu.Lock()
	f.recent = f.recent[:0]
	f.any.Store(false)
	f.mu.Unlock()
}

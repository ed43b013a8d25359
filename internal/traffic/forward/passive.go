package forward

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
)

// passive is a passive health check: servers are judged by what becomes of ordinary requests.
type passive struct {
	window   time.Duration
	attempts int
	// active tells that an active check runs too: then only that one brings a server back.
	active bool
}

// maxAttempts bounds the memory of failures.
const maxAttempts = 10_000

func newPassive(c *dynamic.PassiveHealthCheck, active bool) *passive {
	p := &passive{window: time.Duration(c.FailureWindow), attempts: c.MaxFailedAttempts, active: active}
	if p.window <= 0 {
		p.window = 10 * time.Second
	}
	p.attempts = min(max(p.attempts, 1), maxAttempts)
	return p
}

// failures are the recent failures of one server. That a client went away is none of them.
type failures struct {
	any atomic.Bool // recent is not empty; spares the lock to requests that succeed

	mu     sync.Mutex
	recent []time.Time // oldest first
}

// failed counts a failure and takes the server out when there are too many.
func (f *failures) failed(p *passive, s *balance.State) {
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

// fine forgets the failures.
func (f *failures) fine() {
	if !f.any.Load() {
		return
	}
	f.mu.Lock()
	f.recent = f.recent[:0]
	f.any.Store(false)
	f.mu.Unlock()
}

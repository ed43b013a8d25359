package health

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
)

const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 5 * time.Second
)

// Schedule remembers when a server was probed. The zero value is a server that was never seen.
type Schedule struct{ last atomic.Int64 } // unix nanoseconds

// Server is one server under check.
type Server struct {
	// URL as configured; of a TCP server host:port.
	URL string
	// State is where the result goes.
	State *balance.State
	// Schedule belongs to the server like its State.
	Schedule *Schedule
}

// rounds probes servers again and again, whatever the probe is.
type rounds struct {
	interval, unhealthy time.Duration
	probe               func(ctx context.Context, server string) error
	servers             []Server
	// changed, if not nil, is told when a probe changes a server's state; why is nil if it came up.
	changed func(server string, up bool, why error)

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// intervals fills the defaults of how often servers are probed.
func intervals(interval dynamic.Duration, unhealthy *dynamic.Duration) (up, down time.Duration) {
	up = positive(interval, defaultInterval)
	if unhealthy == nil {
		return up, up
	}
	return up, positive(*unhealthy, defaultInterval)
}

func positive(d dynamic.Duration, instead time.Duration) time.Duration {
	if d <= 0 {
		return instead
	}
	return time.Duration(d)
}

// Start begins to probe. Every server has one goroutine, so that a slow one does not keep the others waiting. A server that
// is new counts as up, and is probed for the first time when one interval has passed.
func (r *rounds) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for _, s := range r.servers {
		s.Schedule.last.CompareAndSwap(0, time.Now().UnixNano())
		r.done.Go(func() { r.watch(ctx, s) })
	}
}

// Stop calls probes off and waits until all have ended. Stopping a checker that was never started does nothing.
func (r *rounds) Stop() {
	if r.cancel != nil {
		r.cancel()
		r.done.Wait()
	}
}

// watch probes one server until ctx ends.
func (r *rounds) watch(ctx context.Context, s Server) {
	timer := time.NewTimer(r.wait(s))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := r.probe(ctx, s.URL)
		if ctx.Err() != nil {
			return
		}
		s.Schedule.last.Store(time.Now().UnixNano())
		if s.State.SetUp(err == nil) && r.changed != nil {
			r.changed(s.URL, err == nil, err)
		}
		timer.Reset(r.wait(s))
	}
}

// wait is the time until the next probe.
func (r *rounds) wait(s Server) time.Duration {
	every := r.interval
	if !s.State.Up() {
		every = r.unhealthy
	}
	return max(every-time.Since(time.Unix(0, s.Schedule.last.Load())), 0)
}

package provider

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"sluice/internal/core/dynamic"
)

// firstWait bounds how long the other providers wait for those that go first. A file system that hangs must not keep
// containers from being served.
const firstWait = 10 * time.Second

// Failure tells about a run that ended with an error.
type Failure struct {
	// Provider is the name of the provider.
	Provider string
	// Err is what Run returned, or describes a panic.
	Err error
	// Retry is the time until the next run; zero means that there will be none.
	Retry time.Duration
}

// Supervisor runs providers. Fill the fields, then call Run once.
type Supervisor struct {
	// Providers in the order in which the consumer sees their snapshots. Names are unique.
	Providers []Provider
	// First names the providers that are asked before all others are started, such as file: what stands on the disk is
	// in force before anything else moves.
	First []string
	// Throttle is the least time between two changes of one provider that reach the consumer. The first change after a
	// quiet time goes on at once; of those that follow too quickly only the last one does, unless it is urgent. Zero:
	// no limit.
	Throttle time.Duration
	// Unthrottled names providers to which Throttle does not apply, such as internal ones.
	Unthrottled []string
	// Consume receives the last snapshot of each provider that has spoken, at each change. Calls never overlap; while
	// one is under way, changes gather. The slice is the consumer's, the snapshots are shared and immutable.
	Consume func([]dynamic.Snapshot)
	// Failed is told about runs that end with an error. Nil: nobody is. Calls may overlap.
	Failed func(Failure)

	mu      sync.Mutex
	members []*member
	wake    chan struct{}
}

// member is the state of one provider, guarded by Supervisor.mu.
type member struct {
	p         Provider
	throttled bool
	spoke     chan struct{} // closed at the first publication and at the end of the first run
	spokeOnce sync.Once

	newest  *dynamic.Snapshot // what the provider said last
	current *dynamic.Snapshot // what the consumer knows
	notTill time.Time         // when the next change may go on
}

// Run runs the providers until ctx ends, and returns when all of them and the consumer have.
func (s *Supervisor) Run(ctx context.Context) {
	s.wake = make(chan struct{}, 1)
	for _, p := range s.Providers {
		s.members = append(s.members, &member{
			p:         p,
			throttled: !slices.Contains(s.Unthrottled, p.Name()),
			spoke:     make(chan struct{}),
		})
	}
	var all sync.WaitGroup
	all.Go(func() { s.deliver(ctx) })

	var first, rest []*member
	for _, m := range s.members {
		if slices.Contains(s.First, m.p.Name()) {
			first = append(first, m)
		} else {
			rest = append(rest, m)
		}
	}
	limit := time.NewTimer(firstWait)
	defer limit.Stop()
	for _, m := range first {
		all.Go(func() { s.keepRunning(ctx, m) })
	}
waiting:
	for _, m := range first {
		select {
		case <-m.spoke:
		case <-limit.C:
			break waiting
		case <-ctx.Done():
			break waiting
		}
	}
	for _, m := range rest {
		all.Go(func() { s.keepRunning(ctx, m) })
	}
	all.Wait()
}

// keepRunning runs m again and again.
func (s *Supervisor) keepRunning(ctx context.Context, m *member) {
	var backoff Backoff
	for ctx.Err() == nil {
		began := time.Now()
		err := s.runOnce(ctx, m)
		m.spokeOnce.Do(func() { close(m.spoke) })
		if err == nil || ctx.Err() != nil {
			return
		}
		if IsPermanent(err) {
			s.failed(Failure{Provider: m.p.Name(), Err: err})
			return
		}
		wait := backoff.Next(time.Since(began))
		s.failed(Failure{Provider: m.p.Name(), Err: err, Retry: wait})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (s *Supervisor) failed(f Failure) {
	if s.Failed != nil {
		s.Failed(f)
	}
}

// runOnce turns a panic into an error: one provider's mistake must not end the process.
func (s *Supervisor) runOnce(ctx context.Context, m *member) (err error) {
	// A publication that comes late, from a goroutine that a provider forgot, must not overwrite what a newer run says.
	var over bool
	var mu sync.Mutex
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		mu.Lock()
		over = true
		mu.Unlock()
	}()
	return m.p.Run(ctx, func(snap dynamic.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.publish(m, snap)
		}
	})
}

// publish takes note of a snapshot. It never waits for the consumer.
func (s *Supervisor) publish(m *member, snap dynamic.Snapshot) {
	snap.Provider = m.p.Name()
	s.mu.Lock()
	changed := true
	if m.newest != nil {
		snap.Fragments, changed = reuse(m.newest.Fragments, snap.Fragments)
		// What waits already does not become less urgent by what comes after it.
		snap.Urgent = snap.Urgent || m.newest != m.current && m.newest.Urgent
	}
	if changed {
		m.newest = &snap
	}
	s.mu.Unlock()
	if changed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	m.spokeOnce.Do(func() { close(m.spoke) })
}

// deliver calls the consumer whenever something may go on.
func (s *Supervisor) deliver(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		all, next := s.collect(time.Now())
		if all != nil {
			s.Consume(all)
		}
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// collect moves on what may go on and returns all snapshots if anything did. next is the time until something that was
// held back may go on; zero if nothing waits.
func (s *Supervisor) collect(now time.Time) (all []dynamic.Snapshot, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := false
	for _, m := range s.members {
		if m.newest == m.current {
			continue
		}
		if wait := m.notTill.Sub(now); wait > 0 && m.throttled && !m.newest.Urgent {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		m.current = m.newest
		m.notTill = now.Add(s.Throttle)
		moved = true
	}
	if !moved {
		return nil, next
	}
	for _, m := range s.members {
		if m.current != nil {
			all = append(all, *m.current)
		}
	}
	return all, next
}

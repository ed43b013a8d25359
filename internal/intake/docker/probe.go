package docker

import (
	"context"
	"net"
	"time"
)

// Times of asking whether a port answers.
const (
	firstProbe   = 20 * time.Millisecond
	probeCap     = time.Second
	slowProbe    = 5 * time.Second
	probeTimeout = time.Second
)

// dialProbe is the usual way to ask: connect, and hang up.
func dialProbe(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: probeTimeout, KeepAlive: -1}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// probeAll asks the addresses of a container that have not answered yet, and stops asking all others.
func (f *follower) probeAll(m *member, targets []string, now time.Time) {
	wanted := make(map[string]bool, len(targets))
	for _, address := range targets {
		wanted[address] = true
	}
	for address, cancel := range m.probes {
		if !wanted[address] {
			cancel()
			delete(m.probes, address)
		}
	}
	for _, address := range targets {
		if m.answers[address] || m.probes[address] != nil {
			continue
		}
		if m.since.IsZero() {
			m.since = now
		}
		if m.probes == nil {
			m.probes = map[string]context.CancelFunc{}
		}
		ctx, cancel := context.WithCancel(f.ctx)
		m.probes[address] = cancel
		id := m.id
		f.busy.Go(func() {
			if f.untilAnswer(ctx, address) {
				f.do(func() {
					if ctx.Err() == nil {
						f.answers(id, address)
					}
				})
			}
		})
	}
}

// untilAnswer asks an address until it answers, ever more slowly. It returns false when nobody wants to know any more.
func (f *follower) untilAnswer(ctx context.Context, address string) bool {
	began, wait := time.Now(), firstProbe
	for {
		if f.probe(ctx, address) == nil {
			return ctx.Err() == nil
		}
		if time.Since(began) > lateAfter {
			wait = slowProbe
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		wait = min(wait*3/2, probeCap)
	}
}

// answers notes that an address has answered.
func (f *follower) answers(id, address string) {
	m := f.members[id]
	if m == nil {
		return
	}
	m.probes[address]()
	delete(m.probes, address)
	if m.answers == nil {
		m.answers = map[string]bool{}
	}
	m.answers[address] = true
	f.changed[id] = true
}

// unprobe forgets what has answered: another life of the container, or its end, begins.
func (f *follower) unprobe(m *member) {
	for _, cancel := range m.probes {
		cancel()
	}
	m.probes, m.answers, m.since = nil, nil, time.Time{}
}

package docker

import (
	"context"
	"slices"
	"time"
)

// member is what is known of one container.
type member struct {
	id string
	// c is nil before the first inspection.
	c *container
	// err is why the last inspection failed; nil if it did not.
	err error
	// events counts what happened to it; an inspection that began before the last event is stale.
	events int
	// seen says that it ran while we looked.
	seen bool
	// removed is when it was removed; zero as long as it is there.
	removed time.Time
	// drain is until when it is out of the balancer because it was told to stop.
	drain time.Time
	// unit is what it contributes now.
	unit *unit
	// answers are the addresses that have answered in this life of the container.
	answers map[string]bool
	probes  map[string]context.CancelFunc
	// since is when the probing of this life began.
	since time.Time
	// asking is the count of events when the inspection under way began; -1 if there is none.
	asking          int
	queued, pending bool
}

// member returns what is known of a container, from now on.
func (f *follower) member(id string) *member {
	m := f.members[id]
	if m == nil {
		m = &member{id: id, asking: -1}
		f.members[id] = m
	}
	return m
}

// known takes a container as the engine describes it.
func (f *follower) known(m *member, c *container) {
	was := m.c
	m.c, m.err, m.removed = c, nil, time.Time{}
	if was != nil && was.started != c.started {
		m.drain = time.Time{} // another life
	}
	if was == nil || was.started != c.started || c.status != stateRunning {
		f.unprobe(m)
	}
	if c.status == stateRunning {
		m.seen = true
		if was == nil || was.started != c.started {
			f.evict(m)
		}
	}
	if f.self(m.id) {
		f.own = m.id
	}
	f.lookAround()
	f.touch(m)
}

// lookAround finds out anew what Sluice sees from its own container, or from the one whose network it uses. As long as
// that one is not there, what was seen last stays.
func (f *follower) lookAround() {
	own := f.members[f.own]
	if own == nil || own.c == nil {
		return
	}
	if v, known := vantageOf(own.c, f.find); known && !f.vantage.equal(v) {
		f.vantage = v
		for id := range f.members {
			f.changed[id] = true
		}
	}
}

// evict takes note that a container has the addresses of another one: that one must have ended without our hearing of it,
// and must not receive what is now meant for its successor. Those that use the network of another one share its address
// by right.
func (f *follower) evict(m *member) {
	if m.c.joins() != "" {
		return
	}
	for _, other := range f.members {
		if other == m || other.c == nil || other.c.status != stateRunning || !other.removed.IsZero() || other.c.joins() != "" {
			continue
		}
		for _, n := range other.c.networks {
			if slices.ContainsFunc(m.c.networks, func(own network) bool {
				return n.name == own.name && n.address() == own.address() && n.address().IsValid()
			}) {
				f.status(other, stateExited)
				f.ask(other)
				break
			}
		}
	}
}

// touch has the unit of a container made again, and those of all that use its network.
func (f *follower) touch(m *member) {
	f.changed[m.id] = true
	for id, other := range f.members {
		if other.c != nil && other != m {
			if j := other.c.joins(); j != "" && (j == m.id || m.c != nil && j == m.c.name) {
				f.changed[id] = true
			}
		}
	}
}

// event takes a remark of the engine.
func (f *follower) event(e event) {
	m := f.members[e.id]
	if m == nil {
		switch e.action {
		case "create":
			if e.lingers {
				f.ask(f.member(e.id))
			}
		case "start", "unpause":
			f.ask(f.member(e.id))
		}
		return
	}
	now := time.Now()
	switch e.action {
	case "kill":
		if m.c != nil && m.c.status == stateRunning && m.c.stops(e.signal) {
			m.drain = now.Add(drainFor)
			f.touch(m)
		}
		return
	case "stop", "oom", "update":
		return // other events tell what they change
	}
	m.events++
	switch e.action {
	case "die", "died":
		f.status(m, stateExited)
	case "pause":
		f.status(m, statePaused)
	case "destroy", "remove":
		f.gone(m)
	case "connect", "disconnect":
		// Networks of what does not run are given up and taken up with its life.
		if m.c == nil || m.c.status != stateExited {
			f.ask(m)
		}
	default:
		f.ask(m)
	}
}

// status sets the state of a container that an event tells by itself: it need not be asked for, and waiting would cost
// requests.
func (f *follower) status(m *member, status string) {
	if m.c == nil {
		return
	}
	c := *m.c
	c.status = status
	m.c = &c
	if status != statePaused {
		f.unprobe(m)
		m.drain = time.Time{}
	}
	f.touch(m)
}

// gone takes note that a container was removed.
func (f *follower) gone(m *member) {
	f.unprobe(m)
	if !m.seen || m.c == nil || m.unit == nil || m.unit.presence == invisible {
		f.forget(m.id, m)
		f.changed[m.id] = true
		return
	}
	m.err, m.removed = nil, time.Now()
	f.touch(m)
}

// forget ends everything about a container.
func (f *follower) forget(id string, m *member) {
	f.unprobe(m)
	delete(f.members, id)
}

// state says how much of a container is there.
func (f *follower) state(m *member, now time.Time) (p presence, why string) {
	if m.c == nil {
		return invisible, "it has not been inspected yet"
	}
	o, _, _ := readOptions(m.c, "", f.settings.swarm)
	allowed := isTrue(o.Docker.AllowNonRunning)
	return presenceOf(m.c, allowed, f.settings.allowEmpty, m.seen, !m.removed.IsZero(), now.Before(m.drain))
}

// presenceOf says how much of a container is there. allowed is its label allownonrunning, allowEmpty the option of the
// provider; seen tells that it has run while we looked.
func presenceOf(c *container, allowed, allowEmpty, seen, removed, stopping bool) (p presence, why string) {
	lacking := func(why string) (presence, string) {
		switch {
		case removed:
			return away, why
		case allowed:
			return empty, why
		case seen:
			return away, why
		}
		return invisible, why
	}
	switch {
	case removed:
		return lacking("has been removed")
	case c.status != stateRunning:
		return lacking("is " + c.status)
	case stopping:
		return lacking("has been told to stop")
	case c.health != "" && c.health != healthHealthy:
		if allowEmpty {
			return empty, "is " + c.health
		}
		return lacking("is " + c.health)
	}
	return live, ""
}

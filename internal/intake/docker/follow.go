package docker

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Times of following an engine.
const (
	// resyncEvery is the period of looking at everything again, in case an event was lost.
	resyncEvery = 5 * time.Minute
	// pingEvery is the period of asking whether the engine is still there: a stream of events may hang without an end.
	pingEvery = 30 * time.Second
	// holdRemoved is how long the routes of a removed container answer 503.
	holdRemoved = time.Minute
	// drainFor is how long a container that got its stop signal stays out of the balancer if it does not stop.
	drainFor = time.Minute
	// firstProbes is how long the first publication waits for ports to answer.
	firstProbes = 300 * time.Millisecond
	// lateAfter is when a port that does not answer is worth a warning.
	lateAfter = 30 * time.Second
	// inspectRetry is the wait before an inspection that failed is tried again.
	inspectRetry = time.Second
)

// maxInspections bounds the questions under way to one engine.
const maxInspections = 8

// follower follows one engine. All of its state belongs to the goroutine of run.
type follower struct {
	settings *settings
	dial     dial
	log      *slog.Logger
	// self tells whether an id is that of the container that Sluice runs in.
	self func(id string) bool
	// selfID is that id, whole or its beginning; empty if it is not known.
	selfID string
	// publish takes changes; first is true for what the first look at the engine gave.
	publish func(changes []change, first bool)
	// told receives the engine's findings: nil when all is well.
	told func(diag.List)
	// host is the address of the engine's machine for containers in its network.
	host func() string
	// drop removes the routes of an engine that is lost.
	drop bool
	// thorough has containers inspected that cannot serve, too.
	thorough bool
	// failed, if set, hears of a session that failed; there is no other one then.
	failed func(error)
	// probe dials an address; tests replace it.
	probe func(ctx context.Context, address string) error

	inbox   chan func()
	members map[string]*member
	vantage vantage
	// own is the id of the container that Sluice runs in, once it has been found.
	own    string
	queue  []string
	asking int
	// talk is the conversation of the present session, nil while the engine is lost.
	talk    engine
	session context.Context
	// changed are members whose unit is to be made again.
	changed map[string]bool
	// synced says that the first look is complete.
	synced bool
	// services are those of a Swarm that had running tasks, by id.
	services map[string]bool
	// looked is closed when it is.
	looked chan struct{}
	// firstTill is until when the first publication waits for probes.
	firstTill time.Time
	// first are the changes that it will have, by key.
	first map[string]change
	busy  sync.WaitGroup
	ctx   context.Context
}

// change is a new state of one unit; a nil unit is gone.
type change struct {
	key  string
	unit *unit
}

// run follows the engine until ctx ends. Without watching it ends after the first look.
func (f *follower) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer f.busy.Wait()
	defer cancel()
	f.ctx = ctx
	f.inbox = make(chan func(), 64)
	if f.members == nil {
		f.members = map[string]*member{}
	}
	f.changed, f.looked = map[string]bool{}, make(chan struct{})
	f.told(f.settings.findings)
	done := make(chan struct{})
	f.busy.Go(func() {
		defer close(done)
		f.connect(ctx)
	})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, any := f.settle(time.Now()); any {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case act := <-f.inbox:
			act()
			// What has gathered meanwhile belongs to the same change.
			for more := true; more; {
				select {
				case act := <-f.inbox:
					act()
				default:
					more = false
				}
			}
		case <-timer.C:
		case <-done:
			f.settle(time.Now())
			return
		}
	}
}

// do runs act on the goroutine of run.
func (f *follower) do(act func()) {
	select {
	case f.inbox <- act:
	case <-f.ctx.Done():
	}
}

// settle makes the units of what changed and hands them on. It returns how long nothing needs to be done, if any is due.
func (f *follower) settle(now time.Time) (wait time.Duration, any bool) {
	due := func(t time.Time) {
		if d := max(t.Sub(now), 0); !any || d < wait {
			wait, any = d, true
		}
	}
	for id, m := range f.members {
		if !m.removed.IsZero() {
			if end := m.removed.Add(holdRemoved); now.Before(end) {
				due(end)
			} else {
				f.forget(id, m)
				f.changed[id] = true
			}
		}
		if !m.drain.IsZero() {
			if now.Before(m.drain) {
				due(m.drain)
			} else {
				m.drain = time.Time{}
				f.unprobe(m)
				f.changed[id] = true
			}
		}
		if len(m.probes) > 0 {
			if end := m.since.Add(lateAfter); now.Before(end) {
				due(end)
			} else if m.unit != nil && !m.unit.late {
				f.changed[id] = true
			}
		}
	}
	if !f.synced || len(f.changed) == 0 && f.firstTill.IsZero() {
		return wait, any
	}
	changes := f.makeUnits(now)
	if !f.firstTill.IsZero() {
		for _, c := range changes {
			f.first[c.key] = c
		}
		if now.Before(f.firstTill) && f.waiting() {
			due(f.firstTill)
			return wait, any
		}
		f.firstTill = time.Time{}
		f.publish(slices.Collect(maps.Values(f.first)), true)
		f.first = nil
		return wait, any
	}
	if len(changes) > 0 {
		f.publish(changes, false)
	}
	return wait, any
}

// waiting reports whether any container's port is being asked.
func (f *follower) waiting() bool {
	for _, m := range f.members {
		if len(m.probes) > 0 {
			return true
		}
	}
	return false
}

// makeUnits makes the units of what changed.
func (f *follower) makeUnits(now time.Time) (out []change) {
	w := f.world(now)
	for id := range f.changed {
		m := f.members[id]
		if m == nil || m.c == nil && m.err == nil {
			out = append(out, change{id, nil})
			continue
		}
		u := f.makeUnit(w, m, now)
		u.late = w.late(u.c)
		m.unit = u
		if u.presence == live && f.settings.watch {
			f.probeAll(m, u.targets, now)
		}
		if u.presence == invisible {
			if len(u.findings) == 0 {
				out = append(out, change{id, nil})
				continue
			}
		}
		out = append(out, change{id, u})
	}
	clear(f.changed)
	return out
}

// makeUnit makes the unit of a container that has been inspected, or could not be.
func (f *follower) makeUnit(w *world, m *member, now time.Time) *unit {
	failed := func(source string) diag.Finding {
		return diag.Finding{Place: diag.Place{Source: source}, Severity: diag.Error, Code: CodeUnread, Message: "cannot be inspected: " + m.err.Error()}
	}
	if m.c == nil {
		c := &container{id: m.id}
		finding := failed(f.source(c))
		finding.Hint = "it is not served"
		return &unit{key: m.id, source: f.source(c), c: c, why: finding.Message, config: &dynamic.Config{}, findings: diag.List{finding}}
	}
	p, why := f.state(m, now)
	u := w.derive(m.id, f.source(m.c), m.c, p, why)
	if m.err != nil && u.presence != invisible {
		finding := failed(u.source)
		finding.Hint = "what was known of it stays in force"
		u.findings = append(u.findings, finding)
	}
	return u
}

// source is how findings call a container.
func (f *follower) source(c *container) string {
	name := c.name
	if name == "" {
		name = shortID(c.id)
	}
	if f.settings.engine != "" {
		name = f.settings.engine + "/" + name
	}
	if f.settings.swarm {
		return "task " + name
	}
	return "container " + name
}

// find returns a container that is there, by its id, the beginning of it, or its name; nil if there is none.
func (f *follower) find(id string) *container {
	if m := f.members[id]; m != nil && m.removed.IsZero() {
		return m.c
	}
	for _, m := range f.members {
		if m.c != nil && m.removed.IsZero() && (m.c.name == id || len(id) >= 12 && strings.HasPrefix(m.id, id)) {
			return m.c
		}
	}
	return nil
}

func (f *follower) world(now time.Time) *world {
	return &world{
		settings: f.settings,
		vantage:  f.vantage,
		find:     f.find,
		host:     f.host,
		ready: func(c *container, address string) bool {
			m := f.members[c.id]
			return !f.settings.watch || m != nil && m.answers[address]
		},
		late: func(c *container) bool {
			m := f.members[c.id]
			return m != nil && !m.since.IsZero() && now.Sub(m.since) >= lateAfter
		},
	}
}

package docker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Report says what becomes of one container, for people.
type Report struct {
	// Container is how findings call it, such as "container web-1".
	Container string `json:"container"`
	// State is the engine's word, such as running; Health too, empty without a health check.
	State  string `json:"state,omitempty"`
	Health string `json:"health,omitempty"`
	// Networks are the names of its networks.
	Networks []string `json:"networks,omitempty"`
	// Served tells whether any server is made of it, or any element that needs none.
	Served bool `json:"served"`
	// Why says why it is not.
	Why string `json:"why,omitempty"`
	// Servers are its addresses, with the network that each is in.
	Servers []string `json:"servers,omitempty"`
	// Elements are the keys of what its labels define, such as http.routers.web.
	Elements []string `json:"elements,omitempty"`
}

// surveyProbe bounds asking a port in a survey.
const surveyProbe = 500 * time.Millisecond

// Survey looks at all containers of all engines once, and says what would become of each. An engine that does not answer
// is an error finding in the snapshot.
func (p *Provider) Survey(ctx context.Context) ([]Report, dynamic.Snapshot) {
	var reports []Report
	m := newMerger()
	var all diag.List
	for _, s := range p.engines {
		once := *s
		once.watch = false
		f := &follower{settings: &once, dial: p.open(s), log: p.o.Log, self: p.self.is, selfID: p.self.id, host: p.host, probe: p.probe, vantage: p.vantage(s),
			thorough: true, publish: func([]change, bool) {}, told: func(diag.List) {}}
		if err := f.once(ctx); err != nil {
			all = append(all, diag.Finding{Place: diag.Place{Source: s.section}, Severity: diag.Error, Key: s.section, Code: CodeEngine,
				Message: "the engine does not answer: " + err.Error()})
		}
		all = append(all, s.findings...)
		for _, u := range f.surveyed(ctx) {
			reports = append(reports, u.report())
			if u.presence != invisible || len(u.findings) > 0 {
				key := s.engine + "/" + u.key
				u.key = key
				m.put(key, u)
			}
		}
	}
	slices.SortFunc(reports, func(a, b Report) int { return strings.Compare(a.Container, b.Container) })
	snapshot := dynamic.Snapshot{Provider: p.name}
	snapshot.Fragments, _ = m.snapshot()
	if len(all) > 0 {
		snapshot.Fragments = append(snapshot.Fragments, &dynamic.Fragment{Name: "engines", Config: &dynamic.Config{}, Findings: all})
	}
	return reports, snapshot
}

// once looks at the engine without following it.
func (f *follower) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.failed = func(err error) { cancel(err) }
	f.run(ctx)
	return context.Cause(ctx)
}

// surveyed makes the unit of every container that is known, after asking the ports of those that serve.
func (f *follower) surveyed(ctx context.Context) []*unit {
	now := time.Now()
	w := f.world(now)
	var silent sync.Map
	var asking sync.WaitGroup
	room := make(chan bool, 32)
	for _, m := range f.members {
		if m.unit == nil || f.settings.swarm {
			continue // tasks run anywhere in the Swarm
		}
		for _, address := range m.unit.targets {
			asking.Go(func() {
				room <- true
				defer func() { <-room }()
				ctx, cancel := context.WithTimeout(ctx, surveyProbe)
				defer cancel()
				if f.probe(ctx, address) != nil {
					silent.Store(address, true)
				}
			})
		}
	}
	asking.Wait()
	w.ready = func(_ *container, address string) bool {
		_, is := silent.Load(address)
		return !is
	}
	w.late = func(*container) bool { return true }
	var out []*unit
	for _, m := range f.members {
		if m.c != nil || m.err != nil {
			out = append(out, f.makeUnit(w, m, now))
		}
	}
	slices.SortFunc(out, func(a, b *unit) int { return strings.Compare(a.source+a.key, b.source+b.key) })
	return out
}

// report says what became of a unit's container.
func (u *unit) report() Report {
	r := Report{Container: u.source, State: u.c.status, Health: u.c.health, Networks: u.c.networkNames(), Why: u.why}
	for _, key := range u.elements() {
		r.Elements = append(r.Elements, kinds[key.kind].path+"."+key.name)
	}
	servers(u.config, func(_, address, origin string) {
		if !slices.Contains(r.Servers, address) {
			r.Servers = append(r.Servers, address)
		}
	})
	r.Served = u.presence == live && len(r.Elements) > 0 && (len(r.Servers) > 0 || len(u.targets) == 0 && !u.findings.Has(diag.Error))
	if r.Served {
		r.Why = ""
		return r
	}
	if r.Why == "" {
		for _, f := range u.findings {
			if f.Severity == diag.Error {
				r.Why = f.Message
				break
			}
		}
	}
	if r.Why == "" && len(u.targets) > 0 {
		r.Why = "nothing answers on " + strings.Join(u.targets, ", ")
	}
	return r
}

package engine

import (
	"maps"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/upstream"
)

// holding is what a built object needs of others. A round marks what the routers in force hold; the rest is retired.
type holding struct {
	round      uint64
	chains     []*chain
	services   []*service
	tunnels    []*tcpService
	transports []*transport
	// keys are what its middlewares keep in the engine's State.
	keys []string
}

// transport is the connections of one fingerprint.
type transport struct {
	round uint64
	*upstream.Transport
}

// hold has h hold all that is asked for until the function that it returns is called.
func (b *build) hold(h *holding) (done func()) {
	before, keys := b.holder, b.e.state.Record()
	b.holder = h
	return func() {
		b.holder, h.keys = before, keys()
	}
}

// mark notes that h is in force, and all that it holds. Error pages may lead back.
func (e *Engine) mark(h *holding) {
	if h.round == e.round {
		return
	}
	h.round = e.round
	if len(h.keys) > 0 {
		e.state.Touch(h.keys)
	}
	for _, c := range h.chains {
		e.mark(&c.holding)
	}
	for _, s := range h.services {
		e.mark(&s.holding)
	}
	for _, s := range h.tunnels {
		e.mark(&s.holding)
	}
	for _, t := range h.transports {
		t.round = e.round
	}
}

// sweep ends what no router of the plan in force leads to. Exchanges under way keep what they hold.
func (e *Engine) sweep() {
	fingerprints := map[string]bool{}
	e.ordered = slices.DeleteFunc(e.ordered, func(c *chain) bool { return c.dropped })
	for _, c := range e.ordered {
		e.mark(&c.holding)
	}
	for _, r := range e.tcpRoutes {
		e.mark(&r.holding)
		if r.TLS != nil {
			fingerprints[r.TLS.Fingerprint] = true
		}
	}
	if e.generation != nil {
		for _, r := range e.generation.Routes {
			for _, o := range r.Options {
				if o != nil {
					fingerprints[o.Fingerprint] = true
				}
			}
		}
	}
	e.keeper.Retain(fingerprints)
	maps.DeleteFunc(e.children, func(_ childKey, c *chain) bool { return c.round != e.round })
	var ended []*service
	e.built = slices.DeleteFunc(e.built, func(s *service) bool {
		if s.round == e.round {
			return false
		}
		delete(e.services, s.identity)
		ended = append(ended, s)
		return true
	})
	for _, s := range ended {
		e.end(s)
	}
	for id, s := range e.tunnels {
		if s.round != e.round {
			delete(e.tunnels, id)
			e.endTunnel(s)
		}
	}
	for key, t := range e.transports {
		if t.round != e.round {
			delete(e.transports, key)
			t.CloseIdle()
		}
	}
	for id := range e.failures {
		if n, now := e.find(e.failures[id]); n == nil || now != id {
			delete(e.failures, id)
		}
	}
	e.state.Sweep()
}

// end closes a service, and drops its live state unless its successor goes on with it.
func (e *Engine) end(s *service) {
	s.close()
	e.unname(s)
	if n := e.plan.HTTP.Services.Get(s.name); n != nil {
		if now := e.services[n.Identity]; now != nil && now.live == s.live {
			return
		}
	}
	delete(e.lives, s.live)
}

// endTunnel is end for a TCP service.
func (e *Engine) endTunnel(s *tcpService) {
	s.close()
	e.unnameTunnel(s)
	var now *tcpService
	if n := e.plan.TCP.Services.Get(s.name); n != nil {
		now = e.tunnels[n.Identity]
	}
	if now == nil {
		delete(e.rounds, s.name.String())
	}
	for _, m := range s.machines {
		if now == nil || !slices.ContainsFunc(now.machines, func(n *service) bool { return n.live == m.live }) {
			delete(e.lives, m.live)
		}
	}
}

// failure is what building found in an element.
type failure struct {
	kind   string
	name   plan.Name
	causes []string
}

// find returns the node of the plan in force that a failure is about, with its identity; nil where there is none.
func (e *Engine) find(f *failure) (*plan.Node, *plan.Identity) {
	switch f.kind {
	case "http.middlewares":
		if m := e.plan.HTTP.Middlewares.Get(f.name); m != nil {
			return &m.Node, m.Identity
		}
	case "http.services":
		if s := e.plan.HTTP.Services.Get(f.name); s != nil {
			return &s.Node, s.Identity
		}
	case "tcp.services":
		if s := e.plan.TCP.Services.Get(f.name); s != nil {
			return &s.Node, s.Identity
		}
	case "tcp.routers":
		if r := e.plan.TCP.Routers.Get(f.name); r != nil {
			return &r.Node, r.Identity
		}
	case "tls.options":
		if o := e.plan.TLS.Options.Get(f.name); o != nil {
			return &o.Node, o.Identity
		}
	}
	return nil, nil
}

// report notes that an element cannot be built.
func (b *build) report(n *plan.Node, id *plan.Identity, err error) {
	f := b.e.failures[id]
	if f == nil {
		f = &failure{kind: n.Kind, name: n.Name}
		b.e.failures[id] = f
	}
	if !slices.Contains(f.causes, err.Error()) {
		f.causes = append(f.causes, err.Error())
	}
}

// broken returns why an element cannot be built, empty where it can.
func (b *build) broken(n *plan.Node, id *plan.Identity) (why diag.List) {
	if list := b.e.checked[n]; list.Has(diag.Error) {
		why = list
	}
	if f := b.e.failures[id]; f != nil {
		why = append(slices.Clip(why), f.findings(n)...)
	}
	return why
}

func (f *failure) findings(n *plan.Node) (out diag.List) {
	for _, cause := range f.causes {
		out.Add(diag.Finding{Place: n.Place(), Severity: diag.Error, Key: n.Key(), Code: "CANNOT-BUILD", Message: cause})
	}
	return out
}

// findings are all that validation and building have to say about the plan in force.
func (e *Engine) findings() diag.List {
	out := append(slices.Clone(e.unusable), checkWants(e.plan)...)
	if e.set != nil {
		out = append(out, coveredPassthroughs(e.plan, e.set)...)
	}
	for _, list := range e.checked {
		out = append(out, list...)
	}
	for _, f := range e.failures {
		if n, _ := e.find(f); n != nil {
			out = append(out, f.findings(n)...)
		}
	}
	out.Sort()
	return out
}

package acme

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/dnsproviders"
	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/acme/storage"
)

// task is something to do for a set of names.
type task struct {
	resolver *resolver
	id       string
	names    []string
	// ask is for the CA's renewal window only; else it is an order.
	ask bool
	due time.Time
	// renews is the certificate that is renewed, nil for a first one.
	renews *entry
	// forced tells that somebody asked for it by hand.
	forced bool
	demand bool
}

func (t *task) key() string {
	if t.ask {
		return "ask " + t.id
	}
	return t.id
}

// decision is what follows from wants, certificates and time.
type decision struct {
	tasks []task
	// needs tells who uses a certificate; those not in it are orphans.
	needs map[*entry][]string
	// wants are the wants as they were decided on, one for each line of the status.
	wants []decided
}

// decided is a want and what became of it.
type decided struct {
	Want
	id       string
	resolver *resolver
	// by is the certificate that serves it, given tells that the configuration's own do, waits is the want that will.
	by    *entry
	given bool
	waits string
	// refused is why it is not ordered; empty if it is.
	refused string
	demand  bool
}

// hopeless is how many failures of another want make those that wait for its certificate order their own.
const hopeless = 3

// decide says what is needed, without doing anything.
func (m *Manager) decide(now time.Time) *decision {
	d := &decision{needs: map[*entry][]string{}}
	ix := m.index(now)
	for _, w := range m.wants {
		d.wants = append(d.wants, m.reduce(w, false))
	}
	for _, w := range m.demand.wants(now) {
		d.wants = append(d.wants, m.reduce(w, true))
	}
	ix.wants(d.wants)
	for i := range d.wants {
		m.serve(d, &d.wants[i], ix, now)
	}
	m.bridge(d, ix, now)
	return d
}

// reduce finds the resolver of a want, and leaves out names that the configuration has certificates for.
func (m *Manager) reduce(w Want, demand bool) decided {
	out := decided{Want: w, demand: demand}
	if m.set != nil {
		open := slices.DeleteFunc(slices.Clone(w.Names), m.set.Has)
		switch {
		case len(open) == 0:
			out.given = true
		case w.Inferred:
			out.Names = open
		}
	}
	out.id = storage.ID(out.Names)
	for _, r := range m.resolvers {
		if r.name == w.Resolver {
			out.resolver = r
		}
	}
	return out
}

// index finds certificates and wants by name.
type index struct {
	byName map[string][]*entry // a wildcard under its own name
	exact  map[string]*decided // by resolver and ID
	asked  map[string][]*decided
}

// wants adds the wants that an order may be made for.
func (ix *index) wants(list []decided) {
	ix.exact, ix.asked = map[string]*decided{}, map[string][]*decided{}
	for i := range list {
		w := &list[i]
		if w.given || w.resolver == nil || w.demand {
			continue
		}
		ix.exact[w.Resolver+"\n"+w.id] = w
		for _, n := range w.Names {
			ix.asked[n] = append(ix.asked[n], w)
		}
	}
}

func (m *Manager) index(now time.Time) *index {
	ix := &index{byName: map[string][]*entry{}}
	for _, r := range m.resolvers {
		for _, e := range r.entries {
			if !e.valid(now) {
				continue
			}
			for _, n := range e.pair.Names {
				ix.byName[n] = append(ix.byName[n], e)
			}
		}
	}
	return ix
}

// candidates are the certificates that answer for a name.
func (ix *index) candidates(name string) []*entry {
	out := ix.byName[name]
	if _, parent, ok := strings.Cut(name, "."); ok && !strings.HasPrefix(name, "*.") {
		out = slices.Concat(out, ix.byName["*."+parent])
	}
	return out
}

// best is the certificate that serves all names: of our own resolver, for exactly these names, with the longest life, in
// this order.
func (ix *index) best(w *decided) *entry {
	var best *entry
	rank := func(e *entry) (n int) {
		if e.resolver == w.resolver {
			n += 2
		}
		if e.id == w.id {
			n++
		}
		return n
	}
	for _, e := range ix.candidates(w.Names[0]) {
		if !e.current || !coversAll(e.pair.Names, w.Names) {
			continue
		}
		if best == nil || rank(e) > rank(best) || rank(e) == rank(best) && e.leaf.NotAfter.After(best.leaf.NotAfter) {
			best = e
		}
	}
	return best
}

// serve decides about one want.
func (m *Manager) serve(d *decision, w *decided, ix *index, now time.Time) {
	if w.given || w.resolver == nil {
		return
	}
	if w.refused = m.refuse(w); w.refused != "" {
		return
	}
	e := ix.best(w)
	if e == nil {
		if other := m.provider(ix, w); other != nil {
			w.waits = strings.Join(other.Names, " ")
			return
		}
		m.plan(d, w.resolver, w.id, w.Names, nil, now, w.demand, now)
		return
	}
	w.by = e
	d.needs[e] = append(d.needs[e], w.Users...)
	if e.id != w.id || e.resolver != w.resolver {
		if ix.exact[e.resolver.name+"\n"+e.id] != nil {
			return // its own want renews it
		}
	}
	m.asks(d, e, now)
	m.plan(d, w.resolver, w.id, w.Names, e, m.renewal(e), w.demand, now)
}

// refuse says why a want can never be ordered.
func (m *Manager) refuse(w *decided) string { return Refuse(w.resolver.config, w.Names) }

// Refuse says why a resolver will never order a certificate for names; empty where it will. It looks at nothing but its
// arguments.
func Refuse(c *static.ACME, names []string) string {
	public := schedule.Public(c.CAServer)
	for _, n := range names {
		n = normalName(n)
		if strings.HasPrefix(n, "*.") && c.DNSChallenge == nil {
			return "the wildcard " + n + " needs a dnsChallenge"
		}
		if strings.Contains(strings.TrimPrefix(n, "*."), "*") {
			return n + " is no name that a certificate can have"
		}
		if public {
			if err := schedule.CheckPublic(n); err != nil {
				return "a public CA will not issue: " + err.Error()
			}
		}
	}
	if len(names) > maxNames {
		return fmt.Sprintf("%d names are more than the %d that a certificate can have", len(names), maxNames)
	}
	return ""
}

// CheckProvider says why a resolver's DNS provider cannot be used; nil where it can, or where there is none.
func CheckProvider(c *static.ACME) error {
	if c.DNSChallenge == nil || c.DNSChallenge.Provider == "" {
		return nil
	}
	return dnsproviders.Check(c.DNSChallenge.Provider)
}

// maxNames is how many names CAs put into one certificate.
const maxNames = 100

// provider is another want whose certificate will serve this one, too.
func (m *Manager) provider(ix *index, w *decided) *decided {
	first := w.Names[0]
	list := ix.asked[first]
	if _, parent, ok := strings.Cut(first, "."); ok && !strings.HasPrefix(first, "*.") {
		list = slices.Concat(list, ix.asked["*."+parent])
	}
	for _, o := range list {
		if o == w || !coversAll(o.Names, w.Names) || m.refuse(o) != "" {
			continue
		}
		if coversAll(w.Names, o.Names) && (o.id == w.id && o.Resolver > w.Resolver || o.id != w.id && o.id > w.id) {
			continue // each serves the other: one of them orders
		}
		if s := o.resolver.content.Sets[o.id]; s == nil || s.Failures < hopeless {
			return o
		}
	}
	return nil
}

// plan adds an order, due when the scheduler's state allows it.
func (m *Manager) plan(d *decision, r *resolver, id string, names []string, renews *entry, due time.Time, demand bool, now time.Time) {
	t := task{resolver: r, id: id, names: names, renews: renews, due: due, demand: demand}
	for _, n := range names {
		t.forced = t.forced || r.forced[n]
	}
	if s := r.content.Sets[id]; s != nil && s.Next.After(t.due) {
		t.due = schedule.Believe(s.Next, now)
	}
	if t.forced {
		t.due = now
	}
	if p := r.penalty[id]; p.After(t.due) {
		t.due = p
	}
	d.tasks = append(d.tasks, t)
}

// asks adds the question for a certificate's renewal window.
func (m *Manager) asks(d *decision, e *entry, now time.Time) {
	if !e.current || e.resolver.content.Account == nil {
		return
	}
	t := task{resolver: e.resolver, id: e.id, names: e.names, ask: true, renews: e, due: now}
	if s := e.resolver.content.Sets[e.id]; s != nil && s.Renewal != nil && s.Renewal.Certificate == serial(e.leaf) {
		t.due = schedule.Believe(s.Renewal.Ask, now)
	}
	if p := e.resolver.penalty[t.key()]; p.After(t.due) {
		t.due = p
	}
	d.tasks = append(d.tasks, t)
}

// renewal is when a certificate is renewed.
func (m *Manager) renewal(e *entry) time.Time {
	if s := e.resolver.content.Sets[e.id]; s != nil && s.Renewal != nil && s.Renewal.Certificate == serial(e.leaf) && !s.Renewal.At.IsZero() {
		return s.Renewal.At
	}
	return schedule.Renewal(e.leaf.NotBefore, e.leaf.NotAfter, schedule.Spread(e.id))
}

// bridge keeps certificates alive that serve a wanted name as long as the one that is really wanted cannot be had: a name that
// was added to a rule and does not resolve must not cost the others theirs.
func (m *Manager) bridge(d *decision, ix *index, now time.Time) {
	wanted := map[string]bool{}
	for i := range d.wants {
		for _, n := range d.wants[i].Names {
			wanted[n] = true
		}
	}
	seen := map[*entry]bool{}
	for i := range d.wants {
		w := &d.wants[i]
		if w.by != nil || w.given || w.resolver == nil {
			continue
		}
		for _, n := range w.Names {
			for _, e := range ix.candidates(n) {
				if e.resolver != w.resolver || d.needs[e] != nil && !seen[e] {
					continue
				}
				d.needs[e] = append(d.needs[e], w.Users...)
				if seen[e] || e.id == w.id {
					continue
				}
				seen[e] = true
				if e.current && !slices.ContainsFunc(e.names, func(n string) bool { return !wanted[n] }) {
					m.asks(d, e, now)
					m.plan(d, e.resolver, e.id, e.names, e, m.renewal(e), false, now)
				}
			}
		}
	}
}

func serial(c certificate) string { return c.SerialNumber.Text(16) }

// belongs reports whether two URLs are of one host.
func belongs(uri, directory string) bool {
	a, err1 := url.Parse(uri)
	b, err2 := url.Parse(directory)
	return err1 == nil && err2 == nil && strings.EqualFold(a.Host, b.Host)
}

// Package acme gets certificates from ACME servers and keeps them valid: it is the manager between what the configuration
// wants, what the storage has, and what a CA gives.
//
// It is driven by time, not by events. A Manager holds a list of wanted certificates and goes over it whenever something is
// due: what is missing is ordered, what grows old is renewed, what nobody needs is left to end. What it did and how that went
// stands in the storage, so that a restart continues and repeats nothing. A change of the configuration changes the list and
// nothing else.
//
// The work is divided: storage keeps, schedule says when, authority speaks with the CA, dnsproviders make DNS records; here
// it is decided what is needed, orders are run, and their outcome is put where handshakes find it.
package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

// Want is a certificate that the configuration asks for.
type Want struct {
	// Resolver is the name of the certificate resolver.
	Resolver string
	// Names are the names, the main one first.
	Names []string
	// Inferred tells that the names were found in rules: those that a configured certificate covers are then left out.
	Inferred bool
	// Users are who asks for it: routers, or the default store.
	Users []string
}

// Options are what a Manager needs.
type Options struct {
	// Resolvers are the static configuration's, by name; those without acme are ignored.
	Resolvers map[string]*static.CertificatesResolver
	// Keeper gets the certificates.
	Keeper *certs.Keeper
	// Challenges get the answers for the entry points.
	Challenges *Challenges
	// Environ is the environment as KEY=value, for LEGO_CA_*.
	Environ []string
	// UserAgent is how the program calls itself.
	UserAgent string
	Log       *slog.Logger

	// connect makes the client of a resolver; nil for the real one. Tests replace the CA by it.
	connect func(ctx context.Context, name string, c *static.ACME) (ca, []authority.Solver, error)
	// poll and sleep replace the times of these names; zero for the real ones. Tests that go through years need fewer looks.
	poll, sleep time.Duration
}

// ca is what the manager needs of authority.Client.
type ca interface {
	Belongs(a *storage.Account) bool
	Register(ctx context.Context, have *storage.Account, former map[string]*storage.Account, save func(*storage.Account) error) (*storage.Account, error)
	Obtain(ctx context.Context, req authority.Request) (*authority.Issued, error)
	RenewalWindow(ctx context.Context, a *storage.Account, leaf certificate) (authority.Window, error)
	Idle()
}

// Times of the manager itself.
const (
	// usualPoll is how often the storage is looked at for what others did; a look costs a stat.
	usualPoll = 2 * time.Second
	// usualSleep bounds the time without a full look, so that a clock that jumps is noticed.
	usualSleep = time.Minute
	// orphanAfter is how long a certificate must be unused before it counts as orphaned: configurations come and go. After
	// orphanGrace it is removed.
	orphanAfter = 10 * time.Minute
	orphanGrace = 30 * 24 * time.Hour
	// saveAgain is how soon storing a certificate is tried again.
	saveAgain = 15 * time.Second
)

// ordersAtOnce is how many orders of one resolver run side by side.
const ordersAtOnce = 4

// Manager keeps the wanted certificates valid. Its methods are safe for concurrent use.
type Manager struct {
	o         Options
	log       *slog.Logger
	resolvers []*resolver // by name
	wake      chan struct{}
	jobs      sync.WaitGroup
	status    atomic.Pointer[[]Status]
	demand    *demand

	mu      sync.Mutex
	wants   []Want
	set     *certs.Set // the configuration's certificates; nil before the first Update
	idle    map[*entry]time.Time
	remarks map[string]bool
	last    []*certs.Pair // what was published
	logged  map[string]string
}

// New makes a manager and reads the storages, so that stored certificates are served at once. It never fails: a resolver
// that cannot work is reported in the log and in Status, and the others go on. It returns nil if there is none.
func New(o Options) *Manager {
	if o.poll == 0 {
		o.poll = usualPoll
	}
	if o.sleep == 0 {
		o.sleep = usualSleep
	}
	m := &Manager{o: o, log: o.Log, wake: make(chan struct{}, 1), idle: map[*entry]time.Time{}, remarks: map[string]bool{}, logged: map[string]string{}}
	stores := map[string]storage.Store{}
	for _, name := range slices.Sorted(maps.Keys(o.Resolvers)) {
		c := o.Resolvers[name]
		if c == nil || c.ACME == nil {
			continue
		}
		r := newResolver(name, c.ACME, stores)
		m.resolvers = append(m.resolvers, r)
		if r.store.Shared() {
			o.Challenges.share(r.store)
		}
	}
	if len(m.resolvers) == 0 {
		return nil
	}
	m.demand = newDemand(m)
	m.status.Store(&[]Status{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reload()
	m.publish(time.Now())
	return m
}

// Update says what is wanted from now on, and which certificates the configuration has itself. It does not wait.
func (m *Manager) Update(wants []Want, set *certs.Set) {
	m.mu.Lock()
	m.wants, m.set = normalWants(wants), set
	m.mu.Unlock()
	m.poke()
}

// Revoked says that a certificate was revoked by its authority: if it is one of ours, it is renewed at once.
func (m *Manager) Revoked(p *certs.Pair) {
	m.mu.Lock()
	for _, r := range m.resolvers {
		for _, e := range r.entries {
			if e.pair == p && e.current {
				for _, n := range e.names {
					r.forced[n] = true
				}
			}
		}
	}
	m.mu.Unlock()
	m.poke()
}

// poke makes Run look at once.
func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends and all jobs have.
func (m *Manager) Run(ctx context.Context) {
	defer func() {
		m.jobs.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, r := range m.resolvers {
			if r.client != nil {
				r.client.Idle()
			}
			if err := r.store.Close(); err != nil {
				m.log.Warn("The storage could not be closed", "resolver", r.name, "error", err)
			}
		}
	}()
	m.connect(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			next = m.pass(ctx)
		case <-timer.C:
			if m.changed() || !time.Now().Before(next) {
				next = m.pass(ctx)
			}
		}
		timer.Reset(min(max(time.Until(next), 10*time.Millisecond), m.o.poll))
	}
}

// connect makes the clients of the resolvers.
func (m *Manager) connect(ctx context.Context) {
	make := m.o.connect
	if make == nil {
		make = m.client
	}
	for _, r := range m.resolvers {
		client, solvers, err := make(ctx, r.name, r.config)
		m.mu.Lock()
		if err != nil {
			r.broken = err
			m.complain(r.name, "The certificate resolver cannot be used", err)
		}
		r.client, r.solvers = client, solvers
		m.mu.Unlock()
	}
}

// changed reports whether a storage has another content than we know, or wishes.
func (m *Manager) changed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := false
	for _, r := range m.resolvers {
		if names := r.store.Requests(); len(names) > 0 {
			m.request(names)
			out = true
		}
		out = out || r.store.Version() != r.version
	}
	return out
}

// request marks what is to be renewed now.
func (m *Manager) request(names []string) {
	for _, r := range m.resolvers {
		for _, n := range names {
			r.forced[normalName(n)] = true
		}
	}
}

// pass looks at everything once, starts what is due and returns when the next look is.
func (m *Manager) pass(ctx context.Context) (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.reload()
	d := m.decide(now)
	next = now.Add(m.o.sleep)
	for i := range d.tasks {
		t := &d.tasks[i]
		if at := m.start(ctx, t, now); at.Before(next) {
			next = at
		}
	}
	if m.set != nil {
		m.orphans(d, now)
	}
	for _, r := range m.resolvers {
		if len(r.unsaved) > 0 && r.readOnly == nil {
			m.retrySaving(r)
		}
		if len(r.unsaved) > 0 && now.Add(saveAgain).Before(next) {
			next = now.Add(saveAgain)
		}
	}
	m.describe(d, now)
	m.publish(now)
	m.demand.settle(d.wants)
	if at := m.exports(ctx, now); at.Before(next) {
		next = at
	}
	return next
}

// start begins a task if it is due and allowed, and returns when to look again.
func (m *Manager) start(ctx context.Context, t *task, now time.Time) time.Time {
	r := t.resolver
	never := now.Add(m.o.sleep)
	switch {
	case r.client == nil || r.broken != nil || r.readOnly != nil:
		return never
	case r.running[t.key()]:
		return never // its end wakes us
	case t.due.After(now):
		return t.due
	case r.gate.closed(now):
		return r.gate.next
	case t.ask && r.asking || !t.ask && r.ordering >= ordersAtOnce || r.gate.n > 0 && (r.ordering > 0 || r.asking):
		return never
	}
	r.running[t.key()] = true
	if t.ask {
		r.asking = true
	} else {
		r.ordering++
	}
	m.jobs.Go(func() {
		defer m.poke()
		defer m.finished(t)
		if t.ask {
			m.ask(ctx, t)
		} else {
			m.order(ctx, t)
		}
	})
	return never
}

// finished makes room for the next task. A panic in a job ends that job only.
func (m *Manager) finished(t *task) {
	problem := recover()
	m.mu.Lock()
	defer m.mu.Unlock()
	if problem != nil {
		m.log.Error("Getting a certificate ended in a panic", "resolver", t.resolver.name, "names", strings.Join(t.names, " "), "value", problem)
		t.resolver.penalty[t.key()] = time.Now().Add(schedule.Retry(4, 0, 0))
	}
	delete(t.resolver.running, t.key())
	if t.ask {
		t.resolver.asking = false
	} else {
		t.resolver.ordering--
	}
}

// complain logs a failure of a resolver once until it changes.
func (m *Manager) complain(resolver, message string, err error) {
	key := resolver + "\n" + message
	text := ""
	if err != nil {
		text = err.Error()
	}
	if m.logged[key] == text {
		return
	}
	m.logged[key] = text
	if err != nil {
		m.log.Error(message, "resolver", resolver, "error", text)
	}
}

// normalName is how names are compared and sent: lower case, without a final dot, in ASCII.
func normalName(name string) string {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return a.Unmap().WithZone("").String()
	}
	rest, wild := strings.CutPrefix(name, "*.")
	if a, err := idna.Lookup.ToASCII(rest); err == nil {
		rest = a
	}
	if wild {
		return "*." + rest
	}
	return rest
}

// normalWants brings wants into one form and joins those for the same names.
func normalWants(wants []Want) []Want {
	var out []Want
	at := map[string]int{}
	for _, w := range wants {
		w.Names = normalNames(w.Names)
		if len(w.Names) == 0 {
			continue
		}
		key := w.Resolver + "\n" + storage.ID(w.Names)
		if i, ok := at[key]; ok {
			out[i].Users = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(out[i].Users), w.Users...))))
			out[i].Inferred = out[i].Inferred && w.Inferred
			continue
		}
		at[key] = len(out)
		out = append(out, w)
	}
	return out
}

// normalNames drops repetitions and names that a wildcard of the list covers.
func normalNames(names []string) []string {
	var list, out []string
	for _, n := range names {
		if n = normalName(n); n != "" && n != "*" {
			list = append(list, n)
		}
	}
	for i, n := range list {
		_, parent, dotted := strings.Cut(n, ".")
		if slices.Index(list, n) == i && !(dotted && !strings.HasPrefix(n, "*.") && slices.Contains(list, "*."+parent)) {
			out = append(out, n)
		}
	}
	return out
}

// covers reports whether a certificate for names answers for name.
func covers(names []string, name string) bool {
	if slices.Contains(names, name) {
		return true
	}
	_, parent, ok := strings.Cut(name, ".")
	return ok && !strings.HasPrefix(name, "*.") && slices.Contains(names, "*."+parent)
}

func idOf(name string) string { return storage.ID([]string{name}) }

func coversAll(names, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(n string) bool { return !covers(names, n) })
}

// parse makes what handshakes need of a stored certificate.
func parse(c *storage.Certificate) (*certs.Pair, error) {
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	if err != nil {
		return nil, fmt.Errorf("the stored certificate for %s cannot be used: %w", strings.Join(c.Names(), " "), err)
	}
	return certs.FromTLS(&pair), nil
}

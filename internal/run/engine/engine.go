// Package engine turns plans into what runs: it builds the live objects of a plan, keeps those whose plan node did not
// change, puts a whole generation in force with one atomic store, and retires what is no longer in it.
//
// What is kept, and by which key:
//
//	connections to servers   address + fingerprint of the transport        upstream.Transport
//	server health, round     service name and kind (+ URL + checks)        forward.Live
//	health, round of TCP     service name (+ server + check)               tunnel.Live
//	round of UDP servers     service name                                  datagram.Live
//	service handler          Identity of the service's plan node           service
//	router chain             Identity of the router's plan node            chain
//	middleware state         router + middleware + fingerprint             middleware.State
//	TLS sessions             fingerprint of the TLS options                certs.Keeper
//	what could not be built  Identity of the plan node                     failures
//
// Apply and Close are called by one goroutine; everything that serves is safe for concurrent use.
package engine

import (
	"log/slog"
	"sync/atomic"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/acme/staple"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/datagram"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/traffic/forward"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/tunnel"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// Options are what an Engine needs.
type Options struct {
	// Static is the effective static configuration.
	Static *static.Config
	Log    *slog.Logger
	// Budget accounts for the memory of copied requests and of middlewares beyond pooled buffers; nil has no limit.
	Budget *httpmsg.Budget
	// Watch holds the deadlines of connections to servers.
	Watch *watch.Watch
	// Internal are the handlers of services called NAME@internal.
	Internal map[string]httpmsg.Handler
	// EntryPoints are the names of the entry points, by position.
	EntryPoints []string
	// Current is where generations are published.
	Current *entrypoint.Current
	// UDPEntryPoints and Datagrams are the same for UDP.
	UDPEntryPoints []string
	Datagrams      *datagram.Current
	// Challenges get the answers to ACME challenges; the entry points have them, too. Nil without certificate resolvers.
	Challenges *acme.Challenges
	// Happened is told of servers that come and go, in words; may be nil.
	Happened func(kind, text string)
	// Environ is the environment as KEY=value, UserAgent how we call ourselves, both for certificate resolvers.
	Environ   []string
	UserAgent string
}

// Engine holds the live objects of the plan in force.
type Engine struct {
	o          Options
	keeper     *certs.Keeper
	acme       *acme.Manager   // nil without certificate resolvers
	stapler    *staple.Stapler // nil without ocsp
	set        *certs.Set
	state      middleware.State
	transports map[string]*upstream.Transport
	lives      map[string]*forward.Live
	services   map[*plan.Identity]*service
	chains     map[*plan.Identity]*chain
	tunnels    map[*plan.Identity]*tcpService
	rounds     map[string]*tunnel.Live
	datagrams  datagrams
	copies     *forward.Copies
	inForce    atomic.Pointer[inForce]
	// tunnelsInForce are the built load balancers of TCP by the qualified names of their services.
	tunnelsInForce atomic.Pointer[map[string]*tunnel.Service]
	failures       map[*plan.Identity]diag.List
}

// New makes an engine without a generation.
func New(o Options) *Engine {
	e := &Engine{o: o, keeper: certs.NewKeeper(), copies: forward.NewCopies(o.Budget, o.Log), transports: map[string]*upstream.Transport{}, lives: map[string]*forward.Live{},
		services: map[*plan.Identity]*service{}, chains: map[*plan.Identity]*chain{}, tunnels: map[*plan.Identity]*tcpService{}}
	e.certificateWork()
	return e
}

// Apply puts p in force: new connections and requests see all of it from here on, those under way finish on what they
// have. The findings are those that only building could make; they concern single elements, which refuse.
func (e *Engine) Apply(p *plan.Plan) diag.List {
	b := &build{e: e, p: p, transports: map[string]*upstream.Transport{}, byNode: map[*plan.Transport]*upstream.Transport{}, lives: map[string]*forward.Live{},
		services: map[*plan.Identity]*service{}, chains: map[*plan.Identity]*chain{}, tunnels: map[*plan.Identity]*tcpService{},
		rounds: map[string]*tunnel.Live{}, fingerprints: map[string]bool{}, failures: map[*plan.Identity]diag.List{}, broken: map[*plan.Node]diag.List{}}
	e.state.Begin()
	b.validate()
	set, findings := certificates(p, e.set)
	b.findings = append(b.findings, findings...)
	b.findings = append(b.findings, checkWants(p)...)
	generation := b.generation()
	udp := b.udpGeneration()
	b.keepFailures()

	// From here on nothing can fail.
	e.set = set
	e.keeper.Publish(set)
	e.newCertificates(p, set)
	for _, s := range b.services {
		s.publish()
	}
	for _, s := range b.tunnels {
		s.publish()
	}
	b.datagrams.publish()
	e.o.Current.Store(generation)
	e.o.Datagrams.Store(udp)
	e.inForce.Store(b.servicesInForce())
	e.tunnelsInForce.Store(b.tunnelsInForce())
	e.retire(b)
	return b.findings
}

// retire ends what the generation of b does not have any more. Exchanges under way keep what they hold.
func (e *Engine) retire(b *build) {
	for id, s := range e.services {
		if b.services[id] == nil {
			s.close()
		}
	}
	for id, s := range e.tunnels {
		if b.tunnels[id] == nil {
			s.close()
		}
	}
	for key, t := range e.transports {
		if b.transports[key] == nil {
			t.CloseIdle()
		}
	}
	e.services, e.chains, e.transports, e.lives, e.tunnels = b.services, b.chains, b.transports, b.lives, b.tunnels
	e.rounds, e.failures = b.rounds, b.failures
	e.datagrams.retire(&b.datagrams)
	e.keeper.Retain(b.fingerprints)
	e.state.Sweep()
}

// Close ends everything that the generation in force holds. The engine must not be used afterwards.
func (e *Engine) Close() {
	e.state.Begin()
	e.inForce.Store(nil)
	e.tunnelsInForce.Store(nil)
	e.copies.Close()
	e.retire(&build{})
}

// build is the making of one generation.
type build struct {
	e        *Engine
	p        *plan.Plan
	findings diag.List

	transports   map[string]*upstream.Transport
	byNode       map[*plan.Transport]*upstream.Transport // nil is the default one
	lives        map[string]*forward.Live
	services     map[*plan.Identity]*service
	chains       map[*plan.Identity]*chain
	tunnels      map[*plan.Identity]*tcpService
	rounds       map[string]*tunnel.Live
	datagrams    datagrams
	fingerprints map[string]bool
	// broken are the nodes that cannot be built, with the reasons.
	broken map[*plan.Node]diag.List
	// failures are what building found, by the elements that it found it in.
	failures map[*plan.Identity]diag.List
}

// validate finds out which nodes cannot be built, by the same checks that `sluice check` makes.
func (b *build) validate() {
	check(b.p, func(n *plan.Node, list diag.List) {
		if list.Has(diag.Error) {
			b.broken[n] = append(b.broken[n], list...)
		}
		b.findings = append(b.findings, list...)
	})
}

// report adds a finding that building made and marks the node as broken.
func (b *build) report(n *plan.Node, err error) {
	f := finding(n, err)
	b.broken[n] = append(b.broken[n], f)
	b.findings.Add(f)
	if id := b.identity(n); id != nil {
		b.failures[id] = append(b.failures[id], f)
	}
}

// identity returns the identity of a node of the plan, nil for kinds that are built anew each time.
func (b *build) identity(n *plan.Node) *plan.Identity {
	switch n.Kind {
	case "http.middlewares":
		return b.p.HTTP.Middlewares.Get(n.Name).Identity
	case "http.services":
		return b.p.HTTP.Services.Get(n.Name).Identity
	case "tcp.services":
		return b.p.TCP.Services.Get(n.Name).Identity
	}
	return nil
}

// keepFailures says again what building found in elements that did not change: what they refuse is kept, so that they
// were not built this time.
func (b *build) keepFailures() {
	keep := func(id *plan.Identity) {
		if before := b.e.failures[id]; len(before) > 0 && len(b.failures[id]) == 0 {
			b.failures[id] = before
			b.findings = append(b.findings, before...)
		}
	}
	for _, m := range b.p.HTTP.Middlewares {
		keep(m.Identity)
	}
	for _, s := range b.p.HTTP.Services {
		keep(s.Identity)
	}
	for _, s := range b.p.TCP.Services {
		keep(s.Identity)
	}
}

func finding(n *plan.Node, err error) diag.Finding {
	return diag.Finding{Place: n.Place(), Severity: diag.Error, Key: n.Key(), Code: "CANNOT-BUILD", Message: err.Error()}
}

// generation builds the routes of all entry points.
func (b *build) generation() *entrypoint.Generation {
	g := &entrypoint.Generation{}
	for _, name := range b.e.o.EntryPoints {
		g.Routes = append(g.Routes, b.routes(b.p.EntryPoints[name]))
	}
	for i, r := range g.Routes {
		for j, other := range g.Routes {
			if i != j {
				r.Others = append(r.Others, other)
			}
		}
	}
	for _, r := range g.Routes {
		r.Seal()
	}
	return g
}

func (b *build) routes(ep *plan.EntryPoint) *entrypoint.Routes {
	r := &entrypoint.Routes{Conn: ep.Conn}
	r.Plain.Table, r.Secure.Table = ep.PlainTable, ep.SecureTable
	denied := deniedCharacters(ep.Config)
	for _, node := range ep.Plain {
		r.Plain.Routers = append(r.Plain.Routers, b.httpRouter(node, denied))
	}
	for _, node := range ep.Secure {
		r.Secure.Routers = append(r.Secure.Routers, b.httpRouter(node, denied))
	}
	for _, node := range ep.TCP {
		r.TCP = append(r.TCP, b.tcpRouter(node))
	}
	for _, node := range ep.TLS {
		r.TLS = append(r.TLS, b.tcpRouter(node))
	}
	for _, o := range ep.Options {
		r.Options = append(r.Options, b.tlsOptions(o.Effective, o.Options))
	}
	return r
}

// deniedCharacters is the policy of an entry point on percent codes.
func deniedCharacters(c *static.EntryPoint) entrypoint.EncodedCharacters {
	if c == nil || c.HTTP.EncodedCharacters == nil {
		return 0
	}
	p := c.HTTP.EncodedCharacters
	var out entrypoint.EncodedCharacters
	for _, row := range []struct {
		allowed bool
		bit     entrypoint.EncodedCharacters
	}{
		{p.AllowEncodedSlash, entrypoint.DenyEncodedSlash}, {p.AllowEncodedBackSlash, entrypoint.DenyEncodedBackSlash},
		{p.AllowEncodedNullCharacter, entrypoint.DenyEncodedNullCharacter}, {p.AllowEncodedSemicolon, entrypoint.DenyEncodedSemicolon},
		{p.AllowEncodedPercent, entrypoint.DenyEncodedPercent}, {p.AllowEncodedQuestionMark, entrypoint.DenyEncodedQuestionMark},
		{p.AllowEncodedHash, entrypoint.DenyEncodedHash},
	} {
		if !row.allowed {
			out |= row.bit
		}
	}
	return out
}

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
//	what could not be built  Identity of the plan node                     failure
//
// The work of Apply follows the change: it builds what the new plan has and the old one had not, and goes once over what
// the routers in force hold to find out what nobody holds any more.
//
// Apply and Close are called by one goroutine; everything that serves is safe for concurrent use.
package engine

import (
	"log/slog"
	"net/url"
	"slices"
	"sync"

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
	// Proxy says which proxy leads to a server; nil, or an answer of nil, is none.
	Proxy func(server *url.URL) (*url.URL, error)
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
	unusable   diag.List // what is wrong with the certificates of set
	copies     *forward.Copies
	state      middleware.State
	plan       *plan.Plan // in force; never nil
	generation *entrypoint.Generation
	datagrams  datagrams
	round      uint64 // counts calls of Apply

	// What is in force, by its key. chains and tcpRoutes are the roots: whatever they hold stays. ordered and built are all
	// chains and services in the order in which they were made, which is how memory is read fastest.
	ordered    []*chain
	built      []*service
	chains     map[*plan.Identity]*chain
	children   map[childKey]*chain
	tcpRoutes  map[*plan.TCPRouter]*tcpRoute
	services   map[*plan.Identity]*service
	tunnels    map[*plan.Identity]*tcpService
	transports map[string]*transport
	lives      map[string]*forward.Live
	rounds     map[string]*tunnel.Live
	// checked are the findings of validation; failures are what building found, and stay as long as the element does.
	checked  map[*plan.Node]diag.List
	failures map[*plan.Identity]*failure
	// named and namedTunnels are the services that requests and connections can end at, by qualified name; see status.go.
	named, namedTunnels sync.Map
}

// New makes an engine without a generation.
func New(o Options) *Engine {
	e := &Engine{o: o, keeper: certs.NewKeeper(), copies: forward.NewCopies(o.Budget, o.Log), plan: &plan.Plan{},
		chains: map[*plan.Identity]*chain{}, children: map[childKey]*chain{}, tcpRoutes: map[*plan.TCPRouter]*tcpRoute{}, services: map[*plan.Identity]*service{},
		tunnels: map[*plan.Identity]*tcpService{}, transports: map[string]*transport{}, lives: map[string]*forward.Live{},
		rounds: map[string]*tunnel.Live{}, checked: map[*plan.Node]diag.List{}, failures: map[*plan.Identity]*failure{}}
	e.certificateWork()
	return e
}

// Apply puts p in force: new connections and requests see all of it from here on, those under way finish on what they
// have. The findings are those that only building could make; they concern single elements, which refuse.
func (e *Engine) Apply(p *plan.Plan) diag.List {
	e.round++
	e.state.Begin()
	b := &build{e: e, was: e.plan, p: p, transports: map[*plan.Transport]*transport{}}
	b.validate()
	set, unusable := e.set, e.unusable
	if b.certificatesChanged() {
		set, unusable = certificates(p, e.set)
	}
	generation := b.generation()
	udp := b.udpGeneration()

	// From here on nothing can fail.
	if set != e.set {
		e.set, e.unusable = set, unusable
		e.keeper.Publish(set)
	}
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
	e.plan, e.generation = p, generation
	e.name(b.services, b.tunnels)
	e.datagrams.retire(&b.datagrams)
	e.sweep()
	return e.findings()
}

// certificatesChanged reports whether certificates or the default store are not those of the plan before.
func (b *build) certificatesChanged() bool {
	was, now := &b.was.TLS, &b.p.TLS
	return b.e.set == nil || was.Default != now.Default || !slices.Equal(was.Certificates, now.Certificates)
}

// Close ends everything that the generation in force holds. The engine must not be used afterwards.
func (e *Engine) Close() {
	e.round++
	e.state.Begin()
	e.copies.Close()
	e.plan, e.ordered, e.chains, e.tcpRoutes = &plan.Plan{}, nil, nil, nil
	e.datagrams.retire(&datagrams{})
	e.sweep()
}

// build is the making of one generation.
type build struct {
	e      *Engine
	was, p *plan.Plan

	// services and tunnels are those that are new.
	services  []*service
	tunnels   []*tcpService
	datagrams datagrams
	// transports are those that were asked for; nil is the default one.
	transports map[*plan.Transport]*transport
	// holder is what is being built: it holds whatever is asked for meanwhile.
	holder *holding
}

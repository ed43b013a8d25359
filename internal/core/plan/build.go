// Package plan turns configuration into decisions: it merges what the providers say, qualifies names, fills defaults,
// reads rules, resolves references, and finds what is missing, circular, ambiguous or unreachable. Its result is a Plan:
// a value that says for every element what it does, in what state it is and why.
//
// Build never fails as a whole. One broken element is Disabled, with its reasons; what depends on it is Disabled too,
// and the rest goes on. Nothing here does I/O, knows the time, or writes into configuration.
//
// A plan is made from the one before. Fragments that did not change keep their pointer; only the elements of the others are
// looked at, and those that refer to them. Everything else is taken over as it is, so that the work follows the change and
// not the number of routers: what grows with that number is the copying of a few lists of pointers and one comparison for
// each element. The steps, in the order of Build:
//
//  1. what is defined now (draft.entries), and which nodes must be built again
//  2. nodes: TLS options, transports, middlewares and services, routers
//  3. entry points: which router stands where, the tables, the TLS options of hosts
//  4. notes: what follows from the elements around an element
//  5. the list of findings
//
// The tests compare it with a plan that is made from nothing.
package plan

import (
	"cmp"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// Plan is the outcome of one Build. It is immutable and may be read by any number of goroutines.
type Plan struct {
	// Static is the static configuration; nil when there is none (sluice check of a dynamic file alone).
	Static *static.Config
	HTTP   HTTP
	TCP    TCP
	UDP    UDP
	TLS    TLS
	// EntryPoints are the TCP entry points with what is routed on each, by name. Without a static side they are those that
	// routers name.
	EntryPoints map[string]*EntryPoint
	// Findings are all remarks on the dynamic configuration, sorted by place; those of decoding included.
	Findings diag.List

	serial  uint64
	world   *world
	sources []source
	defined defined
	// families are the routers of each definition, layered those that have to do with layers.
	families, layered []*family
	// notes are what Plan.About adds. loose are findings that belong to no node. said are Findings with repetitions.
	notes       map[*Node]*note
	loose, said diag.List
	// unused are services and middlewares that nothing refers to, empty services without servers, inward those with servers that
	// may be entry points of our own.
	unused        map[*Node]bool
	empty, inward []*Service
	// redirecting are the routers that come to a redirectRegex first.
	redirecting []*Router
}

// HTTP holds the HTTP elements of a plan.
type HTTP struct {
	Routers     Set[*Router]
	Services    Set[*Service]
	Middlewares Set[*Middleware]
	Transports  Set[*Transport]
}

// TCP holds the TCP elements of a plan.
type TCP struct {
	Routers     Set[*TCPRouter]
	Services    Set[*TCPService]
	Middlewares Set[*TCPMiddleware]
	Transports  Set[*TCPTransport]
}

// defined are the definitions of all kinds.
type defined struct {
	routers        []*entry[dynamic.Router]
	services       []*entry[dynamic.Service]
	middlewares    []*entry[dynamic.Middleware]
	transports     []*entry[dynamic.ServersTransport]
	tcpRouters     []*entry[dynamic.TCPRouter]
	tcpServices    []*entry[dynamic.TCPService]
	tcpMiddlewares []*entry[dynamic.TCPMiddleware]
	tcpTransports  []*entry[dynamic.TCPServersTransport]
	tlsOptions     []*entry[dynamic.TLSOptions]
	udpRouters     []*entry[dynamic.UDPRouter]
	udpServices    []*entry[dynamic.UDPService]
}

// builder holds what one Build works with.
type builder struct {
	*world
	plan *Plan
	// previous is where identities and readings of rules come from. base is what is taken over: previous, or nothing when that
	// was made for another static side.
	previous, base *Plan
	serial         uint64
	// sources are all fragments, gone and fresh those by which they differ from the sources of base; left are the fragments
	// of gone.
	sources, gone, fresh []source
	left                 map[*dynamic.Fragment]bool
	// seen tells that all configured providers have spoken.
	seen bool

	routers        draft[dynamic.Router, *family]
	services       draft[dynamic.Service, *Service]
	middlewares    draft[dynamic.Middleware, *Middleware]
	transports     draft[dynamic.ServersTransport, *Transport]
	tcpRouters     draft[dynamic.TCPRouter, *TCPRouter]
	tcpServices    draft[dynamic.TCPService, *TCPService]
	tcpMiddlewares draft[dynamic.TCPMiddleware, *TCPMiddleware]
	tcpTransports  draft[dynamic.TCPServersTransport, *TCPTransport]
	tlsOptions     draft[dynamic.TLSOptions, *TLSOptions]
	udpRouters     draft[dynamic.UDPRouter, *UDPRouter]
	udpServices    draft[dynamic.UDPService, *UDPService]

	replaced replaced
	// loops are the references that are refused because they lead back; rings are those by way of error pages, which work.
	loops, rings loops
	pages        []page
	missed       map[reference]missed
	layers       layers
	notes        map[*Node]*note
}

// Build makes the plan for what the providers say now. previous is the plan in force, or nil; parts that did not change
// are taken over from it, and keep their Identity, so that live objects can be kept. st is what static.Effective returns; it is
// nil when the static side is not known: entry points and resolvers are then not checked.
func Build(previous *Plan, st *static.Config, snapshots []dynamic.Snapshot) *Plan {
	b := begin(previous, st, snapshots)
	b.collect()
	b.buildTLS()
	b.buildTransports()
	b.buildTCPTransports()
	b.buildTCPMiddlewares()
	b.buildServices()
	b.buildTCPServices()
	b.buildRouters()
	b.buildTCPRouters()
	b.buildUDP()
	b.buildEntryPoints()
	b.remark()
	b.gather()
	b.keep()
	return b.plan
}

func begin(previous *Plan, st *static.Config, snapshots []dynamic.Snapshot) *builder {
	b := &builder{plan: &Plan{Static: st}, previous: previous, base: previous, notes: map[*Node]*note{}}
	if previous == nil {
		b.previous = &Plan{}
	}
	if previous == nil || previous.world == nil || previous.Static != st {
		b.base = &Plan{world: newWorld(st)}
	}
	b.world, b.serial = b.base.world, b.previous.serial
	b.seen = b.seesEverything(snapshots)
	if b.own != nil {
		snapshots = append(slices.Clip(snapshots), dynamic.Snapshot{Provider: Internal, Fragments: []*dynamic.Fragment{b.own}})
	}
	b.sources = sourcesOf(snapshots)
	b.gone, b.fresh = difference(b.base.sources, b.sources)
	b.left = make(map[*dynamic.Fragment]bool, len(b.gone))
	for _, s := range b.gone {
		b.left[s.fragment] = true
	}
	return b
}

// keep leaves in the plan what the next Build takes over.
func (b *builder) keep() {
	p := b.plan
	p.serial, p.world, p.sources, p.families, p.notes = b.serial, b.world, b.sources, b.routers.nodes, b.notes
	p.defined = defined{b.routers.entries, b.services.entries, b.middlewares.entries, b.transports.entries, b.tcpRouters.entries,
		b.tcpServices.entries, b.tcpMiddlewares.entries, b.tcpTransports.entries, b.tlsOptions.entries, b.udpRouters.entries, b.udpServices.entries}
}

func (b *builder) collect() {
	http := func(c *dynamic.Config) *dynamic.HTTP { return cmp.Or(c.HTTP, &dynamic.HTTP{}) }
	tcp := func(c *dynamic.Config) *dynamic.TCP { return cmp.Or(c.TCP, &dynamic.TCP{}) }
	udp := func(c *dynamic.Config) *dynamic.UDP { return cmp.Or(c.UDP, &dynamic.UDP{}) }
	tls := func(c *dynamic.Config) *dynamic.TLS { return cmp.Or(c.TLS, &dynamic.TLS{}) }
	was, p := &b.base.defined, b.base
	collect(b, &b.routers, was.routers, p.families, "http.routers", func(c *dynamic.Config) map[string]*dynamic.Router { return http(c).Routers })
	collect(b, &b.services, was.services, p.HTTP.Services, "http.services", func(c *dynamic.Config) map[string]*dynamic.Service { return http(c).Services })
	collect(b, &b.middlewares, was.middlewares, p.HTTP.Middlewares, "http.middlewares", func(c *dynamic.Config) map[string]*dynamic.Middleware { return http(c).Middlewares })
	collect(b, &b.transports, was.transports, p.HTTP.Transports, "http.serversTransports", func(c *dynamic.Config) map[string]*dynamic.ServersTransport { return http(c).ServersTransports })
	collect(b, &b.tcpRouters, was.tcpRouters, p.TCP.Routers, "tcp.routers", func(c *dynamic.Config) map[string]*dynamic.TCPRouter { return tcp(c).Routers })
	collect(b, &b.tcpServices, was.tcpServices, p.TCP.Services, "tcp.services", func(c *dynamic.Config) map[string]*dynamic.TCPService { return tcp(c).Services })
	collect(b, &b.tcpMiddlewares, was.tcpMiddlewares, p.TCP.Middlewares, "tcp.middlewares", func(c *dynamic.Config) map[string]*dynamic.TCPMiddleware { return tcp(c).Middlewares })
	collect(b, &b.tcpTransports, was.tcpTransports, p.TCP.Transports, "tcp.serversTransports", func(c *dynamic.Config) map[string]*dynamic.TCPServersTransport { return tcp(c).ServersTransports })
	collect(b, &b.udpRouters, was.udpRouters, p.UDP.Routers, "udp.routers", func(c *dynamic.Config) map[string]*dynamic.UDPRouter { return udp(c).Routers })
	collect(b, &b.udpServices, was.udpServices, p.UDP.Services, "udp.services", func(c *dynamic.Config) map[string]*dynamic.UDPService { return udp(c).Services })
	collect(b, &b.tlsOptions, was.tlsOptions, p.TLS.Options, kindTLSOptions, func(c *dynamic.Config) map[string]*dynamic.TLSOptions { return tls(c).Options })
}

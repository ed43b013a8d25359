// Package plan turns configuration into decisions: it merges what the providers say, qualifies names, fills defaults,
// reads rules, resolves references, and finds what is missing, circular, ambiguous or unreachable. Its result is a Plan:
// a value that says for every element what it does, in what state it is and why.
//
// Build never fails as a whole. One broken element is Disabled, with its reasons; what depends on it is Disabled too,
// and the rest goes on. Nothing here does I/O, knows the time, or writes into configuration.
package plan

import (
	"maps"
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

	serial uint64
}

// HTTP holds the HTTP elements of a plan by qualified name.
type HTTP struct {
	Routers     map[Name]*Router
	Services    map[Name]*Service
	Middlewares map[Name]*Middleware
	Transports  map[Name]*Transport
}

// TCP holds the TCP elements of a plan by qualified name.
type TCP struct {
	Routers     map[Name]*TCPRouter
	Services    map[Name]*TCPService
	Middlewares map[Name]*TCPMiddleware
	Transports  map[Name]*TCPTransport
}

// builder holds what one Build works with.
type builder struct {
	plan      *Plan
	previous  *Plan
	static    *static.Config
	snapshots []dynamic.Snapshot
	findings  diag.List
	serial    uint64

	routers        elements[dynamic.Router]
	services       elements[dynamic.Service]
	middlewares    elements[dynamic.Middleware]
	transports     elements[dynamic.ServersTransport]
	tcpRouters     elements[dynamic.TCPRouter]
	tcpServices    elements[dynamic.TCPService]
	tcpMiddlewares elements[dynamic.TCPMiddleware]
	tcpTransports  elements[dynamic.TCPServersTransport]
	tlsOptions     elements[dynamic.TLSOptions]
	udp            udpElements

	models         map[string]*model
	redirections   map[string]bool
	defaults       []string
	tcpEntryPoints []string
	defaultSyntax  string
	precedence     []string
}

// Build makes the plan for what the providers say now. previous is the plan in force, or nil; parts that did not change
// keep their Identity, so that live objects can be kept. st is what static.Effective returns; it is nil when the static side is not known: entry points and
// resolvers are then not checked.
func Build(previous *Plan, st *static.Config, snapshots []dynamic.Snapshot) *Plan {
	b := &builder{
		plan: newPlan(st), previous: previous, static: st, snapshots: snapshots,
	}
	if previous == nil {
		b.previous = newPlan(st)
	}
	b.serial = b.previous.serial
	b.precedence = static.ProviderNames()
	if st != nil {
		b.prepareStatic()
	}
	b.collect()
	b.buildTLS()
	b.buildTransports()
	b.buildTCPTransports()
	b.buildTCPMiddlewares()
	for _, name := range b.middlewares.names() {
		b.middleware(name, nil)
	}
	for _, name := range b.services.names() {
		b.service(name, nil)
	}
	for _, name := range b.tcpServices.names() {
		b.tcpService(name, nil)
	}
	b.buildRouters()
	b.buildTCPRouters()
	b.buildUDP()
	b.checkServers()
	b.buildEntryPoints()
	b.lints()
	b.gather()
	b.plan.serial = b.serial
	return b.plan
}

func newPlan(st *static.Config) *Plan {
	return &Plan{
		Static: st,
		HTTP: HTTP{map[Name]*Router{}, map[Name]*Service{}, map[Name]*Middleware{},
			map[Name]*Transport{}},
		TCP: TCP{map[Name]*TCPRouter{}, map[Name]*TCPService{}, map[Name]*TCPMiddleware{},
			map[Name]*TCPTransport{}},
		UDP:         newUDP(),
		TLS:         TLS{Options: map[Name]*TLSOptions{}},
		EntryPoints: map[string]*EntryPoint{},
	}
}

// prepareStatic adds what the static side contributes.
func (b *builder) prepareStatic() {
	fragment, redirections := internalFragment(b.static)
	b.redirections = redirections
	b.snapshots = append(slices.Clip(b.snapshots), dynamic.Snapshot{Provider: Internal, Fragments: []*dynamic.Fragment{fragment}})
	b.models = models(b.static)
	b.defaults = static.DefaultEntryPoints(b.static.EntryPoints)
	udp := static.UDPEntryPoints(b.static.EntryPoints)
	for _, name := range slices.Sorted(maps.Keys(b.static.EntryPoints)) {
		if !slices.Contains(udp, name) {
			b.tcpEntryPoints = append(b.tcpEntryPoints, name)
		}
	}
	if p := b.static.Providers; p != nil && len(p.Precedence) > 0 {
		b.precedence = p.Precedence
	}
	if b.static.Core != nil {
		b.defaultSyntax = b.static.Core.DefaultRuleSyntax
	}
}

func (b *builder) collect() {
	http := func(c *dynamic.Config) *dynamic.HTTP {
		if c.HTTP == nil {
			return &dynamic.HTTP{}
		}
		return c.HTTP
	}
	tcp := func(c *dynamic.Config) *dynamic.TCP {
		if c.TCP == nil {
			return &dynamic.TCP{}
		}
		return c.TCP
	}
	b.routers = collect(b, "http.routers", func(c *dynamic.Config) map[string]*dynamic.Router { return http(c).Routers })
	b.services = collect(b, "http.services", func(c *dynamic.Config) map[string]*dynamic.Service { return http(c).Services })
	b.middlewares = collect(b, "http.middlewares", func(c *dynamic.Config) map[string]*dynamic.Middleware { return http(c).Middlewares })
	b.transports = collect(b, "http.serversTransports", func(c *dynamic.Config) map[string]*dynamic.ServersTransport { return http(c).ServersTransports })
	b.tcpRouters = collect(b, "tcp.routers", func(c *dynamic.Config) map[string]*dynamic.TCPRouter { return tcp(c).Routers })
	b.tcpServices = collect(b, "tcp.services", func(c *dynamic.Config) map[string]*dynamic.TCPService { return tcp(c).Services })
	b.tcpMiddlewares = collect(b, "tcp.middlewares", func(c *dynamic.Config) map[string]*dynamic.TCPMiddleware { return tcp(c).Middlewares })
	b.tcpTransports = collect(b, "tcp.serversTransports", func(c *dynamic.Config) map[string]*dynamic.TCPServersTransport { return tcp(c).ServersTransports })
	b.collectUDP()
}

func place(f *dynamic.Fragment, path ...string) diag.Place {
	if f.Where == nil {
		return diag.Place{Source: f.Name}
	}
	return f.Where.Locate(path...)
}

// gather collects the findings of all elements. Those that decoding made stand in the fragments already.
func (b *builder) gather() {
	for _, s := range b.snapshots {
		for _, f := range s.Fragments {
			b.findings = append(b.findings, f.Findings...)
		}
	}
	seen := map[diag.Finding]bool{}
	add := func(n *Node) {
		if len(n.Findings) == 0 {
			return
		}
		inherited := 0
		if n.source != nil {
			inherited = len(n.source.Broken[n.Key()])
		}
		for _, f := range n.Findings[min(inherited, len(n.Findings)):] {
			// Copies of a split router repeat the remarks of the one that was written.
			if !seen[f] {
				seen[f] = true
				b.findings.Add(f)
			}
		}
	}
	addAll(b.plan.HTTP.Routers, add)
	addAll(b.plan.HTTP.Services, add)
	addAll(b.plan.HTTP.Middlewares, add)
	addAll(b.plan.HTTP.Transports, add)
	addAll(b.plan.TCP.Routers, add)
	addAll(b.plan.TCP.Services, add)
	addAll(b.plan.TCP.Middlewares, add)
	addAll(b.plan.TCP.Transports, add)
	addAll(b.plan.UDP.Routers, add)
	addAll(b.plan.UDP.Services, add)
	addAll(b.plan.TLS.Options, add)
	b.findings.Sort()
	b.plan.Findings = b.findings
}

func addAll[E interface{ node() *Node }](elements map[Name]E, add func(*Node)) {
	for _, e := range elements {
		add(e.node())
	}
}

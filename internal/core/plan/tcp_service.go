package plan

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// TCPService is a TCP service with its references resolved.
type TCPService struct {
	Node
	Config *dynamic.TCPService
	// Type is loadBalancer or weighted; empty when there is not exactly one.
	Type string
	// Children are the services of a weighted one, in order. A child that is missing is nil.
	Children []*TCPService
	// Transport says how to connect to servers; nil for the default.
	Transport *TCPTransport
	// Identity changes with the content and that of everything below.
	Identity *Identity
}

func (s *TCPService) identity() *Identity {
	if s == nil {
		return nil
	}
	return s.Identity
}

// TCPTransport is a named way to connect to TCP servers.
type TCPTransport struct {
	Node
	Config *dynamic.TCPServersTransport
	// Identity changes with the content.
	Identity *Identity
}

func (t *TCPTransport) identity() *Identity {
	if t == nil {
		return nil
	}
	return t.Identity
}

// TCPMiddleware is a TCP middleware.
type TCPMiddleware struct {
	Node
	Config *dynamic.TCPMiddleware
	// Type is the kind in file spelling; empty when there is not exactly one.
	Type string
	// Identity changes with the content.
	Identity *Identity
}

func (m *TCPMiddleware) identity() *Identity { return m.Identity }

func (b *builder) buildTCPTransports() {
	for _, at := range b.tcpTransports.todo {
		e := b.tcpTransports.entries[at]
		t := &TCPTransport{Node: e.start(), Config: e.config}
		if e.config.TLS != nil && e.config.TLS.Spiffe != nil {
			t.report(diag.Error, CodeNotSupported, "SPIFFE identities are not supported yet", "", "tls", "spiffe")
		}
		if p := e.config.ProxyProtocol; p != nil && p.Version != 1 && p.Version != 2 {
			t.report(diag.Error, CodeBadValue, fmt.Sprintf("unknown proxyProtocol version: %d", p.Version), "use 1 or 2", "proxyProtocol", "version")
		}
		was := b.previous.TCP.Transports.Get(e.Name)
		t.Identity = identify(b, was, was != nil && was.Status == t.Status && sameConfig(was.Config, t.Config))
		b.tcpTransports.nodes[at] = t
	}
	b.plan.TCP.Transports = b.tcpTransports.nodes
	replace(b, b.tcpTransports.gone)
}

func (b *builder) buildTCPMiddlewares() {
	for _, at := range b.tcpMiddlewares.todo {
		e := b.tcpMiddlewares.entries[at]
		m := &TCPMiddleware{Node: e.start(), Config: e.config}
		switch kinds := e.config.Kinds(); {
		case len(kinds) == 1:
			m.Type = kinds[0]
		case len(kinds) > 1:
			m.report(diag.Error, CodeSeveralKinds, "several TCP middleware types are set", "give each its own name")
		case m.Status != Disabled:
			m.report(diag.Error, CodeNoKind, "no TCP middleware type is set", "")
		}
		was := b.previous.TCP.Middlewares.Get(e.Name)
		m.Identity = identify(b, was, was != nil && was.Status == m.Status && sameConfig(was.Config, m.Config))
		b.tcpMiddlewares.nodes[at] = m
	}
	b.plan.TCP.Middlewares = b.tcpMiddlewares.nodes
	replace(b, b.tcpMiddlewares.gone)
}

// buildTCPServices builds the TCP services.
func (b *builder) buildTCPServices() {
	d := &b.tcpServices
	settle(b, d, func(s *TCPService) bool {
		return s.unsettled || lost(&b.replaced, s.Transport) || lost(&b.replaced, s.Children...)
	})
	b.loops = loopsOf(d, func(c *dynamic.TCPService) (refs []string) {
		if c.Weighted != nil {
			for _, c := range c.Weighted.Services {
				refs = append(refs, c.Name)
			}
		}
		return refs
	})
	for _, at := range d.todo {
		b.tcpService(at)
	}
	b.plan.TCP.Services = d.nodes
}

// settle drops the nodes that are stale, until no other is because of them.
func settle[T any, E interface {
	comparable
	element
}](b *builder, d *draft[T, E], stale func(E) bool) {
	replace(b, d.gone)
	for again := true; again; {
		n := len(d.gone)
		again = d.dropIf(stale)
		replace(b, d.gone[n:])
	}
}

// loopsOf looks for loops among the elements of one kind that are to be built.
func loopsOf[T any, E comparable](d *draft[T, E], refs func(*T) []string) loops {
	var from []vertex
	for _, at := range d.todo {
		if e := d.entries[at]; len(refs(e.config)) > 0 {
			from = append(from, vertex{d.kind, e.Name})
		}
	}
	return findLoops(from, func(v vertex) (out []vertex) {
		if at, ok := d.find(v.name); ok {
			for _, ref := range refs(d.entries[at].config) {
				if ref != "" {
					out = append(out, vertex{d.kind, Resolve(ref, v.name.Provider)})
				}
			}
		}
		return out
	})
}

// onlyKind returns the kind of a TCP or UDP service, and reports it where there is not exactly one.
func (n *Node) onlyKind(kinds []string) string {
	switch {
	case len(kinds) == 1:
		return kinds[0]
	case len(kinds) > 1:
		n.report(diag.Error, CodeSeveralKinds, "cannot create service: multi-types service not supported", "use loadBalancer or weighted, not both")
	case n.Status != Disabled:
		n.report(diag.Error, CodeNoKind, fmt.Sprintf("the service %q does not have any type defined", n.Name), "give it a loadBalancer with servers")
	}
	return ""
}

// tcpService returns the node at a place, built on first use.
func (b *builder) tcpService(at int) *TCPService {
	if s := b.tcpServices.nodes[at]; s != nil {
		return s
	}
	e := b.tcpServices.entries[at]
	s := &TCPService{Node: e.start(), Config: e.config}
	s.Type = s.onlyKind(e.config.Kinds())
	switch s.Type {
	case "loadBalancer":
		b.tcpLoadBalancer(s, e.config.LoadBalancer)
	case "weighted":
		for i, c := range e.config.Weighted.Services {
			s.Children = append(s.Children, b.tcpServiceReference(&s.Node, c.Name, "weighted", "services", strconv.Itoa(i), "name"))
		}
	}
	b.checkTCPHealth(s)
	was := b.previous.TCP.Services.Get(e.Name)
	s.Identity = identify(b, was, was != nil && was.Status == s.Status && sameConfig(was.Config, s.Config) &&
		sameNodes(was.Children, s.Children) && was.Transport.identity() == s.Transport.identity())
	b.tcpServices.nodes[at] = s
	return s
}

// tcpServiceReference resolves the name of a TCP service on behalf of n; nil when it does not exist.
func (b *builder) tcpServiceReference(n *Node, ref string, field ...string) *TCPService {
	if ref == "" {
		n.report(diag.Error, CodeNoService, "no service is named", "", field...)
		return nil
	}
	name := Resolve(ref, n.Name.Provider)
	at, exists := b.tcpServices.find(name)
	switch {
	case !exists:
		message, hint := missing(b, n, "service", name, &b.tcpServices)
		n.report(diag.Error, CodeMissing, message, hint, field...)
		return nil
	case b.circular(n, vertex{b.tcpServices.kind, name}, field...):
		return nil
	}
	s := b.tcpService(at)
	if s.Status == Disabled {
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the service %q is disabled: %s", name, firstReason(&s.Node)), "", field...)
	}
	return s
}

func (b *builder) tcpLoadBalancer(s *TCPService, lb *dynamic.TCPLoadBalancer) {
	name := DefaultTransport
	if lb.ServersTransport != "" {
		name = Resolve(lb.ServersTransport, s.Name.Provider)
	}
	s.Transport = b.plan.TCP.Transports.Get(name)
	switch {
	case s.Transport == nil && name != DefaultTransport:
		message, hint := missing(b, &s.Node, "serversTransport", name, &b.tcpTransports)
		s.report(diag.Error, CodeMissing, message, hint, "loadBalancer", "serversTransport")
	case s.Transport != nil && s.Transport.Status == Disabled:
		s.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the serversTransport %q is disabled: %s", name,
			firstReason(&s.Transport.Node)), "", "loadBalancer", "serversTransport")
	}
	if p := lb.ProxyProtocol; p != nil && p.Version != 1 && p.Version != 2 {
		s.report(diag.Error, CodeBadValue, fmt.Sprintf("unknown proxyProtocol version: %d", p.Version), "use 1 or 2", "loadBalancer", "proxyProtocol", "version")
	}
	if len(lb.Servers) == 0 && !s.Held() {
		s.report(diag.Warning, CodeNoServers, "the service has no servers: every connection is closed", strings.Join(lb.Absent, "; "), "loadBalancer")
	}
	for i, server := range lb.Servers {
		if message, hint := CheckServerAddress(server.Address); message != "" {
			s.remark(diag.Error, CodeBadAddress, message, hint, "loadBalancer", "servers", strconv.Itoa(i), "address")
		}
	}
}

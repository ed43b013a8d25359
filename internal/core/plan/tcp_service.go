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
	for _, name := range b.tcpTransports.names() {
		e := b.tcpTransports[name]
		t := &TCPTransport{Node: e.Node, Config: e.config}
		if e.config.TLS != nil && e.config.TLS.Spiffe != nil {
			t.report(diag.Error, CodeNotSupported, "SPIFFE identities are not supported yet", "", "tls", "spiffe")
		}
		if p := e.config.ProxyProtocol; p != nil && p.Version != 1 && p.Version != 2 {
			t.report(diag.Error, CodeBadValue, fmt.Sprintf("unknown proxyProtocol version: %d", p.Version), "use 1 or 2", "proxyProtocol", "version")
		}
		was := b.previous.TCP.Transports[name]
		if was == nil {
			t.Identity = b.identify(nil, false)
		} else {
			t.Identity = b.identify(was.Identity, was.Status == t.Status && sameConfig(was.Config, t.Config))
		}
		b.plan.TCP.Transports[name] = t
	}
}

func (b *builder) buildTCPMiddlewares() {
	for _, name := range b.tcpMiddlewares.names() {
		e := b.tcpMiddlewares[name]
		m := &TCPMiddleware{Node: e.Node, Config: e.config}
		switch kinds := e.config.Kinds(); {
		case len(kinds) == 1:
			m.Type = kinds[0]
		case len(kinds) > 1:
			m.report(diag.Error, CodeSeveralKinds, "several TCP middleware types are set", "give each its own name")
		case m.Status != Disabled:
			m.report(diag.Error, CodeNoKind, "no TCP middleware type is set", "")
		}
		was := b.previous.TCP.Middlewares[name]
		if was == nil {
			m.Identity = b.identify(nil, false)
		} else {
			m.Identity = b.identify(was.Identity, was.Status == m.Status && sameConfig(was.Config, m.Config))
		}
		b.plan.TCP.Middlewares[name] = m
	}
}

// tcpService returns the node of name, built on first use; nil when it does not exist.
func (b *builder) tcpService(name Name, path []Name) *TCPService {
	if s, ok := b.plan.TCP.Services[name]; ok {
		return s
	}
	e, ok := b.tcpServices[name]
	if !ok {
		return nil
	}
	s := &TCPService{Node: e.Node, Config: e.config}
	switch kinds := e.config.Kinds(); {
	case len(kinds) == 1:
		s.Type = kinds[0]
	case len(kinds) > 1:
		s.report(diag.Error, CodeSeveralKinds, "cannot create service: multi-types service not supported", "use loadBalancer or weighted, not both")
	case s.Status != Disabled:
		s.report(diag.Error, CodeNoKind, fmt.Sprintf("the service %q does not have any type defined", name), "give it a loadBalancer with servers")
	}
	switch s.Type {
	case "loadBalancer":
		b.tcpLoadBalancer(s, e.config.LoadBalancer)
	case "weighted":
		for i, c := range e.config.Weighted.Services {
			s.Children = append(s.Children, b.tcpServiceReference(&s.Node, c.Name, append(path, name), "weighted", "services", strconv.Itoa(i), "name"))
		}
	}
	was := b.previous.TCP.Services[name]
	if was == nil {
		s.Identity = b.identify(nil, false)
	} else {
		s.Identity = b.identify(was.Identity, was.Status == s.Status && sameConfig(was.Config, s.Config) &&
			sameNodes(was.Children, s.Children) && was.Transport.identity() == s.Transport.identity())
	}
	b.plan.TCP.Services[name] = s
	return s
}

// tcpServiceReference resolves the name of a TCP service on behalf of n; nil when it does not exist.
func (b *builder) tcpServiceReference(n *Node, ref string, path []Name, field ...string) *TCPService {
	if ref == "" {
		n.report(diag.Error, CodeNoService, "no service is named", "", field...)
		return nil
	}
	name := Resolve(ref, n.Name.Provider)
	if i := indexOf(path, name); i >= 0 {
		n.report(diag.Error, CodeCycle, fmt.Sprintf("the service %q refers to itself: %s", name, cycle(path[i:], name)), "", field...)
		return nil
	}
	s := b.tcpService(name, path)
	switch {
	case s == nil:
		message, hint := missing("service", name, b.tcpServices)
		n.report(diag.Error, CodeMissing, message, hint, field...)
	case s.Status == Disabled:
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the service %q is disabled: %s", name, firstReason(&s.Node)), "", field...)
	}
	return s
}

func (b *builder) tcpLoadBalancer(s *TCPService, lb *dynamic.TCPLoadBalancer) {
	name := DefaultTransport
	if lb.ServersTransport != "" {
		name = Resolve(lb.ServersTransport, s.Name.Provider)
	}
	s.Transport = b.plan.TCP.Transports[name]
	switch {
	case s.Transport == nil && name != DefaultTransport:
		message, hint := missing("serversTransport", name, b.tcpTransports)
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

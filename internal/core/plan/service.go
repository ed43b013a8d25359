package plan

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Service is an HTTP service with its references resolved.
type Service struct {
	Node
	Config *dynamic.Service
	// Type is the kind in file spelling, such as loadBalancer; empty when there is not exactly one.
	Type string
	// Children are the services below this one, in the order of the configuration (mirroring: the main one first;
	// failover: main, fallback). A child that is missing is nil.
	Children []*Service
	// Middlewares stand before the service.
	Middlewares []*Middleware
	// Transport says how to connect to servers; nil for the one called default@internal when nobody defines it.
	Transport *Transport
	// Identity changes with the content and that of everything below.
	Identity *Identity

	inward []inward
}

func (s *Service) identity() *Identity {
	if s == nil {
		return nil
	}
	return s.Identity
}

// Transport is a named way to connect to HTTP servers.
type Transport struct {
	Node
	Config *dynamic.ServersTransport
	// Identity changes with the content.
	Identity *Identity
}

func (t *Transport) identity() *Identity {
	if t == nil {
		return nil
	}
	return t.Identity
}

// TypeInternal is the type of a service that Sluice answers itself.
const TypeInternal = "internal"

// DefaultTransport is the name of the transport of services that name none.
var DefaultTransport = Name{dynamic.DefaultName, Internal}

func (b *builder) buildTransports() {
	for _, at := range b.transports.todo {
		e := b.transports.entries[at]
		t := &Transport{Node: e.start(), Config: e.config}
		if e.config.Spiffe != nil {
			t.report(diag.Error, CodeNotSupported, "SPIFFE identities are not supported yet", "", "spiffe")
		}
		was := b.previous.HTTP.Transports.Get(e.Name)
		t.Identity = identify(b, was, was != nil && was.Status == t.Status && sameConfig(was.Config, t.Config))
		b.transports.nodes[at] = t
	}
	b.plan.HTTP.Transports = b.transports.nodes
	replace(b, b.transports.gone)
}

// serviceRefs returns the names of the services below one.
func serviceRefs(c *dynamic.Service) (out []string) {
	children := func(list []*dynamic.WeightedChild) {
		for _, c := range list {
			out = append(out, c.Name)
		}
	}
	if c.Weighted != nil {
		children(c.Weighted.Services)
	}
	if c.HighestRandomWeight != nil {
		children(c.HighestRandomWeight.Services)
	}
	if c.Mirroring != nil {
		out = append(out, c.Mirroring.Service)
		for _, m := range c.Mirroring.Mirrors {
			out = append(out, m.Name)
		}
	}
	if c.Failover != nil {
		out = append(out, c.Failover.Service, c.Failover.Fallback)
	}
	return out
}

func (b *builder) staleService(s *Service) bool {
	return s.unsettled || lost(&b.replaced, s.Transport) || lost(&b.replaced, s.Children...) || lost(&b.replaced, s.Middlewares...)
}

// service returns the node at a place, built on first use.
func (b *builder) service(at int) *Service {
	if s := b.services.nodes[at]; s != nil {
		return s
	}
	e := b.services.entries[at]
	s := &Service{Node: e.start(), Config: e.config}
	kinds := e.config.Kinds()
	switch {
	case isInternalService(e.Name):
		s.Type = TypeInternal
	case len(kinds) == 1:
		s.Type = kinds[0]
	case len(kinds) == 0:
		if s.Status != Disabled {
			s.report(diag.Error, CodeNoKind, fmt.Sprintf("the service %q does not have any type defined", e.Name),
				"give it a loadBalancer with servers")
		}
	default:
		s.report(diag.Error, CodeSeveralKinds, "cannot create service: multi-types service not supported: "+strings.Join(kinds, ", "),
			"consider declaring two different pieces of service instead")
	}
	switch s.Type {
	case "loadBalancer":
		b.loadBalancer(s, e.config.LoadBalancer)
		s.inward = b.inwards(s)
	case "weighted":
		b.weighted(s, e.config.Weighted.Services)
	case "highestRandomWeight":
		b.weighted(s, e.config.HighestRandomWeight.Services)
	case "mirroring":
		m := e.config.Mirroring
		s.Children = append(s.Children, b.serviceReference(&s.Node, m.Service, "mirroring", "service"))
		for i, mirror := range m.Mirrors {
			path := []string{"mirroring", "mirrors", strconv.Itoa(i)}
			if mirror.Percent < 0 || mirror.Percent > 100 {
				s.report(diag.Error, CodeBadValue, fmt.Sprintf("percent must be between 0 and 100, got %d", mirror.Percent), "", append(path, "percent")...)
			}
			s.Children = append(s.Children, b.serviceReference(&s.Node, mirror.Name, append(path, "name")...))
		}
	case "failover":
		f := e.config.Failover
		s.Children = append(s.Children, b.serviceReference(&s.Node, f.Service, "failover", "service"),
			b.serviceReference(&s.Node, f.Fallback, "failover", "fallback"))
	}
	b.checkHealth(s)
	s.Middlewares = b.references(&s.Node, e.config.Middlewares, "middlewares")
	was := b.previous.HTTP.Services.Get(e.Name)
	s.Identity = identify(b, was, was != nil && was.Status == s.Status && sameConfig(was.Config, s.Config) &&
		sameNodes(was.Children, s.Children) && sameNodes(was.Middlewares, s.Middlewares) && was.Transport.identity() == s.Transport.identity())
	b.services.nodes[at] = s
	return s
}

// serviceReference resolves the name of a service on behalf of n; nil when it does not exist.
func (b *builder) serviceReference(n *Node, ref string, field ...string) *Service {
	if ref == "" {
		n.report(diag.Error, CodeNoService, "no service is named", "", field...)
		return nil
	}
	name := Resolve(ref, n.Name.Provider)
	at, exists := b.services.find(name)
	switch {
	case !exists:
		message, hint := missing(b, n, "service", name, &b.services)
		n.report(diag.Error, CodeMissing, message, hint, field...)
		return nil
	case b.circular(n, vertex{b.services.kind, name}, field...):
		return nil
	}
	s := b.service(at)
	if s.Status == Disabled {
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the service %q is disabled: %s", name, firstReason(&s.Node)), "", field...)
	}
	return s
}

func (b *builder) weighted(s *Service, children []*dynamic.WeightedChild) {
	for i, c := range children {
		s.Children = append(s.Children, b.serviceReference(&s.Node, c.Name, s.Type, "services", strconv.Itoa(i), "name"))
	}
	if len(children) == 0 {
		s.report(diag.Warning, CodeNoServers, "the service has no services below it: every request gets 503", "", s.Type)
	}
}

func (b *builder) loadBalancer(s *Service, lb *dynamic.LoadBalancer) {
	name := DefaultTransport
	if lb.ServersTransport != "" {
		name = Resolve(lb.ServersTransport, s.Name.Provider)
	}
	s.Transport = b.plan.HTTP.Transports.Get(name)
	switch {
	case s.Transport == nil && name != DefaultTransport:
		message, hint := missing(b, &s.Node, "serversTransport", name, &b.transports)
		s.report(diag.Error, CodeMissing, message, hint, "loadBalancer", "serversTransport")
	case s.Transport != nil && s.Transport.Status == Disabled:
		s.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the serversTransport %q is disabled: %s", name,
			firstReason(&s.Transport.Node)), "", "loadBalancer", "serversTransport")
	}
	switch lb.Strategy {
	case "", dynamic.StrategyWRR, dynamic.StrategyP2C, dynamic.StrategyHRW, dynamic.StrategyLeastTime, dynamic.StrategyRoundRobin:
	default:
		s.report(diag.Error, CodeBadValue, fmt.Sprintf("unsupported load-balancer strategy %q", lb.Strategy),
			diag.DidYouMean(lb.Strategy, []string{dynamic.StrategyWRR, dynamic.StrategyP2C, dynamic.StrategyHRW, dynamic.StrategyLeastTime}),
			"loadBalancer", "strategy")
	}
	for i, server := range lb.Servers {
		if message, hint := CheckServerURL(server.URL); message != "" {
			s.remark(diag.Error, CodeBadAddress, message, hint, "loadBalancer", "servers", strconv.Itoa(i), "url")
		}
	}
}

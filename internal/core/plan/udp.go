package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// CodeUDPTaken says that a UDP entry point has a router already.
const CodeUDPTaken = "UDP-ENTRYPOINT-TAKEN"

// UDP holds the UDP elements of a plan by qualified name, and what is routed where.
type UDP struct {
	Routers  map[Name]*UDPRouter
	Services map[Name]*UDPService
	// EntryPoints are the UDP entry points, by name. Without a static side they are those that routers name.
	EntryPoints map[string]*UDPEntryPoint
}

// UDPEntryPoint is what is routed on one UDP entry point.
type UDPEntryPoint struct {
	Name string
	// Config is nil without a static side.
	Config *static.EntryPoint
	// Routers are all that listen here, by falling qualified name, those whose source is away last. The first that works gets every session.
	Routers []*UDPRouter
}

// Router returns the router that gets the sessions as far as the plan knows; nil where none works.
func (e *UDPEntryPoint) Router() *UDPRouter {
	for _, r := range e.Routers {
		if r.Status != Disabled {
			return r
		}
	}
	return nil
}

// UDPRouter is a UDP router with its references resolved.
type UDPRouter struct {
	Node
	Config *dynamic.UDPRouter
	// EntryPoints are the existing UDP entry points that it listens on. Empty: the router is absent.
	EntryPoints []string
	// Service is nil when it does not exist.
	Service *UDPService
}

// UDPService is a UDP service with its references resolved.
type UDPService struct {
	Node
	Config *dynamic.UDPService
	// Type is loadBalancer or weighted; empty when there is not exactly one.
	Type string
	// Children are the services of a weighted one, in order. A child that is missing is nil.
	Children []*UDPService
	// Identity changes with the content and that of everything below.
	Identity *Identity
}

func (s *UDPService) identity() *Identity {
	if s == nil {
		return nil
	}
	return s.Identity
}

func newUDP() UDP {
	return UDP{map[Name]*UDPRouter{}, map[Name]*UDPService{}, map[string]*UDPEntryPoint{}}
}

// udpElements are the UDP elements as providers gave them, and the entry points for them.
type udpElements struct {
	routers     elements[dynamic.UDPRouter]
	services    elements[dynamic.UDPService]
	entryPoints []string
}

func (b *builder) collectUDP() {
	udp := func(c *dynamic.Config) *dynamic.UDP {
		if c.UDP == nil {
			return &dynamic.UDP{}
		}
		return c.UDP
	}
	b.udp.routers = collect(b, "udp.routers", func(c *dynamic.Config) map[string]*dynamic.UDPRouter { return udp(c).Routers })
	b.udp.services = collect(b, "udp.services", func(c *dynamic.Config) map[string]*dynamic.UDPService { return udp(c).Services })
	if b.static != nil {
		b.udp.entryPoints = static.UDPEntryPoints(b.static.EntryPoints)
	}
}

// buildUDP builds services, routers and entry points of UDP.
func (b *builder) buildUDP() {
	for _, name := range b.udp.services.names() {
		b.udpService(name, nil)
	}
	for _, name := range b.udp.routers.names() {
		b.udpRouter(b.udp.routers[name])
	}
	b.buildUDPEntryPoints()
}

func (b *builder) udpRouter(e *entry[dynamic.UDPRouter]) {
	r := &UDPRouter{Node: e.Node, Config: e.config}
	b.plan.UDP.Routers[e.Name] = r
	r.EntryPoints = b.entryPoints(&r.Node, r.Config.EntryPoints, b.udp.entryPoints, b.udp.entryPoints)
	if len(r.Config.EntryPoints) == 0 && len(r.EntryPoints) == 0 && b.static != nil {
		r.report(diag.Error, CodeEntryPoint, "no valid entryPoint for this router", `there is none for UDP: its address ends in "/udp", as in ":53/udp"`)
	}
	if r.Config.Service == "" && r.Status != Disabled {
		r.report(diag.Error, CodeNoService, "the service is missing on the udp router", "", "service")
	} else if r.Config.Service != "" {
		r.Service = b.udpServiceReference(&r.Node, r.Config.Service, nil, "service")
	}
}

func (b *builder) buildUDPEntryPoints() {
	names := b.udp.entryPoints
	if b.static == nil {
		set := map[string]bool{}
		for _, r := range b.plan.UDP.Routers {
			for _, name := range r.EntryPoints {
				set[name] = true
			}
		}
		names = slices.Sorted(maps.Keys(set))
	}
	for _, name := range names {
		ep := &UDPEntryPoint{Name: name}
		if b.static != nil {
			ep.Config = b.static.EntryPoints[name]
		}
		b.plan.UDP.EntryPoints[name] = ep
	}
	for _, r := range b.plan.UDP.Routers {
		for _, name := range r.EntryPoints {
			ep := b.plan.UDP.EntryPoints[name]
			ep.Routers = append(ep.Routers, r)
		}
	}
	for _, ep := range b.plan.UDP.EntryPoints {
		slices.SortFunc(ep.Routers, func(a, b *UDPRouter) int {
			if a.Held() != b.Held() {
				if a.Held() {
					return 1
				}
				return -1
			}
			return strings.Compare(b.Name.String(), a.Name.String())
		})
	}
}

// udpService returns the node of name, built on first use; nil when it does not exist.
func (b *builder) udpService(name Name, path []Name) *UDPService {
	if s, ok := b.plan.UDP.Services[name]; ok {
		return s
	}
	e, ok := b.udp.services[name]
	if !ok {
		return nil
	}
	s := &UDPService{Node: e.Node, Config: e.config}
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
		b.udpLoadBalancer(s, e.config.LoadBalancer)
	case "weighted":
		for i, c := range e.config.Weighted.Services {
			s.Children = append(s.Children, b.udpServiceReference(&s.Node, c.Name, append(path, name), "weighted", "services", strconv.Itoa(i), "name"))
		}
		if len(s.Children) == 0 {
			s.report(diag.Warning, CodeNoServers, "the service has no services below it: every datagram is dropped", "", "weighted")
		}
	}
	if was := b.previous.UDP.Services[name]; was == nil {
		s.Identity = b.identify(nil, false)
	} else {
		s.Identity = b.identify(was.Identity, was.Status == s.Status && sameConfig(was.Config, s.Config) && sameNodes(was.Children, s.Children))
	}
	b.plan.UDP.Services[name] = s
	return s
}

func (b *builder) udpLoadBalancer(s *UDPService, lb *dynamic.UDPLoadBalancer) {
	if len(lb.Servers) == 0 && !s.Held() {
		s.report(diag.Warning, CodeNoServers, "the service has no servers: every datagram is dropped", strings.Join(lb.Absent, "; "), "loadBalancer")
	}
	for i, server := range lb.Servers {
		if message, hint := CheckServerAddress(server.Address); message != "" {
			s.remark(diag.Error, CodeBadAddress, message, hint, "loadBalancer", "servers", strconv.Itoa(i), "address")
		}
	}
}

// udpServiceReference resolves the name of a UDP service on behalf of n; nil when it does not exist.
func (b *builder) udpServiceReference(n *Node, ref string, path []Name, field ...string) *UDPService {
	if ref == "" {
		n.report(diag.Error, CodeNoService, "no service is named", "", field...)
		return nil
	}
	name := Resolve(ref, n.Name.Provider)
	if i := indexOf(path, name); i >= 0 {
		n.report(diag.Error, CodeCycle, fmt.Sprintf("the service %q refers to itself: %s", name, cycle(path[i:], name)), "", field...)
		return nil
	}
	s := b.udpService(name, path)
	switch {
	case s == nil:
		message, hint := missing("service", name, b.udp.services)
		n.report(diag.Error, CodeMissing, message, hint, field...)
	case s.Status == Disabled:
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the service %q is disabled: %s", name, firstReason(&s.Node)), "", field...)
	}
	return s
}

// lintUDP reports routers that get no session on an entry point, since another one has it.
func (b *builder) lintUDP() {
	for _, name := range slices.Sorted(maps.Keys(b.plan.UDP.EntryPoints)) {
		ep := b.plan.UDP.EntryPoints[name]
		winner := ep.Router()
		for _, r := range ep.Routers {
			if r != winner && r.Status != Disabled {
				r.lint(diag.Warning, CodeUDPTaken, fmt.Sprintf("gets no session on entry point %s: all go to the router %q, the last by name", name, winner.Name),
					"a UDP entry point has one router: give this one an entry point of its own", "entryPoints")
			}
		}
	}
}

// unusedUDP reports services that nothing leads to.
func (b *builder) unusedUDP() {
	used := map[*UDPService]bool{}
	for _, r := range b.plan.UDP.Routers {
		used[r.Service] = true
	}
	for _, s := range b.plan.UDP.Services {
		for _, c := range s.Children {
			used[c] = true
		}
	}
	for _, s := range b.plan.UDP.Services {
		if !used[s] && s.Status != Disabled {
			s.lint(diag.Info, CodeUnusedService, "no router and no other service uses it", "remove it, or name it in a router's service")
		}
	}
}

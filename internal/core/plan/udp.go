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

// UDP holds the UDP elements of a plan, and what is routed where.
type UDP struct {
	Routers  Set[*UDPRouter]
	Services Set[*UDPService]
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

// buildUDP builds services, routers and entry points of UDP.
func (b *builder) buildUDP() {
	services := &b.udpServices
	settle(b, services, func(s *UDPService) bool { return s.unsettled || lost(&b.replaced, s.Children...) })
	b.loops = loopsOf(services, func(c *dynamic.UDPService) (refs []string) {
		if c.Weighted != nil {
			for _, c := range c.Weighted.Services {
				refs = append(refs, c.Name)
			}
		}
		return refs
	})
	for _, at := range services.todo {
		b.udpService(at)
	}
	routers := &b.udpRouters
	routers.dropIf(func(r *UDPRouter) bool { return r.unsettled || lost(&b.replaced, r.Service) })
	for _, at := range routers.todo {
		routers.nodes[at] = b.udpRouter(routers.entries[at])
	}
	b.plan.UDP = UDP{routers.nodes, services.nodes, b.base.UDP.EntryPoints}
	if b.base.UDP.EntryPoints == nil || len(routers.todo) > 0 || len(routers.gone) > 0 {
		b.buildUDPEntryPoints()
	}
}

func (b *builder) udpRouter(e *entry[dynamic.UDPRouter]) *UDPRouter {
	r := &UDPRouter{Node: e.start(), Config: e.config}
	r.EntryPoints = b.entryPoints(&r.Node, r.Config.EntryPoints, b.udp, b.udp)
	if len(r.Config.EntryPoints) == 0 && len(r.EntryPoints) == 0 && b.static != nil {
		r.report(diag.Error, CodeEntryPoint, "no valid entryPoint for this router", `there is none for UDP: its address ends in "/udp", as in ":53/udp"`)
	}
	if r.Config.Service == "" && r.Status != Disabled {
		r.report(diag.Error, CodeNoService, "the service is missing on the udp router", "", "service")
	} else if r.Config.Service != "" {
		r.Service = b.udpServiceReference(&r.Node, r.Config.Service, "service")
	}
	return r
}

func (b *builder) buildUDPEntryPoints() {
	names := b.udp
	if b.static == nil {
		set := map[string]bool{}
		for _, r := range b.plan.UDP.Routers {
			for _, name := range r.EntryPoints {
				set[name] = true
			}
		}
		names = slices.Sorted(maps.Keys(set))
	}
	b.plan.UDP.EntryPoints = map[string]*UDPEntryPoint{}
	for _, name := range names {
		b.plan.UDP.EntryPoints[name] = &UDPEntryPoint{Name: name, Config: b.config(name)}
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

// udpService returns the node at a place, built on first use.
func (b *builder) udpService(at int) *UDPService {
	if s := b.udpServices.nodes[at]; s != nil {
		return s
	}
	e := b.udpServices.entries[at]
	s := &UDPService{Node: e.start(), Config: e.config}
	s.Type = s.onlyKind(e.config.Kinds())
	switch s.Type {
	case "loadBalancer":
		b.udpLoadBalancer(s, e.config.LoadBalancer)
	case "weighted":
		for i, c := range e.config.Weighted.Services {
			s.Children = append(s.Children, b.udpServiceReference(&s.Node, c.Name, "weighted", "services", strconv.Itoa(i), "name"))
		}
		if len(s.Children) == 0 {
			s.report(diag.Warning, CodeNoServers, "the service has no services below it: every datagram is dropped", "", "weighted")
		}
	}
	was := b.previous.UDP.Services.Get(e.Name)
	s.Identity = identify(b, was, was != nil && was.Status == s.Status && sameConfig(was.Config, s.Config) && sameNodes(was.Children, s.Children))
	b.udpServices.nodes[at] = s
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
func (b *builder) udpServiceReference(n *Node, ref string, field ...string) *UDPService {
	if ref == "" {
		n.report(diag.Error, CodeNoService, "no service is named", "", field...)
		return nil
	}
	name := Resolve(ref, n.Name.Provider)
	at, exists := b.udpServices.find(name)
	switch {
	case !exists:
		message, hint := missing(b, n, "service", name, &b.udpServices)
		n.report(diag.Error, CodeMissing, message, hint, field...)
		return nil
	case b.circular(n, vertex{b.udpServices.kind, name}, field...):
		return nil
	}
	s := b.udpService(at)
	if s.Status == Disabled {
		n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the service %q is disabled: %s", name, firstReason(&s.Node)), "", field...)
	}
	return s
}

// noteUDP reports routers that get no session on an entry point, since another one has it.
func (b *builder) noteUDP() {
	for _, name := range slices.Sorted(maps.Keys(b.plan.UDP.EntryPoints)) {
		ep := b.plan.UDP.EntryPoints[name]
		winner := ep.Router()
		for _, r := range ep.Routers {
			if r != winner && r.Status != Disabled {
				b.note(&r.Node, diag.Warning, CodeUDPTaken, fmt.Sprintf("gets no session on entry point %s: all go to the router %q, the last by name", name, winner.Name),
					"a UDP entry point has one router: give this one an entry point of its own", "entryPoints")
			}
		}
	}
}

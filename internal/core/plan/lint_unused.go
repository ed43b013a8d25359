package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// findUnused brings the set of services and middlewares that nothing refers to up to date. It asks only about those that
// are new, were unused before, or have lost somebody who referred to them.
func (b *builder) findUnused() {
	unused := maps.Clone(b.base.unused)
	if unused == nil {
		unused = map[*Node]bool{}
	}
	for n := range unused {
		if b.replaced.has(n) {
			delete(unused, n)
		}
	}
	ask := func(n *Node) {
		if !b.replaced.has(n) {
			unused[n] = true
		}
	}
	eachReference(members(b.routers.gone), b.services.gone, b.middlewares.gone, b.tcpRouters.gone, b.tcpServices.gone, b.udpRouters.gone, b.udpServices.gone, ask)
	for _, s := range b.services.fresh() {
		ask(&s.Node)
	}
	for _, m := range b.middlewares.fresh() {
		ask(&m.Node)
	}
	for _, s := range b.tcpServices.fresh() {
		ask(&s.Node)
	}
	for _, s := range b.udpServices.fresh() {
		ask(&s.Node)
	}
	for _, model := range b.models {
		for _, ref := range model.middlewares {
			if m := b.plan.HTTP.Middlewares.Get(Resolve(ref, "")); m != nil {
				delete(unused, &m.Node)
			}
		}
	}
	found := func(n *Node) {
		if len(unused) > 0 {
			delete(unused, n)
		}
	}
	// What is new refers to what is new, most of the time.
	eachReference(members(b.routers.fresh()), b.services.fresh(), b.middlewares.fresh(), b.tcpRouters.fresh(), b.tcpServices.fresh(), b.udpRouters.fresh(), b.udpServices.fresh(), found)
	if len(unused) > 0 {
		p := b.plan
		eachReference(p.HTTP.Routers, p.HTTP.Services, p.HTTP.Middlewares, p.TCP.Routers, p.TCP.Services, p.UDP.Routers, p.UDP.Services, found)
	}
	b.plan.unused = unused
}

// eachReference calls f for all services and middlewares that the elements refer to.
func eachReference(routers []*Router, services []*Service, middlewares []*Middleware, tcpRouters []*TCPRouter, tcpServices []*TCPService,
	udpRouters []*UDPRouter, udpServices []*UDPService, f func(*Node)) {
	service := func(s *Service) {
		if s != nil {
			f(&s.Node)
		}
	}
	chain := func(list []*Middleware) {
		for _, m := range list {
			f(&m.Node)
		}
	}
	for _, r := range routers {
		service(r.Service)
		chain(r.Middlewares)
	}
	for _, s := range services {
		for _, c := range s.Children {
			service(c)
		}
		chain(s.Middlewares)
	}
	for _, m := range middlewares {
		service(m.Service)
		chain(m.Chain)
	}
	for _, r := range tcpRouters {
		if r.Service != nil {
			f(&r.Service.Node)
		}
	}
	for _, s := range tcpServices {
		for _, c := range s.Children {
			if c != nil {
				f(&c.Node)
			}
		}
	}
	for _, r := range udpRouters {
		if r.Service != nil {
			f(&r.Service.Node)
		}
	}
	for _, s := range udpServices {
		for _, c := range s.Children {
			if c != nil {
				f(&c.Node)
			}
		}
	}
}

// seesEverything reports whether all configured providers have spoken, so that "nobody uses it" can be said.
func (b *builder) seesEverything(snapshots []dynamic.Snapshot) bool {
	return !slices.ContainsFunc(b.providers, func(name string) bool {
		return !slices.ContainsFunc(snapshots, func(s dynamic.Snapshot) bool { return strings.EqualFold(s.Provider, name) })
	})
}

// without returns whether a service has nobody that answers: no servers, or no services below it.
func (s *Service) without() bool {
	switch s.Type {
	case "loadBalancer":
		return len(s.Config.LoadBalancer.Servers) == 0
	case "weighted", "highestRandomWeight":
		return len(s.Children) == 0
	}
	return false
}

// noteServices reports load balancers without servers, and services and middlewares that nothing leads to. When a service
// that is used has no servers and another one of the same provider has some and nobody uses it, the two names were probably
// meant to be one: the finding says so, and spare services of that provider are not named a second time.
func (b *builder) noteServices() {
	b.findUnused()
	b.plan.empty = edited(b.base.empty, chosen(b.services.gone, (*Service).without), chosen(b.services.fresh(), (*Service).without), compareElements)
	explained := map[string]bool{}
	for _, s := range b.plan.empty {
		if s.Type != "loadBalancer" {
			explained[s.Name.Provider] = true
			continue
		}
		if b.plan.unused[&s.Node] || s.Status == Disabled || s.Held() {
			continue
		}
		explained[s.Name.Provider] = true
		message, hint := "the service has no servers: every request gets 503", strings.Join(s.Config.LoadBalancer.Absent, "; ")
		if spare := b.spare(s.Name.Provider); spare != "" {
			message = fmt.Sprintf("the service %q has no servers, while %q has some and nobody uses it", s.Name.Local, spare)
			hint = fmt.Sprintf("did you mean http.services.%s.loadBalancer.servers?", s.Name.Local)
		}
		b.warn(&s.Node, CodeNoServers, message, hint, "loadBalancer")
	}
	if !b.seen {
		return
	}
	for n := range b.plan.unused {
		switch {
		case n.Status == Disabled || n.Name.Provider == Internal:
		case n.Kind == b.middlewares.kind:
			b.note(n, diag.Info, CodeUnusedMiddleware, "nothing uses it", "remove it, or name it in a router's middlewares")
		case n.Kind != b.services.kind || !explained[n.Name.Provider]:
			b.note(n, diag.Info, CodeUnusedService, "no router and no other service uses it", "remove it, or name it in a router's service")
		}
	}
}

// spare returns the first service of a provider that has servers and that nobody uses; empty where there is none.
func (b *builder) spare(provider string) (first string) {
	for n := range b.plan.unused {
		if n.Kind != b.services.kind || n.Name.Provider != provider || first != "" && n.Name.Local >= first {
			continue
		}
		if s := b.plan.HTTP.Services.Get(n.Name); s.Type == "loadBalancer" && !s.without() {
			first = n.Name.Local
		}
	}
	return first
}

// chosen returns the elements of a list for which is holds.
func chosen[E any](list []E, is func(E) bool) (out []E) {
	for _, e := range list {
		if is(e) {
			out = append(out, e)
		}
	}
	return out
}

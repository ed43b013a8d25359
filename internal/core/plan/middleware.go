package plan

import (
	"fmt"
	"regexp"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Middleware is an HTTP middleware with its references resolved.
type Middleware struct {
	Node
	Config *dynamic.Middleware
	// Type is the kind in file spelling, such as stripPrefix; empty when there is not exactly one.
	Type string
	// Chain holds the members of a chain.
	Chain []*Middleware
	// Service is the service that an errors middleware asks for pages; nil for others.
	Service *Service
	// moves is the expression of a redirectRegex; nil where it is no good, or too long to be tried out.
	moves *regexp.Regexp
	// Identity changes with the content.
	Identity *Identity
}

func (m *Middleware) identity() *Identity {
	if m == nil {
		return nil
	}
	return m.Identity
}

// buildServices builds middlewares and services, which may refer to each other: the one for error pages asks a service, and
// middlewares may stand before a service.
func (b *builder) buildServices() {
	replace(b, b.middlewares.gone)
	replace(b, b.services.gone)
	for again := true; again; {
		m, s := len(b.middlewares.gone), len(b.services.gone)
		again = b.middlewares.dropIf(b.staleMiddleware)
		replace(b, b.middlewares.gone[m:])
		again = b.services.dropIf(b.staleService) || again
		replace(b, b.services.gone[s:])
	}
	var from []vertex
	for _, at := range b.middlewares.todo {
		from = append(from, vertex{b.middlewares.kind, b.middlewares.entries[at].Name})
	}
	for _, at := range b.services.todo {
		if e := b.services.entries[at]; len(e.config.Middlewares) > 0 || len(serviceRefs(e.config)) > 0 {
			from = append(from, vertex{b.services.kind, e.Name})
		}
	}
	b.rings = findLoops(from, b.refersTo)
	b.loops = loops{}
	if len(b.rings.number) > 0 {
		b.loops = findLoops(from, b.needs)
		b.closeRings()
	}
	for _, at := range b.middlewares.todo {
		b.middleware(at)
	}
	for _, at := range b.services.todo {
		b.service(at)
	}
	b.plan.HTTP.Middlewares, b.plan.HTTP.Services = b.middlewares.nodes, b.services.nodes
}

// refersTo returns the middlewares and services that one of them names.
func (b *builder) refersTo(v vertex) []vertex {
	out := b.needs(v)
	if at, ok := b.middlewares.find(v.name); ok && v.kind == b.middlewares.kind {
		if c := b.middlewares.entries[at].config.Errors; c != nil && c.Service != "" {
			out = append(out, vertex{b.services.kind, Resolve(c.Service, v.name.Provider)})
		}
	}
	return out
}

// needs is refersTo without the services that are asked for error pages: such a service may be the one that the middleware
// stands before, and is asked without its middlewares then.
func (b *builder) needs(v vertex) (out []vertex) {
	add := func(kind string, refs []string) {
		for _, ref := range refs {
			if ref != "" {
				out = append(out, vertex{kind, Resolve(ref, v.name.Provider)})
			}
		}
	}
	if v.kind == b.middlewares.kind {
		if at, ok := b.middlewares.find(v.name); ok && b.middlewares.entries[at].config.Chain != nil {
			add(v.kind, b.middlewares.entries[at].config.Chain.Middlewares)
		}
	} else if at, ok := b.services.find(v.name); ok {
		c := b.services.entries[at].config
		add(v.kind, serviceRefs(c))
		add(b.middlewares.kind, c.Middlewares)
	}
	return out
}

// page is a middleware for error pages whose service, at a place, is built after it.
type page struct {
	m       *Middleware
	service int
}

// closeRings builds the middlewares and services that lead back to themselves by way of error pages. What each of them is
// depends on all, so that all of a ring get new identities if one of them does.
func (b *builder) closeRings() {
	rings := map[int][]vertex{}
	for v, n := range b.rings.number {
		rings[n] = append(rings[n], v)
	}
	for _, ring := range rings {
		for _, v := range ring {
			b.member(v)
		}
		for _, p := range b.pages {
			p.m.Service = b.services.nodes[p.service]
		}
		b.pages = nil
		changed := false
		for _, v := range ring {
			was, now := b.member(v)
			changed = changed || was == nil || was != *now
		}
		for _, v := range ring {
			if _, now := b.member(v); changed {
				*now = b.newIdentity()
			}
		}
	}
}

// member builds an element of a ring on first use, and returns its identities of before and now.
func (b *builder) member(v vertex) (was *Identity, now **Identity) {
	if v.kind == b.middlewares.kind {
		at, _ := b.middlewares.find(v.name)
		m := b.middleware(at)
		m.unsettled = true
		return b.previous.HTTP.Middlewares.Get(v.name).identity(), &m.Identity
	}
	at, _ := b.services.find(v.name)
	s := b.service(at)
	s.unsettled = true
	return b.previous.HTTP.Services.Get(v.name).identity(), &s.Identity
}

func (b *builder) staleMiddleware(m *Middleware) bool {
	return m.unsettled || lost(&b.replaced, m.Chain...) || lost(&b.replaced, m.Service)
}

// middleware returns the node at a place, built on first use.
func (b *builder) middleware(at int) *Middleware {
	if m := b.middlewares.nodes[at]; m != nil {
		return m
	}
	e := b.middlewares.entries[at]
	m := &Middleware{Node: e.start(), Config: e.config}
	kinds := e.config.Kinds()
	switch len(kinds) {
	case 1:
		m.Type = kinds[0]
	case 0:
		if m.Status != Disabled {
			m.report(diag.Error, CodeNoKind, "no middleware type is set", "")
		}
	default:
		m.report(diag.Error, CodeSeveralKinds, "cannot create middleware: multi-types in use: "+strings.Join(kinds, ", "),
			"give each its own name and put them into a chain")
	}
	if c := e.config.Chain; c != nil && m.Type == "chain" {
		m.Chain = b.references(&m.Node, c.Middlewares, "chain.middlewares")
	}
	if c := e.config.RedirectRegex; c != nil && m.Type == "redirectRegex" && len(c.Regex) <= maxRedirectRegex {
		m.moves, _ = regexp.Compile(c.Regex) // whoever builds it says what is wrong
	}
	inRing := false
	if c := e.config.Errors; c != nil && m.Type == "errors" {
		asked := vertex{b.services.kind, Resolve(c.Service, m.Name.Provider)}
		if inRing = b.rings.leadsBack(vertex{m.Kind, m.Name}, asked); inRing {
			service, _ := b.services.find(asked.name)
			b.pages = append(b.pages, page{m, service})
		} else {
			m.Service = b.serviceReference(&m.Node, c.Service, "errors", "service")
		}
	}
	was := b.previous.HTTP.Middlewares.Get(e.Name)
	m.Identity = identify(b, was, was != nil && was.Status == m.Status && sameConfig(was.Config, m.Config) &&
		sameNodes(was.Chain, m.Chain) && (inRing || was.Service.identity() == m.Service.identity()))
	b.middlewares.nodes[at] = m
	return m
}

// references resolves a list of middleware names on behalf of n. What is missing, broken or circular disables n.
func (b *builder) references(n *Node, refs []string, field string) []*Middleware {
	var out []*Middleware
	path := strings.Split(field, ".")
	for _, ref := range refs {
		name := Resolve(ref, n.Name.Provider)
		at, exists := b.middlewares.find(name)
		switch {
		case ref == "":
			n.report(diag.Error, CodeMissing, "the list has an empty entry", "remove the extra comma", path...)
			continue
		case !exists:
			message, hint := missing(b, n, "middleware", name, &b.middlewares)
			n.report(diag.Error, CodeMissing, message, hint, path...)
			continue
		case b.circular(n, vertex{b.middlewares.kind, name}, path...):
			continue
		}
		m := b.middleware(at)
		if m.Status == Disabled {
			n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the middleware %q is disabled: %s", name, firstReason(&m.Node)), "", path...)
		}
		out = append(out, m)
	}
	return out
}

// circular reports a reference that leads back to n.
func (b *builder) circular(n *Node, to vertex, field ...string) bool {
	from := vertex{n.Kind, n.Name}
	if !b.loops.leadsBack(from, to) {
		return false
	}
	n.unsettled = true
	n.report(diag.Error, CodeCycle, b.loops.way(from, to), "", field...)
	return true
}

package plan

import (
	"fmt"
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
	// Identity changes with the content.
	Identity *Identity
}

func (m *Middleware) identity() *Identity {
	if m == nil {
		return nil
	}
	return m.Identity
}

// middleware returns the node of name, built on first use; nil when it does not exist. path holds the chains that are
// being built, to find cycles.
func (b *builder) middleware(name Name, path []Name) *Middleware {
	if m, ok := b.plan.HTTP.Middlewares[name]; ok {
		return m
	}
	e, ok := b.middlewares[name]
	if !ok {
		return nil
	}
	m := &Middleware{Node: e.Node, Config: e.config}
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
		m.Chain = b.references(&m.Node, c.Middlewares, append(path, name), "chain.middlewares")
	}
	// Registered before the service is resolved: an errors middleware may stand on the service that it asks.
	b.plan.HTTP.Middlewares[name] = m
	if c := e.config.Errors; c != nil && m.Type == "errors" {
		m.Service = b.serviceReference(&m.Node, c.Service, nil, "errors", "service")
	}
	was := b.previous.HTTP.Middlewares[name]
	if was == nil {
		m.Identity = b.identify(nil, false)
	} else {
		m.Identity = b.identify(was.Identity, was.Status == m.Status && sameConfig(was.Config, m.Config) &&
			sameNodes(was.Chain, m.Chain) && was.Service.identity() == m.Service.identity())
	}
	return m
}

// references resolves a list of middleware names on behalf of n. What is missing, broken or circular disables n.
func (b *builder) references(n *Node, refs []string, path []Name, field string) []*Middleware {
	var out []*Middleware
	at := strings.Split(field, ".")
	for _, ref := range refs {
		name := Resolve(ref, n.Name.Provider)
		if i := indexOf(path, name); i >= 0 {
			n.report(diag.Error, CodeCycle, fmt.Sprintf("the middleware %q refers to itself: %s", name, cycle(path[i:], name)), "", at...)
			continue
		}
		m := b.middleware(name, path)
		switch {
		case ref == "":
			n.report(diag.Error, CodeMissing, "the list has an empty entry", "remove the extra comma", at...)
		case m == nil:
			message, hint := missing("middleware", name, b.middlewares)
			n.report(diag.Error, CodeMissing, message, hint, at...)
		case m.Status == Disabled:
			n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the middleware %q is disabled: %s", name, firstReason(&m.Node)), "", at...)
			out = append(out, m)
		default:
			out = append(out, m)
		}
	}
	return out
}

// firstReason returns the first error of a disabled element.
func firstReason(n *Node) string {
	for _, f := range n.Findings {
		if f.Severity == diag.Error {
			return f.Message
		}
	}
	return "unknown reason"
}

func indexOf(path []Name, name Name) int {
	for i, p := range path {
		if p == name {
			return i
		}
	}
	return -1
}

func cycle(path []Name, back Name) string {
	var s strings.Builder
	for _, p := range path {
		s.WriteString(p.String() + " -> ")
	}
	return s.String() + back.String()
}

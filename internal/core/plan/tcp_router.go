package plan

import (
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/rule"
)

// TCPRouter is a TCP router with its references resolved.
type TCPRouter struct {
	Node
	Config *dynamic.TCPRouter
	// EntryPoints are the existing entry points that it listens on. Empty: the router is absent.
	EntryPoints []string
	// Rule is nil when it cannot be read: the router is absent then.
	Rule     *rule.Rule
	Priority int
	// Middlewares decide whether a connection is accepted.
	Middlewares []*TCPMiddleware
	// Service is nil when it does not exist.
	Service *TCPService
	// Options are the TLS options for connections that we terminate; nil for others, or when they do not exist.
	Options *TLSOptions
	// Identity changes with everything that decides what the router does with a connection it has got.
	Identity *Identity

	parsed *parsed
	tie    string
}

// Routed reports whether the router takes part in routing. A disabled router that is routed closes its connections.
func (r *TCPRouter) Routed() bool { return r.Rule != nil && len(r.EntryPoints) > 0 }

// Passthrough reports whether TLS goes to the server undecrypted.
func (r *TCPRouter) Passthrough() bool { return r.Config.TLS != nil && r.Config.TLS.Passthrough }

func (r *TCPRouter) identity() *Identity {
	if r == nil {
		return nil
	}
	return r.Identity
}

func (b *builder) buildTCPRouters() {
	d := &b.tcpRouters
	d.dropIf(func(r *TCPRouter) bool {
		return r.unsettled || lost(&b.replaced, r.Service) || lost(&b.replaced, r.Middlewares...) || lost(&b.replaced, r.Options)
	})
	for _, at := range d.todo {
		d.nodes[at] = b.tcpRouter(d.entries[at])
	}
	b.plan.TCP.Routers = d.nodes
}

func (b *builder) tcpRouter(e *entry[dynamic.TCPRouter]) *TCPRouter {
	c := e.config
	r := &TCPRouter{Node: e.start(), Config: c}
	r.tie = b.tie(&r.Node)
	was := b.previous.TCP.Routers.Get(e.Name)
	if was != nil {
		r.parsed = was.parsed
	}
	r.EntryPoints = b.entryPoints(&r.Node, c.EntryPoints, b.defaults, b.tcp)
	syntax := c.RuleSyntax
	if syntax == "" {
		syntax = b.defaultSyntax
	} else {
		r.report(diag.Info, CodeDeprecated, "ruleSyntax is deprecated", "write the rule in the v3 syntax", "ruleSyntax")
	}
	r.parsed = r.parsed.of(c.Rule, rule.SyntaxOf(syntax), rule.TCP)
	r.Rule = r.parsed.rule
	r.parsed.report(&r.Node)
	r.Priority = b.priority(&r.Node, c.Priority, r.Rule)
	if c.TLS == nil && r.Rule != nil {
		needsTLS(r)
	}
	r.Middlewares = b.tcpReferences(&r.Node, c.Middlewares)
	if c.Service != "" || r.Status != Disabled {
		r.Service = b.tcpServiceReference(&r.Node, c.Service, "service")
	}
	if c.TLS != nil && !c.TLS.Passthrough {
		r.Options = b.routerOptions(&r.Node, c.TLS.Options)
	}
	if c.TLS != nil {
		b.resolver(&r.Node, c.TLS.CertResolver)
	}
	r.Identity = identify(b, was, was != nil && was.Status == r.Status && sameConfig(was.Config, c) &&
		sameNodes(was.Middlewares, r.Middlewares) && was.Service.identity() == r.Service.identity())
	return r
}

// needsTLS disables a router in the clear that asks for a server name: nothing in the clear has one.
func needsTLS(r *TCPRouter) {
	for _, h := range r.Rule.Hosts() {
		if h.Name != "*" {
			r.report(diag.Error, CodeNoTLS, fmt.Sprintf("invalid rule: HostSNI(`%s`) needs TLS", h.Name),
				"add a tls section (with passthrough = true if the server has the certificate), or use HostSNI(`*`)", "rule")
			r.Rule = nil
			return
		}
	}
}

func (b *builder) tcpReferences(n *Node, refs []string) []*TCPMiddleware {
	var out []*TCPMiddleware
	for _, ref := range refs {
		name := Resolve(strings.TrimSpace(ref), n.Name.Provider)
		m := b.plan.TCP.Middlewares.Get(name)
		switch {
		case m == nil:
			message, hint := missing(b, n, "middleware", name, &b.tcpMiddlewares)
			n.report(diag.Error, CodeMissing, message, hint, "middlewares")
			continue
		case m.Status == Disabled:
			n.report(diag.Error, CodeBrokenReference, fmt.Sprintf("the middleware %q is disabled: %s", name, firstReason(&m.Node)), "", "middlewares")
		}
		out = append(out, m)
	}
	return out
}

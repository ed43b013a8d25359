package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/route"
	"sluice/internal/core/rule"
)

// Codes of the lints: what is served as written, and probably not as meant. docs/findings.md explains each.
const (
	CodeShadowed         = "ROUTER-SHADOWED"
	CodeTie              = "PRIORITY-TIE"
	CodeUnusedService    = "UNUSED-SERVICE"
	CodeUnusedMiddleware = "UNUSED-MIDDLEWARE"
	CodeSelfLoop         = "SELF-LOOP"
	CodePlainAuth        = "PASSWORD-IN-CLEAR"
	CodeWildcardHides    = "HTTPS-HIDES-PASSTHROUGH"
	CodeTCPHidesHTTP     = "TCP-HIDES-HTTP"
	CodeRedirectLoop     = "REDIRECT-LOOP"
	CodeNoTLSSection     = "ROUTER-WITHOUT-TLS"
	CodeTLSOnPlainPort   = "TLS-ON-PLAIN-PORT"
	CodeNeverRuns        = "MIDDLEWARE-NEVER-RUNS"
	CodeNoEffectHere     = "MIDDLEWARE-WITHOUT-EFFECT"
	CodeSeesProxy        = "ALLOW-LIST-SEES-PROXY"
)

// remark finds out what follows from the elements around an element. It looks at the finished plan as a whole.
func (b *builder) remark() {
	b.noteOrder()
	b.noteServices()
	b.noteConnections()
	b.noteSelfLoops()
	b.noteRedirectLoops()
	b.noteUDP()
}

// noteConnections reports TCP routers that take what HTTP routers wait for, and the reverse.
func (b *builder) noteConnections() {
	for _, name := range b.tcpNames() {
		ep := b.plan.EntryPoints[name]
		if t := takesAll(ep); t != nil {
			if lost := b.lostTo(ep.Plain); lost != nil {
				b.note(&t.Node, diag.Warning, CodeTCPHidesHTTP, fmt.Sprintf("takes every connection in the clear on entry point %s, so that HTTP routers such as %q get none",
					name, lost.Name), "put one of them on another entry point", "rule")
			}
		}
		b.noteConflicts(ep)
		b.noteNames(ep)
	}
}

// noteNames reports TCP routers whose names HTTPS routers have too: those are asked first.
func (b *builder) noteNames(ep *EntryPoint) {
	for _, t := range ep.TLS {
		for _, host := range t.parsed.hosts {
			if _, specific, _ := ep.Conn.HTTPS.Lookup(host); !specific || host == hostless {
				continue
			}
			if c := ep.claimed(host); c != nil {
				b.warn(&t.Node, CodeNameClaimed, fmt.Sprintf("the name %s is claimed by the HTTPS router %q as well, which gets its connections on entry point %s",
					host, c.routers[0].Name, ep.Name), "remove the name from one of the two", "rule")
				continue
			}
			_, after, _ := strings.Cut(host, ".")
			covering := ep.claimed("*." + after)
			if covering == nil || !t.Passthrough() || strings.HasPrefix(host, "*.") {
				continue
			}
			if d := ep.Conn.Decide(&route.Conn{Opening: route.TLSHello, SNI: host, ALPN: []string{"h2", "http/1.1"}}, nil); d.Action == route.HTTPS {
				b.note(&t.Node, diag.Warning, CodeWildcardHides, fmt.Sprintf("never gets %s on entry point %s: the HTTPS router %q names *.%s and is asked first",
					host, ep.Name, covering.routers[0].Name, after), "name single hosts in the HTTPS router, or use another domain for the passthrough", "rule")
			}
		}
	}
}

// takesAll returns the TCP router that takes every connection in the clear; nil where there is none.
func takesAll(ep *EntryPoint) *TCPRouter {
	d := ep.Conn.Decide(&route.Conn{Opening: route.NotTLS}, nil)
	if d.Action != route.PlainTCP || ep.TCP[d.Router].Rule.Root.Op != rule.Match || !ep.TCP[d.Router].Rule.IsCatchAllSNI() {
		return nil
	}
	return ep.TCP[d.Router]
}

// lostTo returns the first router that has no entry point where HTTP in the clear is heard; nil where there is none. A
// router that names no entry points is on others as well.
func (b *builder) lostTo(routers []*Router) *Router {
	for _, r := range routers {
		names := r.Config.EntryPoints
		if len(names) == 0 {
			names = b.defaults
		}
		heard := func(name string) bool {
			ep := b.plan.EntryPoints[name]
			return ep != nil && takesAll(ep) == nil
		}
		if r.Name.Provider != Internal && !slices.ContainsFunc(names, heard) {
			return r
		}
	}
	return nil
}

// lintRouter reports what is odd about a router by itself: a tls section that does not fit the well-known port that it is
// on, and passwords in the clear.
func (b *builder) lintRouter(r *Router) {
	r.password = basicAuth(r.Middlewares, 0)
	for i := 0; r.password == nil && i < len(r.Children); i++ {
		r.password = r.Children[i].password
	}
	if r.Name.Provider == Internal || !r.Routed() {
		return
	}
	// A router that names no entry points is on all of them, and is not meant for each.
	if len(r.Config.EntryPoints) > 0 && r.Status != Disabled {
		for _, name := range r.EntryPoints {
			switch port := b.listens[name].Port; {
			case port == 443 && r.TLS == nil:
				r.lint(diag.Warning, CodeNoTLSSection, fmt.Sprintf("answers in the clear only on entry point %s, port %d: https requests get 404", name, port),
					"add a tls section; an empty one will do")
			case port == 80 && r.TLS != nil && len(r.Config.EntryPoints) == 1:
				r.lint(diag.Warning, CodeTLSOnPlainPort, fmt.Sprintf("answers on TLS only, but entry point %s has port %d: http requests get 404", name, port),
					"remove the tls section, or use the entry point of https")
			}
		}
	}
	b.lintMiddlewares(r)
	if r.TLS != nil {
		return
	}
	m := r.password
	for _, name := range r.EntryPoints {
		if m != nil && b.isOpen(name, r.Priority) {
			r.lint(diag.Warning, CodePlainAuth, fmt.Sprintf("the middleware %q has passwords sent in the clear on entry point %s", m.Name, name),
				"add a tls section, and redirect http to https", "middlewares")
			return
		}
	}
}

// isOpen reports whether requests in the clear reach routers of a priority on an entry point from elsewhere: a trusted proxy
// in front may speak TLS for us, nobody listens on a loopback address, and a redirection may come first.
func (b *builder) isOpen(entryPoint string, priority int) bool {
	c := b.config(entryPoint)
	if c == nil {
		return true
	}
	redirected, is := b.redirected[entryPoint]
	return !(c.ForwardedHeaders.Insecure || len(c.ForwardedHeaders.TrustedIPs) > 0 || c.ProxyProtocol != nil ||
		b.listens[entryPoint].IsLoopback() || is && redirected > priority)
}

func basicAuth(list []*Middleware, depth int) *Middleware {
	if depth > 20 {
		return nil
	}
	for _, m := range list {
		if m.Type == "basicAuth" {
			return m
		}
		if found := basicAuth(m.Chain, depth+1); found != nil {
			return found
		}
	}
	return nil
}

// loopingRedirections reports entry points that redirect to each other.
func (b *builder) loopingRedirections() (out diag.List) {
	if b.static == nil {
		return nil
	}
	target := func(name string) string {
		if ep := b.static.EntryPoints[name]; ep != nil && ep.HTTP.Redirections != nil && ep.HTTP.Redirections.EntryPoint != nil {
			return ep.HTTP.Redirections.EntryPoint.To
		}
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(b.static.EntryPoints)) {
		seen := []string{name}
		for next := target(name); next != ""; next = target(next) {
			if i := slices.Index(seen, next); i >= 0 {
				if slices.Min(seen[i:]) == name && i == 0 && len(seen) > 1 {
					out.Add(diag.Finding{Severity: diag.Warning, Key: "entryPoints." + name + ".http.redirections.entryPoint.to", Code: CodeRedirectLoop,
						Message: "the redirections lead back: " + strings.Join(append(seen, name), " -> "), Hint: "let one of them answer"})
				}
				break
			}
			seen = append(seen, next)
		}
	}
	return out
}

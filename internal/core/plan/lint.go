package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/route"
	"sluice/internal/core/rule"
	"sluice/internal/core/static"
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
)

// lint adds a finding and leaves the status alone: the element works as written, and its identity shall not depend on
// the elements around it.
func (n *Node) lint(severity diag.Severity, code, message, hint string, field ...string) {
	if n.Held() {
		return
	}
	n.Findings.Add(diag.Finding{Place: n.Place(field...), Severity: severity, Key: keyOf(n.Key(), field), Code: code,
		Message: message, Hint: hint})
}

// lints looks at the finished plan as a whole. All of it is linear in the number of elements.
func (b *builder) lints() {
	b.lintOrder()
	b.lintUnused()
	b.lintConnections()
	b.lintPorts()
	b.lintPasswords()
	b.lintSelfLoops()
	b.lintRedirections()
	b.lintUDP()
}

// seesEverything reports whether all configured providers have spoken, so that "nobody uses it" can be said.
func (b *builder) seesEverything() bool {
	if b.static == nil || b.static.Providers == nil {
		return true
	}
	v := reflect.ValueOf(*b.static.Providers)
	for i := range v.NumField() {
		f := v.Field(i)
		if k := f.Kind(); k != reflect.Pointer && k != reflect.Map || f.IsNil() {
			continue
		}
		spoken := slices.ContainsFunc(b.snapshots, func(s dynamic.Snapshot) bool { return strings.EqualFold(s.Provider, v.Type().Field(i).Name) })
		if !spoken {
			return false
		}
	}
	return true
}

// lintUnused reports services and middlewares that nothing leads to. Where a service in use has no servers, spare ones of
// its provider are what SERVICE-WITHOUT-SERVERS is about, and are not named a second time.
func (b *builder) lintUnused() {
	if !b.seesEverything() {
		return
	}
	services, middlewares := map[*Service]bool{}, map[*Middleware]bool{}
	mark := func(list []*Middleware) {
		for _, m := range list {
			middlewares[m] = true
		}
	}
	for _, r := range b.plan.HTTP.Routers {
		services[r.Service] = true
		mark(r.Middlewares)
	}
	for _, s := range b.plan.HTTP.Services {
		for _, c := range s.Children {
			services[c] = true
		}
		mark(s.Middlewares)
	}
	for _, m := range b.plan.HTTP.Middlewares {
		services[m.Service] = true
		mark(m.Chain)
	}
	for _, model := range b.models {
		for _, ref := range model.middlewares {
			middlewares[b.plan.HTTP.Middlewares[Resolve(ref, "")]] = true
		}
	}
	explained := map[string]bool{}
	for _, s := range b.plan.HTTP.Services {
		if slices.ContainsFunc(s.Findings, func(f diag.Finding) bool { return f.Code == CodeNoServers }) {
			explained[s.Name.Provider] = true
		}
	}
	for name, s := range b.plan.HTTP.Services {
		if !services[s] && s.Status != Disabled && name.Provider != Internal && !explained[name.Provider] {
			s.lint(diag.Info, CodeUnusedService, "no router and no other service uses it", "remove it, or name it in a router's service")
		}
	}
	for name, m := range b.plan.HTTP.Middlewares {
		if !middlewares[m] && m.Status != Disabled && name.Provider != Internal {
			m.lint(diag.Info, CodeUnusedMiddleware, "nothing uses it", "remove it, or name it in a router's middlewares")
		}
	}
	tcp := map[*TCPService]bool{}
	for _, r := range b.plan.TCP.Routers {
		tcp[r.Service] = true
	}
	for _, s := range b.plan.TCP.Services {
		for _, c := range s.Children {
			tcp[c] = true
		}
	}
	for _, s := range b.plan.TCP.Services {
		if !tcp[s] && s.Status != Disabled {
			s.lint(diag.Info, CodeUnusedService, "no router and no other service uses it", "remove it, or name it in a router's service")
		}
	}
	b.unusedUDP()
}

// lintConnections reports TCP routers that take what HTTP routers wait for, and the reverse.
func (b *builder) lintConnections() {
	for _, name := range b.tcpNames() {
		ep := b.plan.EntryPoints[name]
		if t := takesAll(ep); t != nil {
			if lost := b.lostTo(ep.Plain); lost != nil {
				t.lint(diag.Warning, CodeTCPHidesHTTP, fmt.Sprintf("takes every connection in the clear on entry point %s, so that HTTP routers such as %q get none",
					name, lost.Name), "put one of them on another entry point", "rule")
			}
		}
		claimed := map[string]*Router{}
		if len(ep.TLS) > 0 {
			for _, r := range ep.Secure {
				for _, h := range r.Rule.Hosts() {
					if claimed[h.Name] == nil {
						claimed[h.Name] = r
					}
				}
			}
		}
		for _, t := range ep.TLS {
			if !t.Passthrough() {
				continue
			}
			for _, h := range t.Rule.Hosts() {
				if h.Name == "*" || strings.HasPrefix(h.Name, "*.") {
					continue
				}
				_, after, _ := strings.Cut(h.Name, ".")
				covering := claimed["*."+after]
				if covering == nil || claimed[h.Name] != nil {
					continue
				}
				if d := ep.Conn.Decide(&route.Conn{Opening: route.TLSHello, SNI: h.Name, ALPN: []string{"h2", "http/1.1"}}, nil); d.Action == route.HTTPS {
					t.lint(diag.Warning, CodeWildcardHides, fmt.Sprintf("never gets %s on entry point %s: the HTTPS router %q names *.%s and is asked first",
						h.Name, name, covering.Name, after), "name single hosts in the HTTPS router, or use another domain for the passthrough", "rule")
				}
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

// addressOf returns the address of an entry point; false where it is not known or the system picks the port.
func addressOf(ep *EntryPoint) (static.Address, bool) {
	if ep == nil || ep.Config == nil {
		return static.Address{}, false
	}
	a, err := static.ParseAddress(ep.Config.Address)
	return a, err == nil && a.Port != 0
}

// lintPorts reports routers whose tls section does not fit the well-known port that they are on. Routers that name no
// entry points are on all of them, and are not meant for each.
func (b *builder) lintPorts() {
	for _, name := range b.tcpNames() {
		ep := b.plan.EntryPoints[name]
		a, ok := addressOf(ep)
		if !ok {
			continue
		}
		report := func(r *Router, code, message, hint string) {
			if r.Name.Provider != Internal && len(r.Config.EntryPoints) > 0 && r.Status != Disabled {
				r.lint(diag.Warning, code, fmt.Sprintf(message, name, a.Port), hint)
			}
		}
		switch a.Port {
		case 443:
			for _, r := range ep.Plain {
				report(r, CodeNoTLSSection, "answers in the clear only on entry point %s, port %d: https requests get 404", "add a tls section; an empty one will do")
			}
		case 80:
			for _, r := range ep.Secure {
				if len(r.Config.EntryPoints) == 1 {
					report(r, CodeTLSOnPlainPort, "answers on TLS only, but entry point %s has port %d: http requests get 404", "remove the tls section, or use the entry point of https")
				}
			}
		}
	}
}

// lintPasswords reports routers in the clear that ask for a password.
func (b *builder) lintPasswords() {
	for _, r := range b.plan.HTTP.Routers {
		if r.TLS != nil || !r.Routed() {
			continue
		}
		for _, name := range r.EntryPoints {
			ep := b.plan.EntryPoints[name]
			if c := ep.Config; c != nil {
				// A trusted proxy in front may speak TLS for us, and nobody listens on a loopback address.
				a, _ := addressOf(ep)
				if c.ForwardedHeaders.Insecure || len(c.ForwardedHeaders.TrustedIPs) > 0 || c.ProxyProtocol != nil || a.IsLoopback() ||
					len(ep.Plain) > 0 && ep.Plain[0].Redirection {
					continue
				}
			}
			if m := basicAuth(r.Middlewares, 0); m != nil {
				r.lint(diag.Warning, CodePlainAuth, fmt.Sprintf("the middleware %q has passwords sent in the clear on entry point %s", m.Name, name),
					"add a tls section, and redirect http to https", "middlewares")
				break
			}
		}
	}
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

// lintSelfLoops reports servers that are an entry point of our own, on which the request would come to the same service.
func (b *builder) lintSelfLoops() {
	ports := map[uint16]*EntryPoint{}
	addresses := map[uint16]static.Address{}
	for _, name := range b.tcpNames() {
		if a, ok := addressOf(b.plan.EntryPoints[name]); ok {
			ports[a.Port], addresses[a.Port] = b.plan.EntryPoints[name], a
		}
	}
	if len(ports) == 0 {
		return
	}
	reported := map[*Service]bool{}
	for _, r := range b.plan.HTTP.Routers {
		if s := r.Service; s == nil || s.Type != "loadBalancer" || reported[s] || !r.Routed() || len(r.parsed.clauses) == 0 {
			continue
		}
		lb := r.Service.Config.LoadBalancer
		for i, server := range lb.Servers {
			u, err := url.Parse(server.URL)
			if err != nil {
				continue
			}
			port := portOf(u)
			ep := ports[port]
			if ep == nil {
				continue
			}
			host, path := r.parsed.clauses[0].witness()
			if lb.PassHostHeader != nil && !*lb.PassHostHeader {
				host = u.Hostname()
			}
			if !leadsHere(u.Hostname(), host, addresses[port]) || changesPath(r.Middlewares, 0) {
				continue
			}
			table, list := ep.PlainTable, ep.Plain
			if u.Scheme == "https" {
				table, list = ep.SecureTable, ep.Secure
			}
			at, ok := table.Lookup(&route.Request{Host: []byte(host), Path: []byte(path), Method: []byte("GET")})
			if ok && list[at].Service == r.Service && r.parsed.clauses[0].rest == "" {
				reported[r.Service] = true
				r.Service.lint(diag.Warning, CodeSelfLoop, fmt.Sprintf("the server %s is entry point %s of Sluice itself, where the router %q sends the request here again",
					server.URL, ep.Name, list[at].Name), "write the address of the real server", "loadBalancer", "servers", strconv.Itoa(i), "url")
				break
			}
		}
	}
}

func portOf(u *url.URL) uint16 {
	switch p := u.Port(); {
	case p != "":
		n, _ := strconv.ParseUint(p, 10, 16)
		return uint16(n)
	case u.Scheme == "https":
		return 443
	default:
		return 80
	}
}

// leadsHere reports whether a server's host is this machine: a loopback address that we listen on, the very address of
// the entry point, or the name under which clients come here.
func leadsHere(server, requested string, listen static.Address) bool {
	if strings.EqualFold(server, requested) || listen.Host != "" && strings.EqualFold(server, listen.Host) {
		return true
	}
	local := strings.EqualFold(server, "localhost")
	if a, err := netip.ParseAddr(server); err == nil {
		local = a.IsLoopback()
	}
	return local && (listen.Host == "" || listen.IsLoopback())
}

// changesPath reports whether the path may be another one behind the middlewares.
func changesPath(list []*Middleware, depth int) bool {
	for _, m := range list {
		switch m.Type {
		case "addPrefix", "stripPrefix", "stripPrefixRegex", "replacePath", "replacePathRegex", "headers":
			return true
		case "chain":
			if depth > 20 || changesPath(m.Chain, depth+1) {
				return true
			}
		}
	}
	return false
}

// lintRedirections reports entry points that redirect to each other.
func (b *builder) lintRedirections() {
	if b.static == nil {
		return
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
					b.findings.Add(diag.Finding{Severity: diag.Warning, Key: "entryPoints." + name + ".http.redirections.entryPoint.to", Code: CodeRedirectLoop,
						Message: "the redirections lead back: " + strings.Join(append(seen, name), " -> "), Hint: "let one of them answer"})
				}
				break
			}
			seen = append(seen, next)
		}
	}
}

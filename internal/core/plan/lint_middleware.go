package plan

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/route"
)

// maxFlat bounds the middlewares of a router that the lints look at.
const maxFlat = 200

// flat returns middlewares with those of chains in their places.
func flat(list []*Middleware) []*Middleware {
	var out []*Middleware
	var add func(list []*Middleware)
	add = func(list []*Middleware) {
		for _, m := range list {
			switch {
			case len(out) >= maxFlat:
				return
			case m.Type == "chain":
				add(m.Chain)
			default:
				out = append(out, m)
			}
		}
	}
	add(list)
	return out
}

// passesPath reports whether requests leave a middleware of the type with the path with which they came to it.
func passesPath(kind string) bool {
	switch kind {
	case "basicAuth", "digestAuth", "ipAllowList", "ipWhiteList", "headers", "rateLimit", "inFlightReq", "compress", "buffering", "retry",
		"circuitBreaker", "contentType", "errors", "passTLSClientCert", "encodedCharacters", "redirectScheme", "redirectRegex":
		return true
	}
	return false
}

// lintMiddlewares reports middlewares of a router that stand where they have no effect, as far as it can be proved.
func (b *builder) lintMiddlewares(r *Router) {
	list := flat(r.Middlewares)
	b.lintAfterRedirect(r, list)
	lintPaths(r, list)
	b.lintAllowList(r, list)
	r.redirect = firstRedirect(list)
}

// lintAfterRedirect reports a middleware behind one that redirects every request: a redirection to https on a router in the
// clear whose entry points believe nobody about the scheme, or to http on one with TLS.
func (b *builder) lintAfterRedirect(r *Router, list []*Middleware) {
	used := "http"
	if r.TLS != nil {
		used = "https"
	}
	for i, m := range list[:max(len(list)-1, 0)] {
		if m.Type != "redirectScheme" || m.Config.RedirectScheme.Scheme == "" || m.Config.RedirectScheme.Scheme == used {
			continue
		}
		if slices.ContainsFunc(r.EntryPoints, b.believes) {
			return
		}
		r.lint(diag.Info, CodeNeverRuns, fmt.Sprintf("the middleware %q never runs: %q before it redirects every request", list[i+1].Name, m.Name),
			"remove it here, or put it in front", "middlewares")
		return
	}
}

// believes reports whether the scheme or the address of a request may be somebody's word on an entry point.
func (b *builder) believes(entryPoint string) bool {
	c := b.config(entryPoint)
	return c == nil || c.ForwardedHeaders.Insecure || len(c.ForwardedHeaders.TrustedIPs) > 0
}

// lintPaths reports a stripPrefix that no request has a path for: the rule takes no such path, or a replacePath stands before
// it.
func lintPaths(r *Router, list []*Middleware) {
	var replaced *Middleware
	fits := func(prefix string) bool {
		for _, k := range r.parsed.clauses {
			if k.path == "" || strings.HasPrefix(k.path, prefix) || !k.whole && strings.HasPrefix(prefix, k.path) {
				return true
			}
		}
		return len(r.parsed.clauses) == 0
	}
	for _, m := range list {
		switch {
		case m.Type == "replacePath" && !strings.Contains(m.Config.ReplacePath.Path, "%"):
			replaced = m
			fits = func(prefix string) bool { return strings.HasPrefix(m.Config.ReplacePath.Path, prefix) }
		case m.Type == "stripPrefix":
			if slices.ContainsFunc(m.Config.StripPrefix.Prefixes, fits) {
				return // the path may be another one from here on
			}
			why := "the rule takes no such path"
			if replaced != nil {
				why = fmt.Sprintf("%q before it makes every path %s", replaced.Name, replaced.Config.ReplacePath.Path)
			}
			r.lint(diag.Warning, CodeNoEffectHere, fmt.Sprintf("the middleware %q strips nothing: %s", m.Name, why),
				"put it in front of what changes the path, or correct the prefix", "middlewares")
		case !passesPath(m.Type):
			return
		}
	}
}

// lintAllowList reports an allow list that sees only the addresses of proxies, and does not have them: on every entry point
// of the router trusted proxies stand in front, and nobody who comes through them is let in.
func (b *builder) lintAllowList(r *Router, list []*Middleware) {
	for _, m := range list {
		var ranges []string
		byPeer := false
		switch c := m.Config; {
		case m.Type == "ipAllowList":
			ranges, byPeer = c.IPAllowList.SourceRange, c.IPAllowList.IPStrategy == nil
		case m.Type == "ipWhiteList":
			ranges, byPeer = c.IPWhiteList.SourceRange, c.IPWhiteList.IPStrategy == nil
		}
		if !byPeer || len(ranges) == 0 {
			continue
		}
		hidden := func(entryPoint string) bool {
			c := b.config(entryPoint)
			return c != nil && !c.ForwardedHeaders.Insecure && len(c.ForwardedHeaders.TrustedIPs) > 0 && c.ProxyProtocol == nil &&
				!overlap(ranges, c.ForwardedHeaders.TrustedIPs)
		}
		if len(r.EntryPoints) > 0 && !slices.ContainsFunc(r.EntryPoints, func(name string) bool { return !hidden(name) }) {
			r.lint(diag.Warning, CodeSeesProxy, fmt.Sprintf("the middleware %q sees the address of the proxy in front of entry point %s, which it does not let in",
				m.Name, r.EntryPoints[0]), "set ipStrategy.depth, so that the client's address in X-Forwarded-For counts", "middlewares")
		}
	}
}

// overlap reports whether two lists of addresses and ranges have an address in common, or cannot be read.
func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			p, ok := prefixOf(x)
			q, okay := prefixOf(y)
			if !ok || !okay || p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

func prefixOf(text string) (netip.Prefix, bool) {
	text = strings.TrimSpace(text)
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), true
}

// firstRedirect returns the redirectRegex that requests come to with the path that they had; nil where there is none that can
// be tried out.
func firstRedirect(list []*Middleware) *Middleware {
	for _, m := range list {
		switch {
		case m.Type == "redirectRegex":
			if m.moves == nil {
				return nil
			}
			return m
		case m.Type == "redirectScheme" || !passesPath(m.Type):
			return nil
		}
	}
	return nil
}

const (
	// maxRedirectRegex bounds the expressions that are tried out, maxRedirecting the routers.
	maxRedirectRegex = 4096
	maxRedirecting   = 500
	// hops is how often a redirection is followed before it is called endless.
	hops = 10
)

// noteRedirectLoops reports routers whose redirectRegex leads back to the router itself, again and again. It follows the
// redirection for a request that the router takes.
func (b *builder) noteRedirectLoops() {
	redirects := func(r *Router) bool { return r.redirect != nil && r.Routed() && r.Status != Disabled }
	b.plan.redirecting = edited(b.base.redirecting, chosen(members(b.routers.gone), redirects), chosen(members(b.routers.fresh()), redirects), compareElements)
	for _, r := range b.plan.redirecting[:min(len(b.plan.redirecting), maxRedirecting)] {
		if from, to, endless := b.follow(r); endless {
			b.note(&r.Node, diag.Warning, CodeRedirectLoop, fmt.Sprintf("the middleware %q redirects %s to %s, which comes to the same router and is redirected again, without end",
				r.redirect.Name, from, to), "let the expression match only what is to be moved", "middlewares")
		}
	}
}

// follow follows the redirection of a router, and returns its first step.
func (b *builder) follow(r *Router) (from, to string, endless bool) {
	at := slices.IndexFunc(r.parsed.clauses, func(k clause) bool { return k.rest == "" })
	if at < 0 {
		return "", "", false
	}
	ep := b.plan.EntryPoints[r.EntryPoints[0]]
	scheme, table, list := "http", ep.PlainTable, ep.Plain
	if r.TLS != nil {
		scheme, table, list = "https", ep.SecureTable, ep.Secure
	}
	from = scheme + "://" + r.parsed.clauses[at].sampleHost + r.parsed.clauses[at].samplePath
	next := from
	for hop := range hops {
		u, err := url.Parse(next)
		if err != nil || u.Scheme != scheme || u.Port() != "" || len(next) > maxRedirectRegex || strings.Contains(u.EscapedPath(), "%") {
			return "", "", false
		}
		position, ok := table.Lookup(&route.Request{Host: []byte(strings.ToLower(u.Hostname())), Path: []byte(u.Path), Query: []byte(u.RawQuery), Method: []byte("GET")})
		if !ok || list[position] != r {
			return "", "", false
		}
		u.Fragment = ""
		asked := u.String()
		location := r.redirect.moves.ReplaceAllString(asked, r.redirect.Config.RedirectRegex.Replacement)
		if !r.redirect.moves.MatchString(asked) || location == asked {
			return "", "", false
		}
		if strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
			location = scheme + "://" + u.Host + location
		}
		if hop == 0 {
			to = location
		}
		next = location
	}
	return from, to, true
}

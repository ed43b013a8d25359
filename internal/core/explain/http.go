package explain

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
)

// side is one half of an entry point.
type side struct {
	table   *route.HTTPTable
	routers []*plan.Router
}

func sideOf(ep *plan.EntryPoint, tls bool) side {
	if tls {
		return side{ep.SecureTable, ep.Secure}
	}
	return side{ep.PlainTable, ep.Plain}
}

// http follows a request behind the connection's decision.
func (a *asking) http(w *Way, ep *plan.EntryPoint, d route.Decision) {
	if d.Action == route.HTTPS {
		w.TLSOptions = optionsName(ep, d.Options)
		if d.Options >= 0 && d.Options < len(ep.Options) && !a.handshake(w, ep.Options[d.Options].Effective) {
			return
		}
	}
	keepDots, encode := false, false
	if ep.Config != nil {
		keepDots = ep.Config.HTTP.SanitizePath != nil && !*ep.Config.HTTP.SanitizePath
		encode = ep.Config.HTTP.EncodeQuerySemicolons
	}
	r, refusal := a.q.request(keepDots, encode)
	if refusal != "" {
		w.Status, w.Cause = 400, "400: "+refusal
		return
	}
	s := sideOf(ep, a.q.TLS)
	for _, v := range s.table.Explain(r) {
		node := s.routers[v.Entry]
		w.Candidates = append(w.Candidates, candidate(node.Name, node.Priority, node.Rule, v))
	}
	if a.challenge(w, ep, s, r) {
		return
	}
	at, ok := s.table.Lookup(r)
	if a.q.TLS && a.misdirected(w, ep, s, r, ok) {
		return
	}
	if !ok {
		w.Status = 404
		w.Cause = "404: " + a.noRouter(w, ep, r)
		return
	}
	a.serve(w, ep, s.routers[at], r)
	a.losers(w, s, s.routers[at])
	if !a.q.TLS || ep.Conn.TLS.Len() == 0 {
		return
	}
	if t, ok := ep.Conn.TLS.Lookup(&route.Conn{Client: a.q.Client, SNI: a.q.SNI, ALPN: a.q.ALPN}); ok && !ep.TLS[t].Rule.IsCatchAllSNI() {
		w.Cause += "; the TCP router " + quoted(ep.TLS[t].Name.String()) + " names the host too, but HTTPS routers that do so are asked first"
	}
}

func optionsName(ep *plan.EntryPoint, at int) string {
	if at >= 0 && at < len(ep.Options) && ep.Options[at].Options != nil {
		return ep.Options[at].Options.Name.Local
	}
	return ""
}

const challengePrefix = "/.well-known/acme-challenge/"

// challenge answers for ACME challenges that have an owner, and reports whether this is one.
func (a *asking) challenge(w *Way, ep *plan.EntryPoint, s side, r *route.Request) bool {
	token, ok := strings.CutPrefix(string(r.Path), challengePrefix)
	if !ok || token == "" || len(token) > 512 || a.q.Method != "GET" && a.q.Method != "HEAD" ||
		strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || len(r.Host) == 0 {
		return false
	}
	if at, ok := s.table.LookupOwner(r); ok {
		w.Challenge = "an ACME challenge; the router " + quoted(s.routers[at].Name.String()) + " names the host and owns it (unless one of ours is pending)"
		a.serve(w, ep, s.routers[at], r)
		return true
	}
	if a.q.TLS {
		return false
	}
	if t := a.owner(ep, string(r.Host)); t != nil {
		w.Challenge = "an ACME challenge; the machine behind the passthrough router " + quoted(t.Name.String()) + " owns it (unless one of ours is pending)"
		w.Router = a.chosen(&t.Node)
		if t.Service != nil {
			w.Router.Service, w.Router.Servers = t.Service.Name.String(), tcpServers(t.Service, 0)
		}
		if len(w.Router.Servers) == 0 {
			w.Status, w.Cause = 503, "503: the passthrough router "+quoted(t.Name.String())+" owns the ACME challenge, but has no server to ask"
			return true
		}
		w.Cause = "the ACME challenge goes to the machine behind the passthrough router " + quoted(t.Name.String()) + ", on its port for HTTP"
		return true
	}
	w.Challenge = "an ACME challenge without an owner: no router names the host, so it is routed like any other request"
	return false
}

// owner is the passthrough router that owns a host, here or on another entry point.
func (a *asking) owner(ep *plan.EntryPoint, host string) *plan.TCPRouter {
	c := route.Conn{SNI: host, Client: a.q.Client, ALPN: []string{"h2", "http/1.1"}}
	if at, ok := ep.Conn.Owner(&c); ok {
		return ep.TLS[at]
	}
	for _, name := range a.names() {
		if o := a.p.EntryPoints[name]; o != ep {
			if at, ok := o.Conn.Owner(&c); ok {
				return o.TLS[at]
			}
		}
	}
	return nil
}

// misdirected reports whether the request gets 421: its host is not one that the connection was made for.
func (a *asking) misdirected(w *Way, ep *plan.EntryPoint, s side, r *route.Request, found bool) bool {
	host := string(r.Host)
	if found {
		want, have := effective(ep, host), effective(ep, strings.ToLower(strings.TrimSuffix(a.q.SNI, ".")))
		if !reflect.DeepEqual(want, have) {
			w.Status = 421
			w.Cause = fmt.Sprintf("421: the connection was made for %s, whose TLS options differ from those of %s", quoted(a.q.SNI), quoted(host))
			return true
		}
	}
	if !strings.EqualFold(a.q.SNI, host) {
		if t := a.owner(ep, host); t != nil {
			if _, names := s.table.LookupOwner(r); !names {
				w.Status = 421
				w.Cause = fmt.Sprintf("421: the connection was made for %s, and the host %s belongs to the passthrough router %s",
					quoted(a.q.SNI), quoted(host), quoted(t.Name.String()))
				return true
			}
		}
	}
	return false
}

// effective returns the demands on connections for a host.
func effective(ep *plan.EntryPoint, host string) any {
	at, _, ok := ep.Conn.HTTPS.Lookup(host)
	if !ok {
		at = ep.Conn.DefaultOptions
	}
	if at < 0 || at >= len(ep.Options) {
		return nil
	}
	return ep.Options[at].Effective
}

// losers adds to the cause what else would have matched, where that tells more than the winner does: a router of the
// user below a redirection, or one whose rule is longer.
func (a *asking) losers(w *Way, s side, won *plan.Router) {
	for _, c := range w.Candidates {
		if !c.Matches || c.Router == won.Name.String() || c.Below != "" {
			continue
		}
		i := slices.IndexFunc(s.routers, func(r *plan.Router) bool { return r.Name.String() == c.Router })
		other := s.routers[i]
		switch {
		case other.Name.Provider == plan.Internal:
		case won.Redirection:
			w.Cause += "; " + quoted(c.Router) + " matches too, but is asked after it"
			return
		case len(other.Rule.Text) > len(won.Rule.Text):
			w.Cause += fmt.Sprintf("; %s matches too and says more, but its priority %d is lower than %d", quoted(c.Router), c.Priority, won.Priority)
			return
		case other.Priority == won.Priority:
			w.Cause += fmt.Sprintf("; %s matches too with the same priority %d, and its name comes later", quoted(c.Router), c.Priority)
			return
		}
	}
}

// noRouter says why nobody takes the request.
func (a *asking) noRouter(w *Way, ep *plan.EntryPoint, r *route.Request) string {
	// Whoever wants this host and fails on something else knows best.
	for _, c := range w.Candidates {
		if len(c.Misses) > 0 && !c.Misses[0].host && c.named {
			return "no router matches; " + nearest(c) + a.ruleNote(c.Router)
		}
	}
	// Then who would match elsewhere.
	for _, name := range append([]string{ep.Name}, a.names()...) {
		o := a.p.EntryPoints[name]
		for _, tls := range []bool{a.q.TLS, !a.q.TLS} {
			if o == ep && tls == a.q.TLS {
				continue
			}
			s := sideOf(o, tls)
			if at, ok := s.table.Lookup(r); ok && s.routers[at].Name.Provider != plan.Internal {
				return "no router matches; " + quoted(s.routers[at].Name.String()) + elsewhere(ep.Name, o.Name, tls, a.q.TLS)
			}
		}
	}
	if cause := a.absent(); cause != "" {
		return "no router matches; " + cause
	}
	if cause := a.suspicious(); cause != "" {
		return "no router matches; " + cause
	}
	if len(w.Candidates) == 0 {
		if a.q.TLS {
			return fmt.Sprintf("entry point %s has no HTTP router with a tls section", quoted(ep.Name))
		}
		return fmt.Sprintf("entry point %s has no HTTP router in the clear", quoted(ep.Name))
	}
	var hosts []string
	for _, o := range slices.Concat(ep.Plain, ep.Secure) {
		for _, h := range o.Rule.Hosts() {
			hosts = append(hosts, h.Name)
		}
	}
	text := fmt.Sprintf("no router matches the host %s on entry point %s", quoted(string(r.Host)), quoted(ep.Name))
	if len(hosts) == 0 {
		return "no router matches; " + nearest(w.Candidates[0])
	}
	if hint := diag.DidYouMean(string(r.Host), hosts); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

func nearest(c Candidate) string {
	m := c.Misses[0]
	saw := quoted(m.Saw)
	if m.Saw == "" {
		saw = "nothing"
	}
	if m.Negated {
		return fmt.Sprintf("%s comes nearest: it excludes %s, and saw %s", quoted(c.Router), m.Matcher, saw)
	}
	return fmt.Sprintf("%s comes nearest: it wants %s, and saw %s", quoted(c.Router), m.Matcher, saw)
}

// absent looks for a router that takes no part, because its rule cannot be read or its entry points do not exist, and
// whose rule speaks of the host.
func (a *asking) absent() string {
	for _, r := range a.sorted() {
		if r.Absent() && (a.speaks(r.Config.Rule) || r.Config.Rule == "") {
			return "the router " + quoted(r.Name.String()) + " is absent: " + first(r.Findings)
		}
	}
	return a.absentTCP()
}

func (a *asking) absentTCP() string {
	var found []*plan.TCPRouter
	for _, r := range a.p.TCP.Routers {
		if !r.Routed() && (a.speaks(r.Config.Rule) || a.q.TCP) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return ""
	}
	r := slices.MinFunc(found, func(x, y *plan.TCPRouter) int { return strings.Compare(x.Name.String(), y.Name.String()) })
	return "the TCP router " + quoted(r.Name.String()) + " is absent: " + first(r.Findings)
}

// speaks reports whether a rule's text holds the host, or a part of its domain.
func (a *asking) speaks(rule string) bool {
	host := strings.ToLower(a.q.Host)
	if a.q.TCP && a.q.SNI != "" {
		host = strings.ToLower(a.q.SNI)
	}
	host, _, _ = strings.Cut(host, ":")
	text := strings.ToLower(rule)
	_, domain, _ := strings.Cut(host, ".")
	return host != "" && (strings.Contains(text, host) || domain != "" && strings.Contains(strings.ReplaceAll(text, `\`, ""), domain))
}

// ruleNote adds what is known to be odd about a router's rule.
func (a *asking) ruleNote(name string) string {
	for _, r := range a.p.HTTP.Routers {
		if r.Name.String() != name {
			continue
		}
		for _, f := range a.said(&r.Node) {
			if f.Severity == diag.Warning && strings.HasSuffix(f.Key, ".rule") {
				return "; " + worded(f)
			}
		}
	}
	return ""
}

// closed says why a connection gets no handshake, where the TLS options of its host are the reason.
func (a *asking) closed(ep *plan.EntryPoint) string {
	for _, r := range ep.Secure {
		if r.Options != nil && r.Options.Status != plan.Disabled {
			continue
		}
		for _, h := range r.Rule.Hosts() {
			_, after, _ := strings.Cut(a.q.SNI, ".")
			if strings.EqualFold(h.Name, a.q.SNI) || strings.EqualFold(h.Name, "*."+after) {
				return "the router " + quoted(r.Name.String()) + " is disabled: " + first(r.Findings)
			}
		}
	}
	return ""
}

// suspicious looks for a routed rule with a finding that can be the reason.
func (a *asking) suspicious() string {
	for _, r := range a.sorted() {
		if r.Absent() || !a.speaks(r.Config.Rule) {
			continue
		}
		for _, f := range a.said(&r.Node) {
			if f.Severity == diag.Warning && strings.HasSuffix(f.Key, ".rule") {
				return "the router " + quoted(r.Name.String()) + ": " + worded(f)
			}
		}
	}
	return ""
}

func (a *asking) sorted() []*plan.Router {
	out := make([]*plan.Router, 0, len(a.p.HTTP.Routers))
	for _, r := range a.p.HTTP.Routers {
		if r.Name.Provider != plan.Internal {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *plan.Router) int { return strings.Compare(x.Name.String(), y.Name.String()) })
	return out
}

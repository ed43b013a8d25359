// Package explain says what would become of a request or connection, and why. It asks a plan the questions that the
// router asks when it serves, in the same order and by the same functions of package route: what the connection is, who
// owns an ACME challenge, which router wins, what its middlewares and its service do. Where the answer is not the one
// that a person expects, its first sentence names the cause.
//
// Everything here is pure. What a plan alone does not tell (what cannot be built, which certificate is shown) is asked of
// Facts; what only serving tells (whether a challenge of ours is pending, the answer of a server) is not part of an answer.
package explain

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
	"sluice/internal/core/rule"
)

// Field is a header field of a question.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Answer is what would become of what a Question asks about.
type Answer struct {
	// Cause is one sentence: what happens, and why.
	Cause string `json:"cause"`
	// Assumed says what the question left open; empty where nothing was.
	Assumed string `json:"assumed,omitempty"`
	// Ways has one element for each entry point that was looked at.
	Ways []*Way `json:"ways"`
}

// Way is what happens on one entry point.
type Way struct {
	EntryPoint string `json:"entryPoint"`
	Cause      string `json:"cause"`
	// Decision is what the connection is taken for, and Reason why.
	Decision string `json:"decision,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// TLSOptions names what the handshake is made with; empty where we make none.
	TLSOptions string `json:"tlsOptions,omitempty"`
	// Certificate describes what the handshake shows; empty where we make none, or where Facts do not tell.
	Certificate string `json:"certificate,omitempty"`
	// Challenge says who owns an ACME challenge; empty for other requests.
	Challenge string `json:"challenge,omitempty"`
	// Candidates are the routers that compete for it, in the order in which they are asked.
	Candidates []Candidate `json:"candidates"`
	// Router is who takes it; nil where nobody does.
	Router *Chosen `json:"router,omitempty"`
	// Status is the answer's status code; zero for connections, and where a server gives it.
	Status int `json:"status,omitempty"`
	// Location is where a redirection leads.
	Location string `json:"location,omitempty"`

	// asked is the path that the entry point saw.
	asked string
}

// Candidate is a router that was asked.
type Candidate struct {
	Router   string `json:"router"`
	Priority int    `json:"priority"`
	Rule     string `json:"rule"`
	Matches  bool   `json:"matches"`
	// Misses are the matchers that decided against it, at least one unless it matches or has no rule.
	Misses []Miss `json:"misses,omitempty"`
	// Lost is why a router that has no rule does not take it.
	Lost string `json:"lost,omitempty"`
	// Below is the router that this one stands below; empty for those of the entry point.
	Below string `json:"below,omitempty"`

	// named tells that the rule names a host: failing on something else then means that it wanted this one.
	named bool
}

// Miss is a matcher that was not as the rule wants it.
type Miss struct {
	Matcher string `json:"matcher"`
	// Negated is set where the rule wants the matcher not to hold.
	Negated bool `json:"negated,omitempty"`
	// Saw is what the matcher looked at.
	Saw string `json:"saw"`

	host bool
}

// Chosen is the router that takes a request or connection, with what stands behind it.
type Chosen struct {
	Name   string `json:"name"`
	Place  string `json:"place,omitempty"`
	Status string `json:"status"`
	// Reasons are why it is not simply enabled.
	Reasons []string `json:"reasons,omitempty"`
	// Above are the routers that it stands below, from the entry point on. Middlewares are theirs and its own.
	Above       []string `json:"above,omitempty"`
	Middlewares []Step   `json:"middlewares,omitempty"`
	Service     string   `json:"service,omitempty"`
	ServiceKind string   `json:"serviceKind,omitempty"`
	// Servers are those that it may end at.
	Servers []string `json:"servers,omitempty"`
	// Tree is the way through services made of services, with the state of every server; nil for connections.
	Tree *Branch `json:"tree,omitempty"`
}

// Step is a middleware with what it does to the request.
type Step struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Effect string `json:"effect,omitempty"`
}

// Facts are what answers need besides the plan. The zero value knows nothing.
type Facts struct {
	// Refused are the findings of those who build what the plan names (engine.Validate), since what they refuse is not
	// served either.
	Refused diag.List
	// Certificate describes the certificate that a handshake for a server name shows, with the name empty for a client that
	// sends none. With strict, ok is false where no certificate covers the name. nil where certificates are not known.
	Certificate func(name string, strict bool) (text string, ok bool)
	// ServerStatus tells for the URLs of a load balancer, called NAME@PROVIDER, whether they are up; nil where nobody looks.
	ServerStatus func(service string) map[string]bool
}

// asking is one question put to one plan.
type asking struct {
	p *plan.Plan
	q *Question
	Facts
}

// Ask answers a question.
func Ask(p *plan.Plan, q *Question, facts Facts) *Answer {
	a := &asking{p, q, facts}
	names, assumed := a.entryPoints()
	out := &Answer{Assumed: assumed}
	for _, name := range names {
		if q.UDP {
			out.Ways = append(out.Ways, a.session(p.UDP.EntryPoints[name]))
		} else {
			out.Ways = append(out.Ways, a.way(p.EntryPoints[name]))
		}
	}
	switch len(out.Ways) {
	case 0:
		out.Cause = a.nowhere()
		return out
	case 1:
		out.Cause = out.Ways[0].Cause
		return out
	}
	// The way that leads furthest is the one that was probably meant.
	best := slices.MaxFunc(out.Ways, func(x, y *Way) int { return x.weight() - y.weight() })
	out.Cause = "on entry point " + best.EntryPoint + ": " + best.Cause
	return out
}

func (w *Way) weight() int {
	switch {
	case w.Router != nil && w.Status == 0:
		return 3
	case w.Router != nil:
		return 2
	}
	return 1
}

// nowhere is the cause where no entry point can be asked.
func (a *asking) nowhere() string {
	if a.q.EntryPoint != "" {
		message := "the entry point " + quoted(a.q.EntryPoint) + " does not exist"
		names := slices.Sorted(maps.Keys(a.listeners()))
		if hint := diag.DidYouMean(a.q.EntryPoint, names); hint != "" {
			message += " (" + hint + ")"
		}
		return message
	}
	if a.q.UDP {
		return "nothing is served: there is no UDP entry point"
	}
	if cause := a.absent(); cause != "" {
		return "nothing is served: " + cause
	}
	return "nothing is served: there is no router on any entry point"
}

// way follows a question on one entry point.
func (a *asking) way(ep *plan.EntryPoint) *Way {
	w := &Way{EntryPoint: ep.Name, Candidates: []Candidate{}}
	c := route.Conn{Client: a.q.Client, SNI: a.q.SNI, ALPN: a.q.ALPN}
	d := ep.Conn.Decide(&c, nil)
	if d.Action == route.NeedBytes {
		c.Opening = route.NotTLS
		if a.q.TLS {
			c.Opening = route.TLSHello
		}
		d = ep.Conn.Decide(&c, nil)
	}
	w.Decision, w.Reason = d.Action.String(), d.Reason
	switch d.Action {
	case route.PlainTCP, route.PlainTCPSilent:
		w.Candidates = tcpCandidates(ep.TCP, ep.Conn.Plain.Explain(&c))
		a.tcp(w, ep, ep.TCP[d.Router])
	case route.TLSPassthrough, route.TLSTerminate:
		w.Candidates = tcpCandidates(ep.TLS, ep.Conn.TLS.Explain(&c))
		a.tcp(w, ep, ep.TLS[d.Router])
	case route.PlainHTTP, route.HTTPS:
		if a.q.TCP {
			w.Candidates = a.tcpLosers(ep, &c)
			a.noTCP(w, ep, &c)
			return w
		}
		a.http(w, ep, d)
	default:
		w.Cause = "the connection is closed: " + d.Reason
		if why := a.closed(ep); why != "" {
			w.Cause += "; " + why
		}
	}
	return w
}

func tcpCandidates(routers []*plan.TCPRouter, verdicts []route.Verdict) []Candidate {
	out := make([]Candidate, 0, len(verdicts))
	for _, v := range verdicts {
		r := routers[v.Entry]
		out = append(out, candidate(r.Name, r.Priority, r.Rule, v))
	}
	return out
}

func (a *asking) tcpLosers(ep *plan.EntryPoint, c *route.Conn) []Candidate {
	if a.q.TLS {
		return tcpCandidates(ep.TLS, ep.Conn.TLS.Explain(c))
	}
	return tcpCandidates(ep.TCP, ep.Conn.Plain.Explain(c))
}

func candidate(name plan.Name, priority int, r *rule.Rule, v route.Verdict) Candidate {
	c := Candidate{Router: name.String(), Priority: priority, Rule: r.Text, Matches: v.Matches, named: len(r.Hosts()) > 0}
	for _, m := range v.Misses {
		c.Misses = append(c.Misses, Miss{Matcher: m.Matcher.String(), Negated: m.Negated, Saw: m.Saw,
			host: strings.HasPrefix(m.Matcher.Name, "Host") && !m.Negated})
	}
	return c
}

// noTCP is the cause where a connection is no TCP router's.
func (a *asking) noTCP(w *Way, ep *plan.EntryPoint, c *route.Conn) {
	switch {
	case a.q.TLS && len(ep.Secure) > 0 || !a.q.TLS && len(ep.Plain) > 0:
		w.Cause = "no TCP router takes the connection, so it is served as " + w.Decision + ": " + w.Reason
	default:
		w.Cause = "no TCP router takes the connection, and the entry point " + quoted(ep.Name) + " has no HTTP router for it: every request gets 404"
	}
	for _, name := range a.names() {
		o := a.p.EntryPoints[name]
		for _, side := range []struct {
			table *route.TCPTable
			list  []*plan.TCPRouter
			tls   bool
		}{{o.Conn.TLS, o.TLS, true}, {o.Conn.Plain, o.TCP, false}} {
			if at, ok := side.table.Lookup(&route.Conn{Client: c.Client, SNI: c.SNI, ALPN: c.ALPN}); ok && (o != ep || side.tls != a.q.TLS) {
				w.Cause = "no TCP router takes the connection: " + quoted(side.list[at].Name.String()) + elsewhere(ep.Name, o.Name, side.tls, a.q.TLS)
				return
			}
		}
	}
	if cause := a.absentTCP(); cause != "" {
		w.Cause = "no TCP router takes the connection: " + cause
	}
}

// elsewhere words why a router that would match is not asked here.
func elsewhere(here, there string, tls, asked bool) string {
	switch {
	case here != there:
		return " would match, but listens on entry point " + quoted(there) + ", not on " + quoted(here)
	case tls && !asked:
		return " would match, but has a tls section: it answers on TLS only"
	default:
		return " would match, but has no tls section: it answers in the clear only"
	}
}

// tcp fills what a TCP router does.
func (a *asking) tcp(w *Way, ep *plan.EntryPoint, r *plan.TCPRouter) {
	w.Router = a.chosen(&r.Node)
	for _, m := range r.Middlewares {
		w.Router.Middlewares = append(w.Router.Middlewares, Step{Name: m.Name.String(), Kind: m.Type})
	}
	if r.Service != nil {
		w.Router.Service, w.Router.ServiceKind = r.Service.Name.String(), r.Service.Type
		w.Router.Servers = tcpServers(r.Service, 0)
	}
	if r.Options != nil {
		w.TLSOptions = r.Options.Name.Local
	}
	if a.q.TLS && r.Options != nil && !r.Passthrough() && !a.handshake(w, r.Options.Config) {
		return
	}
	who := "the TCP router " + quoted(r.Name.String())
	switch {
	case r.Status == plan.Disabled:
		w.Cause = "the connection is closed: " + who + " is disabled: " + first(r.Findings)
	case r.Service == nil:
		w.Cause = "the connection is closed: " + who + " has no service"
	case r.Service.Status == plan.Disabled:
		w.Cause = "the connection is closed: the service " + quoted(r.Service.Name.String()) + " is disabled: " + first(r.Service.Findings)
	case len(w.Router.Servers) == 0:
		w.Cause = "the connection is closed: the service " + quoted(r.Service.Name.String()) + " has no servers"
	case r.Service.Findings.Has(diag.Error):
		w.Cause = who + " takes the connection, but a server of " + quoted(r.Service.Name.String()) + " cannot be used: " + first(r.Service.Findings)
	case r.Passthrough():
		w.Cause = who + " hands the TLS connection undecrypted to " + list(w.Router.Servers)
	default:
		w.Cause = who + " hands the connection to " + list(w.Router.Servers)
	}
	if !a.q.TCP && !a.q.TLS && len(ep.Plain) > 0 {
		w.Cause += "; it hides the HTTP routers of entry point " + quoted(ep.Name)
	}
}

// handshake says which certificate is shown under options (nil: refused anyway), and reports whether there is one.
func (a *asking) handshake(w *Way, options *dynamic.TLSOptions) bool {
	if a.Certificate == nil || options == nil {
		return true
	}
	text, ok := a.Certificate(a.q.SNI, options.SNIStrict)
	if w.Certificate = text; !ok {
		w.Cause = "the handshake is refused: no certificate covers " + quoted(a.q.SNI) + ", and the TLS options " + quoted(w.TLSOptions) + " have sniStrict"
	}
	return ok
}

// tcpServers lists the servers of a service and those below it.
func tcpServers(s *plan.TCPService, depth int) []string {
	if s == nil || depth > 20 {
		return nil
	}
	var out []string
	if lb := s.Config.LoadBalancer; lb != nil {
		for _, server := range lb.Servers {
			out = append(out, server.Address)
		}
	}
	for _, c := range s.Children {
		out = append(out, tcpServers(c, depth+1)...)
	}
	return out
}

func (a *asking) chosen(n *plan.Node) *Chosen {
	status, findings := a.p.About(n)
	c := &Chosen{Name: n.Name.String(), Place: n.Place().String(), Status: status.String()}
	for _, f := range findings {
		if f.Severity > diag.Info {
			c.Reasons = append(c.Reasons, f.Message)
		}
	}
	return c
}

// said is all that the plan says about an element.
func (a *asking) said(n *plan.Node) diag.List {
	_, findings := a.p.About(n)
	return findings
}

// first words the gravest finding: the first error, else the first warning, with its hint.
func first(l diag.List) string {
	for _, severity := range []diag.Severity{diag.Error, diag.Warning} {
		for _, f := range l {
			if f.Severity == severity {
				return worded(f)
			}
		}
	}
	return "no reason is known"
}

func worded(f diag.Finding) string {
	if f.Hint != "" {
		return f.Message + " (" + f.Hint + ")"
	}
	return f.Message
}

func quoted(s string) string { return `"` + s + `"` }

// list writes a few servers; the others are counted.
func list(servers []string) string {
	if len(servers) > 3 {
		return strings.Join(servers[:3], ", ") + " and others"
	}
	return strings.Join(servers, " or ")
}

// unmapped is a for comparisons: IPv4 never in its IPv6 form.
func unmapped(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

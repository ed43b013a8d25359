package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/route"
	"sluice/internal/core/static"
)

// EntryPoint is what is routed on one TCP entry point. Its tables answer with positions in its lists.
type EntryPoint struct {
	Name string
	// Config is nil without a static side.
	Config *static.EntryPoint
	// Plain are the HTTP routers in the clear, Secure those on TLS, each by falling precedence.
	Plain, Secure []*Router
	// TCP are the TCP routers in the clear, TLS those that see a ClientHello, each by falling precedence.
	TCP, TLS []*TCPRouter
	// PlainTable and SecureTable find the router of a request in Plain and Secure.
	PlainTable, SecureTable *route.HTTPTable
	// Conn decides about connections.
	Conn *route.EntryPoint
	// Options are the TLS options that connections for HTTPS hosts may get; Conn answers with positions in it.
	Options []HostOptions
}

// HostOptions are the TLS options of HTTPS hosts: one element of the configuration or, where routers disagree on a host,
// the strictest of what they ask.
type HostOptions struct {
	// Options is nil when they do not exist: connections are then refused.
	Options *TLSOptions
	// Effective is Options.Config, or the merged demands of a conflict; nil when connections are refused.
	Effective *dynamic.TLSOptions
}

// heldRank puts what is away behind everything that is there: it must not take the requests of its own successor.
const heldRank = 500

// tie is the text that orders routers of equal priority: by providers.precedence, else by the order that every
// reference of the option lists, then by name.
func (b *builder) tie(node *Node) string {
	n := node.Name
	rank := slices.Index(b.precedence, strings.ToLower(n.Provider))
	if rank < 0 {
		rank = len(b.precedence)
	}
	if node.Held() {
		rank += heldRank
	}
	return fmt.Sprintf("%03d %s", rank, n)
}

func (b *builder) buildEntryPoints() {
	for _, name := range b.tcpNames() {
		ep := &EntryPoint{Name: name}
		if b.static != nil {
			ep.Config = b.static.EntryPoints[name]
		}
		b.plan.EntryPoints[name] = ep
	}
	for _, r := range b.plan.HTTP.Routers {
		if !r.Routed() {
			continue
		}
		for _, name := range r.EntryPoints {
			ep := b.plan.EntryPoints[name]
			if r.TLS != nil {
				ep.Secure = append(ep.Secure, r)
			} else {
				ep.Plain = append(ep.Plain, r)
			}
		}
	}
	for _, r := range b.plan.TCP.Routers {
		if !r.Routed() {
			continue
		}
		for _, name := range r.EntryPoints {
			ep := b.plan.EntryPoints[name]
			if r.Config.TLS != nil {
				ep.TLS = append(ep.TLS, r)
			} else {
				ep.TCP = append(ep.TCP, r)
			}
		}
	}
	for _, name := range b.tcpNames() {
		ep := b.plan.EntryPoints[name]
		var was EntryPoint
		if p := b.previous.EntryPoints[name]; p != nil {
			was = *p
		}
		ep.PlainTable = route.CompileHTTP(was.PlainTable, httpEntries(ep.Plain))
		ep.SecureTable = route.CompileHTTP(was.SecureTable, httpEntries(ep.Secure))
		b.connections(ep, was.Conn)
	}
}

// tcpNames returns the entry points to plan for, sorted. Without a static side these are those that routers name.
func (b *builder) tcpNames() []string {
	if b.static != nil {
		return b.tcpEntryPoints
	}
	set := map[string]bool{}
	for _, r := range b.plan.HTTP.Routers {
		for _, ep := range r.EntryPoints {
			set[ep] = true
		}
	}
	for _, r := range b.plan.TCP.Routers {
		for _, ep := range r.EntryPoints {
			set[ep] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// httpEntries sorts routers by precedence, in place, and returns their table entries.
func httpEntries(routers []*Router) []route.Entry {
	slices.SortFunc(routers, func(a, b *Router) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.tie, b.tie))
	})
	out := make([]route.Entry, len(routers))
	for i, r := range routers {
		out[i] = route.Entry{Rule: r.Rule, Priority: r.Priority, Tie: r.tie}
	}
	return out
}

// tcpEntries is httpEntries for TCP routers.
func tcpEntries(routers []*TCPRouter) []route.Entry {
	slices.SortFunc(routers, func(a, b *TCPRouter) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.tie, b.tie))
	})
	out := make([]route.Entry, len(routers))
	for i, r := range routers {
		out[i] = route.Entry{Rule: r.Rule, Priority: r.Priority, Tie: r.tie}
	}
	return out
}

// claim is the set of routers that name one HTTPS host on an entry point.
type claim struct {
	routers []*Router
	options []*TLSOptions
	// position is the host's place in EntryPoint.Options.
	position int
}

// hostClaims collects which options the HTTPS hosts of an entry point are asked to have.
func (b *builder) hostClaims(ep *EntryPoint) (hosts []string, claims map[string]*claim) {
	claims = map[string]*claim{}
	for _, r := range ep.Secure {
		names := r.Rule.Hosts()
		if len(names) == 0 && r.Options != nil && r.Options.Name != DefaultOptions {
			r.report(diag.Warning, CodeTLSHostless, "the TLS options cannot apply, since the rule names no host: default options are used",
				"add Host(`...`) to the rule", "tls", "options")
			r.Options = b.plan.TLS.Options[DefaultOptions]
		}
		for _, h := range names {
			c := claims[h.Name]
			if c == nil {
				c = &claim{}
				claims[h.Name] = c
				hosts = append(hosts, h.Name)
			}
			c.routers = append(c.routers, r)
			if r.Options != nil && !slices.Contains(c.options, r.Options) {
				c.options = append(c.options, r.Options)
			}
		}
	}
	slices.Sort(hosts)
	return hosts, claims
}

// bindOptions decides the options of each HTTPS host and fills ep.Options. The first element is for names that no router
// claims.
func (b *builder) bindOptions(ep *EntryPoint, hosts []string, claims map[string]*claim) {
	fallback := b.plan.TLS.Options[DefaultOptions]
	ep.Options = []HostOptions{hostOptions(fallback)}
	positions := map[*TLSOptions]int{fallback: 0}
	for _, host := range hosts {
		c := claims[host]
		switch len(c.options) {
		case 0: // every claimant's options are missing: refuse
			c.position = len(ep.Options)
			ep.Options = append(ep.Options, HostOptions{})
		case 1:
			at, known := positions[c.options[0]]
			if !known {
				at = len(ep.Options)
				positions[c.options[0]] = at
				ep.Options = append(ep.Options, hostOptions(c.options[0]))
			}
			c.position = at
		default:
			c.position = len(ep.Options)
			ep.Options = append(ep.Options, b.conflict(ep, host, c, fallback))
		}
	}
}

func hostOptions(o *TLSOptions) HostOptions {
	if o == nil || o.Status == Disabled {
		return HostOptions{Options: o}
	}
	return HostOptions{Options: o, Effective: o.Config}
}

// conflict reports routers that disagree on a host's options and returns what is used instead.
func (b *builder) conflict(ep *EntryPoint, host string, c *claim, fallback *TLSOptions) HostOptions {
	for _, r := range c.routers {
		if r.Options == nil {
			continue
		}
		r.report(diag.Warning, CodeTLSConflict, fmt.Sprintf("found different TLS options for routers on the same host %s on entry point %s, "+
			"so using the default TLS options instead, with the strictest client authentication of them", host, ep.Name),
			"give all routers of the host the same options", "tls", "options")
	}
	if fallback.Status == Disabled {
		return HostOptions{Options: fallback}
	}
	var configs []*dynamic.TLSOptions
	for _, o := range c.options {
		if o.Status != Disabled {
			configs = append(configs, o.Config)
		}
	}
	merged, ok := stricter(fallback.Config, configs)
	if !ok {
		return HostOptions{}
	}
	return HostOptions{Options: fallback, Effective: merged}
}

// nameClaims warns where an HTTPS router and a TCP router both name a host: the HTTPS one gets its connections.
func nameClaims(ep *EntryPoint, claims map[string]*claim) {
	for _, t := range ep.TLS {
		for _, h := range t.Rule.Hosts() {
			if c := claims[h.Name]; c != nil && h.Name != "*" {
				t.report(diag.Warning, CodeNameClaimed, fmt.Sprintf("the name %s is claimed by the HTTPS router %q as well, which gets its connections on entry point %s",
					h.Name, c.routers[0].Name, ep.Name), "remove the name from one of the two", "rule")
			}
		}
	}
}

// connections builds what decides about the connections of an entry point.
func (b *builder) connections(ep *EntryPoint, was *route.EntryPoint) {
	if was == nil {
		was = &route.EntryPoint{}
	}
	hosts, claims := b.hostClaims(ep)
	b.bindOptions(ep, hosts, claims)
	nameClaims(ep, claims)
	var names []route.HTTPSHost
	for _, h := range hosts {
		names = append(names, route.HTTPSHost{Name: strings.TrimSuffix(h, "."), Options: ep.optionsAt(claims[h].position)})
	}
	for _, r := range ep.Secure {
		if len(r.Rule.Hosts()) == 0 {
			names = append(names, route.HTTPSHost{Name: "*", Options: ep.optionsAt(0)})
			break
		}
	}
	ep.Conn = &route.EntryPoint{DefaultOptions: ep.optionsAt(0), HTTPS: route.CompileHTTPS(was.HTTPS, names)}
	if len(ep.TCP) > 0 {
		ep.Conn.Plain = route.CompileTCP(was.Plain, tcpEntries(ep.TCP))
	}
	if len(ep.TLS) > 0 {
		ep.Conn.TLS = route.CompileTCP(was.TLS, tcpEntries(ep.TLS))
		for _, r := range ep.TLS {
			ep.Conn.Passthrough = append(ep.Conn.Passthrough, r.Passthrough())
		}
	}
}

// optionsAt is the position of options as the connection tables hold it.
func (ep *EntryPoint) optionsAt(position int) int {
	if ep.Options[position].Effective == nil {
		return route.RefuseTLS
	}
	return position
}

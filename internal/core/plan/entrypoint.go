package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

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

	// claims are the HTTPS hosts in order, conflicts those whose routers disagree.
	claims, conflicts []*claim
	// order holds, for each of the four lists, what competition does to its routers.
	order [sides]order
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
func (b *builder) tie(n *Node) string {
	rank := slices.Index(b.precedence, strings.ToLower(n.Name.Provider))
	if rank < 0 {
		rank = len(b.precedence)
	}
	if n.Held() {
		rank += heldRank
	}
	text := fmt.Sprintf("%03d %s", rank, n.Name)
	if n.Name.Local != n.written {
		text += " " + n.written // another router may have the name that a copy gets
	}
	return text
}

func byPrecedence(a, b *Router) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.tie, b.tie))
}

func byTCPPrecedence(a, b *TCPRouter) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.tie, b.tie))
}

// turnover are the routers that come to an entry point and leave it.
type turnover struct {
	plain, secure move[*Router]
	tcp, tls      move[*TCPRouter]
}

type move[R any] struct{ gone, fresh []R }

func (m *move[R]) empty() bool { return len(m.gone) == 0 && len(m.fresh) == 0 }

func (b *builder) buildEntryPoints() {
	moves := map[string]*turnover{}
	at := func(name string) *turnover {
		if moves[name] == nil {
			moves[name] = &turnover{}
		}
		return moves[name]
	}
	http := func(list []*Router, add func(m *move[*Router], r *Router)) {
		for _, r := range list {
			if !r.Routed() {
				continue
			}
			for _, name := range r.EntryPoints {
				if m := at(name); r.TLS != nil {
					add(&m.secure, r)
				} else {
					add(&m.plain, r)
				}
			}
		}
	}
	tcp := func(list []*TCPRouter, add func(m *move[*TCPRouter], r *TCPRouter)) {
		for _, r := range list {
			if !r.Routed() {
				continue
			}
			for _, name := range r.EntryPoints {
				if m := at(name); r.Config.TLS != nil {
					add(&m.tls, r)
				} else {
					add(&m.tcp, r)
				}
			}
		}
	}
	http(members(b.routers.gone), func(m *move[*Router], r *Router) { m.gone = append(m.gone, r) })
	http(members(b.routers.fresh()), func(m *move[*Router], r *Router) { m.fresh = append(m.fresh, r) })
	tcp(b.tcpRouters.gone, func(m *move[*TCPRouter], r *TCPRouter) { m.gone = append(m.gone, r) })
	tcp(b.tcpRouters.fresh(), func(m *move[*TCPRouter], r *TCPRouter) { m.fresh = append(m.fresh, r) })

	b.plan.EntryPoints = map[string]*EntryPoint{}
	fallback := b.plan.TLS.Options.Get(DefaultOptions)
	for _, name := range b.tcpNames() {
		was, m := b.base.EntryPoints[name], moves[name]
		if was == nil {
			was, m = &EntryPoint{Conn: &route.EntryPoint{}}, at(name)
		}
		if m == nil && was.Options[0].Options == fallback {
			b.plan.EntryPoints[name] = was
			continue
		}
		b.plan.EntryPoints[name] = b.entryPoint(name, was, at(name), fallback)
	}
}

// entryPoint makes what stands on an entry point from what stood there. was is empty for a new one.
func (b *builder) entryPoint(name string, was *EntryPoint, m *turnover, fallback *TLSOptions) *EntryPoint {
	ep := &EntryPoint{Name: name, Config: b.config(name),
		Plain:      edited(was.Plain, m.plain.gone, m.plain.fresh, byPrecedence),
		Secure:     edited(was.Secure, m.secure.gone, m.secure.fresh, byPrecedence),
		TCP:        edited(was.TCP, m.tcp.gone, m.tcp.fresh, byTCPPrecedence),
		TLS:        edited(was.TLS, m.tls.gone, m.tls.fresh, byTCPPrecedence),
		PlainTable: was.PlainTable, SecureTable: was.SecureTable,
	}
	if ep.PlainTable == nil || !m.plain.empty() {
		ep.PlainTable = route.CompileHTTP(was.PlainTable, httpEntries(ep.Plain))
	}
	if ep.SecureTable == nil || !m.secure.empty() {
		ep.SecureTable = route.CompileHTTP(was.SecureTable, httpEntries(ep.Secure))
	}
	conn := *was.Conn
	ep.Conn = &conn
	ep.bindOptions(was, m.secure, fallback)
	conn.DefaultOptions = ep.optionsAt(0)
	if !m.tcp.empty() {
		conn.Plain = compileTCP(was.Conn.Plain, ep.TCP)
	}
	if !m.tls.empty() {
		conn.TLS, conn.Passthrough = compileTCP(was.Conn.TLS, ep.TLS), nil
		for _, r := range ep.TLS {
			conn.Passthrough = append(conn.Passthrough, r.Passthrough())
		}
	}
	ep.compete(was, m)
	return ep
}

// tcpNames returns the entry points to plan for, sorted. Without a static side these are those that routers name.
func (b *builder) tcpNames() []string {
	if b.static != nil {
		return b.tcp
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

func httpEntries(routers []*Router) []route.Entry {
	out := make([]route.Entry, len(routers))
	for i, r := range routers {
		out[i] = route.Entry{Rule: r.Rule, Priority: r.Priority, Tie: r.tie}
	}
	return out
}

// compileTCP returns nil for no routers.
func compileTCP(was *route.TCPTable, routers []*TCPRouter) *route.TCPTable {
	if len(routers) == 0 {
		return nil
	}
	entries := make([]route.Entry, len(routers))
	for i, r := range routers {
		entries[i] = route.Entry{Rule: r.Rule, Priority: r.Priority, Tie: r.tie}
	}
	return route.CompileTCP(was, entries)
}

package engine

import (
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/traffic/entrypoint"
)

// generation makes the routes of all entry points: what is new is built, what the plan has taken over is taken over here too.
func (b *build) generation() *entrypoint.Generation {
	gone, fresh := b.p.HTTP.Routers.Since(b.was.HTTP.Routers)
	left := make(map[*plan.Router]bool, len(gone))
	for _, r := range gone {
		left[r] = true
		if c := b.e.chains[r.Identity]; c != nil {
			c.dropped = true
		}
	}
	for _, r := range fresh {
		if !r.Routed() {
			continue
		}
		if c := b.e.chains[r.Identity]; c != nil {
			c.dropped = false // the router was only written elsewhere
			continue
		}
		c := b.chain(r, b.detailed(r))
		b.e.chains[r.Identity] = c
		b.e.ordered = append(b.e.ordered, c)
	}
	for _, r := range gone {
		if c := b.e.chains[r.Identity]; c != nil && c.dropped {
			delete(b.e.chains, r.Identity)
		}
	}
	goneTCP, freshTCP := b.p.TCP.Routers.Since(b.was.TCP.Routers)
	leftTCP := make(map[*plan.TCPRouter]bool, len(goneTCP))
	for _, r := range goneTCP {
		leftTCP[r] = true
		delete(b.e.tcpRoutes, r)
	}
	for _, r := range freshTCP {
		if r.Routed() {
			b.e.tcpRoutes[r] = b.tcpRoute(r)
		}
	}
	g := &entrypoint.Generation{}
	for i, name := range b.e.o.EntryPoints {
		was, old := &plan.EntryPoint{}, &entrypoint.Routes{}
		if b.e.generation != nil {
			was, old = b.was.EntryPoints[name], b.e.generation.Routes[i]
		}
		g.Routes = append(g.Routes, b.routes(b.p.EntryPoints[name], was, old, left, leftTCP))
	}
	for i, r := range g.Routes {
		for j, other := range g.Routes {
			if i != j {
				r.Others = append(r.Others, other)
			}
		}
	}
	for _, r := range g.Routes {
		r.Seal()
	}
	return g
}

// routes makes the routes of an entry point from those that it had.
func (b *build) routes(ep, was *plan.EntryPoint, old *entrypoint.Routes, left map[*plan.Router]bool, leftTCP map[*plan.TCPRouter]bool) *entrypoint.Routes {
	r := &entrypoint.Routes{Conn: ep.Conn, TCP: old.TCP, TLS: old.TLS, Options: old.Options, Plain: old.Plain, Secure: old.Secure}
	if ep == was {
		return r
	}
	denied := deniedCharacters(ep.Config)
	http := func(node *plan.Router) entrypoint.HTTPRouter { return b.httpRouter(node, denied) }
	tcp := func(node *plan.TCPRouter) entrypoint.TCPRouter { return b.e.tcpRoutes[node].TCPRouter }
	r.Plain = entrypoint.HTTPRoutes{Table: ep.PlainTable, Routers: carry(ep.Plain, was.Plain, old.Plain.Routers, left, http)}
	r.Secure = entrypoint.HTTPRoutes{Table: ep.SecureTable, Routers: carry(ep.Secure, was.Secure, old.Secure.Routers, left, http)}
	r.TCP = carry(ep.TCP, was.TCP, old.TCP, leftTCP, tcp)
	r.TLS = carry(ep.TLS, was.TLS, old.TLS, leftTCP, tcp)
	r.Options = nil
	for _, o := range ep.Options {
		r.Options = append(r.Options, b.tlsOptions(o.Effective, o.Options))
	}
	return r
}

// carry makes the list for nodes: what is new in it, and the rest from the list for the nodes of before. left are the nodes
// that are no longer there; the others stand in the same order in both.
func carry[N comparable, R any](nodes, before []N, was []R, left map[N]bool, build func(N) R) []R {
	if len(nodes) == len(before) && (len(nodes) == 0 || &nodes[0] == &before[0]) {
		return was // the plan shares the list
	}
	out := make([]R, len(nodes))
	at := 0
	for i, n := range nodes {
		for at < len(before) && before[at] != n && left[before[at]] {
			at++
		}
		if at < len(before) && before[at] == n {
			out[i] = was[at]
			at++
		} else {
			out[i] = build(n)
		}
	}
	return out
}

// deniedCharacters is the policy of an entry point on percent codes.
func deniedCharacters(c *static.EntryPoint) entrypoint.EncodedCharacters {
	if c == nil || c.HTTP.EncodedCharacters == nil {
		return 0
	}
	p := c.HTTP.EncodedCharacters
	var out entrypoint.EncodedCharacters
	for _, row := range []struct {
		allowed bool
		bit     entrypoint.EncodedCharacters
	}{
		{p.AllowEncodedSlash, entrypoint.DenyEncodedSlash}, {p.AllowEncodedBackSlash, entrypoint.DenyEncodedBackSlash},
		{p.AllowEncodedNullCharacter, entrypoint.DenyEncodedNullCharacter}, {p.AllowEncodedSemicolon, entrypoint.DenyEncodedSemicolon},
		{p.AllowEncodedPercent, entrypoint.DenyEncodedPercent}, {p.AllowEncodedQuestionMark, entrypoint.DenyEncodedQuestionMark},
		{p.AllowEncodedHash, entrypoint.DenyEncodedHash},
	} {
		if !row.allowed {
			out |= row.bit
		}
	}
	return out
}

package plan

import (
	"fmt"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/route"
)

// The four lists of routers of an entry point: those of one list compete with each other.
const (
	plainSide = iota
	secureSide
	tcpSide
	tlsSide
	sides
)

// competitor is a router as the lints of order see it.
type competitor struct {
	node        *Node
	parsed      *parsed
	priority    int
	redirection bool
}

func (r *Router) competitor() competitor {
	return competitor{&r.Node, r.parsed, r.Priority, r.Redirection}
}

func (r *TCPRouter) competitor() competitor {
	return competitor{&r.Node, r.parsed, r.Priority, false}
}

func (r *Router) alternatives() []clause    { return r.parsed.clauses }
func (r *TCPRouter) alternatives() []clause { return r.parsed.clauses }

// contender is a router of either layer.
type contender interface {
	comparable
	element
	competitor() competitor
	alternatives() []clause
}

// loss says that a router gets nothing on one list, or that it loses some requests by its name alone.
type loss struct {
	router, by competitor
	example    string
	// some is set where it is not all.
	some bool
}

// order holds the losers of one list.
type order map[*Node]loss

// compete finds the losers of the four lists. Routers that have nothing to do with those that came or went are not judged
// again.
func (ep *EntryPoint) compete(was *EntryPoint, m *turnover) {
	ep.order = was.order
	tcp := func(side int, list []*TCPRouter, m move[*TCPRouter], table *route.TCPTable) {
		ep.order[side] = judge(list, was.order[side], m, func(host, _ string) (int, bool) {
			return table.Lookup(&route.Conn{SNI: host, Opening: route.TLSHello})
		}, func(k *clause) string {
			if k.host == "" {
				return "any connection" + with(k.rest)
			}
			return "a connection for " + k.sampleHost + with(k.rest)
		})
	}
	ep.order[plainSide] = judgeHTTP(ep.Plain, was.order[plainSide], m.plain, ep.PlainTable, "http")
	ep.order[secureSide] = judgeHTTP(ep.Secure, was.order[secureSide], m.secure, ep.SecureTable, "https")
	tcp(tcpSide, ep.TCP, m.tcp, ep.Conn.Plain)
	tcp(tlsSide, ep.TLS, m.tls, ep.Conn.TLS)
}

func judgeHTTP(list []*Router, was order, m move[*Router], table *route.HTTPTable, scheme string) order {
	req := route.Request{Method: []byte("GET")}
	return judge(list, was, m, func(host, path string) (int, bool) {
		req.Host, req.Path = append(req.Host[:0], host...), append(req.Path[:0], path...)
		return table.Lookup(&req)
	}, func(k *clause) string { return "GET " + scheme + "://" + k.sampleHost + k.samplePath + with(k.rest) })
}

func with(rest string) string {
	if rest == "" {
		return ""
	}
	return " with " + rest
}

const (
	// maxMoved is how many alternatives of routers that came or went are compared with those of all routers; with more, all
	// routers are judged.
	maxMoved = 32
	// maxJudged is how many alternatives of routers are judged among only those that have to do with them.
	maxJudged = 64
)

// judge brings the losers of a list, which stands in order of precedence, up to date with the routers that came and went.
func judge[R contender](list []R, was order, m move[R], lookup func(host, path string) (int, bool), example func(*clause) string) order {
	if m.empty() {
		return was
	}
	judged, among := list, list
	if moved := samplesOf(slices.Concat(m.gone, m.fresh), maxMoved); moved != nil {
		judged = choose(list, func(own []clause) bool { return takes(moved, own) })
	}
	if samples := samplesOf(judged, maxJudged); samples != nil || len(judged) == 0 {
		among = choose(list, func(own []clause) bool { return len(own) == 0 || takes(own, samples) })
	}
	out := order{}
	again := make(map[*Node]bool, len(judged))
	for _, r := range judged {
		again[r.node()] = true
	}
	for _, r := range m.gone {
		again[r.node()] = true
	}
	for n, l := range was {
		if !again[n] {
			out[n] = l
		}
	}
	competitors := make([]competitor, len(among))
	for i, r := range among {
		competitors[i] = r.competitor()
	}
	winner := func(k *clause) *Node {
		if at, ok := lookup(k.sampleHost, k.samplePath); ok {
			return list[at].node()
		}
		return nil
	}
	earlier := cover{}
	for i := range competitors {
		c := &competitors[i]
		if again[c.node] && c.node.Name.Provider != Internal {
			if by, k := shadowed(earlier, c, winner); k != nil {
				out[c.node] = loss{*c, competitors[by], example(k), false}
			} else if by, k := tied(competitors, i, winner); k != nil {
				out[c.node] = loss{*c, *by, example(k), true}
			}
		}
		for _, k := range c.parsed.clauses {
			earlier.add(k, i)
		}
	}
	return out
}

// samplesOf returns the alternatives of routers, nil where there are too many of them or a router has none that are known.
func samplesOf[R contender](list []R, limit int) (out []clause) {
	for _, r := range list {
		if out = append(out, r.alternatives()...); len(r.alternatives()) == 0 || len(out) > limit {
			return nil
		}
	}
	return out
}

// choose returns the routers of a list for which is holds, in the same order.
func choose[R contender](list []R, is func(own []clause) bool) (out []R) {
	for _, r := range list {
		if is(r.alternatives()) {
			out = append(out, r)
		}
	}
	return out
}

// takes reports whether one of the clauses holds for the sample of one of the others, as far as host and path tell.
func takes(clauses, samples []clause) bool {
	for i := range samples {
		for j := range clauses {
			if clauses[j].holdsFor(samples[i].sampleHost, samples[i].samplePath) {
				return true
			}
		}
	}
	return false
}

// shadowed returns the router that takes the first alternative of c, and that one, where others before it take each. The
// table itself is asked too, so that nothing is claimed that is not so.
func shadowed(earlier cover, c *competitor, winner func(*clause) *Node) (by int, k *clause) {
	for i := range c.parsed.clauses {
		k := &c.parsed.clauses[i]
		found := earlier.find(*k)
		if found < 0 {
			return 0, nil
		}
		if k.rest == "" {
			if w := winner(k); w == nil || w == c.node {
				return 0, nil
			}
		}
		if i == 0 {
			by = found
		}
	}
	if len(c.parsed.clauses) == 0 {
		return 0, nil
	}
	return by, &c.parsed.clauses[0]
}

// tied returns a router of equal priority that takes an alternative of the one at a place, and that alternative.
func tied(list []competitor, at int, winner func(*clause) *Node) (by *competitor, k *clause) {
	c := &list[at]
	if (at == 0 || list[at-1].priority != c.priority) && (at == len(list)-1 || list[at+1].priority != c.priority) {
		return nil, nil
	}
	for i := range c.parsed.clauses {
		k := &c.parsed.clauses[i]
		if k.rest != "" {
			continue
		}
		w := winner(k)
		if w == nil || w == c.node || w.Name.Provider == Internal {
			continue
		}
		for j := at - 1; j >= 0 && list[j].priority == c.priority; j-- {
			if list[j].node == w {
				return &list[j], k
			}
		}
	}
	return nil, nil
}

// noteOrder reports routers that others leave nothing to, and ties that only names decide. A router that is heard on one of
// its places does its work; only those that lose on all are reported as shadowed.
func (b *builder) noteOrder() {
	type count struct {
		first  loss
		at     string
		places int
	}
	lost := map[Name]*count{}
	look := func(at string, o order) {
		for _, l := range o {
			n := l.router.node
			if l.some {
				b.note(n, diag.Info, CodeTie, fmt.Sprintf("has the same priority %d as the router %q, which takes %s by its name alone",
					l.router.priority, l.by.node.Name, l.example), "give one of them a priority", "rule")
				continue
			}
			written := Name{n.Kind + "." + n.written, n.Name.Provider}
			if lost[written] == nil {
				lost[written] = &count{first: l, at: at}
			}
			lost[written].places++
		}
	}
	for _, name := range b.tcpNames() {
		for side := range sides {
			look(name, b.plan.EntryPoints[name].order[side])
		}
	}
	for _, f := range b.plan.layered {
		look("", f.nodes[0].order)
	}
	for _, c := range lost {
		if c.places == b.placesOf(c.first.router.node) {
			b.noteLoss(c.at, &c.first)
		}
	}
}

// placesOf returns on how many entry points, or below how many routers, the router that n comes from is routed.
func (b *builder) placesOf(n *Node) (places int) {
	name := Name{n.written, n.Name.Provider}
	if n.Kind == b.tcpRouters.kind {
		return len(b.plan.TCP.Routers.Get(name).EntryPoints)
	}
	at, _ := b.routers.find(name)
	for _, r := range b.routers.nodes[at].nodes {
		places += len(r.EntryPoints)
	}
	for _, f := range b.plan.layered {
		if slices.ContainsFunc(f.nodes[0].Children, func(c *Router) bool { return &c.Node == n }) {
			places++
		}
	}
	return places
}

func (b *builder) noteLoss(entryPoint string, l *loss) {
	n, by := l.router.node, l.by
	switch {
	case by.redirection:
		b.note(n, diag.Warning, CodeShadowed, fmt.Sprintf("never gets a request: entry point %s redirects all of them first, such as %s", entryPoint, l.example),
			"put the router on the entry point that the redirection leads to", "entryPoints")
	case by.priority == l.router.priority:
		b.note(n, diag.Warning, CodeTie, fmt.Sprintf("has the same priority %d as the router %q, which comes first by its name and takes everything, such as %s",
			l.router.priority, by.node.Name, l.example), "give one of them a priority", "rule")
	default:
		b.note(n, diag.Warning, CodeShadowed, fmt.Sprintf("never gets anything: the router %q with priority %d comes before priority %d and takes all of it, such as %s",
			by.node.Name, by.priority, l.router.priority, l.example), "raise the priority of this router, or narrow the rule of the other", "rule")
	}
}

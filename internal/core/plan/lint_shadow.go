package plan

import (
	"fmt"

	"sluice/internal/core/diag"
	"sluice/internal/core/route"
)

// competitor is a router as the lints of order see it.
type competitor struct {
	node        *Node
	config      any // the written element, the same for all copies of a split router
	parsed      *parsed
	priority    int
	redirection bool
}

// shadows collects, for each written router, on how many of its places it never gets anything.
type shadows struct {
	total, lost map[any]int
	why         map[any]func()
	order       []any
}

// lintOrder reports routers that others leave nothing to, and ties that only names decide.
func (b *builder) lintOrder() {
	s := &shadows{map[any]int{}, map[any]int{}, map[any]func(){}, nil}
	for _, name := range b.tcpNames() {
		ep := b.plan.EntryPoints[name]
		s.http(ep, ep.Plain, ep.PlainTable, "http")
		s.http(ep, ep.Secure, ep.SecureTable, "https")
		s.tcp(ep, ep.TCP, ep.Conn.Plain)
		s.tcp(ep, ep.TLS, ep.Conn.TLS)
	}
	// A router that is heard on one of its entry points does its work; only those without any are reported.
	for _, config := range s.order {
		if s.lost[config] == s.total[config] {
			s.why[config]()
		}
	}
}

func (s *shadows) http(ep *EntryPoint, routers []*Router, table *route.HTTPTable, scheme string) {
	if len(routers) == 0 {
		return
	}
	list := make([]competitor, len(routers))
	for i, r := range routers {
		list[i] = competitor{&r.Node, r.Config, r.parsed, r.Priority, r.Redirection}
	}
	req := route.Request{Method: []byte("GET")}
	s.side(ep, list, func(host, path string) (int, bool) {
		req.Host, req.Path = append(req.Host[:0], host...), append(req.Path[:0], path...)
		return table.Lookup(&req)
	}, func(k clause) string {
		host, path := k.witness()
		return "GET " + scheme + "://" + host + path + with(k.rest)
	})
}

func (s *shadows) tcp(ep *EntryPoint, routers []*TCPRouter, table *route.TCPTable) {
	if len(routers) == 0 {
		return
	}
	list := make([]competitor, len(routers))
	for i, r := range routers {
		list[i] = competitor{&r.Node, r.Config, r.parsed, r.Priority, false}
	}
	s.side(ep, list, func(host, _ string) (int, bool) {
		return table.Lookup(&route.Conn{SNI: host, Opening: route.TLSHello})
	}, func(k clause) string {
		if k.host == "" {
			return "any connection" + with(k.rest)
		}
		host, _ := k.witness()
		return "a connection for " + host + with(k.rest)
	})
}

func with(rest string) string {
	if rest == "" {
		return ""
	}
	return " with " + rest
}

// side looks at the routers of one table, which stand in order of precedence.
func (s *shadows) side(ep *EntryPoint, list []competitor, lookup func(host, path string) (int, bool), example func(clause) string) {
	earlier := cover{}
	for i := range list {
		c := &list[i]
		own := c.node.Name.Provider == Internal
		if !own {
			s.total[c.config]++
			if by, k, ok := shadowed(earlier, c.parsed.clauses, i, lookup); ok {
				s.lose(ep, c, &list[by], example(k))
			} else {
				tie(list, i, lookup, example)
			}
		}
		for _, k := range c.parsed.clauses {
			earlier.add(k, i)
		}
	}
}

// shadowed reports whether every alternative is taken by earlier routers, by whom, and one alternative to show it. The
// table itself is asked too, so that nothing is claimed that is not so.
func shadowed(earlier cover, clauses []clause, at int, lookup func(host, path string) (int, bool)) (by int, k clause, ok bool) {
	for i, c := range clauses {
		found := earlier.find(c)
		if found < 0 {
			return 0, k, false
		}
		if c.rest == "" {
			if winner, some := lookup(c.witness()); !some || winner == at {
				return 0, k, false
			}
		}
		if i == 0 {
			by, k = found, c
		}
	}
	return by, k, len(clauses) > 0
}

func (s *shadows) lose(ep *EntryPoint, c, by *competitor, example string) {
	if s.lost[c.config]++; s.lost[c.config] > 1 {
		return
	}
	s.order = append(s.order, c.config)
	s.why[c.config] = func() {
		switch {
		case by.redirection:
			c.node.lint(diag.Warning, CodeShadowed, fmt.Sprintf("never gets a request: entry point %s redirects all of them first, such as %s", ep.Name, example),
				"put the router on the entry point that the redirection leads to", "entryPoints")
		case by.priority == c.priority:
			c.node.lint(diag.Warning, CodeTie, fmt.Sprintf("has the same priority %d as the router %q, which comes first by its name and takes everything, such as %s",
				c.priority, by.node.Name, example), "give one of them a priority", "rule")
		default:
			c.node.lint(diag.Warning, CodeShadowed, fmt.Sprintf("never gets anything: the router %q with priority %d comes before priority %d and takes all of it, such as %s",
				by.node.Name, by.priority, c.priority, example), "raise the priority of this router, or narrow the rule of the other", "rule")
		}
	}
}

// tie reports a router that loses a request to another of equal priority.
func tie(list []competitor, at int, lookup func(host, path string) (int, bool), example func(clause) string) {
	c := &list[at]
	if (at == 0 || list[at-1].priority != c.priority) && (at == len(list)-1 || list[at+1].priority != c.priority) {
		return
	}
	for _, k := range c.parsed.clauses {
		if k.rest != "" {
			continue
		}
		if winner, ok := lookup(k.witness()); ok && winner != at && list[winner].priority == c.priority && list[winner].node.Name.Provider != Internal {
			c.node.lint(diag.Info, CodeTie, fmt.Sprintf("has the same priority %d as the router %q, which takes %s by its name alone",
				c.priority, list[winner].node.Name, example(k)), "give one of them a priority", "rule")
			return
		}
	}
}

package route

import (
	"slices"

	"sluice/internal/core/rule"
)

// LookupOwner is Lookup among the entries whose rule positively names the request's host: by a Host (wildcards of one label
// included, the catch-all not), or by a HostRegexp that fits few names. Whoever wins owns what is particular to the host,
// such as its ACME challenges; an entry point's redirection of every host owns nothing.
func (t *HTTPTable) LookupOwner(r *Request) (int, bool) {
	v := r.view()
	v.owner = true
	return t.t.lookup(&v)
}

// Owns reports whether LookupOwner finds somebody.
func (t *HTTPTable) Owns(r *Request) bool {
	_, ok := t.LookupOwner(r)
	return ok
}

// Owner returns the passthrough TCP router whose machine owns the name c.SNI: the one to which a ClientHello with that
// name (and c.ALPN, c.Client) would go here, provided its rule positively names it. A host whose TLS goes elsewhere, such
// as to an HTTPS router that names it too, has no such owner.
func (e *EntryPoint) Owner(c *Conn) (int, bool) {
	hello := Conn{Client: c.Client, Opening: TLSHello, SNI: c.SNI, ALPN: c.ALPN}
	d := e.Decide(&hello, nil)
	if d.Action != TLSPassthrough {
		return 0, false
	}
	v := hello.view()
	v.owner = true
	// The winner of the lookup among owners is the winner of the whole lookup if that one is an owner.
	i, ok := e.TLS.t.lookup(&v)
	return i, ok && i == d.Router
}

// owns reports whether n holds, and holds because a matcher names the host. With negated set, the same for the negation
// of n.
func (v *view) owns(n *rule.Node, negated bool) bool {
	switch n.Op {
	case rule.Match:
		return !negated && v.names(n.Matcher)
	case rule.Not:
		return v.owns(n.Kids[0], !negated)
	}
	owned := false
	for _, k := range n.Kids {
		owns := v.owns(k, negated)
		if (n.Op == rule.And) == negated { // alternatives
			if owns {
				return true
			}
			continue
		}
		if v.holds(k) == negated {
			return false
		}
		owned = owned || owns
	}
	return owned
}

// names reports whether a matcher holds for the host and not for just any.
func (v *view) names(m *rule.Matcher) bool {
	switch m.Kind {
	case rule.Host, rule.HostSNI:
	case rule.HostRegexp, rule.HostSNIRegexp:
	default:
		return false
	}
	for i := range m.Values {
		w := &m.Values[i]
		if w.Form != rule.Any && v.test(m.Kind, w) && (w.Re == nil || !slices.ContainsFunc(anyNames[:], w.Re.MatchString)) {
			return true
		}
	}
	return false
}

// anyNames stand for names that nobody meant: an expression that fits one of them fits about everything. Their shapes
// differ because expressions such as ^[^.]+\.[^.]+$ or \.com$ look at those.
var anyNames = [...]string{
	"q7zk2wv9", "q7zk2wv9.com", "q7zk2wv9.org", "q7zk2wv9.net", "www.q7zk2wv9.com", "www.q7zk2wv9.invalid", "x3.www.q7zk2wv9.org", "x3.y5.www.q7zk2wv9.net",
}

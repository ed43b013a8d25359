package route

import (
	"strings"

	"sluice/internal/core/rule"
)

// holds evaluates a part of a rule's tree. Its depth is bounded by rule.MaxDepth.
func (v *view) holds(n *rule.Node) bool {
	switch n.Op {
	case rule.And:
		for _, k := range n.Kids {
			if !v.holds(k) {
				return false
			}
		}
		return true
	case rule.Or:
		for _, k := range n.Kids {
			if v.holds(k) {
				return true
			}
		}
		return false
	case rule.Not:
		return !v.holds(n.Kids[0])
	default:
		return v.match(n.Matcher)
	}
}

func (v *view) match(m *rule.Matcher) bool {
	for i := range m.Values {
		if v.test(m.Kind, &m.Values[i]) != m.All {
			return !m.All
		}
	}
	return m.All
}

// test checks one value of a matcher. Here, and nowhere else, stands what matchers mean.
func (v *view) test(kind rule.Kind, w *rule.Value) bool {
	switch kind {
	case rule.Host, rule.HostSNI:
		return w.Form == rule.Any || named(v.host, w) || v.cname != "" && named(v.cname, w)
	case rule.HostRegexp, rule.HostSNIRegexp:
		return w.Re.MatchString(v.host) || v.cname != "" && w.Re.MatchString(v.cname)
	case rule.Path, rule.PathPrefix, rule.PathRegexp:
		switch w.Form {
		case rule.Exact:
			return v.path == w.Text
		case rule.Prefix:
			return strings.HasPrefix(v.path, w.Text)
		}
		return w.Re.MatchString(v.path)
	case rule.Method:
		return v.method == w.Text
	case rule.Header, rule.HeaderRegexp:
		return v.header(w)
	case rule.Query, rule.QueryRegexp:
		return v.parameter(w)
	case rule.ClientIP:
		return w.Net.Contains(v.client)
	default: // rule.ALPN
		for _, p := range v.alpn {
			if p == w.Text {
				return true
			}
		}
		return false
	}
}

// named reports whether a name is the one of w, or has exactly one label before the text of a wildcard.
func named(name string, w *rule.Value) bool {
	if w.Form == rule.Exact {
		return name == w.Text && name != ""
	}
	after, ok := afterLabel(name)
	return ok && after == w.Text
}

func (v *view) header(w *rule.Value) bool {
	if v.req.Header == nil {
		return false
	}
	for i := 0; ; i++ {
		b, ok := v.req.Header.HeaderValue(w.Key, i)
		switch {
		case !ok:
			return false
		case w.Form == rule.Exact && string(b) == w.Text, w.Form == rule.Regexp && w.Re.MatchString(text(b)):
			return true
		}
	}
}

func (v *view) parameter(w *rule.Value) bool {
	v.req.query.parse(text(v.req.Query))
	for _, p := range v.req.query.pairs {
		if p.name != w.Key {
			continue
		}
		switch w.Form {
		case rule.Exact:
			if p.value == w.Text {
				return true
			}
		case rule.Empty:
			if p.value == "" {
				return true
			}
		case rule.Regexp:
			if w.Re.MatchString(p.value) {
				return true
			}
		case rule.First:
			return w.Re.MatchString(p.value)
		}
	}
	return false
}

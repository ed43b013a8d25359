package route

import (
	"strings"

	"sluice/internal/core/rule"
)

// Verdict says why an entry takes a subject or does not.
type Verdict struct {
	// Entry is the index in the list that the table was compiled from.
	Entry   int
	Matches bool
	// Owns is set if it matches and positively names the host, as LookupOwner asks.
	Owns bool
	// Misses are the matchers that decided against it, in the order of the rule: one, or one for each alternative that was
	// tried, at most maxMisses. Empty if Matches.
	Misses []Miss
}

// Miss is a matcher that was not as the rule wants it.
type Miss struct {
	Matcher *rule.Matcher
	// Offset is where the matcher stands in the rule's text.
	Offset int
	// Negated is set where the rule wants the matcher not to hold, and it did.
	Negated bool
	// Saw is what the matcher looked at: the host, the values of the field ...; empty where there was nothing.
	Saw string
}

// maxMisses bounds the list for rules with very many alternatives.
const maxMisses = 8

func (t *table) explain(v *view) []Verdict {
	out := make([]Verdict, len(t.sorted))
	for i := range t.sorted {
		root := t.sorted[i].Rule.Root
		out[i] = Verdict{Entry: int(t.sorted[i].at), Matches: v.holds(root)}
		out[i].Owns = out[i].Matches && v.owns(root, false)
		if !out[i].Matches {
			v.misses(root, false, &out[i].Misses)
		}
	}
	return out
}

// misses adds the matchers because of which n, or its negation, does not hold.
func (v *view) misses(n *rule.Node, negated bool, out *[]Miss) {
	switch {
	case len(*out) >= maxMisses:
	case n.Op == rule.Match:
		*out = append(*out, Miss{n.Matcher, n.Offset, negated, v.saw(n.Matcher)})
	case n.Op == rule.Not:
		v.misses(n.Kids[0], !negated, out)
	case (n.Op == rule.And) == negated: // alternatives: all of them failed
		for _, k := range n.Kids {
			v.misses(k, negated, out)
		}
	default:
		for _, k := range n.Kids {
			if v.holds(k) == negated {
				v.misses(k, negated, out)
				return
			}
		}
	}
}

// saw returns a copy of what a matcher looked at.
func (v *view) saw(m *rule.Matcher) string {
	switch m.Kind {
	case rule.Host, rule.HostSNI, rule.HostRegexp, rule.HostSNIRegexp:
		if v.cname != "" {
			return v.host + ", " + v.cname
		}
		return strings.Clone(v.host)
	case rule.Path, rule.PathPrefix, rule.PathRegexp:
		return strings.Clone(v.path)
	case rule.Method:
		return strings.Clone(v.method)
	case rule.ClientIP:
		if !v.client.IsValid() {
			return ""
		}
		return v.client.String()
	case rule.ALPN:
		return strings.Join(v.alpn, ", ")
	}
	var seen []string
	for i := range m.Values {
		key := m.Values[i].Key
		if m.Kind == rule.Query || m.Kind == rule.QueryRegexp {
			v.req.query.parse(text(v.req.Query))
			for _, p := range v.req.query.pairs {
				if p.name == key {
					seen = append(seen, key+"="+p.value)
				}
			}
			continue
		}
		for j := 0; v.req.Header != nil; j++ {
			b, ok := v.req.Header.HeaderValue(key, j)
			if !ok {
				break
			}
			seen = append(seen, key+": "+string(b))
		}
	}
	return strings.Join(seen, ", ")
}

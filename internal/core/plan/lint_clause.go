package plan

import (
	"slices"
	"strings"

	"sluice/internal/core/rule"
)

// clause is one alternative of a rule: all its parts must hold.
type clause struct {
	// host is an exact name, "*." and a domain, anyName, or empty where the host does not count.
	host string
	// path is what the path begins with, or the whole path; empty where it does not count.
	path  string
	whole bool
	// rest are the other matchers, in a fixed order and as text; two equal texts mean the same.
	rest string
	// sampleHost and samplePath are a request for which the clause holds, where its rest does too.
	sampleHost, samplePath string
}

// anyName stands for every host that is not empty.
const anyName = "?"

const (
	// maxClauses bounds the alternatives of a rule that are looked at; a rule with more is left out of these lints.
	maxClauses = 64
	// maxClausePath bounds the paths that are compared.
	maxClausePath = 256
)

// clausesOf brings a rule into alternatives; nil where there are too many.
func clausesOf(r *rule.Rule) []clause {
	out, ok := alternatives(r.Root, false, r.Syntax.String())
	if !ok {
		return nil
	}
	for i := range out {
		out[i].sampleHost, out[i].samplePath = out[i].sample()
	}
	return out
}

func alternatives(n *rule.Node, negated bool, syntax string) ([]clause, bool) {
	switch {
	case n.Op == rule.Not:
		return alternatives(n.Kids[0], !negated, syntax)
	case n.Op == rule.Match:
		return matcherClauses(n.Matcher, negated, syntax)
	case (n.Op == rule.Or) != negated:
		var out []clause
		for _, k := range n.Kids {
			more, ok := alternatives(k, negated, syntax)
			if out = append(out, more...); !ok || len(out) > maxClauses {
				return nil, false
			}
		}
		return out, true
	}
	out := []clause{{}}
	for _, k := range n.Kids {
		more, ok := alternatives(k, negated, syntax)
		if !ok || len(out)*len(more) > maxClauses {
			return nil, false
		}
		var product []clause
		for _, a := range out {
			for _, b := range more {
				product = append(product, a.and(b))
			}
		}
		out = product
	}
	return out, true
}

// and joins two clauses. Where both say something about the same part, the second says it in rest.
func (c clause) and(o clause) clause {
	rest := strings.Split(c.rest, " && ")
	if o.rest != "" {
		rest = append(rest, strings.Split(o.rest, " && ")...)
	}
	switch {
	case c.host == "" || c.host == anyName && o.host != "":
		c.host = o.host
	case o.host != "" && o.host != c.host && o.host != anyName:
		rest = append(rest, "host "+o.host)
	}
	switch {
	case c.path == "":
		c.path, c.whole = o.path, o.whole
	case o.path != "" && (o.path != c.path || o.whole != c.whole):
		if o.whole {
			rest = append(rest, "path "+o.path)
		} else {
			rest = append(rest, "path from "+o.path)
		}
	}
	slices.Sort(rest)
	rest = slices.Compact(rest)
	c.rest = strings.TrimPrefix(strings.Join(rest, " && "), " && ")
	return c
}

func matcherClauses(m *rule.Matcher, negated bool, syntax string) ([]clause, bool) {
	text := m.String()
	if syntax != rule.V3.String() {
		text = syntax + " " + text
	}
	opaque := []clause{{rest: text}}
	if negated {
		return []clause{{rest: "!" + text}}, true
	}
	if m.All && len(m.Values) > 1 {
		return opaque, true
	}
	if len(m.Values) > maxClauses {
		return nil, false
	}
	var out []clause
	for i := range m.Values {
		v := &m.Values[i]
		var c clause
		switch {
		case m.Kind == rule.Host || m.Kind == rule.HostSNI:
			if v.Form != rule.Any {
				c.host = v.Name()
			}
		case (m.Kind == rule.HostRegexp || m.Kind == rule.HostSNIRegexp) && len(m.Values) == 1:
			switch v.Re.String() {
			case "^.+$", ".+":
				c.host = anyName
			case "^.*$", ".*":
			default:
				return opaque, true
			}
		case (v.Form == rule.Exact || v.Form == rule.Prefix) && (m.Kind == rule.Path || m.Kind == rule.PathPrefix):
			if len(v.Text) > maxClausePath {
				return opaque, true
			}
			c.path, c.whole = v.Text, v.Form == rule.Exact
			if c.path == "/" && !c.whole {
				c.path = "" // every path; the asterisk of OPTIONS is none
			}
		default:
			return opaque, true
		}
		out = append(out, c)
	}
	return out, len(out) > 0
}

// cover is an index of clauses by what they need, each with the position of the first router that has it.
type cover map[coverKey]*coverPaths

type coverKey struct{ host, rest string }

type coverPaths struct {
	all           int // -1 where none
	begins, whole map[string]int
}

func (c cover) add(k clause, at int) {
	key := coverKey{k.host, k.rest}
	p := c[key]
	if p == nil {
		p = &coverPaths{all: -1}
		c[key] = p
	}
	into := &p.begins
	switch {
	case k.path == "":
		if p.all < 0 {
			p.all = at
		}
		return
	case k.whole:
		into = &p.whole
	}
	if *into == nil {
		*into = map[string]int{}
	}
	if _, have := (*into)[k.path]; !have {
		(*into)[k.path] = at
	}
}

// find returns the first router in the index one of whose clauses holds wherever k does; -1 where there is none.
func (c cover) find(k clause) int {
	hosts := append(make([]string, 0, 4), k.host)
	if k.host != "" {
		hosts = append(hosts, "")
		if k.host != anyName {
			hosts = append(hosts, anyName)
		}
		if _, after, ok := strings.Cut(k.host, "."); ok && !strings.HasPrefix(k.host, "*.") && after != "" {
			hosts = append(hosts, "*."+after)
		}
	}
	best := -1
	better := func(at int) {
		if at >= 0 && (best < 0 || at < best) {
			best = at
		}
	}
	for _, host := range hosts {
		for i, rest := range []string{"", k.rest} {
			if i == 1 && rest == "" {
				break
			}
			p := c[coverKey{host, rest}]
			if p == nil {
				continue
			}
			better(p.all)
			if k.whole {
				if at, ok := p.whole[k.path]; ok {
					better(at)
				}
			}
			for n := 1; len(p.begins) > 0 && n <= len(k.path); n++ {
				if at, ok := p.begins[k.path[:n]]; ok {
					better(at)
				}
			}
		}
	}
	return best
}

// sample makes a host and path for which k holds, where its rest does too.
func (k clause) sample() (host, path string) {
	host, path = k.host, k.path
	switch {
	case host == "" || host == anyName:
		host = "any.invalid"
	case strings.HasPrefix(host, "*."):
		host = "any" + host[1:]
	}
	if path == "" {
		path = "/"
	}
	return host, path
}

// holdsFor reports whether k holds for a host (not empty) and path, where its rest does too.
func (k *clause) holdsFor(host, path string) bool {
	switch {
	case k.host == "" || k.host == anyName:
	case strings.HasPrefix(k.host, "*."):
		if dot := strings.IndexByte(host, '.'); dot <= 0 || host[dot:] != k.host[1:] {
			return false
		}
	case host != k.host:
		return false
	}
	if k.whole {
		return path == k.path
	}
	return strings.HasPrefix(path, k.path)
}

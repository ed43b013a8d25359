package route

import (
	"slices"
	"strings"

	"sluice/internal/core/rule"
)

// A key is a place in the index: what a subject must have to satisfy one alternative of a rule. The empty key is the place
// that every subject visits.
type key struct {
	host string // exact name, or what follows the first label if wild
	wild bool
	path string
	// mode says what path is: nothing, the whole path, or its beginning.
	mode pathMode
}

type pathMode uint8

const (
	noPath pathMode = iota
	wholePath
	pathStart
)

// maxProduct bounds how many keys the combination of alternatives may make (ten hosts and ten paths make a hundred). Beyond
// it the rule stands under its hosts alone.
const maxProduct = 256

var everywhere = []key{{}}

// keysOf returns places of which every subject that satisfies n (does not, if negated) visits at least one. No place means
// that nothing can satisfy n. The result is the same for equal trees.
func keysOf(n *rule.Node, negated bool) []key {
	switch n.Op {
	case rule.Match:
		if negated {
			return everywhere
		}
		return matcherKeys(n.Matcher)
	case rule.Not:
		return keysOf(n.Kids[0], !negated)
	}
	if (n.Op == rule.And) == negated {
		var out []key
		for _, k := range n.Kids {
			some := keysOf(k, negated)
			if isEverywhere(some) {
				return everywhere
			}
			out = append(out, some...)
		}
		return unique(out)
	}
	out := everywhere
	for _, k := range n.Kids {
		out = both(out, keysOf(k, negated))
	}
	return out
}

func isEverywhere(keys []key) bool { return len(keys) == 1 && keys[0] == key{} }

func matcherKeys(m *rule.Matcher) []key {
	switch m.Kind {
	case rule.Host, rule.HostSNI, rule.Path, rule.PathPrefix, rule.PathRegexp:
	default:
		return everywhere
	}
	out := make([]key, 0, len(m.Values))
	for i := range m.Values {
		w := &m.Values[i]
		switch {
		case w.Form == rule.Regexp && w.Literal != "":
			out = append(out, key{path: w.Literal, mode: pathStart})
		case w.Form == rule.Any, w.Form == rule.Regexp:
			return everywhere
		case w.Form == rule.Prefix:
			out = append(out, key{path: w.Text, mode: pathStart})
		case m.Kind == rule.Path:
			out = append(out, key{path: w.Text, mode: wholePath})
		case w.Text != "":
			out = append(out, key{host: w.Text, wild: w.Form == rule.Wildcard})
		}
	}
	return unique(out)
}

// both returns places for subjects that satisfy two things at once.
func both(a, b []key) []key {
	switch {
	case isEverywhere(a):
		return b
	case isEverywhere(b):
		return a
	case len(a)*len(b) > max(maxProduct, len(a), len(b)):
		// Either side is right alone; hosts divide best, then few keys.
		if ah, bh := allHosts(a), allHosts(b); ah != bh {
			if ah {
				return a
			}
			return b
		}
		if len(b) < len(a) {
			return b
		}
		return a
	}
	out := make([]key, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if z, ok := x.with(y); ok {
				out = append(out, z)
			}
		}
	}
	return unique(out)
}

func allHosts(keys []key) bool {
	return !slices.ContainsFunc(keys, func(k key) bool { return k.host == "" })
}

// with combines two keys; it is false where nothing can have both. Different hosts are no contradiction, because a request
// may have two names.
func (x key) with(y key) (key, bool) {
	if x.host == "" || x.wild && y.host != "" && !y.wild {
		x.host, x.wild = y.host, y.wild
	}
	switch {
	case y.mode == noPath:
	case x.mode == noPath:
		x.path, x.mode = y.path, y.mode
	case x.mode == wholePath && y.mode == wholePath:
		return x, x.path == y.path
	case x.mode == wholePath:
		return x, strings.HasPrefix(x.path, y.path)
	case y.mode == wholePath:
		ok := strings.HasPrefix(y.path, x.path)
		x.path, x.mode = y.path, y.mode
		return x, ok
	case strings.HasPrefix(y.path, x.path):
		x.path = y.path
	default:
		return x, strings.HasPrefix(x.path, y.path)
	}
	return x, true
}

// unique drops repeated keys and keeps the order of the first ones.
func unique(keys []key) []key {
	if len(keys) < 2 {
		return keys
	}
	if len(keys) <= 8 {
		out := keys[:1]
		for _, k := range keys[1:] {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
		return out
	}
	seen := make(map[key]bool, len(keys))
	return slices.DeleteFunc(keys, func(k key) bool {
		was := seen[k]
		seen[k] = true
		return was
	})
}

// implied reports whether n holds for every subject that visits the place k.
func (k *key) implied(n *rule.Node) bool {
	switch n.Op {
	case rule.And:
		for _, kid := range n.Kids {
			if !k.implied(kid) {
				return false
			}
		}
		return true
	case rule.Or:
		return slices.ContainsFunc(n.Kids, k.implied)
	case rule.Not:
		return false
	}
	m := n.Matcher
	for i := range m.Values {
		w := &m.Values[i]
		switch m.Kind {
		case rule.Host, rule.HostSNI:
			if w.Form == rule.Any || k.host != "" && (k.wild == (w.Form == rule.Wildcard) && k.host == w.Text || !k.wild && named(k.host, w)) {
				return true
			}
		case rule.Path, rule.PathPrefix:
			if w.Form == rule.Exact && k.mode == wholePath && k.path == w.Text ||
				w.Form == rule.Prefix && k.mode != noPath && strings.HasPrefix(k.path, w.Text) {
				return true
			}
		}
	}
	return false
}

// rest returns the parts of a rule that are still to be checked on a subject that visits k; none if it matches for sure.
func (k *key) rest(root *rule.Node) []*rule.Node {
	if root.Op != rule.And {
		if k.implied(root) {
			return nil
		}
		return []*rule.Node{root}
	}
	var out []*rule.Node
	for _, kid := range root.Kids {
		if !k.implied(kid) {
			out = append(out, kid)
		}
	}
	return out
}

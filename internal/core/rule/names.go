package rule

import "strings"

// Name is a host or server name that a rule holds literally.
type Name struct {
	// Name is lower-case without final dot. A wildcard begins with "*."; "*" is the catch-all.
	Name string
	// Offset is where the argument stands in the rule.
	Offset int
}

// Hosts returns the names of Host (HTTP) or HostSNI (TCP) under which the rule positively matches, in the order written,
// each once. They decide the TLS options of a connection. Names under a negation are left out: a rule that excludes a
// host does not speak for it. v2's HostHeader is left out too, as the syntax has it for names that TLS shall not know.
func (r *Rule) Hosts() []Name {
	var out []Name
	seen := map[string]bool{}
	r.Root.walk(false, func(m *Matcher, negated bool) {
		if negated || m.Name != "Host" && m.Name != "HostSNI" {
			return
		}
		for _, v := range m.Values {
			if n := (Name{v.Name(), v.Offset}); !seen[n.Name] {
				seen[n.Name] = true
				out = append(out, n)
			}
		}
	})
	return out
}

// Domains returns the names for which a certificate is wanted: Hosts without the catch-all and without what cannot be a
// name (a wildcard elsewhere than in front).
func (r *Rule) Domains() []string {
	var out []string
	for _, n := range r.Hosts() {
		if n.Name != "*" && n.Name != "" && !strings.Contains(strings.TrimPrefix(n.Name, "*."), "*") {
			out = append(out, n.Name)
		}
	}
	return out
}

// Name writes a compiled host value as a name: "*" for Any, "*.x" for Wildcard.
func (v *Value) Name() string {
	switch v.Form {
	case Any:
		return "*"
	case Wildcard:
		return "*." + v.Text
	default:
		return v.Text
	}
}

// Matchers calls f for each matcher in the order written, and tells whether an odd number of negations is above it.
func (r *Rule) Matchers(f func(m *Matcher, negated bool)) { r.Root.walk(false, f) }

func (n *Node) walk(negated bool, f func(*Matcher, bool)) {
	if n.Op == Match {
		f(n.Matcher, negated)
		return
	}
	for _, k := range n.Kids {
		k.walk(negated != (n.Op == Not), f)
	}
}

// String writes the rule in canonical form: names in their canonical spelling, texts in back-quotes where possible, one
// space around operators, parentheses only where the tree has them. Reading it again gives the same tree.
func (r *Rule) String() string {
	var b strings.Builder
	r.Root.write(&b)
	return b.String()
}

// String writes the part of the rule below n.
func (n *Node) String() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

// String writes the matcher.
func (m *Matcher) String() string { return call(m.Name, values(m.Args)...) }

func (n *Node) write(b *strings.Builder) {
	switch n.Op {
	case Match:
		b.WriteString(n.Matcher.String())
	case Not:
		b.WriteByte('!')
		n.Kids[0].writeIn(b, n.Kids[0].Op == And || n.Kids[0].Op == Or)
	default:
		sep := " && "
		if n.Op == Or {
			sep = " || "
		}
		for i, k := range n.Kids {
			if i > 0 {
				b.WriteString(sep)
			}
			k.writeIn(b, k.Op == Or || k.Op == And && n.Op == And)
		}
	}
}

func (n *Node) writeIn(b *strings.Builder, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
	}
	n.write(b)
	if parentheses {
		b.WriteByte(')')
	}
}

package plan

import (
	"fmt"
	"slices"

	"sluice/internal/core/diag"
)

// replaced are the nodes of the previous plan that this one does not have any more. Whatever refers to one of them is
// built again.
type replaced struct {
	list []*Node
	set  map[*Node]bool // made of list when somebody asks
}

func replace[E element](b *builder, gone []E) {
	for _, e := range gone {
		if b.replaced.set != nil {
			b.replaced.set[e.node()] = true
		} else {
			b.replaced.list = append(b.replaced.list, e.node())
		}
	}
}

func (r *replaced) has(n *Node) bool {
	if r.set == nil {
		r.set = make(map[*Node]bool, len(r.list))
		for _, n := range r.list {
			r.set[n] = true
		}
	}
	return r.set[n]
}

// lost reports whether any of a list of nodes was replaced. Those that are nil were not.
func lost[E interface {
	comparable
	element
}](r *replaced, list ...E) bool {
	var none E
	for _, e := range list {
		if e != none && r.has(e.node()) {
			return true
		}
	}
	return false
}

// reference is a name that leads nowhere, and what it was to name; missed is what is said about it.
type reference struct {
	what string
	name Name
}

type missed struct{ message, hint string }

// nearby bounds the names, to either side in their order, among which one is sought that may have been meant.
const nearby = 500

// missing words the finding for a reference of n that leads nowhere, with the nearest name that exists. Many references may
// miss the same name.
func missing[T any, E comparable](b *builder, n *Node, what string, ref Name, d *draft[T, E]) (message, hint string) {
	n.unsettled = true
	key := reference{d.kind + what, ref}
	if m, ok := b.missed[key]; ok {
		return m.message, m.hint
	}
	m := missed{fmt.Sprintf("the %s %q does not exist", what, ref), ""}
	at, _ := d.find(Name{Local: ref.Local})
	for _, e := range d.entries[at:] {
		if e.Name.Local != ref.Local {
			break
		}
		if e.Name.Provider != Internal {
			m.hint = fmt.Sprintf("did you mean %q?", e.Name)
			break
		}
	}
	if m.hint == "" {
		var local []string
		for _, e := range d.entries[max(at-nearby, 0):min(at+nearby, len(d.entries))] {
			if e.Name.Provider == ref.Provider {
				local = append(local, e.Name.Local)
			}
		}
		m.hint = diag.DidYouMean(ref.Local, local)
	}
	if b.missed == nil {
		b.missed = map[reference]missed{}
	}
	b.missed[key] = m
	return m.message, m.hint
}

// firstReason returns the first error of a disabled element.
func firstReason(n *Node) string {
	if i := slices.IndexFunc(n.Findings, func(f diag.Finding) bool { return f.Severity == diag.Error }); i >= 0 {
		return n.Findings[i].Message
	}
	return "unknown reason"
}

package plan

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// definition is what one fragment says about a name.
type definition[T any] struct {
	name     Name
	provider string
	local    string
	config   *T
	fragment *dynamic.Fragment
}

// entry is one element as providers gave it, before anything is known about its references.
type entry[T any] struct {
	Node
	config *T
	// definitions are all there are of the name. The first one counts.
	definitions []definition[T]
}

// start returns the beginning of a node: what is known of it without its references.
func (e *entry[T]) start() Node {
	n := e.Node
	n.Findings = slices.Clip(n.Findings)
	return n
}

// draft is one kind of element in the making. entries and nodes run in parallel, in the order of names: what is defined, and
// what becomes of it. A nil node is still to be built; nodes that nothing has touched are those of the previous plan.
type draft[T any, E comparable] struct {
	kind    string
	entries []*entry[T]
	nodes   []E
	// todo are the places of the nodes to build, gone the nodes of the previous plan that were not taken over.
	todo []int
	gone []E
	// owned tells that nodes is not the slice of the previous plan.
	owned bool
}

// find returns the place of name.
func (d *draft[T, E]) find(name Name) (int, bool) {
	return slices.BinarySearchFunc(d.entries, name, func(e *entry[T], n Name) int { return compareNames(e.Name, n) })
}

// insert puts an entry of our own at its place.
func (d *draft[T, E]) insert(at int, e *entry[T]) {
	var none E
	d.entries = slices.Insert(slices.Clip(d.entries), at, e)
	d.nodes, d.owned = slices.Insert(slices.Clip(d.nodes), at, none), true
	for i := range d.todo {
		if d.todo[i] >= at {
			d.todo[i]++
		}
	}
	d.todo = append(d.todo, at)
}

// drop has a node built again.
func (d *draft[T, E]) drop(at int) {
	var none E
	if d.nodes[at] == none {
		return
	}
	if !d.owned {
		d.nodes, d.owned = slices.Clone(d.nodes), true
	}
	d.gone = append(d.gone, d.nodes[at])
	d.nodes[at] = none
	d.todo = append(d.todo, at)
}

// dropIf drops the nodes for which stale holds, and reports whether there are any.
func (d *draft[T, E]) dropIf(stale func(E) bool) bool {
	var none E
	before := len(d.todo)
	for i, n := range d.nodes {
		if n != none && stale(n) {
			d.drop(i)
		}
	}
	return len(d.todo) > before
}

// fresh returns the nodes that were built.
func (d *draft[T, E]) fresh() []E {
	out := make([]E, len(d.todo))
	for i, at := range d.todo {
		out[i] = d.nodes[at]
	}
	return out
}

// collect brings the definitions of one kind up to date with the fragments that have come and gone, and drops the nodes
// of all names that one of them defines.
func collect[T any, E comparable](b *builder, d *draft[T, E], was []*entry[T], nodes []E, kind string, pick func(*dynamic.Config) map[string]*T) {
	d.kind, d.entries, d.nodes = kind, was, nodes
	var names []Name
	for _, s := range b.gone {
		for local := range pick(s.fragment.Config) {
			names = append(names, elementName(kind, local, s.provider))
		}
	}
	var fresh []definition[T]
	for _, s := range b.fresh {
		for local, config := range pick(s.fragment.Config) {
			if config != nil {
				name := elementName(kind, local, s.provider)
				names = append(names, name)
				fresh = append(fresh, definition[T]{name, s.provider, local, config, s.fragment})
			}
		}
	}
	if len(names) == 0 {
		return
	}
	slices.SortFunc(names, compareNames)
	slices.SortStableFunc(fresh, func(x, y definition[T]) int { return compareNames(x.name, y.name) })
	d.entries, d.nodes, d.owned = make([]*entry[T], 0, len(was)+len(fresh)), make([]E, 0, len(was)+len(fresh)), true
	for _, name := range slices.Compact(names) {
		at, found := slices.BinarySearchFunc(was, name, func(e *entry[T], n Name) int { return compareNames(e.Name, n) })
		d.entries, d.nodes = append(d.entries, was[:at]...), append(d.nodes, nodes[:at]...)
		was, nodes = was[at:], nodes[at:]
		var definitions []definition[T]
		if found {
			definitions = remaining(b, was[0].definitions)
			d.gone = append(d.gone, nodes[0])
			was, nodes = was[1:], nodes[1:]
		}
		n := 0
		for n < len(fresh) && fresh[n].name == name {
			n++
		}
		if found {
			definitions = append(definitions, fresh[:n]...)
		} else {
			definitions = fresh[:n:n]
		}
		fresh = fresh[n:]
		if len(definitions) > 0 {
			var none E
			d.todo = append(d.todo, len(d.entries))
			d.entries, d.nodes = append(d.entries, define(b, kind, definitions)), append(d.nodes, none)
		}
	}
	d.entries, d.nodes = append(d.entries, was...), append(d.nodes, nodes...)
}

// elementName is the name under which references find an element.
func elementName(kind, local, provider string) Name {
	if kind == kindTLSOptions {
		return optionsName(local, provider)
	}
	return Name{local, provider}
}

// remaining returns the definitions whose fragments are still there.
func remaining[T any](b *builder, list []definition[T]) []definition[T] {
	var out []definition[T]
	for _, d := range list {
		if !b.left[d.fragment] {
			out = append(out, d)
		}
	}
	return out
}

// define makes the entry of a name. Of several definitions the one whose fragment comes first counts; those that differ
// from it are reported and have no effect.
func define[T any](b *builder, kind string, definitions []definition[T]) *entry[T] {
	if len(definitions) > 1 {
		slices.SortFunc(definitions, func(x, y definition[T]) int { return cmp.Compare(b.place(x.fragment), b.place(y.fragment)) })
	}
	first := &definitions[0]
	e := &entry[T]{Node: Node{Name: first.name, Kind: kind, source: first.fragment, written: first.local}, config: first.config, definitions: definitions}
	if strings.Contains(first.local, "@") {
		e.report(diag.Error, CodeBadName, `a name must not contain "@"`, "the part behind @ is the provider's name")
	}
	e.broken()
	for _, d := range definitions[1:] {
		other := Node{Name: d.name, Kind: kind, source: d.fragment, written: d.local}
		if d.provider != first.provider {
			// Only TLS options called default have one name in all providers. Either could be the weaker one: nobody can say
			// which was meant, so connections on default are refused.
			e.report(diag.Error, CodeDuplicate, "the options called default are defined by two providers", "keep one of the definitions")
			e.beside.Add(other.finding(diag.Error, CodeDuplicate, "the options called default are defined by two providers", "keep one of the definitions"))
		} else if !reflect.DeepEqual(first.config, d.config) {
			e.beside.Add(other.finding(diag.Error, CodeDuplicate, fmt.Sprintf("defined already in %s; this definition has no effect", first.fragment.Name),
				"give one of them another name"))
		}
	}
	return e
}

// broken takes over what decoding said about the element.
func (n *Node) broken() {
	if n.source == nil || len(n.source.Broken) == 0 {
		return
	}
	if list, ok := n.source.Broken[n.Key()]; ok {
		n.Findings = append(n.Findings, list...)
		n.inherited = len(list)
		if list.Has(diag.Error) {
			n.Status = Disabled
		}
	}
}

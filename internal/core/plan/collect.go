package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// entry is one element as a provider gave it, before anything is known about its references.
type entry[T any] struct {
	Node
	config *T
}

// elements holds all entries of one kind.
type elements[T any] map[Name]*entry[T]

// names returns the names in a fixed order, so that findings and ties never depend on map order.
func (e elements[T]) names() []Name {
	return slices.SortedFunc(maps.Keys(e), compareNames)
}

func compareNames(a, b Name) int {
	if c := strings.Compare(a.Local, b.Local); c != 0 {
		return c
	}
	return strings.Compare(a.Provider, b.Provider)
}

// collect merges one kind of element from all snapshots. Within a provider the first fragment that defines a name keeps
// it; a later, different definition is reported and has no effect.
func collect[T any](b *builder, kind string, pick func(*dynamic.Config) map[string]*T) elements[T] {
	out := elements[T]{}
	for _, s := range b.snapshots {
		for _, f := range s.Fragments {
			for local, config := range pick(f.Config) {
				if config == nil {
					continue
				}
				e := &entry[T]{Node: Node{Name: Name{local, s.Provider}, Kind: kind, source: f, written: local}, config: config}
				if first, taken := out[e.Name]; taken {
					b.duplicate(&first.Node, &e.Node, reflect.DeepEqual(first.config, config))
					continue
				}
				if strings.Contains(local, "@") {
					e.report(diag.Error, CodeBadName, `a name must not contain "@"`, "the part behind @ is the provider's name")
				}
				e.broken()
				out[e.Name] = e
			}
		}
	}
	return out
}

// broken takes over what decoding said about the element.
func (n *Node) broken() {
	if list, ok := n.source.Broken[n.Key()]; ok {
		n.Findings = append(n.Findings, list...)
		if list.Has(diag.Error) {
			n.Status = Disabled
		}
	}
}

func (b *builder) duplicate(first, second *Node, equal bool) {
	if equal {
		return
	}
	b.findings.Add(diag.Finding{
		Place: second.Place(), Severity: diag.Error, Key: second.Key(), Code: CodeDuplicate,
		Message: fmt.Sprintf("defined already in %s; this definition has no effect", first.source.Name),
		Hint:    "give one of them another name",
	})
}

// missing words the finding for a reference that leads nowhere, with the nearest name that exists.
func missing[T any](what string, ref Name, have elements[T]) (message, hint string) {
	message = fmt.Sprintf("the %s %q does not exist", what, ref)
	var same []string
	for n := range have {
		if n.Local == ref.Local && n.Provider != Internal {
			same = append(same, n.String())
		}
	}
	if len(same) > 0 {
		slices.Sort(same)
		return message, fmt.Sprintf("did you mean %q?", same[0])
	}
	var local []string
	for n := range have {
		if n.Provider == ref.Provider {
			local = append(local, n.Local)
		}
	}
	slices.Sort(local)
	return message, diag.DidYouMean(ref.Local, local)
}

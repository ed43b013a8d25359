package plan

import (
	"cmp"
	"slices"
	"strings"
)

// element is a node of any kind.
type element interface{ node() *Node }

// Set holds the elements of one kind of a plan in the order of their names (local name, then provider). It is read like
// any slice; nobody writes to it.
type Set[E element] []E

// Get returns the element called name, nil where there is none.
func (s Set[E]) Get(name Name) E {
	if i, ok := slices.BinarySearchFunc(s, name, func(e E, n Name) int { return compareNames(e.node().Name, n) }); ok {
		return s[i]
	}
	var none E
	return none
}

// counterpart returns the element that was written and is called as n is, nil where there is none.
func (s Set[E]) counterpart(n *Node) E {
	at, ok := slices.BinarySearchFunc(s, n, func(e E, n *Node) int {
		return cmp.Or(compareNames(e.node().Name, n.Name), strings.Compare(e.node().written, n.written))
	})
	if ok {
		return s[at]
	}
	var none E
	return none
}

func compareNames(a, b Name) int {
	return cmp.Or(strings.Compare(a.Local, b.Local), strings.Compare(a.Provider, b.Provider))
}

// compareElements orders a Set. Two elements have one name only where a copy of a split router is called like another
// router: what was written decides then.
func compareElements[E element](a, b E) int {
	x, y := a.node(), b.node()
	return cmp.Or(compareNames(x.Name, y.Name), strings.Compare(x.written, y.written))
}

// Since returns the elements of was that s does not have any more, and those that was did not have. An element that was
// made anew is in both. What was taken over costs one comparison of pointers.
func (s Set[E]) Since(was Set[E]) (gone, fresh []E) {
	now := s
	for len(was) > 0 && len(now) > 0 {
		if was[0].node() == now[0].node() {
			was, now = was[1:], now[1:]
			continue
		}
		c := compareElements(was[0], now[0])
		if c <= 0 {
			gone, was = append(gone, was[0]), was[1:]
		}
		if c >= 0 {
			fresh, now = append(fresh, now[0]), now[1:]
		}
	}
	return append(gone, was...), append(fresh, now...)
}

// edited returns list without the elements of gone and with those of fresh. list is sorted by compare and stays as it is;
// gone and fresh get sorted. The work is that of finding the places of the changes, and of one copy.
func edited[E any](list, gone, fresh []E, compare func(a, b E) int) []E {
	if len(gone) == 0 && len(fresh) == 0 {
		return list
	}
	slices.SortFunc(gone, compare)
	slices.SortFunc(fresh, compare)
	out := make([]E, 0, max(len(list)-len(gone), 0)+len(fresh))
	for len(gone) > 0 || len(fresh) > 0 {
		if len(fresh) == 0 || len(gone) > 0 && compare(gone[0], fresh[0]) <= 0 {
			if at, found := seek(list, gone[0], compare); found {
				out = append(out, list[:at]...)
				list = list[at+1:]
			}
			gone = gone[1:]
			continue
		}
		at, _ := seek(list, fresh[0], compare)
		out = append(append(out, list[:at]...), fresh[0])
		list, fresh = list[at:], fresh[1:]
	}
	return append(out, list...)
}

// seek finds the place of e in a sorted list. Where everything changes, that is always the first one.
func seek[E any](list []E, e E, compare func(a, b E) int) (at int, found bool) {
	if len(list) > 0 {
		if c := compare(list[0], e); c >= 0 {
			return 0, c == 0
		}
	}
	return slices.BinarySearchFunc(list, e, compare)
}

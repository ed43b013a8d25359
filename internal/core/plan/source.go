package plan

import (
	"slices"

	"sluice/internal/core/dynamic"
)

// source is a fragment with the name of its provider.
type source struct {
	provider string
	fragment *dynamic.Fragment
}

func sourcesOf(snapshots []dynamic.Snapshot) []source {
	n := 0
	for _, s := range snapshots {
		n += len(s.Fragments)
	}
	out := make([]source, 0, n)
	for _, s := range snapshots {
		for _, f := range s.Fragments {
			out = append(out, source{s.Provider, f})
		}
	}
	return out
}

// difference returns the sources that only was and only now has. Most changes touch few fragments, and those that did not
// change keep their pointer: what both lists begin and end with costs one comparison each.
func difference(was, now []source) (gone, fresh []source) {
	for len(was) > 0 && len(now) > 0 && was[0] == now[0] {
		was, now = was[1:], now[1:]
	}
	for len(was) > 0 && len(now) > 0 && was[len(was)-1] == now[len(now)-1] {
		was, now = was[:len(was)-1], now[:len(now)-1]
	}
	stays := make(map[source]bool, len(was))
	for _, s := range was {
		stays[s] = false
	}
	for _, s := range now {
		if _, ok := stays[s]; ok {
			stays[s] = true
		} else {
			fresh = append(fresh, s)
		}
	}
	for _, s := range was {
		if !stays[s] {
			gone = append(gone, s)
		}
	}
	return gone, fresh
}

// place returns where a fragment stands among all. It is asked only where two fragments define one name.
func (b *builder) place(f *dynamic.Fragment) int {
	return slices.IndexFunc(b.sources, func(s source) bool { return s.fragment == f })
}

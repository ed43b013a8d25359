package provider

import (
	"reflect"

	"sluice/internal/core/dynamic"
)

// samePlaces is implemented by locators that can tell whether they place everything alike.
type samePlaces interface {
	SamePlaces(other dynamic.Locator) bool
}

// reuse returns next with the fragments of old in place of equal ones, so that equality of pointers means equality of
// content for everybody downstream. changed reports whether anything differs at all.
func reuse(old, next []*dynamic.Fragment) (out []*dynamic.Fragment, changed bool) {
	changed = len(old) != len(next)
	var byName map[string]*dynamic.Fragment
	for i, f := range next {
		if i < len(old) && old[i] == f {
			continue
		}
		var before *dynamic.Fragment
		if i < len(old) && old[i].Name == f.Name {
			before = old[i]
		} else {
			if byName == nil {
				byName = make(map[string]*dynamic.Fragment, len(old))
				for _, o := range old {
					byName[o.Name] = o
				}
			}
			before = byName[f.Name]
		}
		if before != nil && before != f && Equal(before, f) {
			if out == nil {
				out = append([]*dynamic.Fragment(nil), next...)
			}
			out[i] = before
			f = before
		}
		if i >= len(old) || old[i] != f {
			changed = true
		}
	}
	if out == nil {
		out = next
	}
	return out, changed
}

// Equal reports whether two fragments say the same, at the same places. It costs as much as the fragments are large.
func Equal(a, b *dynamic.Fragment) bool {
	switch w, ok := a.Where.(samePlaces); {
	case a.Where == nil && b.Where == nil:
	case ok && b.Where != nil:
		if !w.SamePlaces(b.Where) {
			return false
		}
	default:
		if a.Where != b.Where {
			return false
		}
	}
	return a.Name == b.Name && a.Held == b.Held && reflect.DeepEqual(a.Findings, b.Findings) && reflect.DeepEqual(a.Broken, b.Broken) &&
		reflect.DeepEqual(a.Config, b.Config)
}

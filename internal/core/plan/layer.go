package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/route"
)

// Routers may stand below other routers: a child names its parents, which have no service. A request that a parent takes goes
// through the parent's middlewares, and then to the child whose rule matches what they have made of it. Entry points, TLS
// and observability belong to the roots.

// Child reports whether the router stands below others.
func (r *Router) Child() bool { return len(r.Config.ParentRefs) > 0 }

// Absent reports whether no request ever comes to the router: its rule cannot be read, or it is on no entry point and below no
// router that is.
func (r *Router) Absent() bool {
	return r.Rule == nil || len(r.EntryPoints) == 0 && !r.reached
}

// layers is the tree of routers while it is built, by places of their definitions.
type layers struct {
	// children are those of each parent in the order of names, without references that lead back.
	children map[int][]int
	// reached are the routers that stand on or below a root; back the references that were left out, by the router that
	// gets a remark.
	reached map[int]bool
	back    map[int][]string
}

// stackLayers drops all routers that have to do with layers if one of them is to be built again, since what each of them is
// depends on those above and below, and finds out who is below whom.
func (b *builder) stackLayers() {
	d := &b.routers
	isChild := func(at int) bool { return len(d.entries[at].config.ParentRefs) > 0 }
	if !slices.ContainsFunc(d.todo, isChild) && !b.touchesLayers() {
		return
	}
	for _, f := range b.base.layered {
		if at, ok := d.find(Name{f.nodes[0].written, f.nodes[0].Name.Provider}); ok {
			d.drop(at)
		}
	}
	b.layers = layers{map[int][]int{}, map[int]bool{}, map[int][]string{}}
	var roots []int
	for _, at := range slices.Clone(d.todo) {
		for _, parent := range b.parents(at) {
			d.drop(parent)
			if !isChild(parent) {
				roots = append(roots, parent)
			}
			b.layers.children[parent] = append(b.layers.children[parent], at)
		}
	}
	for parent := range b.layers.children {
		slices.Sort(b.layers.children[parent])
	}
	slices.Sort(roots)
	for _, root := range slices.Compact(roots) {
		b.layers.reach(root, nil, func(at int) string { return d.entries[at].Name.String() })
	}
	// What no root leads to may go in circles.
	maps.DeleteFunc(b.layers.children, func(parent int, _ []int) bool { return !b.layers.reached[parent] })
}

// touchesLayers reports whether something changed about routers that had to do with layers, or about a name that is a parent.
func (b *builder) touchesLayers() bool {
	if len(b.base.layered) == 0 {
		return false
	}
	changed := map[Name]bool{}
	for _, f := range b.routers.gone {
		changed[Name{f.nodes[0].written, f.nodes[0].Name.Provider}] = true
	}
	for _, at := range b.routers.todo {
		changed[b.routers.entries[at].Name] = true
	}
	return slices.ContainsFunc(b.base.layered, func(f *family) bool {
		r := f.nodes[0]
		return changed[Name{r.written, r.Name.Provider}] || slices.ContainsFunc(r.Config.ParentRefs, func(ref string) bool {
			return changed[Resolve(ref, r.Name.Provider)]
		})
	})
}

// parents returns the places of the routers that one names as its parents, as far as they exist, each once.
func (b *builder) parents(at int) (out []int) {
	e := b.routers.entries[at]
	for _, ref := range e.config.ParentRefs {
		if parent, ok := b.routers.find(Resolve(ref, e.Name.Provider)); ok && !slices.Contains(out, parent) {
			out = append(out, parent)
		}
	}
	return out
}

// reach goes down from a root in the order of names. A reference that leads back to a router on the way is left out.
func (l *layers) reach(at int, path []int, name func(int) string) {
	if l.reached[at] {
		return
	}
	l.reached[at] = true
	path = append(path, at)
	l.children[at] = slices.DeleteFunc(slices.Clone(l.children[at]), func(child int) bool {
		i := slices.Index(path, child)
		if i < 0 {
			l.reach(child, path, name)
			return false
		}
		var names []string
		for _, p := range append(path[i:len(path):len(path)], child) {
			names = append(names, name(p))
		}
		l.back[at] = append(l.back[at], strings.Join(names, " -> "))
		return true
	})
}

// childRouter builds a router that stands below others. Its own children are built before it.
func (b *builder) childRouter(at int, e *entry[dynamic.Router]) *family {
	r := &Router{Node: e.start(), Config: e.config, reached: b.layers.reached[at]}
	c := e.config
	switch {
	case c.TLS != nil:
		r.report(diag.Error, CodeChildOption, "non-root router cannot have TLS configuration", "move the section to the router above", "tls")
	case c.Observability != nil:
		r.report(diag.Error, CodeChildOption, "non-root router cannot have Observability configuration", "move the section to the router above", "observability")
	case len(c.EntryPoints) > 0:
		r.report(diag.Error, CodeChildOption, "non-root router cannot have Entrypoints configuration", "name the entry points in the router above", "entryPoints")
	}
	for _, ref := range c.ParentRefs {
		name := Resolve(ref, r.Name.Provider)
		if _, ok := b.routers.find(name); !ok {
			_, hint := missing(b, &r.Node, "router", name, &b.routers)
			r.report(diag.Error, CodeMissing, fmt.Sprintf("parent router %q does not exist", name), hint, "parentRefs")
		}
	}
	if !r.reached {
		r.report(diag.Error, CodeUnreachable, "router is not reachable", "no router above it stands on an entry point", "parentRefs")
	}
	b.finish(at, r, nil)
	return &family{[]*Router{r}}
}

// stack gives a router those below it, or the service that it has instead. One that can do nothing is disabled.
func (b *builder) stack(at int, r, was *Router) {
	for _, circle := range b.layers.back[at] {
		r.remark(diag.Warning, CodeCycle, "cyclic reference detected in router tree: "+circle, "the last reference is left out", "parentRefs")
	}
	below := b.layers.children[at]
	if len(below) == 0 {
		if r.Config.Service != "" {
			r.Service = b.serviceReference(&r.Node, r.Config.Service, "service")
		} else if r.Status != Disabled {
			r.report(diag.Error, CodeNoService, "router has no service and no child routers", "name a service", "service")
		}
		return
	}
	usable := 0
	for _, child := range below {
		c := b.family(child).nodes[0]
		if c.Status != Disabled {
			usable++
		}
		if c.Rule != nil {
			r.Children = append(r.Children, c)
		}
	}
	slices.SortFunc(r.Children, byPrecedence)
	var table *route.HTTPTable
	if was != nil {
		table = was.Table
	}
	r.Table = route.CompileHTTP(table, httpEntries(r.Children))
	r.order = judgeHTTP(r.Children, nil, move[*Router]{fresh: r.Children}, r.Table, "http")
	switch {
	case r.Config.Service != "":
		r.report(diag.Error, CodeChildOption, "router has both a service and is referenced as a parent by other routers", "remove one of them", "service")
	case usable == 0:
		r.report(diag.Error, CodeBrokenReference, fmt.Sprintf("no child routers could be added to muxer (%d skipped)", len(below)), "the routers below it are all disabled")
	}
}

// nameParents fills Parents, when all routers are built.
func (b *builder) nameParents() {
	for _, at := range b.routers.todo {
		r := b.routers.nodes[at].nodes[0]
		for _, ref := range r.Config.ParentRefs {
			name := Resolve(ref, r.Name.Provider)
			parent, ok := b.routers.find(name)
			if !ok {
				r.Parents = append(r.Parents, name)
				continue
			}
			for _, p := range b.routers.nodes[parent].nodes {
				r.Parents = append(r.Parents, p.Name)
			}
		}
	}
}

// family returns what becomes of the router at a place, built on first use.
func (b *builder) family(at int) *family {
	if b.routers.nodes[at] == nil {
		e := b.routers.entries[at]
		if len(e.config.ParentRefs) > 0 {
			b.routers.nodes[at] = b.childRouter(at, e)
		} else {
			b.routers.nodes[at] = b.router(at, e)
		}
	}
	return b.routers.nodes[at]
}

// layered reports whether a family has to do with layers.
func (f *family) layered() bool { return f.nodes[0].Child() || f.nodes[0].Table != nil }

package docker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/intake/provider"
)

// merger joins what containers contribute. Elements of one name belong to one container, the oldest that is there; services
// collect the servers of all that define them alike, and definitions that differ are reported and have no effect.
//
// Every container has a fragment with the elements that are its own. A change costs the containers that share a name with
// the one that changed, not all of them. A merger is used by one goroutine at a time.
type merger struct {
	units map[string]*unit
	// owners are the units that define an element, the one that it belongs to first.
	owners map[elementKey][]*unit
	// fragments are sorted by name.
	fragments []*entry
	byUnit    map[string]*entry
	dirty     map[string]bool
	// shapes numbers the different definitions of a unit's elements: two that are alike, servers aside, have one number.
	shapes map[*unit]map[elementKey]int
	shape  int
}

// entry is the fragment of a unit.
type entry struct {
	key      string
	fragment *dynamic.Fragment
	// servers are those of its services, to see when one leaves.
	servers map[string]bool
}

func newMerger() *merger {
	return &merger{units: map[string]*unit{}, owners: map[elementKey][]*unit{}, byUnit: map[string]*entry{}, dirty: map[string]bool{},
		shapes: map[*unit]map[elementKey]int{}}
}

// elements lists the keys of everything that a unit defines.
func (u *unit) elements() (out []elementKey) {
	if u.keys != nil {
		return u.keys
	}
	defer func() { u.keys = out }()
	for i, k := range kinds {
		for _, name := range k.names(u.config) {
			out = append(out, elementKey{i, name})
		}
	}
	return out
}

// shapeOf returns the number of the definition of an element: that of a unit that defines it alike, or a new one.
func (m *merger) shapeOf(e elementKey, u *unit) int {
	compared := map[int]bool{}
	for _, other := range m.owners[e] {
		n := m.shapes[other][e]
		if compared[n] {
			continue
		}
		compared[n] = true
		if kinds[e.kind].same(other.config, u.config, e.name) {
			return n
		}
	}
	m.shape++
	return m.shape
}

// put replaces the unit of that key; a nil one removes it.
func (m *merger) put(key string, u *unit) {
	old := m.units[key]
	if old != nil {
		for _, e := range old.elements() {
			list := slices.DeleteFunc(slices.Clone(m.owners[e]), func(o *unit) bool { return o == old })
			m.touch(list)
			if len(list) == 0 {
				delete(m.owners, e)
			} else {
				m.owners[e] = list
			}
		}
		delete(m.shapes, old)
	}
	m.dirty[key] = true
	if u == nil {
		delete(m.units, key)
		return
	}
	m.units[key] = u
	m.shapes[u] = map[elementKey]int{}
	for _, e := range u.elements() {
		m.shapes[u][e] = m.shapeOf(e, u)
		list := append(slices.Clone(m.owners[e]), u)
		slices.SortStableFunc(list, precedence)
		m.owners[e] = list
		m.touch(list)
	}
}

func (m *merger) touch(list []*unit) {
	for _, u := range list {
		m.dirty[u.key] = true
	}
}

// precedence orders the units that define one element: those that are there before those that are away, then by age.
func precedence(a, b *unit) int {
	if a.held() != b.held() {
		if a.held() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.c.created.Compare(b.c.created), strings.Compare(a.c.id, b.c.id), strings.Compare(a.key, b.key))
}

// snapshot returns the fragments in the order of their names. urgent tells that a server left since the last call, or that
// something came that was not served before.
func (m *merger) snapshot() (fragments []*dynamic.Fragment, urgent bool) {
	left, came := map[string]bool{}, map[string]bool{}
	note := func(e *entry, into map[string]bool) {
		for s := range e.servers {
			into[s] = true
		}
	}
	for key := range m.dirty {
		was := m.byUnit[key]
		if was != nil {
			note(was, left)
		}
		u := m.units[key]
		var next *entry
		if u != nil {
			next = m.build(u)
		}
		if next != nil {
			note(next, came)
		}
		m.replace(was, next)
	}
	clear(m.dirty)
	for s := range left {
		urgent = urgent || !came[s]
	}
	for s := range came {
		// The first server of a service ends its waiting.
		service, _, first := strings.Cut(s, firstServer)
		urgent = urgent || first && !left[service+firstServer]
	}
	for _, e := range m.fragments {
		fragments = append(fragments, e.fragment)
	}
	return fragments, urgent
}

// firstServer ends the note that a service has a server at all.
const firstServer = "\x00"

// replace exchanges the entry of a unit. An equal one keeps its fragment.
func (m *merger) replace(was, next *entry) {
	if was != nil && next != nil && provider.Equal(was.fragment, next.fragment) {
		next.fragment = was.fragment
	}
	if was != nil {
		i := slices.Index(m.fragments, was)
		m.fragments = slices.Delete(m.fragments, i, i+1)
		delete(m.byUnit, was.key)
	}
	if next != nil {
		i, _ := slices.BinarySearchFunc(m.fragments, next, func(a, b *entry) int {
			return cmp.Or(strings.Compare(a.fragment.Name, b.fragment.Name), strings.Compare(a.key, b.key))
		})
		m.fragments = slices.Insert(m.fragments, i, next)
		m.byUnit[next.key] = next
	}
}

// build makes the fragment of a unit, nil if it has nothing to say.
func (m *merger) build(u *unit) *entry {
	f := &dynamic.Fragment{Name: u.source, Config: &dynamic.Config{}, Where: u.where, Findings: slices.Clip(u.findings), Held: u.held()}
	e := &entry{key: u.key, fragment: f, servers: map[string]bool{}}
	if f.Held {
		// Another container may have the name by now.
		f.Name += " " + shortID(u.c.id)
	}
	owns := false
	for _, key := range u.elements() {
		k, list := &kinds[key.kind], m.owners[key]
		id := k.path + "." + key.name
		if first := list[0]; first != u {
			if !first.held() && !u.held() && m.shapes[first][key] != m.shapes[u][key] {
				f.Findings = append(f.Findings, diag.Finding{Place: u.where.Locate(append(strings.Split(k.path, "."), key.name)...), Severity: diag.Error,
					Key: id, Code: CodeDuplicate, Message: fmt.Sprintf("defined differently by the older %s; this definition has no effect", first.source),
					Hint: "give one of them another name, or both the same labels"})
			}
			continue
		}
		owns = true
		all := []*dynamic.Config{u.config}
		for _, other := range list[1:] {
			if m.shapes[other][key] == m.shapes[u][key] {
				all = append(all, other.config)
			}
		}
		k.join(f.Config, all, key.name)
		if list := u.broken[id]; len(list) > 0 {
			if f.Broken == nil {
				f.Broken = map[string]diag.List{}
			}
			f.Broken[id] = list
		}
	}
	if !owns && len(f.Findings) == 0 {
		return nil
	}
	e.noteServers()
	return e
}

// noteServers lists the servers of the fragment's services.
func (e *entry) noteServers() {
	servers(e.fragment.Config, func(service, address, _ string) {
		e.servers[service+" "+address] = true
		e.servers[service+firstServer] = true
	})
}

// servers calls report for each server of a configuration.
func servers(c *dynamic.Config, report func(service, address, origin string)) {
	if c.HTTP != nil {
		for _, name := range sortedKeys(c.HTTP.Services) {
			if lb := c.HTTP.Services[name].LoadBalancer; lb != nil {
				for _, s := range lb.Servers {
					report("http "+name, s.URL, s.Origin)
				}
			}
		}
	}
	if c.TCP != nil {
		for _, name := range sortedKeys(c.TCP.Services) {
			if lb := c.TCP.Services[name].LoadBalancer; lb != nil {
				for _, s := range lb.Servers {
					report("tcp "+name, s.Address, s.Origin)
				}
			}
		}
	}
	if c.UDP != nil {
		for _, name := range sortedKeys(c.UDP.Services) {
			if lb := c.UDP.Services[name].LoadBalancer; lb != nil {
				for _, s := range lb.Servers {
					report("udp "+name, s.Address, s.Origin)
				}
			}
		}
	}
}

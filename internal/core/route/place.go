package route

import (
	"slices"
	"strings"

	"sluice/internal/core/rule"
)

// candidate is an entry in one place of the index.
type candidate struct {
	priority int
	tie      string
	// slot identifies the entry in its table and in those compiled from it.
	slot int32
	// mode and path repeat the place's path, for places that are a plain list.
	mode pathMode
	path string
	// rest is what of the rule the place does not establish.
	rest []*rule.Node
	rule *rule.Node
}

// before orders candidates: the one that wins comes first.
func (c *candidate) before(d *candidate) bool {
	if c.priority != d.priority {
		return c.priority > d.priority
	}
	return c.tie < d.tie
}

func (c *candidate) compare(d *candidate) int {
	switch {
	case c.before(d):
		return -1
	case d.before(c):
		return 1
	}
	return 0
}

// place is where candidates for one host stand: a sorted list while there are few, a tree of paths when there are many.
// Changing it never writes to memory that an earlier table sees, except where the edit's mark says that it is new.
type place struct {
	few  []candidate
	tree *node
	n    int
}

// mostFew is how many candidates a list holds before it becomes a tree.
const mostFew = 8

// edit marks the nodes that a compilation has made itself and may therefore write to.
type edit struct{ _ byte }

func (p *place) insert(c candidate, e *edit) {
	p.n++
	if p.tree == nil && len(p.few) < mostFew {
		p.few = inserted(slices.Clip(p.few), c)
		return
	}
	if p.tree == nil {
		p.tree = &node{edit: e}
		for _, f := range p.few {
			p.tree.insert(f.path, f, e)
		}
		p.few = nil
	}
	p.tree = p.tree.owned(e)
	p.tree.insert(c.path, c, e)
}

func (p *place) remove(slot int32, k key, e *edit) {
	if p.tree == nil {
		p.few = removed(p.few, slot, k)
		p.n = len(p.few)
		return
	}
	p.tree = p.tree.owned(e)
	if p.tree.remove(k.path, slot, k, e) {
		p.n--
	}
}

// inserted adds c to a sorted list. Full builds insert in order, so this appends.
func inserted(list []candidate, c candidate) []candidate {
	if n := len(list); n == 0 || list[n-1].before(&c) {
		return append(list, c)
	}
	at, _ := slices.BinarySearchFunc(list, &c, func(a candidate, b *candidate) int { return a.compare(b) })
	return slices.Insert(list, at, c)
}

// removed returns a list without the candidate of slot under k. The old list stays as it is.
func removed(list []candidate, slot int32, k key) []candidate {
	i := slices.IndexFunc(list, func(c candidate) bool { return c.slot == slot && c.mode == k.mode && c.path == k.path })
	if i < 0 {
		return list
	}
	if len(list) == 1 {
		return nil
	}
	return slices.Concat(list[:i], list[i+1:])
}

// node is a part of a tree of paths. Its full path is the sum of the labels from the root to it.
type node struct {
	edit  *edit
	label string
	// starts are the candidates whose required beginning ends here, whole those whose whole path does.
	starts, whole []candidate
	// kids are the longer paths, heads the first bytes of their labels in the same order. No two heads are equal.
	kids  []*node
	heads string
}

// owned returns n itself if e made it, else a copy that e may write to.
func (n *node) owned(e *edit) *node {
	if n.edit == e {
		return n
	}
	c := *n
	c.edit = e
	c.starts, c.whole = slices.Clip(n.starts), slices.Clip(n.whole)
	c.kids = slices.Clone(n.kids)
	return &c
}

// insert puts c under path, counted from the end of n's label. n is owned.
func (n *node) insert(path string, c candidate, e *edit) {
	for path != "" {
		i := strings.IndexByte(n.heads, path[0])
		if i < 0 {
			kid := &node{edit: e, label: path}
			n.kids = append(n.kids, kid)
			n.heads += path[:1]
			n, path = kid, ""
			break
		}
		kid := n.kids[i].owned(e)
		common := commonPrefix(kid.label, path)
		if common < len(kid.label) {
			upper := &node{edit: e, label: kid.label[:common], kids: []*node{kid}, heads: kid.label[common : common+1]}
			kid.label = kid.label[common:]
			kid = upper
		}
		n.kids[i] = kid
		n, path = kid, path[common:]
	}
	if c.mode == wholePath {
		n.whole = inserted(n.whole, c)
	} else {
		n.starts = inserted(n.starts, c)
	}
}

// remove takes the candidate of slot from under path and reports whether it was there. Nodes that become useless are
// dropped or joined with their only kid. n is owned.
func (n *node) remove(path string, slot int32, k key, e *edit) bool {
	if path == "" {
		list := &n.starts
		if k.mode == wholePath {
			list = &n.whole
		}
		was := len(*list)
		*list = removed(*list, slot, k)
		return len(*list) < was
	}
	i := strings.IndexByte(n.heads, path[0])
	if i < 0 || !strings.HasPrefix(path, n.kids[i].label) {
		return false
	}
	kid := n.kids[i].owned(e)
	n.kids[i] = kid
	if !kid.remove(path[len(kid.label):], slot, k, e) {
		return false
	}
	if len(kid.starts) > 0 || len(kid.whole) > 0 {
		return true
	}
	switch len(kid.kids) {
	case 0:
		n.kids = slices.Delete(n.kids, i, i+1)
		n.heads = n.heads[:i] + n.heads[i+1:]
	case 1:
		only := kid.kids[0].owned(e)
		only.label = kid.label + only.label
		n.kids[i] = only
	}
	return true
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

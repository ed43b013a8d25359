package decode

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// locator finds places in a tree. It implements dynamic.Locator.
type locator struct {
	root  *node
	where positions

	mu sync.Mutex
	// wide holds an index of the tables with many children, made when one is first asked.
	wide map[*node]map[string]*node
}

// Locate returns the place of the value at path, or of its deepest ancestor that was written. Tables are placed at
// their key, scalars at the value itself.
func (l *locator) Locate(path ...string) diag.Place {
	n := l.root
	if n == nil {
		return l.where.place(0)
	}
	for _, step := range path {
		var next *node
		switch t := n.resolve(); t.kind {
		case kindTable:
			next = l.find(t, step)
		case kindList:
			if i, err := strconv.Atoi(strings.Trim(step, "[]")); err == nil {
				for next = t.first; next != nil && i > 0; i-- {
					next = next.next
				}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	switch {
	case n == l.root:
		return l.where.place(0)
	case n.kind == kindTable || n.kind == kindList || n.kind == kindNull:
		return l.where.place(n.keyPos)
	default:
		return l.where.place(n.pos)
	}
}

// find returns the child called key: the exact spelling if there is one, else any that differs in case only.
func (l *locator) find(t *node, key string) *node {
	if t.count < indexFrom {
		if c := t.child(key); c != nil {
			return c
		}
		for c := t.first; c != nil; c = c.next {
			if strings.EqualFold(c.key, key) {
				return c
			}
		}
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	idx := l.wide[t]
	if idx == nil {
		idx = make(map[string]*node, 2*t.count)
		for c := t.first; c != nil; c = c.next {
			lower := strings.ToLower(c.key)
			if idx[lower] == nil {
				idx[lower] = c
			}
			idx[c.key] = c
		}
		if l.wide == nil {
			l.wide = map[*node]map[string]*node{}
		}
		l.wide[t] = idx
	}
	if c := idx[key]; c != nil {
		return c
	}
	return idx[strings.ToLower(key)]
}

// SamePlaces reports whether other is of the same kind and places everything alike, because it was made from the same
// text.
func (l *locator) SamePlaces(other dynamic.Locator) bool {
	o, ok := other.(*locator)
	if !ok {
		return false
	}
	switch a := l.where.(type) {
	case *filePositions:
		b, ok := o.where.(*filePositions)
		return ok && a.name == b.name && bytes.Equal(a.data, b.data)
	case *pathTree:
		b, ok := o.where.(*pathTree)
		return ok && slices.Equal(a.sources, b.sources)
	}
	return false
}

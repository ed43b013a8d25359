package decode

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
)

// pathTree builds a tree from dotted paths, as labels, flags and environment have them. What a dot means depends on the
// type below it: in a map of strings the rest of the path is one key, in a list it is an index. So the schema leads the
// way, and the tree that comes out looks as if it had been written in a file.
type pathTree struct {
	door    door
	arena   arena
	root    *node
	sources []string // positions are indexes into it, plus one
	// index finds children of wide tables, by lower-case key.
	index map[*node]map[string]*node
	// lists are the nodes whose children have indexes and need sorting.
	lists []*node
}

func newPathTree(d door) *pathTree {
	t := &pathTree{door: d, index: map[*node]map[string]*node{}}
	t.root = t.arena.new()
	t.root.kind = kindTable
	return t
}

// source enters the name of a place.
func (t *pathTree) source(name string) pos {
	t.sources = append(t.sources, name)
	return pos(len(t.sources))
}

func (t *pathTree) place(at pos) diag.Place {
	if at == 0 || int(at) > len(t.sources) {
		return diag.Place{}
	}
	return diag.Place{Source: t.sources[at-1]}
}

// find returns the child of table called key without regard to case.
func (t *pathTree) find(table *node, key string) *node {
	if table.count < indexFrom {
		for c := table.first; c != nil; c = c.next {
			if strings.EqualFold(c.key, key) {
				return c
			}
		}
		return nil
	}
	idx := t.index[table]
	if idx == nil {
		idx = make(map[string]*node, 2*table.count)
		for c := table.first; c != nil; c = c.next {
			idx[strings.ToLower(c.key)] = c
		}
		t.index[table] = idx
	}
	return idx[strings.ToLower(key)]
}

// descend returns the child of n called key, made as a table if it is missing. A scalar that gets children keeps its
// text: `tls=true` and `tls.options=x` go together.
func (t *pathTree) descend(n *node, key string, at pos) *node {
	switch n.kind {
	case kindTable, kindList:
	case kindText:
		n.kind = kindTable
		n.flags |= hasText
	default:
		n.kind = kindTable
	}
	c := t.find(n, key)
	if c == nil {
		c = t.arena.new()
		c.key, c.keyPos, c.pos = key, at, at
		n.add(c)
		if idx := t.index[n]; idx != nil {
			idx[strings.ToLower(key)] = c
		}
	}
	return c
}

// setText gives n its value. The last one wins.
func (n *node) setText(text string, at pos) {
	n.text, n.pos = text, at
	switch n.kind {
	case kindTable:
		n.flags |= hasText
	case kindList:
	default:
		n.kind = kindText
	}
}

// insert enters one value. s is the schema of the root.
func (t *pathTree) insert(s *schema, path []string, text string, at pos) {
	n := t.root
	for i := 0; ; i++ {
		s = s.target()
		rest := path[i:]
		switch s.shape {
		case shapeStruct:
			if len(rest) == 0 {
				n.setText(text, at)
				return
			}
			name, index := splitIndex(rest[0])
			f := s.lookup(name, t.door)
			if f != nil && index != "" && (f.label != "" && t.door == doorLabels || f.schema.target().shape != shapeList) {
				f = nil // an index where no list is
			}
			if f == nil {
				t.generic(n, rest, text, at)
				return
			}
			if s.plugins != nil && f.name == "plugin" && len(rest) > 1 {
				if j, ok := s.plugins[strings.ToLower(rest[1])]; ok {
					n = t.descend(t.descend(n, f.name, at), rest[1], at)
					s = s.fields[j].schema
					i++
					continue
				}
			}
			n = t.descend(n, f.name, at)
			s = f.schema
			switch {
			case f.label != "" && t.door == doorLabels:
				// The one element that labels describe.
				n.kind = kindList
				n.flags |= oneElement
				n = t.descend(n, "0", at)
				s = s.target().elem
				if n.kind == kindNull && len(rest) > 1 {
					n.kind = kindTable
				}
			case index != "":
				n = t.element(n, index, at)
				s = s.target().elem
			}
		case shapeMap:
			if len(rest) == 0 {
				n.setText(text, at)
				return
			}
			n = t.descend(n, rest[0], at)
			s = s.elem
		case shapeStringMap:
			if len(rest) == 0 {
				n.setText(text, at)
				return
			}
			t.descend(n, strings.Join(rest, "."), at).setText(text, at)
			return
		case shapeList:
			if len(rest) == 0 {
				if s.elem.target().shape == shapeStruct {
					n.setText(text, at)
					return
				}
				t.appendText(n, text, at)
				return
			}
			n = t.element(n, strings.Trim(rest[0], "[]"), at)
			s = s.elem
		default:
			if len(rest) == 0 {
				n.setText(text, at)
				return
			}
			t.generic(n, rest, text, at)
			return
		}
	}
}

// appendText adds a text to a list of scalars: a repeated flag appends.
func (t *pathTree) appendText(n *node, text string, at pos) {
	if n.kind == kindNull {
		n.kind, n.pos = kindList, at
	}
	item := t.arena.new()
	item.kind, item.text, item.pos, item.keyPos = kindText, text, at, at
	n.add(item)
}

// element returns the list element with the given index text.
func (t *pathTree) element(n *node, index string, at pos) *node {
	if n.kind == kindNull {
		n.kind = kindList
	}
	if n.first == nil {
		t.lists = append(t.lists, n)
	}
	return t.descend(n, index, at)
}

// generic enters the rest of a path that the schema does not lead: unknown keys and free-form values.
func (t *pathTree) generic(n *node, path []string, text string, at pos) {
	for _, seg := range path {
		n = t.descend(n, seg, at)
	}
	n.setText(text, at)
}

// finish puts list elements into their order: by number, and what is no number after that by text.
func (t *pathTree) finish() {
	for _, l := range t.lists {
		items := make([]*node, 0, l.count)
		for c := l.first; c != nil; c = c.next {
			items = append(items, c)
		}
		slices.SortStableFunc(items, func(a, b *node) int {
			x, errA := strconv.Atoi(a.key)
			y, errB := strconv.Atoi(b.key)
			switch {
			case errA == nil && errB == nil:
				return cmp.Compare(x, y)
			case errA == nil:
				return -1
			case errB == nil:
				return 1
			default:
				return cmp.Compare(a.key, b.key)
			}
		})
		l.first, l.last, l.count = nil, nil, 0
		for _, c := range items {
			c.next = nil
			l.add(c)
		}
	}
}

// splitIndex takes the index off a segment such as domains[0].
func splitIndex(seg string) (name, index string) {
	if i := strings.IndexByte(seg, '['); i > 0 && strings.HasSuffix(seg, "]") {
		return seg[:i], seg[i+1 : len(seg)-1]
	}
	return seg, ""
}

// leaf returns the schema at the end of a path, or nil where no option is.
func (t *pathTree) leaf(s *schema, path []string) *schema {
	for i := 0; ; i++ {
		s = s.target()
		if i == len(path) {
			return s
		}
		switch s.shape {
		case shapeStruct:
			name, index := splitIndex(path[i])
			f := s.lookup(name, t.door)
			if f == nil {
				return nil
			}
			s = f.schema
			if index != "" {
				if s.target().shape != shapeList {
					return nil
				}
				s = s.target().elem
			}
		case shapeMap, shapeList:
			s = s.elem
		case shapeStringMap:
			return s.elem
		case shapeFreeMap, shapeAny:
			return schemaOf(anyType)
		default:
			return nil
		}
	}
}

// checkPath splits a dotted path. Segments must not be empty, and brackets must enclose an index at their end.
func checkPath(path string) ([]string, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("a name of %d bytes is longer than the %d that are read", len(path), maxPath)
	}
	segs := strings.Split(path, ".")
	if len(segs) > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	for _, s := range segs {
		open, shut := strings.Count(s, "["), strings.Count(s, "]")
		switch {
		case s == "":
			return nil, fmt.Errorf("%q has an empty part between its dots", clip(path))
		case strings.HasPrefix(s, "[") && !(open == 1 && shut == 1 && strings.HasSuffix(s, "]") && len(s) > 2):
			return nil, fmt.Errorf("%q has brackets without an index", clip(path))
		case strings.HasPrefix(s, "["):
			return nil, fmt.Errorf("%q has an index without a name", clip(path))
		case open != shut || open > 1 || open == 1 && (!strings.HasSuffix(s, "]") || strings.HasSuffix(s, "[]")):
			return nil, fmt.Errorf("%q has brackets without an index", clip(path))
		}
	}
	return segs, nil
}

// maxPath is the longest dotted name that is read, in bytes.
const maxPath = 4096

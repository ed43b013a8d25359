package decode

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
)

// This file reads what holds many values: maps of named things, maps of strings, lists, and free-form values.

// named fills a map whose names users choose.
func (w *walker) named(n *node, s *schema, v reflect.Value) {
	if n.kind != kindTable || n.has(hasText) {
		w.report(n.pos, diag.Error, CodeWrongType, "expected a table of names, got "+n.kind.describe(n), "")
		if n.kind != kindTable {
			return
		}
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(s.typ, int(n.count)))
	}
	element := w.elements && len(w.path) == 2
	for c := n.first; c != nil; c = c.next {
		if c.kind == kindNull {
			if w.door == doorFile {
				w.push(c.key)
				w.report(c.keyPos, diag.Warning, CodeEmpty, "a name without a value is as if it were not there", "write {} for an entry with defaults")
				w.pop()
			}
			continue
		}
		w.push(c.key)
		if element {
			w.element = w.path[0].name + "." + w.path[1].name + "." + c.key
		}
		w.entry(c, s, v)
		if element {
			w.element = ""
		}
		w.pop()
	}
}

// entry reads one value of a map of names.
func (w *walker) entry(c *node, s *schema, v reflect.Value) {
	orig := c
	if c = w.enter(c); c != nil {
		// Outside of files a bare name makes an entry with defaults, whatever text it was given.
		if w.door != doorFile && c.kind != kindTable && s.elem.target().shape == shapeStruct {
			c = &node{kind: kindTable, pos: c.pos, keyPos: c.keyPos}
		} else if w.door != doorFile && c.has(hasText) {
			clone := *c
			clone.flags &^= hasText
			c = &clone
		}
		e := reflect.New(s.elem.typ).Elem()
		if s.elem.shape == shapeStruct && s.elem.defaults {
			e.Addr().Interface().(defaulter).SetDefaults()
		}
		w.value(c, s.elem, e)
		if e.Kind() == reflect.Pointer && e.IsNil() && w.element != "" {
			// An element that could not be read at all still exists: it refuses, and others may refer to it.
			e.Set(reflect.New(s.elem.elem.typ))
			if s.elem.elem.defaults {
				e.Interface().(defaulter).SetDefaults()
			}
		}
		if e.Kind() != reflect.Pointer || !e.IsNil() {
			v.SetMapIndex(reflect.ValueOf(orig.key).Convert(s.typ.Key()), e)
		}
	}
	w.leave(orig)
}

// stringMap fills a map of scalars. Keys keep their dots, and nested tables are another way to write dots.
func (w *walker) stringMap(n *node, s *schema, v reflect.Value) {
	if n.kind != kindTable || n.has(hasText) {
		w.report(n.pos, diag.Error, CodeWrongType, "expected a table, got "+n.kind.describe(n), "")
		if n.kind != kindTable {
			return
		}
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(s.typ, int(n.count)))
	}
	w.stringEntries(n, s, v, "")
}

func (w *walker) stringEntries(n *node, s *schema, v reflect.Value, prefix string) {
	if len(w.path) > maxDepth {
		w.report(n.pos, diag.Error, CodeTooLarge, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return
	}
	for c := n.first; c != nil; c = c.next {
		w.push(c.key)
		orig, key := c, prefix+c.key
		if c = w.enter(c); c != nil {
			switch c.kind {
			case kindNull:
			case kindTable:
				w.stringEntries(c, s, v, key+".")
			default:
				e := reflect.New(s.elem.typ).Elem()
				if w.scalar(c, s.elem, e) {
					v.SetMapIndex(reflect.ValueOf(key).Convert(s.typ.Key()), e)
				}
			}
		}
		w.leave(orig)
		w.pop()
	}
}

// list fills a slice.
func (w *walker) list(n *node, s *schema, v reflect.Value) {
	elem := s.elem
	structs := elem.target().shape == shapeStruct
	switch {
	case n.kind == kindList:
	case n.kind == kindTable && !n.has(hasText):
		if n.first != nil {
			hint := "begin each element with a dash"
			if w.toml {
				hint = "write [[" + w.key() + "]] with two brackets"
			}
			w.report(n.pos, diag.Error, CodeWrongType, "expected a list, got a table", hint)
			return
		}
		v.Set(reflect.MakeSlice(s.typ, 0, 0))
		return
	case structs || n.kind == kindTable:
		w.report(n.pos, diag.Error, CodeWrongType, "expected a list of tables, got "+n.kind.describe(n), "")
		return
	default:
		out := w.splitInto(n, s, reflect.MakeSlice(s.typ, 0, strings.Count(n.text, ",")+1))
		if out.Len() > 0 {
			v.Set(out)
		}
		return
	}
	element := w.elements && len(w.path) == 2 && structs
	out := reflect.MakeSlice(s.typ, 0, int(n.count))
	i := 0
	for c := n.first; c != nil; c = c.next {
		if w.door != doorFile && !structs && c.kind == kindText {
			// Repeated flags append; each may be a comma list.
			out = w.splitInto(c, s, out)
			continue
		}
		w.pushIndex(i)
		i++
		switch {
		case c.kind == kindNull:
			w.report(c.pos, diag.Warning, CodeEmpty, "an empty element is left out", "")
		default:
			if element {
				w.element = w.path[0].name + "." + w.path[1].name + "." + strconv.Itoa(out.Len())
			}
			e := reflect.New(elem.typ).Elem()
			if elem.shape == shapeStruct && elem.defaults {
				e.Addr().Interface().(defaulter).SetDefaults()
			}
			before := len(w.findings) + w.dropped
			w.value(c, elem, e)
			failed := len(w.findings)+w.dropped > before
			if element && e.Kind() == reflect.Pointer && e.IsNil() {
				e.Set(reflect.New(elem.elem.typ)) // keeps its place in the list; it is known to be broken
			}
			if e.Kind() == reflect.Pointer && e.IsNil() || failed && elem.shape.scalar() {
				break
			}
			out = reflect.Append(out, e)
		}
		if element {
			w.element = ""
		}
		w.pop()
	}
	v.Set(out)
}

// splitInto appends the parts of a comma list. Spaces around parts are dropped, and so are empty parts, which a comma
// at the end leaves behind.
func (w *walker) splitInto(n *node, s *schema, out reflect.Value) reflect.Value {
	if strings.TrimSpace(n.text) == "" {
		return out
	}
	// Content of certificates may stand inline and holds no commas that separate anything.
	if s.elem.shape == shapeMaterial && strings.Contains(n.text, "-----BEGIN") {
		e := reflect.New(s.elem.typ).Elem()
		if w.scalar(n, s.elem, e) {
			out = reflect.Append(out, e)
		}
		return out
	}
	told := false
	for part := range strings.SplitSeq(n.text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			if !told {
				told = true
				w.report(n.pos, diag.Warning, CodeEmpty, fmt.Sprintf("%q has a comma too many", clip(n.text)), "")
			}
			continue
		}
		item := node{kind: n.kind, text: part, pos: n.pos, keyPos: n.keyPos}
		if item.kind != kindPlain {
			item.kind = kindText
		}
		e := reflect.New(s.elem.typ).Elem()
		if w.scalar(&item, s.elem, e) {
			out = reflect.Append(out, e)
		}
	}
	return out
}

// freeMap fills a map of free-form values.
func (w *walker) freeMap(n *node, v reflect.Value) {
	if n.kind != kindTable {
		on, known := truth(n)
		if n.text != "" && !(known && on) || n.kind == kindList {
			w.report(n.pos, diag.Error, CodeWrongType, "expected a table, got "+n.kind.describe(n), "")
			return
		}
		n = &node{kind: kindTable}
	}
	if m, ok := w.free(n).(map[string]any); ok {
		v.Set(reflect.ValueOf(m).Convert(v.Type()))
	}
}

// free turns n into maps, lists and scalars as they stand.
func (w *walker) free(n *node) any {
	if len(w.path) > maxDepth {
		w.report(n.pos, diag.Error, CodeTooLarge, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return nil
	}
	orig := n
	defer func() { w.leave(orig) }()
	if n = w.enter(n); n == nil {
		return nil
	}
	switch n.kind {
	case kindNull:
		return nil
	case kindTable:
		m := make(map[string]any, n.count)
		for c := n.first; c != nil; c = c.next {
			w.push(c.key)
			m[c.key] = w.free(c)
			w.pop()
		}
		return m
	case kindList:
		l := make([]any, 0, n.count)
		for c := n.first; c != nil; c = c.next {
			w.pushIndex(len(l))
			l = append(l, w.free(c))
			w.pop()
		}
		return l
	default:
		return freeScalar(n)
	}
}

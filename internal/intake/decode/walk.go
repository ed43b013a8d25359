package decode

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
)

// door is where values came in.
type door uint8

const (
	doorFile door = iota
	doorFlags
	doorEnv
	doorLabels
)

// positions turns compact positions into places.
type positions interface{ place(pos) diag.Place }

// segment is one step of a key path: a name, or the index of a list element.
type segment struct {
	name  string
	index int32 // -1 for names
}

// maxFindings bounds what one document can report; a file of garbage must not fill the log.
const maxFindings = 1000

// aliasBudget is how many nodes a document may visit through aliases, besides four times its own number of nodes.
const aliasBudget = 100_000

// walker fills Go values from a tree.
type walker struct {
	door  door
	where positions
	files *Files
	toml  bool // hints speak TOML rather than YAML

	path     []segment
	findings diag.List
	dropped  int // findings beyond maxFindings

	// elements is set for dynamic configuration: errors belong to the named element that is being read.
	elements bool
	element  string
	broken   map[string]diag.List

	// legacy tells about keys that earlier versions had; nil where no schema of earlier versions matters.
	legacy func(path ...string) (diag.Finding, bool)

	viaAlias int // depth of aliases being followed
	budget   int
	overrun  bool
}

// report adds a finding about the current path. at is where the mistake stands.
func (w *walker) report(at pos, sev diag.Severity, code, message, hint string) {
	f := diag.Finding{
		Place:    w.where.place(at),
		Severity: sev,
		Key:      w.key(),
		Code:     code,
		Message:  message,
		Hint:     hint,
	}
	if sev == diag.Error && w.element != "" {
		if w.broken == nil {
			w.broken = map[string]diag.List{}
		}
		if list := w.broken[w.element]; len(list) < 20 {
			w.broken[w.element] = append(list, f)
		}
	}
	if len(w.findings) >= maxFindings {
		w.dropped++
		return
	}
	w.findings.Add(f)
}

// finish closes the list of findings.
func (w *walker) finish() {
	if w.dropped > 0 {
		w.findings.Add(diag.Finding{
			Place:    w.where.place(0),
			Severity: diag.Error,
			Code:     CodeTooLarge,
			Message:  fmt.Sprintf("%d more findings are left out", w.dropped),
		})
	}
	w.findings.Sort()
}

// key writes the current path in file spelling.
func (w *walker) key() string {
	var b strings.Builder
	for _, s := range w.path {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(int(s.index)) + "]")
		case b.Len() > 0:
			b.WriteString("." + clip(s.name))
		default:
			b.WriteString(clip(s.name))
		}
	}
	return b.String()
}

// clip keeps names from filling a screen.
func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

func (w *walker) push(name string) { w.path = append(w.path, segment{name, -1}) }
func (w *walker) pushIndex(i int)  { w.path = append(w.path, segment{"", int32(i)}) }
func (w *walker) pop()             { w.path = w.path[:len(w.path)-1] }

// enter follows an alias and counts what is read through aliases, so that a small file cannot cost much. It returns nil
// when the budget is spent. The caller calls leave with the original node.
func (w *walker) enter(n *node) *node {
	if n.kind == kindAlias {
		w.viaAlias++
		n = n.first
	}
	if w.viaAlias > 0 {
		if w.budget--; w.budget < 0 {
			if !w.overrun {
				w.overrun = true
				w.report(n.pos, diag.Error, CodeTooLarge, "aliases multiply this document beyond all measure", "")
			}
			return nil
		}
	}
	return n
}

func (w *walker) leave(n *node) {
	if n.kind == kindAlias {
		w.viaAlias--
	}
}

// value fills v, which is settable, from n.
func (w *walker) value(n *node, s *schema, v reflect.Value) {
	orig := n
	n = w.enter(n)
	if n != nil && n.kind != kindNull {
		switch s.shape {
		case shapePointer:
			w.pointer(n, s, v, false)
		case shapeStruct:
			w.structure(n, s, v)
		case shapeList:
			w.list(n, s, v)
		case shapeMap:
			w.named(n, s, v)
		case shapeStringMap:
			w.stringMap(n, s, v)
		case shapeFreeMap:
			w.freeMap(n, v)
		case shapeAny:
			if x := w.free(n); x != nil {
				v.Set(reflect.ValueOf(x))
			}
		default:
			w.scalar(n, s, v)
		}
	}
	w.leave(orig)
}

// pointer makes what v points to, with its defaults, and fills it.
func (w *walker) pointer(n *node, s *schema, v reflect.Value, section bool) {
	if s.elem.shape == shapeStruct {
		if n.kind == kindList {
			w.report(n.pos, diag.Error, CodeWrongType, "expected a table, got a list", "")
			return
		}
		if n.kind != kindTable || n.has(hasText) {
			// A section that is switched off takes what stands below it along; where no such word belongs, what stands
			// below is read all the same.
			if on, switchable := w.switchedOn(n, section); !on && (switchable || n.kind != kindTable) {
				return
			}
			if n.kind != kindTable {
				n = &node{kind: kindTable, pos: n.pos, keyPos: n.keyPos}
			}
		}
	}
	p := v
	if v.IsNil() {
		p = reflect.New(s.elem.typ)
		if s.elem.defaults {
			p.Interface().(defaulter).SetDefaults()
		}
	}
	before := len(w.findings) + w.dropped
	w.value(n, s.elem, p.Elem())
	if s.elem.shape.scalar() && len(w.findings)+w.dropped > before {
		return // a scalar that could not be read stays absent
	}
	v.Set(p)
}

// switchedOn decides about a scalar that stands where a table belongs. switchable tells whether a scalar may.
func (w *walker) switchedOn(n *node, section bool) (on, switchable bool) {
	if w.door == doorFlags || w.door == doorEnv {
		section = true // a bare flag is an empty table
	}
	if !section {
		w.report(n.pos, diag.Error, CodeWrongType, "expected a table, got "+n.kind.describe(n), "")
		return false, false
	}
	if n.text == "" {
		return true, true
	}
	on, known := truth(n)
	if !known {
		w.report(n.pos, diag.Warning, CodeWrongType,
			fmt.Sprintf("%q switches this section off; only true or nothing switches it on", clip(n.text)), "write true or false")
	}
	return on, true
}

// describe names a value for messages: its kind, and its text if it is short.
func (k kind) describe(n *node) string {
	if k == kindTable && n.has(hasText) {
		k = kindText
	}
	switch k {
	case kindNull, kindList, kindTable:
		return k.String()
	}
	return fmt.Sprintf("%s %q", k, clip(n.text))
}

// structure fills the struct v from a table.
func (w *walker) structure(n *node, s *schema, v reflect.Value) {
	if n.kind != kindTable {
		w.report(n.pos, diag.Error, CodeWrongType, "expected a table, got "+n.kind.describe(n), "")
		return
	}
	var seen [2]uint64
	for c := n.first; c != nil; c = c.next {
		f := s.lookup(c.key, w.door)
		if f == nil && c.has(oneElement) {
			f = s.labelAlias(c.key)
		}
		if f == nil {
			w.unknown(c, s)
			continue
		}
		at := f.index & 127
		if seen[at/64]&(1<<(at%64)) != 0 {
			w.push(f.name)
			w.report(c.keyPos, diag.Error, CodeDuplicateKey, fmt.Sprintf("given twice, here as %q", clip(c.key)), "keys are the same in upper and lower case")
			w.pop()
			continue
		}
		seen[at/64] |= 1 << (at % 64)
		w.field(c, s, f, v)
	}
}

// field fills one field of the struct v.
func (w *walker) field(c *node, s *schema, f *field, v reflect.Value) {
	w.push(f.name)
	defer w.pop()
	if f.filesOnly && w.door == doorLabels {
		w.report(c.keyPos, diag.Warning, CodeNotRead, "labels cannot set this option", "write it in a file of the file provider")
		return
	}
	if c.kind == kindNull {
		if w.door == doorFile && f.schema.shape == shapePointer && f.schema.elem.shape == shapeStruct {
			w.report(c.keyPos, diag.Warning, CodeEmpty, "a key without a value is as if it were not there", "write {} to switch the section on")
		}
		return
	}
	if f.leftover && w.elements {
		w.report(c.keyPos, diag.Info, CodeDeprecated, "a leftover of older configurations", "")
	}
	switch {
	case s.plugins != nil && f.schema.shape == shapeMap && f.name == "plugin":
		w.pluginTable(c, s, f, v)
	case f.section && f.schema.shape == shapePointer:
		orig := c
		if c = w.enter(c); c != nil && c.kind != kindNull {
			w.pointer(c, f.schema, v.Field(f.index), true)
		}
		w.leave(orig)
	default:
		w.value(c, f.schema, v.Field(f.index))
	}
}

// pluginTable reads the entries below "plugin". Those that are second spellings of options of ours go to their fields.
func (w *walker) pluginTable(n *node, s *schema, f *field, v reflect.Value) {
	orig := n
	if n = w.enter(n); n != nil && n.kind == kindTable {
		rest := &node{kind: kindTable, pos: n.pos, keyPos: n.keyPos}
		for c := n.first; c != nil; c = c.next {
			i, ok := s.plugins[strings.ToLower(c.key)]
			if !ok {
				clone := *c
				clone.next = nil
				rest.add(&clone)
				continue
			}
			w.push(c.key)
			second := &s.fields[i]
			if second.section && second.schema.shape == shapePointer {
				w.pointer(c.resolve(), second.schema, v.Field(second.index), true)
			} else {
				w.value(c, second.schema, v.Field(second.index))
			}
			w.pop()
		}
		if rest.first != nil {
			w.value(rest, f.schema, v.Field(f.index))
		}
	} else if n != nil {
		w.value(n, f.schema, v.Field(f.index))
	}
	w.leave(orig)
}

// unknown reports a key that s does not have.
func (w *walker) unknown(c *node, s *schema) {
	if w.legacy != nil && w.gone(c) {
		return
	}
	key := c.key
	if w.door == doorLabels {
		key, _, _ = strings.Cut(key, "[")
	}
	names := s.names(w.door)
	hint := diag.DidYouMean(key, names)
	if hint == "" && w.door == doorLabels {
		if f := s.labelAlias(key); f != nil {
			hint = fmt.Sprintf("labels describe one element: write %q", f.label)
		}
	}
	if w.legacy != nil && w.door != doorFile && len(w.path) == 0 && dynamicSchema().lookup(key, doorFile) != nil {
		hint = "routers, services and middlewares are not set here but come from a provider, such as a file that providers.file names"
	}
	if hint == "" && len(names) > 0 && len(names) <= 8 {
		hint = "known here: " + strings.Join(names, ", ")
	}
	w.push(c.key)
	w.report(c.keyPos, diag.Error, CodeUnknownKey, fmt.Sprintf("unknown key %q", clip(c.key)), hint)
	w.pop()
}

// gone reports a key of an earlier version.
func (w *walker) gone(c *node) bool {
	path := make([]string, 0, len(w.path)+1)
	for _, s := range w.path {
		path = append(path, s.name)
	}
	f, ok := w.legacy(append(path, c.key)...)
	if ok {
		w.push(c.key)
		w.report(c.keyPos, f.Severity, f.Code, f.Message, f.Hint)
		w.pop()
	}
	return ok
}

// labelAlias finds the list field that labels know under another name.
func (s *schema) labelAlias(key string) *field {
	for i := range s.fields {
		if f := &s.fields[i]; f.label != "" && strings.EqualFold(f.name, key) {
			return f
		}
	}
	return nil
}

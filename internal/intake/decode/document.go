package decode

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Format is the language of a file.
type Format uint8

const (
	// TOML is TOML 1.0.
	TOML Format = iota + 1
	// YAML is YAML with the 1.1 habits of its users, and JSON, which goes through the same reader.
	YAML
)

// FormatOf tells the format from the extension of a file name (.toml, .yaml, .yml, .json in any case). ok is false for
// every other name.
func FormatOf(name string) (f Format, ok bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".toml":
		return TOML, true
	case ".yaml", ".yml", ".json":
		return YAML, true
	}
	return 0, false
}

// Document is a parsed file. It is immutable and safe for concurrent use.
type Document struct {
	// Name is the file as the user gave it; findings begin with it.
	Name string
	// Findings are remarks of parsing that leave the document usable.
	Findings diag.List

	root *node
	loc  locator
	toml bool
	// nodes is how many values the document has.
	nodes int
}

// SyntaxError says that a document could not be parsed, so nothing of it is known.
type SyntaxError struct {
	// Findings has one entry per mistake, at least one.
	Findings diag.List
}

// Error returns the first finding.
func (e *SyntaxError) Error() string { return e.Findings[0].String() }

// File parses data, which must not be changed afterwards. The error is a *SyntaxError. An empty document is no error.
func File(name string, data []byte, f Format) (*Document, error) {
	if len(data) > MaxFile {
		return nil, &SyntaxError{diag.List{{
			Place: diag.Place{Source: name}, Severity: diag.Error, Code: CodeTooLarge,
			Message: fmt.Sprintf("the file has %d bytes, at most %d are read", len(data), MaxFile),
		}}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	d := &Document{Name: name, toml: f == TOML}
	d.loc.where = &filePositions{name: name, data: data, offsets: d.toml}
	var errs []*parseError
	if d.toml {
		r := newTOMLReader()
		root, err := r.read(data)
		d.root, d.nodes = root, r.arena.total
		if err != nil {
			errs = append(errs, err)
		}
	} else {
		r := newYAMLReader()
		d.root, errs = r.read(data)
		d.nodes = r.arena.total
		if r.more != 0 {
			d.Findings.Add(diag.Finding{
				Place: d.loc.where.place(r.more), Severity: diag.Warning, Code: CodeNotRead,
				Message: "only the first document of a file is read",
			})
		}
	}
	if len(errs) > 0 {
		return nil, &SyntaxError{d.parseFindings(errs)}
	}
	d.loc.root = d.root
	return d, nil
}

// parseFindings turns errors of the readers into findings.
func (d *Document) parseFindings(errs []*parseError) diag.List {
	var out diag.List
	for _, e := range errs {
		out.Add(diag.Finding{
			Place: d.loc.where.place(e.at), Severity: diag.Error, Key: clip(e.key), Code: e.code, Message: e.message, Hint: e.hint,
		})
	}
	return out
}

// Empty reports whether the document holds no keys at all.
func (d *Document) Empty() bool { return d.root.kind == kindTable && d.root.first == nil }

// RootKeys returns the keys of the outermost table as written. Their words tell static, dynamic and foreign documents
// apart.
func (d *Document) RootKeys() []string {
	var out []string
	if d.root.kind == kindTable {
		for c := d.root.first; c != nil; c = c.next {
			out = append(out, c.key)
		}
	}
	return out
}

// Locate returns the place of the value at path, or of its deepest ancestor that was written.
func (d *Document) Locate(path ...string) diag.Place { return d.loc.Locate(path...) }

// newWalker starts a walk over the document.
func (d *Document) newWalker(files *Files) *walker {
	return &walker{door: doorFile, where: d.loc.where, files: files, toml: d.toml, budget: 4*d.nodes + aliasBudget}
}

// Dynamic reads the dynamic side of the document. Root keys of the static side are passed by, so one file may be both;
// other unknown root keys get a warning. Files named inside are read through files, which may be nil. The fragment is
// never nil.
func (d *Document) Dynamic(files *Files) *dynamic.Fragment {
	w := d.newWalker(files)
	w.elements = true
	cfg := &dynamic.Config{}
	if w.rootTable(d.root) {
		rootFields(w, d.root, dynamicSchema(), staticSchema(), reflect.ValueOf(cfg).Elem())
	}
	if d.Empty() {
		w.report(0, diag.Warning, CodeEmpty, "the file holds no configuration", "")
	}
	w.findings = append(w.findings, d.Findings...)
	w.finish()
	return &dynamic.Fragment{Name: d.Name, Config: cfg, Where: &d.loc, Findings: w.findings, Broken: w.broken}
}

// rootTable reports a document whose outermost value is no table.
func (w *walker) rootTable(root *node) bool {
	if root.kind == kindTable {
		return true
	}
	w.report(root.pos, diag.Error, CodeWrongType, "expected a table of sections, got "+root.kind.describe(root), "")
	return false
}

// rootFields reads the keys of the outermost table that belong to own. Keys of the other side of the configuration are
// passed by. It returns how many keys were own, now or in an earlier version.
func rootFields(w *walker, root *node, own, other *schema, v reflect.Value) int {
	count := 0
	for c := root.first; c != nil; c = c.next {
		switch f := own.lookup(c.key, w.door); {
		case f != nil:
			count++
		case other.lookup(c.key, w.door) != nil, strings.HasPrefix(c.key, "x-"):
			continue
		case w.legacy != nil && w.gone(c):
			count++
		default:
			w.push(c.key)
			w.report(c.keyPos, diag.Warning, CodeUnknownKey, fmt.Sprintf("unknown key %q, everything below it is ignored", clip(c.key)),
				diag.DidYouMean(c.key, append(own.names(w.door), other.names(w.door)...)))
			w.pop()
			continue
		}
	}
	// The table is walked as any other, without the keys that are not ours.
	mine := &node{kind: kindTable, pos: root.pos, keyPos: root.keyPos}
	for c := root.first; c != nil; c = c.next {
		if own.lookup(c.key, w.door) != nil {
			clone := *c
			clone.next = nil
			mine.add(&clone)
		}
	}
	w.structure(mine, own, v)
	return count
}

// filePositions knows lines and columns of one file.
type filePositions struct {
	name    string
	data    []byte
	offsets bool // positions are byte offsets plus one, else packed lines and columns

	once  sync.Once
	lines []int // offsets of the beginnings of lines
}

func (p *filePositions) place(at pos) diag.Place {
	out := diag.Place{Source: p.name}
	switch {
	case at == 0:
	case !p.offsets:
		out.Line, out.Col = int(at>>24), int(at&(1<<24-1))
	default:
		p.once.Do(func() {
			p.lines = []int{0}
			for i, c := range p.data {
				if c == '\n' {
					p.lines = append(p.lines, i+1)
				}
			}
		})
		off := min(int(at-1), len(p.data))
		line := sort.SearchInts(p.lines, off+1) - 1
		out.Line = line + 1
		out.Col = 1 + utf8.RuneCount(p.data[p.lines[line]:off])
	}
	return out
}

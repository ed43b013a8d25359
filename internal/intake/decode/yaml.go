package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// This file is the only one that knows the YAML library. The library composes its own node tree; here it becomes ours,
// with duplicate keys refused, merge keys (<<) expanded and aliases shared rather than copied.

// maxDepth bounds nesting of every document. The deepest option of the schema is at level 9.
const maxDepth = 64

// linePos packs line and column of the YAML library.
func linePos(line, col int) pos { return pos(line)<<24 | pos(min(col, 1<<24-1)) }

// yamlReader converts one document.
type yamlReader struct {
	arena arena
	names interner
	// made remembers the converted form of anchored nodes, so that an alias can point to it. A nil value means that
	// the conversion is under way: an alias to it would be a circle.
	made map[*yaml.Node]*node
	// merged counts the entries that merge keys have copied.
	merged int
	errs   []*parseError
	// more is where a second document begins; 0 if there is none.
	more pos
}

// maxMerged bounds how many entries merge keys may add to one document.
const maxMerged = 100_000

func newYAMLReader() *yamlReader {
	return &yamlReader{names: interner{}, made: map[*yaml.Node]*node{}}
}

// read parses the first document of data.
func (r *yamlReader) read(data []byte) (root *node, errs []*parseError) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, []*parseError{yamlError(err)}
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		root = r.arena.new()
		root.kind, root.pos = kindTable, linePos(1, 1)
		return root, nil
	case err != nil:
		return nil, []*parseError{yamlError(err)}
	}
	root = r.convert(&doc, 0)
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	if root.kind == kindNull {
		root.kind = kindTable
	}
	// A second document is rare, and looking for one costs a parse: only where a separator stands.
	if bytes.Contains(data, []byte("\n---")) {
		var next yaml.Node
		if loader.Load(&next) == nil {
			r.more = linePos(max(next.Line, 1), max(next.Column, 1))
		}
	}
	return root, nil
}

// maxParseErrors bounds the mistakes that one parse reports.
const maxParseErrors = 50

func (r *yamlReader) fail(n *yaml.Node, key, code, message, hint string) {
	if len(r.errs) >= maxParseErrors {
		return
	}
	r.errs = append(r.errs, &parseError{at: linePos(n.Line, n.Column), key: key, code: code, message: message, hint: hint})
}

func (r *yamlReader) convert(y *yaml.Node, depth int) *node {
	n := r.arena.new()
	n.pos = linePos(y.Line, y.Column)
	n.keyPos = n.pos
	if depth > maxDepth {
		if len(r.errs) < maxParseErrors {
			r.errs = append(r.errs, tooDeep(n.pos))
		}
		return n
	}
	if y.Anchor != "" {
		r.made[y] = nil
		defer func() { r.made[y] = n }()
	}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) == 1 {
			return r.convert(y.Content[0], depth)
		}
	case yaml.ScalarNode:
		n.kind, n.text = scalarKind(y), y.Value
	case yaml.SequenceNode:
		n.kind = kindList
		for _, c := range y.Content {
			n.add(r.convert(c, depth+1))
		}
	case yaml.MappingNode:
		n.kind = kindTable
		r.mapping(n, y, depth)
	case yaml.AliasNode:
		target := r.made[y.Alias]
		if target == nil {
			r.fail(y, "", CodeSyntax, fmt.Sprintf("alias *%s stands inside the value that it names", y.Value), "")
			return n
		}
		n.kind, n.first = kindAlias, target
	}
	return n
}

func scalarKind(y *yaml.Node) kind {
	switch y.Tag {
	case "!!null":
		return kindNull
	case "!!int":
		return kindInt
	case "!!float":
		return kindFloat
	case "!!bool":
		return kindBool
	case "!!timestamp":
		return kindDate
	}
	if y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 {
		return kindPlain
	}
	return kindText
}

// mapping converts keys and values, then adds what merge keys bring and the mapping itself does not say.
func (r *yamlReader) mapping(n *node, y *yaml.Node, depth int) {
	var seen map[string]*node
	find := func(key string) *node {
		if seen == nil && n.count >= indexFrom {
			seen = make(map[string]*node, len(y.Content))
			for c := n.first; c != nil; c = c.next {
				seen[c.key] = c
			}
		}
		if seen != nil {
			return seen[key]
		}
		return n.child(key)
	}
	add := func(c *node) {
		n.add(c)
		if seen != nil {
			seen[c.key] = c
		}
	}
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			r.fail(y.Content[i], "", CodeSyntax, "a key must be a single word or text", "")
			continue
		}
		if k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if old := find(k.Value); old != nil {
			r.fail(y.Content[i], k.Value, CodeDuplicateKey,
				fmt.Sprintf("%q is given twice, first in line %d", k.Value, old.keyPos>>24), "merge the two")
			continue
		}
		c := r.convert(v, depth+1)
		c.key = r.key(k.Value)
		c.keyPos = linePos(y.Content[i].Line, y.Content[i].Column)
		add(c)
	}
	for _, m := range merges {
		for _, source := range r.mergeSources(m, depth) {
			for c := source.first; c != nil; c = c.next {
				if find(c.key) != nil {
					continue
				}
				if r.merged++; r.merged > maxMerged {
					r.fail(m, "<<", CodeTooLarge, fmt.Sprintf("merge keys copy more than %d entries", maxMerged), "")
					return
				}
				a := r.arena.new()
				a.kind, a.key, a.keyPos, a.pos, a.first = kindAlias, c.key, c.keyPos, c.pos, c.resolve()
				add(a)
			}
		}
	}
}

// mergeSources returns the tables that a merge key names.
func (r *yamlReader) mergeSources(m *yaml.Node, depth int) []*node {
	n := r.convert(m, depth+1).resolve()
	switch n.kind {
	case kindTable:
		return []*node{n}
	case kindList:
		var out []*node
		for c := n.first; c != nil; c = c.next {
			t := c.resolve()
			if t.kind != kindTable {
				r.fail(m, "<<", CodeSyntax, "a merge key takes mappings only", "")
				return nil
			}
			out = append(out, t)
		}
		return out
	default:
		r.fail(m, "<<", CodeSyntax, "a merge key takes a mapping or a list of mappings", "")
		return nil
	}
}

func (r *yamlReader) key(s string) string {
	if k, ok := r.names[s]; ok {
		return k
	}
	if len(r.names) < internLimit && len(s) <= 32 {
		r.names[s] = s
	}
	return s
}

// yamlError turns an error of the library into ours. Where the library noticed the mistake only at the end of a
// construct, the place where that construct began is the more useful one.
func yamlError(err error) *parseError {
	out := &parseError{code: CodeSyntax, message: err.Error()}
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return out
	}
	out.message = le.Message
	mark := le.Mark
	if le.ContextMsg != "" {
		out.message += " " + le.ContextMsg
		if le.ContextMark.Line > 0 && le.ContextMark.Line < le.Mark.Line && le.Message != "could not find expected ':'" {
			out.message += fmt.Sprintf(" that begins in line %d", le.ContextMark.Line)
		}
	}
	if mark.Line == 0 || le.Message == "could not find expected ':'" && le.ContextMark.Line > 0 {
		mark = le.ContextMark
	}
	if mark.Line > 0 {
		out.at = linePos(mark.Line, max(mark.Column, 1))
	}
	switch le.Message {
	case "found character that cannot start any token":
		out.hint = "YAML is indented with spaces, and text that begins with @, ` or % needs quotes"
	case "mapping values are not allowed in this context":
		out.hint = "is the line indented too far, or does its text need quotes?"
	}
	return out
}

package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// This file is the only one that knows the TOML library. Its parser checks the grammar and yields one expression at a
// time; what makes a document of them (which table a header means, what may be defined twice) is decided here, by TOML
// 1.0 sections "Table", "Inline Table" and "Array of Tables".

// parseError is a mistake that leaves no usable document behind.
type parseError struct {
	at      pos
	key     string
	code    string
	message string
	hint    string
}

func (e *parseError) Error() string { return e.message }

// tomlReader builds the tree of one document.
type tomlReader struct {
	p     unstable.Parser
	arena arena
	names interner
	root  *node
	// index finds children of wide tables by name, so that ten thousand routers are not compared with each other.
	index map[*node]map[string]*node
}

// indexFrom is the number of children from which a table gets an index.
const indexFrom = 16

func newTOMLReader() *tomlReader {
	return &tomlReader{names: interner{}, index: map[*node]map[string]*node{}}
}

// read parses data, which must not be changed afterwards. Positions are byte offsets plus one.
func (r *tomlReader) read(data []byte) (*node, *parseError) {
	r.root = r.arena.new()
	r.root.kind = kindTable
	r.root.pos = 1
	r.p.Reset(data)
	current := r.root
	for r.p.NextExpression() {
		e := r.p.Expression()
		var err *parseError
		switch e.Kind {
		case unstable.Table:
			current, err = r.header(e)
		case unstable.ArrayTable:
			current, err = r.arrayHeader(e)
		case unstable.KeyValue:
			err = r.keyValue(current, e, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := r.p.Error(); err != nil {
		return nil, r.syntax(err, data)
	}
	return r.root, nil
}

// find returns the child of table called key, through the index if it is wide.
func (r *tomlReader) find(table *node, key string) *node {
	if table.count < indexFrom {
		return table.child(key)
	}
	idx := r.index[table]
	if idx == nil {
		idx = make(map[string]*node, 2*table.count)
		for c := table.first; c != nil; c = c.next {
			idx[c.key] = c
		}
		r.index[table] = idx
	}
	return idx[key]
}

// attach makes a child of table called key; the caller has made sure that none exists.
func (r *tomlReader) attach(table *node, k *unstable.Node, kd kind) *node {
	c := r.arena.new()
	c.kind = kd
	c.key = r.names.text(k.Data)
	c.keyPos = pos(k.Raw.Offset) + 1
	c.pos = c.keyPos
	table.add(c)
	if idx := r.index[table]; idx != nil {
		idx[c.key] = c
	}
	return c
}

// step goes from table to its sub-table for a segment of a header that is not the last one.
func (r *tomlReader) step(table *node, k *unstable.Node) (*node, *parseError) {
	c := r.find(table, string(k.Data))
	switch {
	case c == nil:
		return r.attach(table, k, kindTable), nil
	case c.has(tomlArray):
		return c.last, nil
	case c.kind == kindTable && !c.has(tomlClosed):
		return c, nil
	default:
		return nil, r.twice(c, k, "is %s and cannot be extended by a header")
	}
}

// header handles [a.b.c].
func (r *tomlReader) header(e *unstable.Node) (*node, *parseError) {
	table := r.root
	depth := 0
	for it := e.Key(); it.Next(); {
		k := it.Node()
		if depth++; depth > maxDepth {
			return nil, tooDeep(pos(k.Raw.Offset) + 1)
		}
		if !it.IsLast() {
			next, err := r.step(table, k)
			if err != nil {
				return nil, err
			}
			table = next
			continue
		}
		c := r.find(table, string(k.Data))
		switch {
		case c == nil:
			c = r.attach(table, k, kindTable)
		case c.kind != kindTable || c.has(tomlClosed|tomlDotted):
			return nil, r.twice(c, k, "is %s and cannot be opened as a table")
		case c.has(tomlHeader):
			return nil, r.twice(c, k, "is %s and is opened twice")
		}
		c.flags |= tomlHeader
		table = c
	}
	return table, nil
}

// arrayHeader handles [[a.b.c]].
func (r *tomlReader) arrayHeader(e *unstable.Node) (*node, *parseError) {
	table := r.root
	depth := 0
	for it := e.Key(); it.Next(); {
		k := it.Node()
		if depth++; depth > maxDepth {
			return nil, tooDeep(pos(k.Raw.Offset) + 1)
		}
		if !it.IsLast() {
			next, err := r.step(table, k)
			if err != nil {
				return nil, err
			}
			table = next
			continue
		}
		c := r.find(table, string(k.Data))
		switch {
		case c == nil:
			c = r.attach(table, k, kindList)
			c.flags |= tomlArray
		case !c.has(tomlArray):
			return nil, r.twice(c, k, "is %s and cannot be extended as an array of tables")
		}
		item := r.arena.new()
		item.kind = kindTable
		item.flags = tomlHeader
		item.keyPos = pos(k.Raw.Offset) + 1
		item.pos = item.keyPos
		c.add(item)
		table = item
	}
	return table, nil
}

// keyValue handles a.b = value inside table.
func (r *tomlReader) keyValue(table *node, e *unstable.Node, depth int) *parseError {
	for it := e.Key(); it.Next(); {
		k := it.Node()
		if depth++; depth > maxDepth {
			return tooDeep(pos(k.Raw.Offset) + 1)
		}
		c := r.find(table, string(k.Data))
		if it.IsLast() {
			if c != nil {
				return r.twice(c, k, "is %s and is defined twice")
			}
			c = r.attach(table, k, kindNull)
			return r.value(c, e.Value(), depth)
		}
		switch {
		case c == nil:
			c = r.attach(table, k, kindTable)
			c.flags |= tomlDotted
		case c.kind != kindTable || !c.has(tomlDotted) || c.has(tomlClosed):
			return r.twice(c, k, "is %s and cannot be extended by a dotted key")
		}
		table = c
	}
	return nil
}

// value fills n from a value of the parser.
func (r *tomlReader) value(n *node, v *unstable.Node, depth int) *parseError {
	if v.Raw.Offset > 0 {
		n.pos = pos(v.Raw.Offset) + 1
	}
	if depth > maxDepth {
		return tooDeep(n.pos)
	}
	switch v.Kind {
	case unstable.String:
		n.kind, n.text = kindText, string(v.Data)
	case unstable.Integer:
		n.kind, n.text = kindInt, string(v.Data)
	case unstable.Float:
		n.kind, n.text = kindFloat, string(v.Data)
	case unstable.Bool:
		n.kind, n.text = kindBool, string(v.Data)
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		n.kind, n.text = kindDate, string(v.Data)
	case unstable.Array:
		n.kind = kindList
		n.flags |= tomlClosed
		for it := v.Children(); it.Next(); {
			item := r.arena.new()
			item.pos = n.pos
			if err := r.value(item, it.Node(), depth+1); err != nil {
				return err
			}
			item.keyPos = item.pos
			n.add(item)
		}
	case unstable.InlineTable:
		n.kind = kindTable
		for it := v.Children(); it.Next(); {
			if err := r.keyValue(n, it.Node(), depth+1); err != nil {
				return err
			}
		}
		n.close()
	}
	return nil
}

// close marks an inline table and the tables that dotted keys made inside it: nothing outside may add to them.
func (n *node) close() {
	n.flags |= tomlClosed
	for c := n.first; c != nil; c = c.next {
		if c.kind == kindTable && !c.has(tomlClosed) {
			c.close()
		}
	}
}

// twice reports that old stands in the way of the key k. format has one verb for what and where old is.
func (r *tomlReader) twice(old *node, k *unstable.Node, format string) *parseError {
	what := old.kind.String()
	if old.has(tomlArray) {
		what = "an array of tables"
	}
	line, _ := lineColumn(r.p.Data(), int(old.keyPos)-1)
	what += fmt.Sprintf(" since line %d", line)
	return &parseError{
		at:      pos(k.Raw.Offset) + 1,
		key:     string(k.Data),
		code:    CodeDuplicateKey,
		message: fmt.Sprintf("%q "+format, k.Data, what),
		hint:    "merge the two",
	}
}

func tooDeep(at pos) *parseError {
	return &parseError{at: at, code: CodeTooLarge, message: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
}

// syntax turns an error of the parser into ours. Where a key is not followed by what must follow it, the wording is the
// one that users of TOML readers have been searching the web with for a decade.
func (r *tomlReader) syntax(err error, data []byte) *parseError {
	out := &parseError{code: CodeSyntax, message: err.Error()}
	var pe *unstable.ParserError
	if !errors.As(err, &pe) {
		return out
	}
	out.message = pe.Message
	off := int(r.p.Range(pe.Highlight).Offset)
	out.at = pos(off) + 1
	switch {
	case strings.HasPrefix(pe.Message, "expected '=' after key"):
		off = min(skipBlank(data, keyEnd(data, off)), len(data))
		out.at = pos(off) + 1
		out.message = "expected '.' or '=', but got " + quoted(data, off) + " instead"
		if off < len(data) && data[off] == ':' {
			out.hint = "in TOML a key and its value are separated by ="
		}
	case strings.HasPrefix(pe.Message, "expected ']' to close table name"):
		off = min(skipBlank(data, keyEnd(data, off)), len(data))
		out.at = pos(off) + 1
		out.message = "expected '.' or ']' to end the table name, but got " + quoted(data, off) + " instead"
	case strings.HasPrefix(pe.Message, "invalid character at start of key"):
		if off < len(data) && data[off] != '.' && data[off] != '=' {
			out.message = "expected '.' or '=', but got " + quoted(data, off) + " instead"
			break
		}
		out.message = "expected a key, but got " + quoted(data, off) + " instead"
		if bytes.HasPrefix(data[off:], []byte("...")) {
			out.hint = "take the line out, ... is not TOML"
		}
	case strings.HasPrefix(pe.Message, "unexpected character") && strings.HasSuffix(pe.Message, "at start of value"):
		out.message = "expected a value, but got " + quoted(data, off) + " instead"
		if off < len(data) && isWordByte(data[off]) {
			out.hint = "write text in quotes"
		}
	case strings.HasPrefix(pe.Message, "expected newline but got"):
		out.message = "expected the end of the line, but got " + quoted(data, off) + " instead"
	}
	return out
}

// keyEnd moves off to the end of the bare key that it stands on, if the document ends right there; the parser marks the
// key itself then.
func keyEnd(data []byte, off int) int {
	end := off
	for end < len(data) && isWordByte(data[end]) {
		end++
	}
	if end == len(data) {
		return end
	}
	return off
}

func skipBlank(data []byte, off int) int {
	for off < len(data) && (data[off] == ' ' || data[off] == '\t') {
		off++
	}
	return off
}

func isWordByte(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quoted shows the character at off.
func quoted(data []byte, off int) string {
	if off >= len(data) {
		return "the end of the file"
	}
	if data[off] == '\r' || data[off] == '\n' {
		return `'\n'`
	}
	c, size := utf8.DecodeRune(data[off:])
	if c == utf8.RuneError && size <= 1 {
		return fmt.Sprintf("byte 0x%02x", data[off])
	}
	return fmt.Sprintf("%q", c)
}

// lineColumn returns line and column of a byte offset, both from 1; columns count characters.
func lineColumn(data []byte, off int) (line, col int) {
	off = min(max(off, 0), len(data))
	line = 1 + bytes.Count(data[:off], []byte{'\n'})
	start := bytes.LastIndexByte(data[:off], '\n') + 1
	return line, 1 + utf8.RuneCount(data[start:off])
}

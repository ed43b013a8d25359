package decode

// kind says what a value looked like where it was written. Labels, flags and environment only know text; files know
// more, and the difference matters for a few conversions (a YAML `yes` is a truth value only when it is not quoted).
type kind uint8

const (
	kindNull  kind = iota // key without a value: treated as absent
	kindText              // quoted text, or any value of labels, flags and environment
	kindPlain             // YAML text without quotes
	kindInt               // integer of a file, text as written
	kindFloat             // floating point number of a file, text as written
	kindBool              // truth value of a file
	kindDate              // TOML date or time, YAML timestamp
	kindList
	kindTable
	kindAlias // YAML alias: first points to the anchored node, which is shared
)

func (k kind) String() string {
	switch k {
	case kindNull:
		return "nothing"
	case kindText, kindPlain:
		return "text"
	case kindInt:
		return "an integer"
	case kindFloat:
		return "a floating point number"
	case kindBool:
		return "a boolean"
	case kindDate:
		return "a date"
	case kindList:
		return "a list"
	case kindTable:
		return "a table"
	default:
		return "an alias"
	}
}

// pos is a place in compact form. Its meaning belongs to the positions of the document: line and column for YAML, byte
// offset for TOML, index of a source name for labels, flags and environment. 0 is unknown.
type pos uint64

// node is one value of a parsed document. Children form a linked list, because TOML adds to tables long after they
// began and because a list needs no spare capacity: files of ten thousand routers have hundreds of thousands of nodes.
type node struct {
	key    string // name within the parent table; empty in lists
	text   string // scalars only; also the text of a section that has children (`tls=true` beside `tls.options=x`)
	keyPos pos    // where the key stands; in lists and at the root the same as pos
	pos    pos    // where the value stands

	first, last, next *node
	count             int32
	kind              kind
	flags             nodeFlags
}

type nodeFlags uint8

const (
	// tomlHeader: the table was opened by a [header] and cannot be opened again.
	tomlHeader nodeFlags = 1 << iota
	// tomlDotted: the table was made by a dotted key and cannot be opened by a [header].
	tomlDotted
	// tomlClosed: inline table or array value, complete where it stands.
	tomlClosed
	// tomlArray: list made by [[header]]; a following header with its name means its last element.
	tomlArray
	// hasText: a table that was also given a scalar (flags and labels only).
	hasText
	// oneElement: the list that a label describes in the singular.
	oneElement
)

func (n *node) has(f nodeFlags) bool { return n.flags&f != 0 }

// add appends child to n.
func (n *node) add(child *node) {
	if n.last == nil {
		n.first = child
	} else {
		n.last.next = child
	}
	n.last = child
	n.count++
}

// child returns the first child called exactly key, or nil.
func (n *node) child(key string) *node {
	for c := n.first; c != nil; c = c.next {
		if c.key == key {
			return c
		}
	}
	return nil
}

// resolve follows aliases. Chains cannot be longer than one: an alias always points to an anchored value.
func (n *node) resolve() *node {
	if n.kind == kindAlias {
		return n.first
	}
	return n
}

// arena hands out nodes in blocks, so that a large file costs a few allocations instead of one per value.
type arena struct {
	block []node
	total int
}

const arenaBlock = 512

func (a *arena) new() *node {
	if len(a.block) == 0 {
		// Small files (a few values) must not pay for a whole block each.
		a.block = make([]node, min(max(16, a.total), arenaBlock))
	}
	n := &a.block[0]
	a.block = a.block[1:]
	a.total++
	return n
}

// interner keeps one copy of keys that come again and again ("rule", "service", "entryPoints"). It is bounded, since
// names of elements pass through it too.
type interner map[string]string

const internLimit = 256

func (in interner) text(b []byte) string {
	if s, ok := in[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(in) < internLimit && len(s) <= 32 {
		in[s] = s
	}
	return s
}

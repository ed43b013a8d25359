package httpmsg

import "unsafe"

// Field is one header field as it stood on the wire: name and value keep their spelling, order and multiplicity.
type Field struct {
	Name, Value View
	// ID is the known name, so that the hot path compares one byte; HdrOther for all remaining names.
	ID ID
}

// Header is an ordered list of fields. Names compare without case. The zero Header is empty and ready to use. The first
// inlineFields fields take no allocation of their own once the exchange is reused. Not safe for concurrent use.
type Header struct {
	fields []Field
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Field returns name and value of field i as strings that are good as long as its views.
func (h *Header) Field(i int) (name, value string) {
	f := &h.fields[i]
	return f.Name.Borrow(), f.Value.Borrow()
}

// At returns field i. The pointer is valid until the header is next changed; change a field through Set, not through it.
func (h *Header) At(i int) *Field { return &h.fields[i] }

// Reset empties the header and keeps its memory.
func (h *Header) Reset() {
	clear(h.fields)
	h.fields = h.fields[:0]
}

// Get returns the first value of a known name, nil if absent.
func (h *Header) Get(id ID) View {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return h.fields[i].Value
		}
	}
	return nil
}

// Has reports whether a known name is present.
func (h *Header) Has(id ID) bool {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return true
		}
	}
	return false
}

// Lookup returns the first value of name, nil if absent.
func (h *Header) Lookup(name string) View {
	if i := h.Index(name, 0); i >= 0 {
		return h.fields[i].Value
	}
	return nil
}

// Index returns the position of the first field called name at or after from, or -1. To walk all values of a name:
//
//	for i := h.Index(name, 0); i >= 0; i = h.Index(name, i+1) { use(h.At(i).Value) }
func (h *Header) Index(name string, from int) int {
	id := IDOf(name)
	if id != HdrOther {
		return h.IndexID(id, from)
	}
	for i := from; i < len(h.fields); i++ {
		if h.fields[i].ID == HdrOther && h.fields[i].Name.EqualFold(name) {
			return i
		}
	}
	return -1
}

// IndexID is Index for a known name.
func (h *Header) IndexID(id ID, from int) int {
	for i := from; i < len(h.fields); i++ {
		if h.fields[i].ID == id {
			return i
		}
	}
	return -1
}

// Append adds a parsed field whose views already live long enough. It is the codecs' call.
func (h *Header) Append(f Field) { h.fields = append(h.fields, f) }

// Add appends a field. The strings are not copied: they must be constant or owned by configuration or by the exchange.
func (h *Header) Add(name, value string) {
	h.fields = append(h.fields, Field{Name: viewOf(name), Value: viewOf(value), ID: IDOf(name)})
}

// AddID appends a field with a known name in its canonical spelling.
func (h *Header) AddID(id ID, value View) {
	h.fields = append(h.fields, Field{Name: viewOf(id.String()), Value: value, ID: id})
}

// Set makes value the only value of name, at the place of the first one, or at the end.
func (h *Header) Set(name, value string) { h.set(IDOf(name), name, viewOf(value)) }

// SetID is Set for a known name.
func (h *Header) SetID(id ID, value View) { h.set(id, id.String(), value) }

func (h *Header) set(id ID, name string, value View) {
	i := h.Index(name, 0)
	if i < 0 {
		h.fields = append(h.fields, Field{Name: viewOf(name), Value: value, ID: id})
		return
	}
	h.fields[i] = Field{Name: viewOf(name), Value: value, ID: id}
	h.delFrom(id, name, i+1)
}

// Del removes every field called name.
func (h *Header) Del(name string) { h.delFrom(IDOf(name), name, 0) }

// DelID removes every field with a known name.
func (h *Header) DelID(id ID) {
	if h.Has(id) {
		h.delFrom(id, "", 0)
	}
}

func (h *Header) delFrom(id ID, name string, from int) {
	h.DeleteFunc(from, func(f *Field) bool {
		return f.ID == id && (id != HdrOther || f.Name.EqualFold(name))
	})
}

// DeleteFunc removes the fields from position from on for which del returns true.
func (h *Header) DeleteFunc(from int, del func(*Field) bool) {
	if from >= len(h.fields) {
		return
	}
	out := h.fields[:from]
	for i := from; i < len(h.fields); i++ {
		if !del(&h.fields[i]) {
			out = append(out, h.fields[i])
		}
	}
	clear(h.fields[len(out):])
	h.fields = out
}

// CopyFrom makes h a copy of the list of src; the views are shared.
func (h *Header) CopyFrom(src *Header) { h.fields = append(h.fields[:0], src.fields...) }

// Clone returns a deep copy that may be kept for ever.
func (h *Header) Clone() Header {
	out := Header{fields: make([]Field, len(h.fields))}
	for i, f := range h.fields {
		out.fields[i] = Field{Name: f.Name.Clone(), Value: f.Value.Clone(), ID: f.ID}
	}
	return out
}

// viewOf makes a view of a string without copying. Views are never written to, so the string stays immutable.
func viewOf(s string) View { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Text makes a view of a string that outlives the exchange (a constant or a configuration value), without copying.
func Text(s string) View { return viewOf(s) }

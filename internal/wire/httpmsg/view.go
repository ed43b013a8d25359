package httpmsg

import (
	"encoding/binary"
	"unsafe"
)

// View is a piece of a message that lives in a buffer owned by somebody else: the head buffer of an exchange, or the
// text of a configuration value. It is frozen while the exchange lives and garbage afterwards (tests poison it), so
// whoever keeps one past OnFinish keeps View.Clone or View.String instead. Nobody writes into a view.
type View []byte

// String copies the view, so the result may be kept.
func (v View) String() string { return string(v) }

// Borrow returns the view as a string without copying. It is good as long as the view is.
func (v View) Borrow() string { return unsafe.String(unsafe.SliceData(v), len(v)) }

// Clone copies the view.
func (v View) Clone() View {
	if v == nil {
		return nil
	}
	return append(View{}, v...)
}

// Is reports whether the view holds exactly s.
func (v View) Is(s string) bool { return string(v) == s }

// EqualFold reports whether the view equals s, ASCII letters compared without case.
func (v View) EqualFold(s string) bool {
	if len(v) != len(s) {
		return false
	}
	i := 0
	// Optimization: eight letters at a time where the spelling is the same but for bit 0x20 of letters (BenchmarkIDOf).
	for ; i+8 <= len(s); i += 8 {
		a, b := binary.LittleEndian.Uint64(v[i:]), binary.LittleEndian.Uint64(viewOf(s[i:]))
		if a != b && foldWord(a) != foldWord(b) {
			return false
		}
	}
	for ; i < len(s); i++ {
		if lower(v[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

// foldWord makes the ASCII capitals among eight bytes small.
func foldWord(w uint64) uint64 {
	const ones = 0x0101010101010101
	low := w &^ (ones << 7)
	// Bit 7 of each byte: low+0x3f passes 0x7f from 'A' on, low+0x25 from '[' on. No byte carries into the next.
	capital := (low + ones*0x3f) &^ (low + ones*0x25) &^ w & (ones << 7)
	return w | capital>>2
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

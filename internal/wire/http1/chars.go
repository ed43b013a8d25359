package http1

import (
	"encoding/binary"
	"math/bits"
)

// Classes of the bytes of a request target (RFC 9112 section 3.2).
const (
	targetBad   = iota // CTL, SP, DEL, '#'
	targetPlain        // passes as it is, also what RFC 3986 would have encoded but clients send raw
	targetQuery        // '?'
	targetSlash        // '\', refused in the path
	targetHigh         // 0x80 and above, percent-encoded before anybody sees it
)

// isToken has the tchar of RFC 9110 section 5.6.2.
var isToken = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

var targetClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			t[c] = targetBad
		case c == '?':
			t[c] = targetQuery
		case c == '\\':
			t[c] = targetSlash
		case c >= 0x80:
			t[c] = targetHigh
		default:
			t[c] = targetPlain
		}
	}
	return t
}()

// controlAt returns the index of the first control character in b (0x00 to 0x1F or 0x7F), or -1.
//
// Optimization: eight bytes at a time; field values are most of a head (BenchmarkParseRequest).
func controlAt(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		del := w ^ ones*0x7f
		// A borrow can only spoil bytes above the first hit, so the lowest bit set is right.
		if hit := ((w-ones*0x20)&^w | (del-ones)&^del) & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)>>3
		}
	}
	for ; i < len(b); i++ {
		if b[i] < 0x20 || b[i] == 0x7f {
			return i
		}
	}
	return -1
}

// trimOWS takes optional white space off both ends (RFC 9110 section 5.6.3).
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// nextElement cuts the first element off a comma-separated list (RFC 9110 section 5.6.1) and returns it trimmed.
func nextElement(list []byte) (element, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trimOWS(list[:i]), list[i+1:]
		}
	}
	return trimOWS(list), nil
}

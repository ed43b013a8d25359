package httpmsg

import (
	"bytes"
	"net/netip"
	"unsafe"

	"sluice/internal/core/fault"
)

// Limits of a request head that hold on every version of HTTP.
const (
	// MaxMethod is the longest method.
	MaxMethod = 64
	// MaxTarget is the longest request target; beyond it 414.
	MaxTarget = 16 << 10
	// MaxHost is the longest name in Host or :authority.
	MaxHost = 255
	// MaxFields is the number of fields a head or a trailer may have; beyond it 431.
	MaxFields = 1000
)

// Classes of bytes.
const (
	isTchar    = 1 << iota // RFC 9110 section 5.6.2
	inTarget               // may stand in a path or query as it is, or encoded when >= 0x80
	inRegName              // letters, digits and marks of a host name; no comma, no percent sign
	inIPv6                 // hexadecimal digits, colon, dot
	isNotValue             // CTL but TAB: never in a field value (RFC 9110 section 5.5)
)

var class = func() (t [256]uint8) {
	set := func(s string, bit uint8) {
		for i := range len(s) {
			t[s[i]] |= bit
		}
	}
	const alpha, digit = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	set(alpha+digit+"!#$%&'*+-.^_`|~", isTchar)
	set(alpha+digit+"-._~!$&'()*+;=", inRegName)
	set(digit+"abcdefABCDEF:.", inIPv6)
	for c := range t {
		if c > ' ' && c != 0x7f && c != '#' {
			t[c] |= inTarget
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			t[c] |= isNotValue
		}
	}
	return t
}()

func all(v View, bit uint8) bool {
	for _, c := range v {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

// IsToken reports whether v is a token (RFC 9110 section 5.6.2): a method, a field name, a protocol name.
func IsToken(v View) bool { return len(v) > 0 && all(v, isTchar) }

// IsFieldValue reports whether v may be a field value: no control character but TAB, and no white space at either end
// (RFC 9110 section 5.5). Bytes from 0x80 on are allowed.
func IsFieldValue(v View) bool {
	for _, c := range v {
		if class[c]&isNotValue != 0 {
			return false
		}
	}
	return len(v) == 0 || !isSpace(v[0]) && !isSpace(v[len(v)-1])
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// CheckMethod is the verdict on a request's method, the same on every version of HTTP: a token of at most MaxMethod bytes,
// neither CONNECT (we are no forward proxy) nor TRACE (it echoes credentials).
func CheckMethod(m View) *fault.Fault {
	switch {
	case len(m) > MaxMethod || !IsToken(m):
		return fault.New(fault.BadRequest, "request method is not a token", nil)
	case m.Is("CONNECT"):
		return fault.New(fault.MethodNotImplemented, "CONNECT is not offered", nil)
	case m.Is("TRACE"):
		return fault.New(fault.MethodNotAllowed, "TRACE is not offered", nil)
	}
	return nil
}

// SetTarget takes a request target in origin form, or "*" for OPTIONS (RFC 9112 section 3.2), into Req.Path and Req.Query.
// Req.Method must stand already. Bytes from 0x80 on are percent-encoded, so that rules and servers see the same text;
// everything else stays as it is. The views point into target or into the exchange's own memory.
func (x *Exchange) SetTarget(target View) *fault.Fault {
	x.Req.Path, x.Req.Query, x.Req.HasQuery = nil, nil, false
	if len(target) > MaxTarget {
		return fault.New(fault.URITooLong, "request target is too long", nil)
	}
	if target.Is("*") && x.Req.Method.Is("OPTIONS") {
		x.Req.Path = target
		return nil
	}
	if len(target) == 0 || target[0] != '/' {
		return fault.New(fault.BadRequest, "request target does not begin with a slash", nil)
	}
	high := 0
	for _, c := range target {
		if class[c]&inTarget == 0 {
			return fault.New(fault.BadRequest, "request target holds a character that URIs cannot", nil)
		}
		if c >= 0x80 {
			high++
		}
	}
	if high > 0 {
		target = x.encodeHigh(target, high)
	}
	x.Req.Path = target
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		x.Req.Path, x.Req.Query, x.Req.HasQuery = target[:i:i], target[i+1:], true
	}
	if bytes.IndexByte(x.Req.Path, '\\') >= 0 {
		// Some servers take it for a slash, so a rule for /a/ could be passed by.
		return fault.New(fault.BadRequest, "request path holds a backslash", nil)
	}
	return nil
}

// EncodeHigh returns v with bytes from 0x80 on percent-encoded, in the exchange's own memory if there are any.
func (x *Exchange) EncodeHigh(v View) View {
	high := 0
	for _, c := range v {
		if c >= 0x80 {
			high++
		}
	}
	if high == 0 {
		return v
	}
	return x.encodeHigh(v, high)
}

func (x *Exchange) encodeHigh(target View, high int) View {
	const hex = "0123456789ABCDEF"
	out := x.Scratch(len(target) + 2*high)[:0]
	for _, c := range target {
		if c < 0x80 {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return out
}

// IsHost reports whether v may stand in Host or :authority: a name, an IPv4 address or a bracketed IPv6 address without
// zone, and an optional port of 1 to 65535 (an empty one is allowed). Names have no empty label but for one final dot.
// A name must not end in a hexadecimal number, which some resolvers take for an address. The comma, which names could
// hold, is refused: it would look like two hosts.
func IsHost(v View) bool {
	if len(v) == 0 {
		return false
	}
	host, port := v, View(nil)
	if v[0] == '[' {
		end := bytes.IndexByte(v, ']')
		if end < 0 || !all(v[1:end], inIPv6) {
			return false
		}
		addr, err := netip.ParseAddr(text(v[1:end]))
		if err != nil || !addr.Is6() {
			return false
		}
		host, port = nil, v[end+1:]
	} else if i := bytes.IndexByte(v, ':'); i >= 0 {
		host, port = v[:i], v[i:]
	}
	if len(port) > 0 && !isPort(port) {
		return false
	}
	return v[0] == '[' || isRegName(host)
}

// isPort reports whether v is a colon and a port, or a colon alone.
func isPort(v View) bool {
	if len(v) > 6 {
		return false
	}
	n := 0
	for _, c := range v[1:] {
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return v[0] == ':' && (len(v) == 1 || n > 0)
}

func isRegName(v View) bool {
	if len(v) > 1 && v[len(v)-1] == '.' {
		v = v[:len(v)-1]
	}
	if len(v) == 0 || len(v) > MaxHost || !all(v, inRegName) || v[0] == '.' || v[len(v)-1] == '.' || bytes.Contains(v, []byte("..")) {
		return false
	}
	return !isHex(v[bytes.LastIndexByte(v, '.')+1:])
}

// isHex reports whether a label is 0x and hexadecimal digits.
func isHex(v View) bool {
	if len(v) < 3 || v[0] != '0' || lower(v[1]) != 'x' {
		return false
	}
	for _, c := range v[2:] {
		if class[c]&inIPv6 == 0 {
			return false
		}
	}
	return true
}

// ParseLength reads the value of Content-Length (RFC 9110 section 8.6): digits only, at most 19 of them, no more than
// 2^63-1.
func ParseLength(v View) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 19 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n < 0 {
			return 0, false
		}
	}
	return n, true
}

// text looks at a view as a string without copying, for calls that do not keep it.
func text(v View) string { return unsafe.String(unsafe.SliceData(v), len(v)) }

package entrypoint

import (
	"bytes"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// cleanPath brings the request's path into the one spelling that routing judges and servers receive (INV-4): percent
// codes of unreserved characters are decoded, the other codes upper-cased, and, with sanitize, empty and dot segments
// are removed (RFC 3986 sections 5.2.4 and 6.2.2). It allocates nothing when the path is clean already.
func cleanPath(x *httpmsg.Exchange, sanitize bool) error {
	p := x.Req.Path
	if p.Is("*") {
		return nil
	}
	if bytes.IndexByte(p, '%') >= 0 {
		out, ok := normalize(x.Scratch(len(p))[:0], p)
		if !ok {
			return fault.New(fault.BadRequest, "path holds a broken percent code", nil)
		}
		p = out
	}
	if sanitize && needsSanitizing(p) {
		p = removeDots(x.Scratch(len(p) + 1)[:0], p)
	}
	if len(p) == 0 {
		p = httpmsg.Text("/")
	}
	x.Req.Path = p
	return nil
}

// normalize appends p to dst with unreserved characters decoded and the remaining percent codes in upper case.
func normalize(dst, p []byte) (out []byte, ok bool) {
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			dst = append(dst, p[i])
			continue
		}
		if i+2 >= len(p) {
			return nil, false
		}
		hi, lo := unhex(p[i+1]), unhex(p[i+2])
		if hi > 15 || lo > 15 {
			return nil, false
		}
		if c := hi<<4 | lo; unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[hi], upperHex[lo])
		}
		i += 2
	}
	return dst, true
}

const upperHex = "0123456789ABCDEF"

// unhex returns the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// needsSanitizing reports whether p holds an empty or dot segment, or does not begin with a slash.
func needsSanitizing(p []byte) bool {
	if len(p) == 0 || p[0] != '/' {
		return true
	}
	for i := 0; i+1 < len(p); i++ {
		if p[i] == '/' && (p[i+1] == '/' || p[i+1] == '.') {
			return true
		}
	}
	return false
}

// removeDots appends the cleaned path to dst. Segments never climb above the root; a trailing slash stays.
func removeDots(dst, p []byte) []byte {
	dst = dst[:0]
	for i := 0; i < len(p); {
		for i < len(p) && p[i] == '/' {
			i++
		}
		end := i
		for end < len(p) && p[end] != '/' {
			end++
		}
		switch seg := p[i:end]; {
		case len(seg) == 0, string(seg) == ".":
		case string(seg) == "..":
			dst = dst[:max(bytes.LastIndexByte(dst, '/'), 0)]
		default:
			dst = append(dst, '/')
			dst = append(dst, seg...)
		}
		i = end
	}
	if len(dst) == 0 || (p[len(p)-1] == '/' && dst[len(dst)-1] != '/') {
		dst = append(dst, '/')
	}
	return dst
}

// semicolons makes ';' in the query either a plain character (encode) or a separator equal to '&', so that rules and
// servers cannot read the same query differently.
func semicolons(x *httpmsg.Exchange, encode bool) {
	q := x.Req.Query
	n := bytes.Count(q, []byte{';'})
	if n == 0 {
		return
	}
	out := x.Scratch(len(q) + 2*n)[:0]
	for _, c := range q {
		switch {
		case c != ';':
			out = append(out, c)
		case encode:
			out = append(out, "%3B"...)
		default:
			out = append(out, '&')
		}
	}
	x.Req.Query = out
}

// EncodedCharacters is the policy of an entry point on percent codes that servers tend to decode into something else.
// A set bit denies the code. The zero value allows all.
type EncodedCharacters uint8

// The codes of the policy.
const (
	DenyEncodedSlash EncodedCharacters = 1 << iota
	DenyEncodedBackSlash
	DenyEncodedNullCharacter
	DenyEncodedSemicolon
	DenyEncodedPercent
	DenyEncodedQuestionMark
	DenyEncodedHash
)

// Denies reports whether the escaped path (as cleanPath leaves it) holds a denied code.
func (e EncodedCharacters) Denies(path []byte) bool {
	if e == 0 {
		return false
	}
	for i := bytes.IndexByte(path, '%'); i >= 0 && i+2 < len(path); {
		var bit EncodedCharacters
		switch string(path[i+1 : i+3]) {
		case "2F", "2f":
			bit = DenyEncodedSlash
		case "5C", "5c":
			bit = DenyEncodedBackSlash
		case "00":
			bit = DenyEncodedNullCharacter
		case "3B", "3b":
			bit = DenyEncodedSemicolon
		case "25":
			bit = DenyEncodedPercent
		case "3F", "3f":
			bit = DenyEncodedQuestionMark
		case "23":
			bit = DenyEncodedHash
		}
		if e&bit != 0 {
			return true
		}
		next := bytes.IndexByte(path[i+1:], '%')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

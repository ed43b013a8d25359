package entrypoint

import (
	"bytes"

	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/wire/httpmsg"
)

// cleanPath brings the request's path into the one spelling that routing judges and servers receive (INV-4): percent
// codes of unreserved characters are decoded, the other codes upper-cased, and, with sanitize, empty and dot segments
// are removed (RFC 3986 sections 5.2.4 and 6.2.2). It allocates nothing when the path is clean already.
func cleanPath(x *httpmsg.Exchange, sanitize bool) error {
	if x.Req.Path.Is("*") || route.IsClean(x.Req.Path, sanitize) {
		return nil
	}
	p, err := route.CleanPath(x.Scratch(2*len(x.Req.Path) + 1)[:0], x.Req.Path, sanitize)
	if err != nil {
		return fault.New(fault.BadRequest, "the path", err)
	}
	x.Req.Path = p
	return nil
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

package middleware

import (
	"bytes"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// encodedCharacters refuses paths with percent codes that servers tend to decode into something else. The entry point
// has a policy of its own, so this one can only tighten it.
type encodedCharacters struct {
	denied [256]bool
	next   httpmsg.Handler
}

func checkEncodedCharacters(*dynamic.Middleware) diag.List { return nil }

func buildEncodedCharacters(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.EncodedCharacters
	e := &encodedCharacters{next: next}
	for char, allowed := range map[byte]bool{
		'/': o.AllowEncodedSlash, '\\': o.AllowEncodedBackSlash, 0: o.AllowEncodedNullCharacter, ';': o.AllowEncodedSemicolon,
		'%': o.AllowEncodedPercent, '?': o.AllowEncodedQuestionMark, '#': o.AllowEncodedHash,
	} {
		e.denied[char] = !allowed
	}
	return e, nil
}

var deniedCode = fault.New(fault.BadRequest, "the path holds a percent code that encodedCharacters denies", nil)

// Serve looks at the path only, not at the query.
func (e *encodedCharacters) Serve(x *httpmsg.Exchange) error {
	rest := []byte(x.Req.Path)
	for i := bytes.IndexByte(rest, '%'); i >= 0; i = bytes.IndexByte(rest, '%') {
		rest = rest[i+1:]
		if len(rest) < 2 {
			break
		}
		if c, ok := codeOf(rest[0], rest[1]); ok && e.denied[c] {
			return deniedCode
		}
	}
	return e.next.Serve(x)
}

package http1

import (
	"math"

	"sluice/internal/wire/httpmsg"
)

// framing is how the end of a body is known.
type framing uint8

const (
	noBody  framing = iota // there is none
	counted                // Content-Length
	chunked                // Transfer-Encoding: chunked
	toClose                // the end of the connection; responses only
)

// parseLength reads a Content-Length: digits only, at most 19 of them, not above the largest int64 (RFC 9110 section 8.6).
func parseLength(v httpmsg.View) (int64, bool) {
	if len(v) == 0 || len(v) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(n), n <= math.MaxInt64
}

// unknownCodings reports whether v is a well-formed list of codings, none of them chunked but the last (RFC 9112 section
// 6.1): understood, only not supported.
func unknownCodings(v httpmsg.View) bool {
	for rest := []byte(v); ; {
		var e []byte
		e, rest = nextElement(rest)
		if rest == nil {
			return httpmsg.View(e).EqualFold("chunked")
		}
		if len(e) == 0 || httpmsg.View(e).EqualFold("chunked") || httpmsg.View(e).EqualFold("identity") {
			return false
		}
		for _, c := range e {
			if !isToken[c] {
				return false
			}
		}
	}
}

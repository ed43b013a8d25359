package http1

import "sluice/internal/wire/httpmsg"

// framing is how the end of a body is known.
type framing uint8

const (
	noBody  framing = iota // there is none
	counted                // Content-Length
	chunked                // Transfer-Encoding: chunked
	toClose                // the end of the connection; responses only
)

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

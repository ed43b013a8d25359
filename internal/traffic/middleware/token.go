package middleware

import (
	"bytes"
	"fmt"
	"iter"
	"net/url"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// maxPairs bounds how many parameters of a query are looked at (REQ-18).
const maxPairs = 10_000

// Token finds a token or key in a request, as a TokenSource says: in the header, else the query, else a cookie. Immutable.
type Token struct{ header, scheme, query, cookie string }

// CheckToken reports what is wrong with a source; key is its path below the middleware.
func CheckToken(key string, s *dynamic.TokenSource) diag.List {
	var l diag.List
	if s == nil || s.Header == "" && s.Query == "" && s.Cookie == "" {
		l.Add(Bad(key, "it does not say where the secret stands", "give header, query or cookie"))
		return l
	}
	if s.Header != "" && !httpmsg.IsToken(httpmsg.Text(s.Header)) {
		l.Add(Bad(key+".header", fmt.Sprintf("%q is no name of a header", s.Header), "a usual one is Authorization"))
	}
	if s.HeaderAuthScheme != "" && !httpmsg.IsToken(httpmsg.Text(s.HeaderAuthScheme)) {
		l.Add(Bad(key+".headerAuthScheme", fmt.Sprintf("%q is no scheme", s.HeaderAuthScheme), "a usual one is Bearer"))
	}
	if s.HeaderAuthScheme != "" && s.Header == "" {
		l.Add(Odd(key+".headerAuthScheme", "it has no effect without header", "give header: Authorization"))
	}
	if s.Cookie != "" && !httpmsg.IsToken(httpmsg.Text(s.Cookie)) {
		l.Add(Bad(key+".cookie", fmt.Sprintf("%q is no name of a cookie", s.Cookie), ""))
	}
	if s.Query != "" {
		l.Add(diag.Finding{Severity: diag.Info, Key: key + ".query", Code: "ODD-VALUE",
			Message: "secrets in URLs end up in logs and histories", Hint: "have clients send them in a header"})
	}
	return l
}

// NewToken builds a source.
func NewToken(s *dynamic.TokenSource) Token {
	return Token{s.Header, s.HeaderAuthScheme, s.Query, s.Cookie}
}

// Of returns the token of a request, as it stands there. One that stands there more than once is none: the server might read
// another one than we do.
func (t *Token) Of(x *httpmsg.Exchange) (token []byte, ok bool) {
	if t.header != "" {
		if v, n := t.inHeader(&x.Req.Header); n > 0 {
			return v, n == 1 && len(v) > 0
		}
	}
	if t.query != "" {
		if v, n := QueryValue(x.Req.Query, t.query); n > 0 {
			return []byte(v), n == 1 && v != ""
		}
	}
	if t.cookie != "" {
		n := 0
		for name, v := range Cookies(&x.Req.Header) {
			if string(name) == t.cookie {
				token = v
				n++
			}
		}
		return token, n == 1 && len(token) > 0
	}
	return nil, false
}

// inHeader returns what stands behind the scheme, and in how many fields something stands there. Fields with other schemes
// are somebody else's.
func (t *Token) inHeader(h *httpmsg.Header) (token httpmsg.View, fields int) {
	for i := h.Index(t.header, 0); i >= 0; i = h.Index(t.header, i+1) {
		v := h.At(i).Value
		if t.scheme != "" {
			if len(v) <= len(t.scheme) || v[len(t.scheme)] != ' ' || !v[:len(t.scheme)].EqualFold(t.scheme) {
				continue
			}
			v = bytes.TrimLeft(v[len(t.scheme):], " ")
		}
		token = v
		fields++
	}
	return token, fields
}

// QueryValue returns the last value of a parameter of a query or form, and how often the parameter stands there. Pairs that
// are malformed are passed over; beyond a limit none are looked at.
func QueryValue(query []byte, name string) (value string, times int) {
	for range maxPairs {
		if len(query) == 0 {
			break
		}
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		k, v, _ := bytes.Cut(pair, []byte{'='})
		if string(k) != name {
			// Most names hold no escapes, so most pairs cost nothing.
			if bytes.IndexByte(k, '%') < 0 && bytes.IndexByte(k, '+') < 0 {
				continue
			}
			if text, err := url.QueryUnescape(string(k)); err != nil || text != name {
				continue
			}
		}
		times++
		value, _ = url.QueryUnescape(string(v))
	}
	return value, times
}

// Cookies goes over the cookies of a request (RFC 6265 section 5.4). Quotes around a value are taken off.
func Cookies(h *httpmsg.Header) iter.Seq2[httpmsg.View, httpmsg.View] {
	return func(yield func(name, value httpmsg.View) bool) {
		for i := h.IndexID(httpmsg.HdrCookie, 0); i >= 0; i = h.IndexID(httpmsg.HdrCookie, i+1) {
			rest := []byte(h.At(i).Value)
			for len(rest) > 0 {
				var pair []byte
				pair, rest, _ = bytes.Cut(rest, []byte{';'})
				name, value, ok := bytes.Cut(bytes.Trim(pair, " \t"), []byte{'='})
				if !ok {
					continue
				}
				if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
					value = value[1 : n-1]
				}
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

package signed

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// signature is what a request says about its signature.
type signature struct {
	keyID, algorithm, sum  []byte
	createdAt, expiresAt   []byte // as they were written, which is what was signed
	names                  []string
	hasCreated, hasExpires bool
	created, expires       int64 // seconds since 1970
}

// read finds the signature in Authorization, else in Proxy-Authorization, and returns what is wrong with it.
func (s *signature) read(x *httpmsg.Exchange) (why string) {
	params, why := credentials(&x.Req.Header)
	if why != "" {
		return why
	}
	var headers []byte
	ok := middleware.AuthParams(params, x, func(name httpmsg.View) *[]byte {
		for _, p := range [...]struct {
			name string
			at   *[]byte
		}{{"keyId", &s.keyID}, {"algorithm", &s.algorithm}, {"signature", &s.sum}, {"created", &s.createdAt}, {"expires", &s.expiresAt}, {"headers", &headers}} {
			if name.EqualFold(p.name) {
				return p.at
			}
		}
		return nil
	})
	switch {
	case !ok:
		return "the parameters are malformed"
	case len(s.keyID) == 0 || len(s.sum) == 0 || len(s.algorithm) == 0:
		return "keyId, algorithm or signature is missing"
	}
	if s.created, s.hasCreated, ok = seconds(s.createdAt); !ok {
		return "created is no time"
	}
	if s.expires, s.hasExpires, ok = seconds(s.expiresAt); !ok {
		return "expires is no time"
	}
	if headers == nil {
		headers = []byte("(created)") // section 2.1.6 of the draft
	}
	for name := range strings.FieldsSeq(string(headers)) {
		if name != strings.ToLower(name) || slices.Contains(s.names, name) || len(s.names) == maxFields {
			return "the list of headers is malformed"
		}
		s.names = append(s.names, name)
	}
	if len(s.names) == 0 {
		return "the signature covers nothing"
	}
	return ""
}

// credentials returns the parameters of the one field that has the scheme.
func credentials(h *httpmsg.Header) (params []byte, why string) {
	const scheme = "Hmac"
	for _, id := range [...]httpmsg.ID{httpmsg.HdrAuthorization, httpmsg.HdrProxyAuthorization} {
		found := 0
		for i := h.IndexID(id, 0); i >= 0; i = h.IndexID(id, i+1) {
			v := h.At(i).Value
			if len(v) > len(scheme) && v[len(scheme)] == ' ' && v[:len(scheme)].EqualFold(scheme) {
				params = v[len(scheme):]
				found++
			}
		}
		switch {
		case found > 1:
			return nil, "there are two signatures"
		case found == 1 && len(params) > maxParams:
			return nil, "the parameters are too long"
		case found == 1:
			return params, ""
		}
	}
	return nil, "the request has no signature"
}

// seconds reads a time; there is none where text is nil.
func seconds(text []byte) (n int64, there, ok bool) {
	if text == nil {
		return 0, false, true
	}
	whole, part, hasPart := strings.Cut(string(text), ".")
	if hasPart {
		if _, err := strconv.ParseUint(part, 10, 62); err != nil {
			return 0, false, false
		}
	}
	u, err := strconv.ParseUint(whole, 10, 62)
	return int64(u), true, err == nil
}

// text builds what was signed (section 2.3 of the draft). blank stands behind the name of an empty field. hasEmpty tells whether
// there is one.
func (s *signature) text(x *httpmsg.Exchange, blank string) (text []byte, hasEmpty bool, why string) {
	for i, name := range s.names {
		if i > 0 {
			text = append(text, '\n')
		}
		text = append(append(text, name...), ':')
		start := len(text)
		text = append(text, ' ')
		switch name {
		case "(request-target)":
			text = append(append(text, bytes.ToLower(x.Req.Method)...), ' ')
			text = append(text, x.Req.Path...)
			if x.Req.HasQuery {
				text = append(append(text, '?'), x.Req.Query...)
			}
		case "(created)":
			if !s.hasCreated {
				return nil, false, "created is signed and missing"
			}
			text = append(text, s.createdAt...)
		case "(expires)":
			if !s.hasExpires {
				return nil, false, "expires is signed and missing"
			}
			text = append(text, s.expiresAt...)
		case "host":
			text = append(text, x.Req.Host...)
		default:
			var there bool
			if text, there = values(text, &x.Req.Header, name); !there {
				return nil, false, "the field " + name + " is signed and missing"
			}
			if len(text) == start+1 {
				hasEmpty = true
				text = append(text[:start], blank...)
			}
		}
	}
	return text, hasEmpty, ""
}

// values appends the values of a field, with a comma and a blank between them.
func values(text []byte, h *httpmsg.Header, name string) (out []byte, there bool) {
	for i := h.Index(name, 0); i >= 0; i = h.Index(name, i+1) {
		if there {
			text = append(text, ", "...)
		}
		text = append(text, bytes.Trim(h.At(i).Value, " \t")...)
		there = true
	}
	return text, there
}

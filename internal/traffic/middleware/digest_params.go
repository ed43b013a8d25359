package middleware

import (
	"bytes"

	"sluice/internal/wire/httpmsg"
)

// digestParams are the parameters of a Digest Authorization field (RFC 7616 section 3.4). They point into the field, or
// into the exchange's memory where the field escapes characters.
type digestParams struct {
	username, realm, nonce, uri, response, opaque, cnonce, nc, qop, algorithm []byte
	count                                                                     uint32 // the value of nc
}

// parse reads text, and reports whether it is well-formed and asks for what we offer.
func (p *digestParams) parse(text []byte, x *httpmsg.Exchange) bool {
	return AuthParams(text, x, p.field) && p.complete()
}

// AuthParams reads the parameters behind the scheme of credentials (RFC 9110 section 11.2). field returns where the value of
// a parameter goes, nil for those that are of no interest; values point into text, or into the exchange's memory where they
// have escapes. It reports whether text is well-formed. A parameter that comes twice makes it malformed: the server might read
// the other one.
func AuthParams(text []byte, x *httpmsg.Exchange, field func(name httpmsg.View) *[]byte) bool {
	for {
		text = bytes.TrimLeft(text, " \t,")
		if len(text) == 0 {
			return true
		}
		eq := bytes.IndexByte(text, '=')
		if eq < 0 {
			return false
		}
		name := httpmsg.View(bytes.TrimRight(text[:eq], " \t"))
		if !httpmsg.IsToken(name) {
			return false
		}
		var value []byte
		var ok bool
		if value, text, ok = paramValue(bytes.TrimLeft(text[eq+1:], " \t"), x); !ok {
			return false
		}
		if at := field(name); at != nil {
			if *at != nil {
				return false
			}
			*at = value
		}
		if text = bytes.TrimLeft(text, " \t"); len(text) > 0 && text[0] != ',' {
			return false
		}
	}
}

// paramValue reads a token or a quoted-string. The value is never nil.
func paramValue(text []byte, x *httpmsg.Exchange) (value, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		end := bytes.IndexAny(text, ", \t")
		if end < 0 {
			end = len(text)
		}
		return text[:end:end], text[end:], end > 0
	}
	text = text[1:]
	escaped := false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value, rest = text[:i:i], text[i+1:]
			if !escaped {
				return value, rest, true
			}
			plain := x.Scratch(len(value))[:0]
			for j := 0; j < len(value); j++ {
				if value[j] == '\\' {
					j++
				}
				plain = append(plain, value[j])
			}
			return plain, rest, true
		}
	}
	return nil, nil, false
}

// field returns where the value of a parameter goes; nil for those that we do not need.
func (p *digestParams) field(name httpmsg.View) *[]byte {
	for _, f := range [...]struct {
		name string
		at   *[]byte
	}{
		{"username", &p.username}, {"realm", &p.realm}, {"nonce", &p.nonce}, {"uri", &p.uri}, {"response", &p.response},
		{"opaque", &p.opaque}, {"cnonce", &p.cnonce}, {"nc", &p.nc}, {"qop", &p.qop}, {"algorithm", &p.algorithm},
	} {
		if name.EqualFold(f.name) {
			return f.at
		}
	}
	return nil
}

func (p *digestParams) complete() bool {
	if p.username == nil || p.realm == nil || p.nonce == nil || p.uri == nil || p.response == nil || p.cnonce == nil || len(p.nc) != 8 {
		return false
	}
	if string(p.qop) != "auth" || p.algorithm != nil && !httpmsg.View(p.algorithm).EqualFold("MD5") {
		return false
	}
	for _, c := range p.nc {
		d := unhex(c)
		if d > 15 {
			return false
		}
		p.count = p.count<<4 | uint32(d)
	}
	return p.count > 0
}

package middleware

import (
	"bytes"
	"errors"

	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/wire/httpmsg"
)

// Paths that middlewares make are held to the form in which the entry point leaves those of clients: percent codes of
// unreserved characters decoded and the others in upper case, no empty and no dot segments (RFC 3986 sections 5.2.4 and 6.2.2). What
// is not in that form gets 400, so no rewrite leads out of where a router led (PTH-02), nor to another host (PTH-11).

// setPath makes p, which lives as long as the exchange, the path of the request.
func setPath(x *httpmsg.Exchange, p []byte) error {
	if len(p) == 0 {
		p = httpmsg.Text("/")
	}
	if !isNormal(p) {
		return fault.New(fault.BadRequest, "the rewritten path is not in its normal form", nil)
	}
	x.Req.Path = p
	return nil
}

// isNormal reports whether p is in the form that this file describes.
func isNormal(p []byte) bool {
	if len(p) == 0 || p[0] != '/' {
		return false
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '/':
			rest := p[i+1:]
			if len(rest) > 0 && (rest[0] == '/' || rest[0] == '.' && isDotSegment(rest)) {
				return false
			}
		case c == '%':
			if i+2 >= len(p) {
				return false
			}
			d, ok := codeOf(p[i+1], p[i+2])
			if !ok || unreserved(d) || p[i+1] >= 'a' || p[i+2] >= 'a' {
				return false
			}
			i += 2
		case !inPath(c):
			return false
		}
	}
	return true
}

// isDotSegment reports whether the segment that p begins with is "." or "..".
func isDotSegment(p []byte) bool {
	if i := bytes.IndexByte(p, '/'); i >= 0 {
		p = p[:i]
	}
	return string(p) == "." || string(p) == ".."
}

// inPath reports whether c may stand in a path as it is.
func inPath(c byte) bool { return c > ' ' && c < 0x7f && c != '#' && c != '?' && c != '\\' }

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// codeOf returns the byte of a percent code.
func codeOf(hi, lo byte) (byte, bool) {
	h, l := unhex(hi), unhex(lo)
	return h<<4 | l, h < 16 && l < 16
}

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

var errBadCode = errors.New("it holds a percent sign without two hexadecimal digits")

// appendPath appends the path that text means, percent codes and characters brought into their normal form; segments
// stay as they are. With literal, a percent sign in text is one and begins no code.
func appendPath[T string | []byte](dst []byte, text T, literal bool) ([]byte, error) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '%' && !literal:
			if i+2 >= len(text) {
				return nil, errBadCode
			}
			d, ok := codeOf(text[i+1], text[i+2])
			if !ok {
				return nil, errBadCode
			}
			i += 2
			if unreserved(d) {
				dst = append(dst, d)
			} else {
				dst = appendCode(dst, d)
			}
		case c == '%' || !inPath(c):
			dst = appendCode(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst, nil
}

func appendCode(dst []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(dst, '%', hex[c>>4], hex[c&15])
}

// rulePath returns the path as rules see it (route.RoutingPath), for options that are written like rules.
func rulePath(x *httpmsg.Exchange) ([]byte, error) {
	if bytes.IndexByte(x.Req.Path, '%') < 0 {
		return x.Req.Path, nil
	}
	p, err := route.RoutingPath(x.Scratch(len(x.Req.Path))[:0], x.Req.Path)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the path holds a broken percent code", err)
	}
	return p, nil
}

// cutPath splits the escaped path behind the part that rules see as its first n bytes; ok is false if n points into the
// middle of a percent code.
func cutPath(escaped []byte, n int) (before, after []byte, ok bool) {
	var buf [1]byte
	i := 0
	for n > 0 && i < len(escaped) {
		if escaped[i] != '%' {
			i++
			n--
			continue
		}
		if i+3 > len(escaped) {
			return nil, nil, false
		}
		seen, err := route.RoutingPath(buf[:0], escaped[i:i+3])
		if err != nil {
			return nil, nil, false
		}
		i += 3
		n -= len(seen)
	}
	return escaped[:i:i], escaped[i:], n == 0
}

// star reports whether the request is OPTIONS *, whose target is no path.
func star(x *httpmsg.Exchange) bool { return x.Req.Path.Is("*") }

const replacedPathHeader = "X-Replaced-Path"

var replacedPath = Names{replacedPathHeader}

// setReplacedPath tells the server the path that the client asked for.
func setReplacedPath(x *httpmsg.Exchange, old httpmsg.View) {
	replacedPath.Remove(&x.Req.Header)
	x.Req.Header.Add(replacedPathHeader, viewText(old))
}

// dropForeignReplacedPath removes what the client says about replaced paths. What another middleware of this chain has
// said stays: it is told by its name, which lies where the constant lies.
func dropForeignReplacedPath(x *httpmsg.Exchange) {
	h := &x.Req.Header
	own := httpmsg.Text(replacedPathHeader)
	for i := range h.Len() {
		if f := h.At(i); replacedPath.Has(f.Name) && &f.Name[0] != &own[0] {
			h.DeleteFunc(i, func(f *httpmsg.Field) bool { return replacedPath.Has(f.Name) && &f.Name[0] != &own[0] })
			return
		}
	}
}

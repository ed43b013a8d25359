package httpcache

import (
	"bytes"
	"net/http"
	"strconv"

	"sluice/internal/wire/httpmsg"
)

// isETag reports whether v is an entity tag (RFC 9110 section 8.8.3).
func isETag(v httpmsg.View) bool {
	v = bytes.TrimPrefix(v, []byte("W/"))
	return len(v) >= 2 && v[0] == '"' && bytes.IndexByte(v[1:], '"') == len(v)-2
}

// sameTag compares entity tags weakly (RFC 9110 section 8.8.3.2).
func sameTag(a, b httpmsg.View) bool {
	return bytes.Equal(bytes.TrimPrefix(a, []byte("W/")), bytes.TrimPrefix(b, []byte("W/")))
}

// unmodified reports whether the client has what e holds already (RFC 9110 section 13.2.2): If-None-Match decides where it
// is there, else If-Modified-Since.
func (e *entry) unmodified(h *httpmsg.Header) bool {
	at := h.Index("If-None-Match", 0)
	if at < 0 {
		since, ok := fieldTime(h, "If-Modified-Since")
		return ok && !e.modifiedTime.IsZero() && !e.modifiedTime.After(since)
	}
	for ; at >= 0; at = h.Index("If-None-Match", at+1) {
		list := h.At(at).Value
		if list.Is("*") {
			return true
		}
		for len(list) > 0 {
			var tag httpmsg.View
			if tag, list = cutTag(list); e.etag != nil && len(tag) > 0 && sameTag(tag, e.etag) {
				return true
			}
		}
	}
	return false
}

// cutTag takes the first entity tag off a list. Tags may hold commas.
func cutTag(list httpmsg.View) (tag, rest httpmsg.View) {
	list = bytes.TrimLeft(list, " \t,")
	start := 0
	if bytes.HasPrefix(list, []byte("W/")) {
		start = 2
	}
	if start >= len(list) || list[start] != '"' {
		return cutElement(list)
	}
	end := bytes.IndexByte(list[start+1:], '"')
	if end < 0 {
		return nil, nil
	}
	end += start + 2
	return list[:end], list[end:]
}

// span is a part of a body: bytes from up to but not including to.
type span struct{ from, to int64 }

// rangeVerdict is what becomes of a Range field.
type rangeVerdict uint8

const (
	// rangeIgnored: there is none that counts; the whole body is the answer.
	rangeIgnored rangeVerdict = iota
	// rangeGood: the part is the answer.
	rangeGood
	// rangeOutside: the body has no such part (416).
	rangeOutside
)

// part finds what a Range asks for of e (RFC 9110 section 14). Several parts at once are answered with the whole, as
// section 14.2 allows: they are asked for by next to nobody but those who want to keep servers busy.
func (e *entry) part(h *httpmsg.Header) (span, rangeVerdict) {
	at := h.IndexID(httpmsg.HdrRange, 0)
	if at < 0 || e.status != http.StatusOK || h.IndexID(httpmsg.HdrRange, at+1) >= 0 || e.header.Lookup("Accept-Ranges").EqualFold("none") ||
		!e.stillThat(h.Lookup("If-Range")) {
		return span{}, rangeIgnored
	}
	return parseRange(h.At(at).Value, int64(len(e.body)))
}

// stillThat reports whether an If-Range, if there is one, names what e holds (RFC 9110 section 13.1.5): by a strong tag or
// by the exact time.
func (e *entry) stillThat(v httpmsg.View) bool {
	switch {
	case v == nil:
		return true
	case len(v) > 0 && (v[0] == '"' || v[0] == 'W'):
		return v[0] == '"' && bytes.Equal(v, e.etag)
	}
	return len(v) > 0 && bytes.Equal(v, e.modified)
}

// parseRange reads a Range of one part of a body of size bytes.
func parseRange(v httpmsg.View, size int64) (span, rangeVerdict) {
	const unit = "bytes="
	if len(v) <= len(unit) || !v[:len(unit)].EqualFold(unit) || bytes.IndexByte(v, ',') >= 0 {
		return span{}, rangeIgnored
	}
	first, last, ok := bytes.Cut(bytes.Trim(v[len(unit):], " \t"), []byte{'-'})
	if !ok {
		return span{}, rangeIgnored
	}
	to, ok := position(last)
	switch {
	case len(first) == 0: // the last so many
		switch {
		case !ok || len(last) == 0:
			return span{}, rangeIgnored
		case to == 0 || size == 0:
			return span{}, rangeOutside
		}
		return span{size - min(to, size), size}, rangeGood
	case len(last) == 0:
		to = size - 1
	case !ok:
		return span{}, rangeIgnored
	}
	from, ok := position(first)
	if !ok || len(last) > 0 && to < from {
		return span{}, rangeIgnored
	}
	if from >= size {
		return span{}, rangeOutside
	}
	return span{from, min(to, size-1) + 1}, rangeGood
}

func position(v []byte) (int64, bool) {
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	if len(v) > 18 {
		return 1 << 60, true // beyond any body
	}
	n, _ := strconv.ParseInt(string(v), 10, 64) // empty is 0
	return n, true
}

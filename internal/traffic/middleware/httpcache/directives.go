package httpcache

import (
	"bytes"
	"math"

	"sluice/internal/wire/httpmsg"
)

// unset is the value of a time that no directive gives.
const unset = -1

// forever is how long a time may be at most: what does not fit counts as this (RFC 9111 section 1.2.2).
const forever = math.MaxInt32

// directives are what Cache-Control says, of a request or of a response (RFC 9111 section 5.2, RFC 5861). Times are in
// seconds. Where one is given twice, or cannot be read, the value counts that lets the cache do less.
type directives struct {
	noStore, noCache, private, public, mustRevalidate, proxyRevalidate, mustUnderstand, immutable, onlyIfCached bool

	maxAge, sMaxAge, minFresh, maxStale, staleWhileRevalidate, staleIfError int64

	// hidden are lists of field names: those of private and no-cache that only concern these fields.
	hidden [4]httpmsg.View
	// broken tells that the text is none that the grammar allows.
	broken bool
}

// parseDirectives reads all Cache-Control fields of h.
func parseDirectives(h *httpmsg.Header) directives {
	d := directives{maxAge: unset, sMaxAge: unset, minFresh: unset, maxStale: unset, staleWhileRevalidate: unset, staleIfError: unset}
	for i := h.IndexID(httpmsg.HdrCacheControl, 0); i >= 0; i = h.IndexID(httpmsg.HdrCacheControl, i+1) {
		d.parse(h.At(i).Value)
	}
	return d
}

func (d *directives) parse(v httpmsg.View) {
	for len(v) > 0 {
		c := v[0]
		if c == ',' || c == ' ' || c == '\t' {
			v = v[1:]
			continue
		}
		end := 0
		for end < len(v) && v[end] != '=' && v[end] != ',' && v[end] != ' ' && v[end] != '\t' {
			end++
		}
		name := v[:end]
		v = v[end:]
		var value httpmsg.View
		has := false
		if len(v) > 0 && v[0] == '=' {
			has = true
			if value, v, has = argument(v[1:]); !has {
				d.broken = true
				return
			}
		}
		if v = bytes.TrimLeft(v, " \t"); len(v) > 0 && v[0] != ',' || !httpmsg.IsToken(name) {
			d.broken = true
			return
		}
		d.set(name, value, has)
	}
}

// argument takes a token or a quoted string from the front of v. Escapes of a quoted string stay: no value that is used has
// any.
func argument(v httpmsg.View) (value, rest httpmsg.View, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		end := 0
		for end < len(v) && v[end] != ',' && v[end] != ' ' && v[end] != '\t' {
			end++
		}
		return v[:end], v[end:], true
	}
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return v[1:i], v[i+1:], true
		}
	}
	return nil, nil, false
}

func (d *directives) set(name, value httpmsg.View, has bool) {
	switch {
	case name.EqualFold("no-store"):
		d.noStore = true
	case name.EqualFold("no-cache"):
		d.hide(&d.noCache, value)
	case name.EqualFold("private"):
		d.hide(&d.private, value)
	case name.EqualFold("public"):
		d.public = true
	case name.EqualFold("must-revalidate"):
		d.mustRevalidate = true
	case name.EqualFold("proxy-revalidate"):
		d.proxyRevalidate = true
	case name.EqualFold("must-understand"):
		d.mustUnderstand = true
	case name.EqualFold("immutable"):
		d.immutable = true
	case name.EqualFold("only-if-cached"):
		d.onlyIfCached = true
	case name.EqualFold("max-age"):
		least(&d.maxAge, seconds(value))
	case name.EqualFold("s-maxage"):
		least(&d.sMaxAge, seconds(value))
	case name.EqualFold("min-fresh"):
		d.minFresh = max(d.minFresh, seconds(value))
	case name.EqualFold("max-stale"):
		if has {
			least(&d.maxStale, seconds(value))
		} else {
			least(&d.maxStale, forever)
		}
	case name.EqualFold("stale-while-revalidate"):
		least(&d.staleWhileRevalidate, seconds(value))
	case name.EqualFold("stale-if-error"):
		least(&d.staleIfError, seconds(value))
	}
}

// hide takes note of a directive that concerns the fields it lists, or the whole response where it lists none.
func (d *directives) hide(whole *bool, list httpmsg.View) {
	if len(list) > 0 {
		for i := range d.hidden {
			if d.hidden[i] == nil {
				d.hidden[i] = list
				return
			}
		}
	}
	*whole = true
}

// hides reports whether the field called name is nothing for a shared cache to keep.
func (d *directives) hides(name httpmsg.View) bool {
	for _, list := range d.hidden {
		for len(list) > 0 {
			var one httpmsg.View
			if one, list = cutElement(list); one.EqualFold(string(name)) {
				return true
			}
		}
	}
	return false
}

// cutElement takes the first element off a list with commas, without the space around it.
func cutElement(list httpmsg.View) (element, rest httpmsg.View) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		element, rest = list[:i], list[i+1:]
	} else {
		element = list
	}
	return bytes.Trim(element, " \t"), rest
}

func least(t *int64, v int64) {
	if *t == unset || v < *t {
		*t = v
	}
}

// seconds reads a number of seconds. What is none counts as zero: the response is stale.
func seconds(v httpmsg.View) int64 {
	if len(v) == 0 {
		return 0
	}
	var n int64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0
		}
		n = min(10*n+int64(c-'0'), forever)
	}
	return n
}

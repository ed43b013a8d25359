package compress

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// coding is a content coding.
type coding uint8

const (
	none coding = iota
	gzipped
	brotli
	zstandard
	codings
)

var names = [codings]string{gzipped: dynamic.EncodingGzip, brotli: dynamic.EncodingBrotli, zstandard: dynamic.EncodingZstd}

// codingOf returns the coding of that name (names have no case, RFC 9110 section 8.4.1), or none.
func codingOf(name httpmsg.View) coding {
	for c := none + 1; c < codings; c++ {
		if name.EqualFold(names[c]) {
			return c
		}
	}
	return none
}

// choice picks the coding of a response from Accept-Encoding (RFC 9110 section 12.5.3).
type choice struct {
	// order holds what we offer, best first.
	order []coding
	// fallback is for clients that do not say what they take; none leaves their responses alone.
	fallback coding
}

const unlisted = -1

// of returns the coding for a request. The highest weight wins, our order among equals; a coding wins against identity of
// the same weight. An asterisk stands for the first of fallback and order that the client does not name.
func (k *choice) of(h *httpmsg.Header) coding {
	i := h.IndexID(httpmsg.HdrAcceptEncoding, 0)
	if i < 0 {
		return k.fallback
	}
	weights := [codings]int{unlisted, unlisted, unlisted, unlisted}
	identity, star := unlisted, unlisted
	for ; i >= 0; i = h.IndexID(httpmsg.HdrAcceptEncoding, i+1) {
		for rest := h.At(i).Value; len(rest) > 0; {
			var element httpmsg.View
			element, rest = cut(rest, ',')
			name, parameters := cut(element, ';')
			w := weight(parameters)
			switch c := codingOf(name); {
			case c != none:
				weights[c] = max(weights[c], w)
			case name.Is("*"):
				star = max(star, w)
			case name.EqualFold("identity"):
				identity = max(identity, w)
			}
		}
	}
	if star > 0 {
		if k.fallback != none && weights[k.fallback] == unlisted {
			weights[k.fallback] = star
		} else {
			for _, c := range k.order {
				if weights[c] == unlisted {
					weights[c] = star
					break
				}
			}
		}
	}
	best, most := none, 0
	for _, c := range k.order {
		if weights[c] > most {
			best, most = c, weights[c]
		}
	}
	if identity > most {
		return none
	}
	return best
}

// weight reads the parameters of an element: q in thousandths, 1000 where there is none, 0 for what cannot be read.
func weight(parameters httpmsg.View) int {
	for len(parameters) > 0 {
		var p httpmsg.View
		p, parameters = cut(parameters, ';')
		if name, value := cut(p, '='); name.EqualFold("q") {
			return thousandths(value)
		}
	}
	return 1000
}

// thousandths reads a qvalue (RFC 9110 section 12.4.2).
func thousandths(v httpmsg.View) int {
	if len(v) == 0 || len(v) > 5 || v[0] != '0' && v[0] != '1' || len(v) > 1 && v[1] != '.' {
		return 0
	}
	n := int(v[0]-'0') * 1000
	for i, unit := 2, 100; i < len(v); i, unit = i+1, unit/10 {
		if v[i] < '0' || v[i] > '9' {
			return 0
		}
		n += int(v[i]-'0') * unit
	}
	if n > 1000 {
		return 0
	}
	return n
}

package httpcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"strings"
	"sync"

	"sluice/internal/wire/httpmsg"
)

// maxVarying is how many fields a response may name in Vary and be kept.
const maxVarying = 8

// neutral are known request fields that are no part of the key: what they say is for us or for the connection, or the
// server tells in Vary that it looked at them (RFC 9110 section 12.5.5), or a rule of its own guards them (Authorization,
// Cookie).
var neutral = httpmsg.HopByHop | httpmsg.SetOf(httpmsg.HdrHost, httpmsg.HdrContentLength, httpmsg.HdrExpect, httpmsg.HdrAccept,
	httpmsg.HdrAcceptEncoding, httpmsg.HdrAuthorization, httpmsg.HdrCacheControl, httpmsg.HdrCookie, httpmsg.HdrDate, httpmsg.HdrRange,
	httpmsg.HdrReferer, httpmsg.HdrUserAgent, httpmsg.HdrVia, httpmsg.HdrXForwardedFor, httpmsg.HdrXRealIP)

// neutralNames are further ones. Every field that is neither here nor there is part of the key: a server that is moved by a
// field which it does not tell about (X-Forwarded-Host, X-Original-Url, a user's name from a middleware before us) then
// moves the answers of nobody but those who send the same.
var neutralNames = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(`accept-charset accept-language baggage b3 cdn-loop cf-ray device-memory dnt downlink dpr
		early-data ect from if-modified-since if-none-match if-range max-forwards pragma priority rtt save-data traceparent tracestate
		uber-trace-id upgrade-insecure-requests viewport-width width x-amzn-trace-id x-b3-flags x-b3-parentspanid x-b3-sampled
		x-b3-spanid x-b3-traceid x-cloud-trace-context x-correlation-id x-request-id`) {
		m[name] = true
	}
	return m
}()

// isNeutral reports whether a request field is no part of the key.
func isNeutral(f *httpmsg.Field) bool {
	if f.ID != httpmsg.HdrOther {
		return neutral.Has(f.ID)
	}
	var buf [32]byte
	if len(f.Name) > len(buf) {
		return false
	}
	low := buf[:len(f.Name)]
	for i, c := range f.Name {
		low[i] = lowered(c)
	}
	// No page and no form can set a field of this kind; browsers describe themselves and the page with them.
	return bytes.HasPrefix(low, []byte("sec-")) || neutralNames[string(low)]
}

func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// appendTarget appends the text of what a request is about: scheme, host in one spelling, path and query as they are. It
// is what invalidation and purging name; different texts never mean the same.
func appendTarget(dst []byte, secure bool, host, path, query httpmsg.View, hasQuery bool) []byte {
	dst = append(dst, "http"...)
	usualPort := ":80"
	if secure {
		dst = append(dst, 's')
		usualPort = ":443"
	}
	dst = append(dst, "://"...)
	from := len(dst)
	for _, c := range host {
		dst = append(dst, lowered(c))
	}
	if name, ok := bytes.CutSuffix(dst[from:], []byte(usualPort)); ok {
		dst = dst[:from+len(name)]
	}
	if n := len(dst); n > from && dst[n-1] == '.' {
		dst = dst[:n-1]
	}
	dst = append(dst, path...)
	if hasQuery {
		dst = append(append(dst, '?'), query...)
	}
	return dst
}

// targetOf returns the target of a request, in memory of the exchange.
func targetOf(x *httpmsg.Exchange) []byte {
	r := &x.Req
	room := x.Scratch(len("https://") + len(r.Host) + len(r.Path) + 1 + len(r.Query))
	return appendTarget(room[:0], r.TLS, r.Host, r.Path, r.Query, r.HasQuery)
}

// key stands for a response in the store: a piece of a hash with a secret in it, so that nobody can make two keys meet.
type key [16]byte

// hashing is the state of making a key.
type hashing struct {
	sum  hash.Hash
	buf  []byte
	text [sha256.Size]byte
}

var hashings = sync.Pool{New: func() any { return &hashing{sum: sha256.New(), buf: make([]byte, 0, 512)} }}

func (h *hashing) add(v []byte) {
	h.buf = binary.AppendUvarint(h.buf, uint64(len(v)))
	h.buf = append(h.buf, v...)
	if len(h.buf) > 4096 {
		h.sum.Write(h.buf)
		h.buf = h.buf[:0]
	}
}

// addLowered adds a name of a field, whose case means nothing.
func (h *hashing) addLowered(v []byte) {
	h.buf = binary.AppendUvarint(h.buf, uint64(len(v)))
	for _, c := range v {
		h.buf = append(h.buf, lowered(c))
	}
}

func (h *hashing) key() (k key) {
	h.sum.Write(h.buf)
	copy(k[:], h.sum.Sum(h.text[:0]))
	h.sum.Reset()
	h.buf = h.buf[:0]
	return k
}

// keyOf makes the key of the response to x's request among those of a target. vary are the names of the fields that the
// server chose by.
func (h *handler) keyOf(x *httpmsg.Exchange, target uint64, vary []string) key {
	s := hashings.Get().(*hashing)
	defer hashings.Put(s)
	s.buf = append(s.buf, h.secret[:]...)
	s.buf = binary.BigEndian.AppendUint64(s.buf, target)
	s.add(httpmsg.Text(h.router)) // two routers may bring one host and path to different servers
	s.add(x.Req.Host)             // as it was sent: servers make addresses with it
	f := &x.Req.Header
	for i := range f.Len() {
		if one := f.At(i); !isNeutral(one) {
			s.addLowered(one.Name)
			s.add(one.Value)
		}
	}
	s.buf = append(s.buf, 0)
	for _, names := range [...][]string{h.keyHeaders, vary} {
		for _, name := range names {
			s.add(httpmsg.Text(name))
			for i := f.Index(name, 0); i >= 0; i = f.Index(name, i+1) {
				s.addList(f.At(i).Value)
			}
			s.buf = append(s.buf, 0)
		}
		s.buf = append(s.buf, 1)
	}
	return s.key()
}

// addList adds a value without the optional space around its commas (RFC 9111 section 4.1): it means nothing, and clients
// differ in it.
func (h *hashing) addList(v httpmsg.View) {
	for {
		i := bytes.IndexByte(v, ',')
		if i < 0 {
			h.add(bytes.Trim(v, " \t"))
			return
		}
		h.add(bytes.Trim(v[:i], " \t"))
		v = v[i+1:]
	}
}

// varying returns the names in Vary, in lower case and in order; not ok where no request can be known to get the same.
func varying(h *httpmsg.Header) (names []string, ok bool) {
	for i := h.IndexID(httpmsg.HdrVary, 0); i >= 0; i = h.IndexID(httpmsg.HdrVary, i+1) {
		for list := h.At(i).Value; len(list) > 0; {
			var one httpmsg.View
			one, list = cutElement(list)
			switch {
			case len(one) == 0:
				continue
			case one.Is("*"), !httpmsg.IsToken(one), len(one) > 64:
				return nil, false
			}
			if name := strings.ToLower(one.String()); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, len(names) <= maxVarying
}

// lists reports whether the fields with a known name have an element.
func lists(h *httpmsg.Header, id httpmsg.ID, element string) bool {
	for i := h.IndexID(id, 0); i >= 0; i = h.IndexID(id, i+1) {
		if hasElement(h.At(i).Value, element) {
			return true
		}
	}
	return false
}

func hasElement(list httpmsg.View, element string) bool {
	for len(list) > 0 {
		var one httpmsg.View
		if one, list = cutElement(list); one.EqualFold(element) {
			return true
		}
	}
	return false
}

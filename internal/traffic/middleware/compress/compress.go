// Package compress encodes response bodies with gzip, brotli or zstd, whichever the client likes best.
//
// The encoding is chosen on the way in. On the way back a filter is put behind the response, which decides when it sees the
// final head: a body that is too short, encoded already, partial, not to be transformed or of an unwanted type passes as it
// is. A body of unknown length is kept back until it is long enough or its server pauses; from then on everything leaves as
// soon as the server pauses, so that events are never late.
package compress

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// defaultMin is the length from which bodies are compressed where none is configured.
const defaultMin = 1024

// Kind is the row of compress.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "compress", Check: check, Build: build}
}

// compressor is one instance.
type compressor struct {
	choice     choice
	min        int
	excluded   []string
	included   []string
	restricted bool // included counts
	next       httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.Compress
	if len(o.ExcludedContentTypes) > 0 && len(o.IncludedContentTypes) > 0 {
		l.Add(middleware.Bad("compress.excludedContentTypes", "excludedContentTypes and includedContentTypes exclude each other", "keep one of the two lists"))
	}
	for _, list := range []struct {
		name  string
		types []string
	}{{"excludedContentTypes", o.ExcludedContentTypes}, {"includedContentTypes", o.IncludedContentTypes}} {
		for i, text := range list.types {
			if mediaType(httpmsg.Text(text)) == nil {
				l.Add(middleware.Bad(fmt.Sprintf("compress.%s[%d]", list.name, i), strconv.Quote(text)+" is not a media type", "write type/subtype, such as text/html"))
			}
		}
	}
	if len(o.Encodings) == 0 {
		l.Add(middleware.Bad("compress.encodings", "at least one encoding must be given", "use gzip, br or zstd"))
	}
	for i, name := range o.Encodings {
		if codingOf(httpmsg.Text(name)) == none {
			l.Add(middleware.Bad(fmt.Sprintf("compress.encodings[%d]", i), "unsupported encoding "+strconv.Quote(name), "use gzip, br or zstd"))
		}
	}
	if o.DefaultEncoding != "" && !slices.Contains(o.Encodings, o.DefaultEncoding) {
		l.Add(middleware.Bad("compress.defaultEncoding", strconv.Quote(o.DefaultEncoding)+" is not among the encodings",
			"use one of "+strings.Join(o.Encodings, ", ")))
	}
	return l
}

func build(c *dynamic.Middleware, _ middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if l := check(c); l.Has(diag.Error) {
		return nil, fmt.Errorf("compress: %s", l[0].Message)
	}
	o := c.Compress
	k := &compressor{min: o.MinResponseBodyBytes, next: next, restricted: len(o.IncludedContentTypes) > 0}
	if k.min <= 0 {
		k.min = defaultMin
	}
	for _, name := range o.Encodings {
		k.choice.order = append(k.choice.order, codingOf(httpmsg.Text(name)))
	}
	k.choice.fallback = codingOf(httpmsg.Text(o.DefaultEncoding))
	for _, text := range o.ExcludedContentTypes {
		k.excluded = append(k.excluded, string(mediaType(httpmsg.Text(text))))
	}
	for _, text := range o.IncludedContentTypes {
		k.included = append(k.included, string(mediaType(httpmsg.Text(text))))
	}
	return k, nil
}

// Serve implements httpmsg.Handler.
func (k *compressor) Serve(x *httpmsg.Exchange) error {
	coding := none
	if !x.Req.Method.Is("HEAD") && !listed(k.excluded, mediaType(x.Req.Header.Get(httpmsg.HdrContentType))) {
		if coding = k.choice.of(&x.Req.Header); coding == none {
			x.OnCommit((*otherwise)(k))
		}
	}
	if err := k.next.Serve(x); err != nil || coding == none || x.Upgrade != nil {
		return err
	}
	x.AddFilter(newFilter(k, coding))
	return nil
}

// otherwise says of a response to a client that takes no coding that others get another one: a cache that was not told would
// give it to everybody.
type otherwise compressor

// EditResponse implements httpmsg.Edit.
func (o *otherwise) EditResponse(x *httpmsg.Exchange) {
	n := x.Res.ContentLength
	if k := (*compressor)(o); !x.Bodiless() && k.compresses(&x.Res) && (n < 0 || n >= int64(k.min)) {
		vary(&x.Res.Header)
	}
}

// compresses reports whether a response may be encoded, as far as its head tells.
func (k *compressor) compresses(res *httpmsg.Response) bool {
	h := &res.Header
	// A part of a representation cannot be encoded as if it were the whole (RFC 9110 section 14.4).
	if res.Status == 206 || h.Has(httpmsg.HdrContentEncoding) || h.Index("Content-Range", 0) >= 0 || h.Index("No-Gzip-Compression", 0) >= 0 {
		return false
	}
	for i := h.IndexID(httpmsg.HdrCacheControl, 0); i >= 0; i = h.IndexID(httpmsg.HdrCacheControl, i+1) {
		if hasElement(h.At(i).Value, "no-transform") { // RFC 9111 section 5.2.2.6
			return false
		}
	}
	value := h.Get(httpmsg.HdrContentType)
	if value == nil {
		return !k.restricted
	}
	t := mediaType(value)
	if t == nil || len(t) >= len(grpc) && t[:len(grpc)].EqualFold(grpc) {
		return false
	}
	if k.restricted {
		return listed(k.included, t)
	}
	return !listed(k.excluded, t)
}

// grpc begins the types whose messages have a compression of their own.
const grpc = "application/grpc"

// mediaType returns type/subtype of a Content-Type without its parameters; nil if it cannot be read.
func mediaType(v httpmsg.View) httpmsg.View {
	if i := bytes.IndexByte(v, ';'); i >= 0 {
		v = v[:i]
	}
	v = bytes.Trim(v, " \t")
	i := bytes.IndexByte(v, '/')
	if i < 0 || !httpmsg.IsToken(v[:i]) || !httpmsg.IsToken(v[i+1:]) {
		return nil
	}
	return v
}

func listed(list []string, t httpmsg.View) bool {
	for _, s := range list {
		if t.EqualFold(s) {
			return true
		}
	}
	return false
}

// hasElement reports whether a comma-separated list holds name.
func hasElement(list httpmsg.View, name string) bool {
	for len(list) > 0 {
		var e httpmsg.View
		if e, list = cut(list, ','); e.EqualFold(name) {
			return true
		}
	}
	return false
}

// cut splits off what stands before the first sep, spaces trimmed.
func cut(v httpmsg.View, sep byte) (first, rest httpmsg.View) {
	if i := bytes.IndexByte(v, sep); i >= 0 {
		return bytes.Trim(v[:i], " \t"), v[i+1:]
	}
	return bytes.Trim(v, " \t"), nil
}

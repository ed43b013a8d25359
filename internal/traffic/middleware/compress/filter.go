package compress

import (
	"io"
	"sync"

	"sluice/internal/wire/httpmsg"
)

// keptBytes is the most that a filter's buffer may have to be used again.
const keptBytes = 64 << 10

// filter encodes one response body. It implements httpmsg.Filter.
type filter struct {
	k      *compressor
	coding coding
	state  state
	x      *httpmsg.Exchange
	held   []byte // of a body that is not known to be long enough yet
	enc    encoder
	sink   sink
	dirty  bool // enc may hold bytes back
}

type state uint8

const (
	plain    state = iota // bytes pass
	waiting               // until the body is long enough
	encoding              // bytes go through enc
)

var filters = sync.Pool{New: func() any { return &filter{} }}

func newFilter(k *compressor, c coding) *filter {
	f := filters.Get().(*filter)
	f.k, f.coding, f.state = k, c, plain
	return f
}

// Head implements httpmsg.Filter.
func (f *filter) Head(x *httpmsg.Exchange) (hold bool) {
	f.x = x
	vary(&x.Res.Header)
	n := x.Res.ContentLength
	switch {
	case x.Bodiless() || !f.k.compresses(&x.Res) || n >= 0 && n < int64(f.k.min):
		return false
	case n >= 0:
		f.begin()
		return false
	}
	f.state = waiting
	return true
}

// vary says that the response depends on Accept-Encoding (RFC 9110 section 12.5.5).
func vary(h *httpmsg.Header) {
	for i := h.IndexID(httpmsg.HdrVary, 0); i >= 0; i = h.IndexID(httpmsg.HdrVary, i+1) {
		if v := h.At(i).Value; hasElement(v, "Accept-Encoding") || hasElement(v, "*") {
			return
		}
	}
	h.AddID(httpmsg.HdrVary, httpmsg.Text("Accept-Encoding"))
}

// begin makes the head that of an encoded response.
func (f *filter) begin() {
	f.state = encoding
	f.enc = pools[f.coding].Get().(encoder)
	f.enc.Reset(&f.sink)
	f.dirty = true // an empty body has a form, too
	res := &f.x.Res
	res.ContentLength = -1
	h := &res.Header
	h.AddID(httpmsg.HdrContentEncoding, httpmsg.Text(names[f.coding]))
	h.DelID(httpmsg.HdrContentLength)
	// Ranges would count in the encoded bytes, which differ from time to time; digests are of the bytes that we change.
	for _, name := range [...]string{"Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
		h.Del(name)
	}
	if tag := h.Get(httpmsg.HdrETag); len(tag) > 0 && tag[0] == '"' {
		// A strong tag promises identical bytes (RFC 9110 section 8.8.1).
		weak := f.x.Scratch(len(tag) + 2)
		copy(weak[copy(weak, "W/"):], tag)
		h.SetID(httpmsg.HdrETag, weak)
	}
}

// Data implements httpmsg.Filter.
func (f *filter) Data(p []byte, flush bool, out func([]byte) error) error {
	switch f.state {
	case plain:
		if len(p) == 0 {
			return nil
		}
		return out(p)
	case waiting:
		n := len(f.held) + len(p)
		if n == 0 || n < f.k.min && !flush {
			f.held = append(f.held, p...)
			return nil
		}
		f.begin()
	}
	f.sink.out = out
	defer func() { f.sink.out = nil }()
	if len(f.held) > 0 {
		if _, err := f.enc.Write(f.held); err != nil {
			return err
		}
		f.held = f.held[:0]
	}
	if len(p) > 0 {
		f.dirty = true
		if _, err := f.enc.Write(p); err != nil {
			return err
		}
	}
	if !flush || !f.dirty {
		return nil
	}
	f.dirty = false
	return f.enc.Flush()
}

// End implements httpmsg.Filter.
func (f *filter) End(out func([]byte) error) error {
	switch f.state {
	case waiting:
		res := &f.x.Res
		if res.Body == nil || res.Body.Trailer() == nil { // with a length there is no room for trailers on HTTP/1
			res.ContentLength = int64(len(f.held))
		}
		if len(f.held) > 0 {
			return out(f.held)
		}
	case encoding:
		f.sink.out = out
		defer func() { f.sink.out = nil }()
		return f.enc.Close()
	}
	return nil
}

// Close implements httpmsg.Filter.
func (f *filter) Close() {
	if f.enc != nil {
		f.enc.Reset(io.Discard)
		pools[f.coding].Put(f.enc)
	}
	held := f.held
	httpmsg.Poison(held[:cap(held)])
	if cap(held) > keptBytes {
		held = nil
	}
	*f = filter{held: held[:0]}
	filters.Put(f)
}

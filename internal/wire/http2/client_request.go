package http2

import (
	"bytes"

	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// encoder writes the heads of requests. It adds nothing to the compression tables of a connection: what goes there has to
// be kept, and views of an exchange cannot be. So every head stands for itself, can be encoded outside of any lock, and
// costs no allocation; a server near by does not mind the bytes.
type encoder struct {
	block bytes.Buffer
	hpack *hpack.Encoder
	text  []byte // of values that are made here
}

func newEncoder() *encoder {
	e := &encoder{}
	e.hpack = hpack.NewEncoder(&e.block)
	e.hpack.SetMaxDynamicTableSize(0)
	return e
}

// put adds a field. Neither name nor value is kept.
func (e *encoder) put(name, value httpmsg.View) {
	// Writing into a bytes.Buffer does not fail.
	_ = e.hpack.WriteField(hpack.HeaderField{Name: name.Borrow(), Value: value.Borrow()})
}

var (
	methodName, schemeName    = httpmsg.Text(":method"), httpmsg.Text(":scheme")
	authorityName, pathName   = httpmsg.Text(":authority"), httpmsg.Text(":path")
	clearScheme, secureScheme = httpmsg.Text("http"), httpmsg.Text("https")
	trailersValue             = httpmsg.Text("trailers")
	continueValue             = httpmsg.Text("100-continue")
)

func lower(id httpmsg.ID) httpmsg.View { return httpmsg.Text(id.Lower()) }

// head encodes the head of x's request as it goes to t (RFC 9113 section 8.3.1). Nothing of the client's bytes is copied as it
// came: the head is made from the parsed form (INV-1).
func (e *encoder) head(x *httpmsg.Exchange, t *httpmsg.Target, secure, expect bool) *fault.Fault {
	e.block.Reset()
	req := &x.Req
	if !httpmsg.IsToken(req.Method) {
		return fault.New(fault.Internal, "method is not a token", nil)
	}
	var f *fault.Fault
	if e.text, f = x.AppendTarget(e.text[:0], t.Prefix); f != nil {
		return f
	}
	e.put(methodName, req.Method)
	if secure {
		e.put(schemeName, secureScheme)
	} else {
		e.put(schemeName, clearScheme)
	}
	if host := t.Authority(x); len(host) > 0 {
		e.put(authorityName, host)
	}
	e.put(pathName, e.text)

	h := &req.Header
	forward := t.ForwardPeer && !req.KeepForwardedFor
	peer := forward
	for i := range h.Len() {
		f := h.At(i)
		switch {
		case httpmsg.NotSent.Has(f.ID):
		case f.ID == httpmsg.HdrXForwardedFor && forward:
			if peer {
				e.forwardedFor(x, i)
				peer = false
			}
		default:
			e.field(f)
		}
	}
	if peer {
		e.forwardedFor(x, -1)
	}
	if req.Trailers {
		e.put(lower(httpmsg.HdrTE), trailersValue) // RFC 9113 section 8.2.2: the one value that TE may have
	}
	switch {
	case req.Body == nil:
		// RFC 9110 section 8.6: methods that usually have a body say that there is none.
		if m := string(req.Method); m == "POST" || m == "PUT" || m == "PATCH" || h.Has(httpmsg.HdrContentLength) {
			e.length(0)
		}
	case req.ContentLength >= 0:
		e.length(req.ContentLength)
	}
	if expect {
		e.put(lower(httpmsg.HdrExpect), continueValue)
	}
	return nil
}

func (e *encoder) length(n int64) {
	e.text = httpmsg.AppendInt(e.text[:0], n)
	e.put(lower(httpmsg.HdrContentLength), e.text)
}

func (e *encoder) forwardedFor(x *httpmsg.Exchange, first int) {
	var wanted bool
	if e.text, wanted = x.AppendForwardedFor(e.text[:0], first); wanted {
		e.put(lower(httpmsg.HdrXForwardedFor), e.text)
	}
}

// field encodes one field. Names are lower case here (RFC 9113 section 8.2). A value stays one line for whoever translates
// it to HTTP/1; a field whose name is no token is left out.
func (e *encoder) field(f *httpmsg.Field) {
	name := f.Name
	if f.ID != httpmsg.HdrOther {
		name = lower(f.ID)
	} else {
		if !httpmsg.IsToken(name) {
			return
		}
		if hasUpper(name.Borrow()) {
			e.text = appendLower(e.text[:0], name)
			name = e.text
		}
	}
	value := f.Value
	if !httpmsg.IsFieldValue(value) {
		from := len(e.text)
		if len(name) == 0 || len(e.text) == 0 || &name[0] != &e.text[0] {
			from = 0
		}
		e.text = append(e.text[:from], bytes.TrimSpace(value)...)
		value = e.text[from:]
		for i, c := range value {
			if c < ' ' && c != '\t' || c == 0x7f {
				value[i] = ' '
			}
		}
	}
	e.put(name, value)
}

// trailer encodes the fields behind a request body, without those that belong to one connection or to framing.
func (e *encoder) trailer(h *httpmsg.Header) (some bool) {
	e.block.Reset()
	for i := range h.Len() {
		if f := h.At(i); !httpmsg.NotSent.Has(f.ID) {
			e.field(f)
			some = true
		}
	}
	return some
}

func appendLower(b []byte, name httpmsg.View) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

// appendCanonical appends a lower-case name in the letters that HTTP/1 uses: X-Request-Id.
func appendCanonical(b []byte, name httpmsg.View) []byte {
	first := true
	for _, c := range name {
		if first && 'a' <= c && c <= 'z' {
			c &^= 0x20
		}
		first = c == '-'
		b = append(b, c)
	}
	return b
}

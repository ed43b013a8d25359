package httpmsg

import (
	"io"
	"strconv"
)

// Respond makes x.Res an answer of our own with a text body, and drops what stood there before. Neither string is copied.
func (x *Exchange) Respond(status int, contentType, body string) {
	x.RespondBytes(status, viewOf(body))
	if contentType != "" {
		x.Res.Header.AddID(HdrContentType, Text(contentType))
	}
}

// RespondBytes is Respond for a body that nobody writes into while the exchange lives, without a header.
func (x *Exchange) RespondBytes(status int, body []byte) {
	x.DropResponse()
	x.Res.Status = status
	x.Res.ContentLength = int64(len(body))
	if len(body) > 0 {
		x.local = Bytes{Data: body}
		x.Res.Body = &x.local
	}
}

// DropResponse discards the response on the exchange: its body is closed, its head emptied. Registered edits stay.
func (x *Exchange) DropResponse() {
	if x.Res.Body != nil {
		x.Res.Body.Close()
	}
	if x.Upgrade != nil {
		x.Upgrade.Server.Close()
		x.Upgrade = nil
	}
	h := x.Res.Header
	h.Reset()
	x.Res = Response{Header: h}
}

// Bytes is a body that is already in memory.
type Bytes struct {
	// Data is what Next returns, once. Nobody writes into it.
	Data []byte
	done bool
}

// Next returns the whole body, then io.EOF.
func (b *Bytes) Next() ([]byte, error) {
	if b.done || len(b.Data) == 0 {
		return nil, io.EOF
	}
	b.done = true
	return b.Data, nil
}

// Ready is always true.
func (b *Bytes) Ready() bool { return true }

// Trailer is always nil.
func (b *Bytes) Trailer() *Header { return nil }

// Close makes Next return io.EOF.
func (b *Bytes) Close() { b.done = true }

// Rewind lets the body be read again.
func (b *Bytes) Rewind() { b.done = false }

// AppendInt appends the decimal form of n.
func AppendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

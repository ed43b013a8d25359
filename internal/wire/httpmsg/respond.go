package httpmsg

import (
	"io"
	"strconv"
)

// Respond makes x.Res an answer of our own with a text body, and drops what stood there before.
func (x *Exchange) Respond(status int, contentType, body string) {
	x.DropResponse()
	x.Res.Status = status
	if contentType != "" {
		x.Res.Header.AddID(HdrContentType, Text(contentType))
	}
	x.Res.ContentLength = int64(len(body))
	if body != "" {
		x.Res.Body = &Bytes{Data: []byte(body)}
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
	// Data is what Next returns, once.
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

// Mark remembers the request as it was, for handlers that may send it more than once.
type Mark struct {
	req     Request
	fields  []Field
	edits   int
	filters int
	finish  int
}

// Mark takes the mark.
func (x *Exchange) Mark() Mark {
	return Mark{req: x.Req, fields: append([]Field(nil), x.Req.Header.fields...), edits: len(x.edits),
		filters: len(x.filters), finish: len(x.finish)}
}

// Rewind undoes what an attempt did to the exchange since the mark: request edits, the response, registered edits and
// filters. The request body is rewound only if it is of type *Bytes. OnFinish hooks registered since the mark are run now.
func (x *Exchange) Rewind(m *Mark) {
	x.DropResponse()
	for i := len(x.finish) - 1; i >= m.finish; i-- {
		x.finish[i].Finish(x)
	}
	clear(x.finish[m.finish:])
	x.finish = x.finish[:m.finish]
	clear(x.edits[m.edits:])
	x.edits = x.edits[:m.edits]
	for _, f := range x.filters[m.filters:] {
		f.Close()
	}
	clear(x.filters[m.filters:])
	x.filters = x.filters[:m.filters]
	h := x.Req.Header
	x.Req = m.req
	x.Req.Header = h
	x.Req.Header.fields = append(x.Req.Header.fields[:0], m.fields...)
	if b, ok := x.Req.Body.(*Bytes); ok {
		b.Rewind()
	}
}

// AppendInt appends the decimal form of n.
func AppendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

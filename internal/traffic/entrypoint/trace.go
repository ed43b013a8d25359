package entrypoint

import (
	"sluice/internal/observe/record"
	"sluice/internal/wire/httpmsg"
)

// Carrier is a request's header as tracing reads and writes it. It implements record.Carrier.
type Carrier struct{ Header *httpmsg.Header }

// Get returns the first value of a field, good as long as the exchange.
func (c Carrier) Get(name string) string { return c.Header.Lookup(name).Borrow() }

// Set makes value the only one of a field.
func (c Carrier) Set(name, value string) { c.Header.Set(name, value) }

// Keys returns the names of all fields.
func (c Carrier) Keys() []string {
	out := make([]string, c.Header.Len())
	for i := range out {
		out[i], _ = c.Header.Field(i)
	}
	return out
}

// beginSpan starts the span of a request, once.
func (e *EntryPoint) beginSpan(x *httpmsg.Exchange) {
	if e.tracer == nil || x.Facts.Trace != nil {
		return
	}
	asked := &x.Facts.Asked
	s := e.tracer.Begin(&record.Begin{
		Start: x.Facts.Start, EntryPoint: e.name, Method: asked.Method.Borrow(), Host: asked.Host.Borrow(), Path: asked.Path.Borrow(),
		Query: asked.Query.Borrow(), Proto: x.Req.Proto.String(), Secure: x.Req.TLS, Header: Carrier{&x.Req.Header},
		ClientIP: x.Peer.Addr().Unmap().String(), ClientPort: int(x.Peer.Port()),
	})
	x.Facts.Trace, x.Facts.Span = s, s
}

// endSpan ends the span of a request. One that no router took gets its span here.
func (e *EntryPoint) endSpan(x *httpmsg.Exchange, r *record.Record) {
	if x.Facts.Router == "" {
		e.beginSpan(x)
	}
	s, ok := x.Facts.Trace.(record.Span)
	if !ok {
		return
	}
	r.TraceID, r.SpanID = s.IDs()
	s.End(r)
	x.Facts.Trace, x.Facts.Span = nil, nil
}

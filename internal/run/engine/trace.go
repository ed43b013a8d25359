package engine

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/plan"
	"sluice/internal/observe/record"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/httpmsg"
)

// traced puts a span around a handler, for requests that have one. It exists only where tracing is on.
type traced struct {
	name       string
	client     bool // the handler sends the request to a server, and the span goes with it
	attributes []string
	next       httpmsg.Handler
}

// Serve implements httpmsg.Handler.
func (t *traced) Serve(x *httpmsg.Exchange) error {
	parent, ok := x.Facts.Span.(record.Span)
	if !ok {
		return t.next.Serve(x)
	}
	child := parent.Child(t.name, t.client, t.attributes...)
	if t.client {
		child.Inject(entrypoint.Carrier{Header: &x.Req.Header})
	}
	x.Facts.Span = child
	x.OnFinish(&spanEnd{child, t.client})
	err := t.next.Serve(x)
	x.Facts.Span = parent
	return err
}

// spanEnd ends a span with its exchange.
type spanEnd struct {
	span   record.Span
	client bool
}

// Finish implements httpmsg.Finisher.
func (s *spanEnd) Finish(x *httpmsg.Exchange) {
	if !s.client {
		s.span.End(nil)
		return
	}
	r := record.Record{Method: x.Req.Method.Borrow(), Path: x.Req.Path.Borrow(), Server: x.Facts.Server, OriginStatus: x.Facts.OriginStatus}
	if x.Facts.OriginStatus == 0 {
		r.Fault = fault.Of(x.Facts.Err)
	}
	s.span.End(&r)
}

// toServers makes requests to the servers of a service carry their trace.
func (b *build) toServers(next httpmsg.Handler) httpmsg.Handler {
	if b.e.o.Static.Tracing == nil {
		return next
	}
	return &traced{name: "ReverseProxy", client: true, next: next}
}

// detailed reports whether a router's middlewares and service have spans of their own.
func (b *build) detailed(r *plan.Router) bool {
	return b.e.o.Static.Tracing != nil && r.Observability.TraceVerbosity == dynamic.TraceDetailed && !isFalse(r.Observability.Tracing)
}

package entrypoint

import (
	"bytes"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
	"sluice/internal/wire/httpmsg"
)

// Finish implements httpmsg.Finisher: it makes the record of an exchange that came as far as Serve.
func (e *EntryPoint) Finish(x *httpmsg.Exchange) {
	f := fault.Of(x.Facts.Err)
	if f != nil {
		e.faults.Tell(f, x.Peer.String(), slog.String("routerName", x.Facts.Router), slog.String("serviceName", x.Facts.Service),
			slog.String("host", x.Req.Host.String()), slog.Int("status", x.Res.Status))
	}
	if e.sink == nil && e.tracer == nil {
		return
	}
	asked := &x.Facts.Asked
	if len(asked.Method) == 0 { // it was refused before it could be routed
		*asked = httpmsg.Asked{Method: x.Req.Method, Host: x.Req.Host, Path: x.Req.Path, Query: x.Req.Query}
	}
	r := records.Get().(*record.Record)
	*r = record.Record{
		EntryPoint: e.name, Router: x.Facts.Router, Service: x.Facts.Service, Server: x.Facts.Server,
		Client: x.Peer, Local: x.Local, Secure: x.Req.TLS, Method: asked.Method.Borrow(), Host: asked.Host.Borrow(), Path: asked.Path.Borrow(),
		Query: asked.Query.Borrow(), Proto: x.Req.Proto.String(), Request: &x.Req.Header, Response: &x.Res.Header,
		Status: x.Res.Status, OriginStatus: x.Facts.OriginStatus, User: x.Facts.User, Retries: x.Facts.Retries,
		BytesIn: x.Facts.BytesIn, BytesOut: x.Facts.BytesOut, Start: x.Facts.Start, Duration: time.Since(x.Facts.Start),
		Protocol: protocolOf(x), GRPCStatus: grpcStatus(x), Fault: f, Phase: phaseOf(x), Quiet: record.Quiet(x.Facts.Quiet),
	}
	if t := x.TLS; t != nil {
		r.SNI, r.TLS.Version, r.TLS.Suite = t.ServerName, t.Version, t.CipherSuite
		if len(t.PeerCertificates) > 0 {
			r.TLS.Subject = t.PeerCertificates[0].Subject.String()
		}
	}
	if r.OriginStatus != 0 {
		r.OriginBytes = x.Facts.OriginBytes
		if !x.Facts.Sent.IsZero() {
			r.OriginDuration = r.Duration - x.Facts.Sent.Sub(x.Facts.Start)
		}
		if e.origin {
			r.Origin = &x.Facts.Origin
		}
	}
	if !x.Facts.FirstByte.IsZero() && !x.Facts.Sent.IsZero() {
		r.Upstream = x.Facts.FirstByte.Sub(x.Facts.Sent)
	}
	if e.tracer != nil {
		e.endSpan(x, r)
	}
	if e.sink != nil {
		e.sink.Record(r)
	}
	*r = record.Record{}
	records.Put(r)
}

// records are reused, since sinks keep nothing of them.
var records = sync.Pool{New: func() any { return new(record.Record) }}

// protocolOf tells what is spoken inside HTTP.
func protocolOf(x *httpmsg.Exchange) string {
	content := x.Req.Header.Get(httpmsg.HdrContentType)
	switch {
	case x.Req.UpgradeTo.EqualFold("websocket"):
		return record.WebSocket
	case bytes.HasPrefix(content, []byte("application/grpc-web")):
		return record.GRPCWeb
	case bytes.HasPrefix(content, []byte("application/grpc")):
		return record.GRPC
	case x.Req.Header.Get(httpmsg.HdrAccept).Is("text/event-stream"):
		return record.ServerSentEvents
	}
	return record.HTTP
}

// grpcStatus is the status of a gRPC call: of its trailers, or of a head that is all of the response; 2 (UNKNOWN) where a
// call ended without one, -1 where there is none to see.
func grpcStatus(x *httpmsg.Exchange) int {
	content := x.Req.Header.Get(httpmsg.HdrContentType)
	if !bytes.HasPrefix(content, []byte("application/grpc")) {
		return -1
	}
	text := x.Facts.GRPCStatus
	if text == "" {
		text = x.Res.Header.Lookup("Grpc-Status").Borrow()
	}
	n, err := strconv.Atoi(text)
	switch {
	case err == nil && 0 <= n && n <= 16:
		return n
	case bytes.HasPrefix(content, []byte("application/grpc-web")):
		return -1 // it stands in the body, which nobody reads
	}
	return 2
}

// phaseOf tells how far an exchange came.
func phaseOf(x *httpmsg.Exchange) record.Phase {
	switch {
	case x.Facts.Err == nil:
		return record.Done
	case x.Res.Status != 0 && x.Facts.OriginStatus != 0:
		return record.Data
	case !x.Facts.Sent.IsZero():
		return record.Waiting
	case x.Facts.Server != "":
		return record.Connecting
	default:
		return record.Routing
	}
}

// malformed is told of every exchange on HTTP/1; those that never reached Serve are reported here.
func (e *EntryPoint) malformed(x *httpmsg.Exchange) {
	if x.Facts.EntryPoint == "" && x.Facts.Err != nil {
		x.Facts.EntryPoint = e.name
		e.Finish(x)
	}
}

// ended reports a connection that was refused or left before anybody had it.
func (e *EntryPoint) ended(c *Accepted, start time.Time, phase record.Phase, err error) {
	f := fault.Of(err)
	e.faults.Tell(f, c.Peer().String(), slog.String("phase", phase.String()), slog.String("sni", c.SNI), slog.String("routerName", c.Router))
	if e.sink == nil {
		return
	}
	e.sink.Record(&record.Record{EntryPoint: e.name, Router: c.Router, Client: c.Peer(), Local: c.Local(), SNI: c.SNI,
		Passthrough: c.Passthrough, Start: start, Duration: time.Since(start), Fault: f, Phase: phase})
}

// tunnelled reports a connection that a TCP router took.
func (e *EntryPoint) tunnelled(c *Accepted, start time.Time, o *Outcome, phase record.Phase) {
	if o.Fault != nil {
		e.faults.Tell(o.Fault, c.Peer().String(), slog.String("routerName", c.Router), slog.String("serviceName", o.Service),
			slog.String("server", o.Server), slog.String("sni", c.SNI), slog.String("phase", phase.String()))
	} else {
		phase = record.Done
	}
	if e.sink == nil {
		return
	}
	e.sink.Record(&record.Record{EntryPoint: e.name, Router: c.Router, Service: o.Service, Server: o.Server, Client: c.Peer(),
		Local: c.Local(), SNI: c.SNI, Passthrough: c.Passthrough, BytesIn: o.In, BytesOut: o.Out, Start: start,
		Duration: time.Since(start), EndedBy: o.EndedBy, Fault: o.Fault, Phase: phase})
}

package entrypoint

import (
	"context"
	"log/slog"
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
		e.tell(f, x.Peer.String(), slog.String("routerName", x.Facts.Router), slog.String("serviceName", x.Facts.Service),
			slog.String("host", x.Req.Host.String()), slog.Int("status", x.Res.Status))
	}
	if e.sink == nil {
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
		Fault: f, Phase: phaseOf(x), Quiet: record.Quiet(x.Facts.Quiet),
	}
	if t := x.TLS; t != nil {
		r.SNI, r.TLS.Version, r.TLS.Suite = t.ServerName, t.Version, t.CipherSuite
		if len(t.PeerCertificates) > 0 {
			r.TLS.Subject = t.PeerCertificates[0].Subject.String()
		}
	}
	if r.OriginStatus != 0 {
		r.OriginBytes = x.Facts.OriginBytes
		if e.origin {
			r.Origin = &x.Facts.Origin
		}
	}
	if !x.Facts.FirstByte.IsZero() && !x.Facts.Sent.IsZero() {
		r.Upstream = x.Facts.FirstByte.Sub(x.Facts.Sent)
	}
	e.sink.Record(r)
	*r = record.Record{}
	records.Put(r)
}

// records are reused, since sinks keep nothing of them.
var records = sync.Pool{New: func() any { return new(record.Record) }}

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
	e.tell(f, c.Peer().String(), slog.String("phase", phase.String()), slog.String("sni", c.SNI), slog.String("routerName", c.Router))
	if e.sink == nil {
		return
	}
	e.sink.Record(&record.Record{EntryPoint: e.name, Router: c.Router, Client: c.Peer(), Local: c.Local(), SNI: c.SNI,
		Passthrough: c.Passthrough, Start: start, Duration: time.Since(start), Fault: f, Phase: phase})
}

// tunnelled reports a connection that a TCP router took.
func (e *EntryPoint) tunnelled(c *Accepted, start time.Time, o *Outcome, phase record.Phase) {
	if o.Fault != nil {
		e.tell(o.Fault, c.Peer().String(), slog.String("routerName", c.Router), slog.String("serviceName", o.Service),
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

// tell writes one line about a fault: ours and the server's as warnings, the client's as information. Lines of the same
// code are bounded in rate, since clients decide how many faults there are.
func (e *EntryPoint) tell(f *fault.Fault, client string, attrs ...slog.Attr) {
	level := slog.LevelInfo
	switch {
	case f.Kind == fault.Panic:
		return // told with its stack already
	case f.Kind.Side() == fault.Upstream:
		level = slog.LevelWarn
	case f.Kind == fault.NoRouter, f.Kind == fault.ClientGone:
		level = slog.LevelDebug
	case f.Kind.Side() == fault.Proxy:
		level = slog.LevelWarn
	}
	if !e.log.Enabled(context.Background(), level) {
		return
	}
	skipped, ok := e.noise.allow(f.Kind.Code(), time.Now())
	if !ok {
		return
	}
	attrs = append(attrs, slog.String("code", f.Kind.Code()), slog.String("side", f.Kind.Side().String()), slog.String("client", client))
	if skipped > 0 {
		attrs = append(attrs, slog.Int("suppressed", skipped))
	}
	kept := attrs[:0]
	for _, a := range attrs {
		if a.Value.Kind() != slog.KindString || a.Value.String() != "" {
			kept = append(kept, a)
		}
	}
	e.log.LogAttrs(context.Background(), level, f.Error(), kept...)
}

// noiseLimit is how many lines of one code are written in a second.
const noiseLimit = 20

// noise bounds the lines that clients can cause.
type noise struct {
	mu    sync.Mutex
	codes map[string]*burst
}

type burst struct {
	second  int64
	written int
	skipped int
}

// allow reports whether a line may be written now, and how many were not since the last one.
func (n *noise) allow(code string, now time.Time) (skipped int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.codes == nil {
		n.codes = map[string]*burst{}
	}
	b := n.codes[code]
	if b == nil {
		b = &burst{}
		n.codes[code] = b
	}
	if b.second != now.Unix() {
		b.second, b.written = now.Unix(), 0
	}
	if b.written >= noiseLimit {
		b.skipped++
		return 0, false
	}
	b.written++
	skipped, b.skipped = b.skipped, 0
	return skipped, true
}

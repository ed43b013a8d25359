// Package httpmsg has the one form of an HTTP exchange that every middleware and service sees, whatever protocol the
// client and the server speak. http1, http2 and http3 make exchanges from bytes; package bridge converts to and from
// net/http where a library needs it. The package knows no router, no service and no socket.
//
// # Life of an exchange
//
// A connection's loop fills the request, then calls Handler.Serve. Serve returns when the response's head and body
// source stand on the exchange, or with an error (see package fault); nothing final has been sent by then. So whoever
// called Serve may inspect, replace or discard the response, or Rewind and call the next handler again. When the chain
// has unwound, the loop turns an error into a response (Fail), runs the response edits, writes the head, moves the body
// from its source through the filters to the wire (Deliver), and finishes the exchange (Finish).
//
// # Ownership
//
// Views in Request and Response point into buffers that are frozen until the OnFinish hooks have run; OnRelease is for
// whoever owns such a buffer. The exchange belongs to the serving goroutine; only Cancel, Cancelled, Interrupt and the
// request body source (while a pump owns it) may be used from another one.
package httpmsg

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// Handler answers an exchange. On return with nil, x.Res holds a response (or x.Upgrade is set); on return with an
// error nothing of x.Res counts.
type Handler interface {
	Serve(x *Exchange) error
}

// HandlerFunc lets a function be a Handler.
type HandlerFunc func(x *Exchange) error

// Serve calls f.
func (f HandlerFunc) Serve(x *Exchange) error { return f(x) }

// Proto is the version of HTTP that a message came in.
type Proto uint8

// Versions, ordered.
const (
	HTTP10 Proto = iota + 1
	HTTP11
	HTTP2
	HTTP3
)

// String returns the version as in access logs: HTTP/1.1, HTTP/2.0.
func (p Proto) String() string {
	return [...]string{"", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}[p]
}

// Body is a source of body bytes. Exactly one goroutine uses it at a time.
type Body interface {
	// Next returns the next bytes, waiting for them. The slice is valid until the next call of Next or Close. At the
	// end it returns io.EOF (never together with bytes); a body that broke returns another error, and so does every
	// later call.
	Next() ([]byte, error)
	// Ready reports whether Next would return without waiting for the peer. The loop flushes when it is false.
	Ready() bool
	// Trailer returns the fields behind the body; nil before io.EOF and when there are none.
	Trailer() *Header
	// Close gives the body up. A body closed before its end makes its connection unusable for another message. Closing
	// twice is harmless.
	Close()
}

// Interrupter is a Body whose waiting Next can be called off. Request bodies from a wire are; a pump that carries one to
// a server is stopped this way before it is joined.
type Interrupter interface {
	// Interrupt makes a Next that waits, and every later one that would have to, return ErrInterrupted soon. Safe for
	// concurrent use.
	Interrupt()
}

// ErrInterrupted is what Next returns after Interrupt.
var ErrInterrupted = errors.New("body reading was called off")

// Request is what the client asked. Its framing fields (Host, Content-Length, Transfer-Encoding, Connection ...) are
// still in Header for middlewares to read where the client sent them, except Host, which stands only in Host.
type Request struct {
	// Method in the client's spelling.
	Method View
	// Host is the authority: host and optional port as sent, never with userinfo. Empty only under HTTP/1.0.
	Host View
	// Path is the escaped path as it will be forwarded, beginning with '/' ("*" for OPTIONS *). Use SetPath to change it.
	Path View
	// Query is the raw query without '?'. HasQuery tells an empty query from none.
	Query    View
	HasQuery bool
	// TLS tells whether the client's connection is encrypted (the scheme of the URL).
	TLS bool
	// Proto is the client's version.
	Proto  Proto
	Header Header
	// Body is nil when the request has none.
	Body Body
	// ContentLength is the length of Body, -1 when unknown, 0 when Body is nil.
	ContentLength int64
	// UpgradeTo is the protocol that the client asks to switch to (the sanitised Upgrade token), empty when none.
	UpgradeTo View
	// Continue is set when the client waits for 100 (Continue) before it sends the body. The body source sends that
	// interim response by itself when it is first read; Exchange.Interim(100) sends it earlier.
	Continue bool
	// Trailers tells that the client sent "TE: trailers".
	Trailers bool
	// KeepForwardedFor sends X-Forwarded-For as it stands instead of appending the client's address (or adding the field).
	KeepForwardedFor bool
}

// Response is a value until the loop commits it.
type Response struct {
	// Status is 0 until somebody has answered.
	Status int
	Header Header
	// Body is nil for an empty body.
	Body Body
	// ContentLength is the length of Body, -1 when unknown. For HEAD it is what GET would have had.
	ContentLength int64
	// Origin tells whether a server made this response (true) or Sluice itself.
	Origin bool
}

// Upgrade holds the two streams of a switched connection. The connection's loop relays between them after the chain has
// unwound and 101 has been sent.
type Upgrade struct {
	// Server is the stream to the server; Buffered are bytes already read from it behind its 101.
	Server   Stream
	Buffered []byte
}

// Stream is a two-way byte stream whose write half can be closed on its own.
type Stream interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
	SetDeadline(t time.Time) error
}

// Edit changes the head of the response right before it is committed. An edit must bear being run again: when a response
// breaks before its first byte has left, the edits run once more for the error that replaces it.
type Edit interface {
	// EditResponse is called for the final response, on local answers and faults too, never on 1xx. On 101 only edits
	// that are UpgradeEdits are called.
	EditResponse(x *Exchange)
}

// UpgradeEdit is an Edit that applies to 101 (Switching Protocols) as well.
type UpgradeEdit interface {
	Edit
	// OnUpgrade reports whether EditResponse is to be called on 101.
	OnUpgrade() bool
}

// Finisher is told the end of an exchange, after the last byte has moved or the message was cut. All views are still good.
type Finisher interface {
	Finish(x *Exchange)
}

// Releaser owns memory that views of an exchange point into.
type Releaser interface {
	// Release is called once, after all Finishers, when nothing looks at the memory any more.
	Release()
}

// Asked names a request.
type Asked struct{ Method, Host, Path, Query View }

// Quiet switches off what is otherwise said about exchanges.
type Quiet struct{ AccessLog, Metrics, Tracing bool }

// Facts is what is remembered about an exchange for the access record and metrics. Traffic fills it on the way.
type Facts struct {
	EntryPoint, Router, Service, Server string
	// Asked is the request as it was routed, before middlewares changed it.
	Asked Asked
	// Quiet says what the router's requests are kept out of.
	Quiet Quiet
	// Trace is the span of the request and Span the one that is under way inside it, both of package record; nil for none.
	Trace, Span any
	// User is the authenticated user, empty if none.
	User string
	// Retries counts tries beyond the first.
	Retries int
	// Start is when the request's head was complete; Sent when the upstream request had been written; FirstByte when
	// the response head was there; End when the exchange was over. Zero where that did not happen.
	Start, Sent, FirstByte, End time.Time
	// OriginStatus is the server's status, 0 when we answered.
	OriginStatus int
	// Origin are the server's response fields before any edit; empty unless Exchange.KeepOrigin is set.
	Origin Header
	// BytesIn and BytesOut count body bytes from and to the client, without framing. BytesIn belongs to whoever reads the
	// request body: it is complete when that has been joined.
	BytesIn, BytesOut int64
	// OriginBytes counts the bytes of the response body before filters.
	OriginBytes int64
	// GRPCStatus is the grpc-status of the trailers, empty without one.
	GRPCStatus string
	// Err is the fault that ended the exchange, nil for a regular end.
	Err error
}

// Exchange is one request and its response. The owner of the connection reuses it: see Reset.
type Exchange struct {
	Req Request
	Res Response

	// Peer is the client's address after a believed PROXY header; Local the address it connected to.
	Peer, Local netip.AddrPort
	// Conn is what the owner of the connection keeps per connection; handlers may compare it, and pin state to it.
	Conn any
	// TLS is the state of the client's TLS connection, nil in the clear.
	TLS *tls.ConnectionState
	// TLSOptions is the fingerprint of the TLS options that the connection's handshake used; empty in the clear.
	TLSOptions string

	// Upgrade is set by the service that switched protocols; x.Res then holds the 101 head.
	Upgrade *Upgrade
	// CloseAfter asks that the client connection is closed after this response.
	CloseAfter bool
	// KeepOrigin asks whoever gets a response from a server to copy its fields to Facts.Origin.
	KeepOrigin bool
	// Facts collects what logs and metrics say about the exchange.
	Facts Facts

	edits    []Edit
	filters  []Filter
	finish   []Finisher
	releases []Releaser
	saved    []Field // what marks remember of header lists
	interim  func(status int, h *Header) error
	held     int    // how many hold 1xx back
	release  func() // gives one hold back; made once
	scratch  []byte
	out      delivery
	local    Bytes // the body of Respond

	cancelled atomic.Pointer[error]
	canceller atomic.Pointer[func(error)]
}

// Reset makes the exchange empty for the next request of a connection and keeps its memory. interim sends 1xx heads, nil
// where the protocol cannot (HTTP/1.0). Conn, Peer, Local, TLS and TLSOptions stay: they are the connection's.
func (x *Exchange) Reset(interim func(status int, h *Header) error) {
	x.Req.Header.Reset()
	x.Res.Header.Reset()
	reqFields, resFields := x.Req.Header, x.Res.Header
	x.Req = Request{Header: reqFields}
	x.Res = Response{Header: resFields}
	x.Facts.Origin.Reset()
	x.Upgrade, x.CloseAfter, x.KeepOrigin, x.Facts = nil, false, false, Facts{Origin: x.Facts.Origin}
	x.edits = emptied(x.edits)
	x.filters = emptied(x.filters)
	x.finish = emptied(x.finish)
	x.releases = emptied(x.releases)
	x.saved = emptied(x.saved)
	x.interim, x.held = interim, 0
	Poison(x.scratch)
	x.scratch = x.scratch[:0]
	if x.cancelled.Load() != nil {
		x.cancelled.Store(nil)
	}
	if x.canceller.Load() != nil {
		x.canceller.Store(nil)
	}
}

// emptied forgets the elements of s and keeps its memory.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// OnCommit registers an edit of the response head. Edits run in reverse order of registration, and registration is on the
// way in, so the innermost middleware's run first and the outermost one has the last word.
func (x *Exchange) OnCommit(e Edit) { x.edits = append(x.edits, e) }

// OnFinish registers a hook for the end of the exchange; hooks run in reverse order of registration.
func (x *Exchange) OnFinish(f Finisher) { x.finish = append(x.finish, f) }

// OnRelease hands over memory that views of the exchange point into, such as the buffer of a response head. It is given
// back after the last Finisher, also when the response was discarded meanwhile.
func (x *Exchange) OnRelease(r Releaser) { x.releases = append(x.releases, r) }

// RunEdits runs the response edits; Deliver calls it, and a loop before it sends a 101.
func (x *Exchange) RunEdits() {
	for i := len(x.edits) - 1; i >= 0; i-- {
		if x.Res.Status == 101 {
			if u, ok := x.edits[i].(UpgradeEdit); !ok || !u.OnUpgrade() {
				continue
			}
		}
		x.edits[i].EditResponse(x)
	}
}

// Finish is the loop's last call. It closes the response body and the filters, runs the hooks, and gives memory back. By
// then nobody else may use the exchange. A hook that panics does so to the caller; a further call goes on behind it.
func (x *Exchange) Finish() {
	if b := x.Res.Body; b != nil {
		x.Res.Body = nil
		b.Close()
	}
	x.CloseFilters()
	n := len(x.finish)
	for i := n - 1; i >= 0; i-- {
		// Taken off first: should it panic, a second Finish goes on behind it.
		f := x.finish[i]
		x.finish = x.finish[:i]
		f.Finish(x)
	}
	clear(x.finish[:n])
	for _, r := range x.releases {
		r.Release()
	}
	x.releases = emptied(x.releases)
}

// Interim sends a 1xx response at once (RFC 9110 section 15.2). Where the client cannot take one, or somebody holds them,
// it does nothing.
func (x *Exchange) Interim(status int, h *Header) error {
	if x.interim == nil || x.held > 0 {
		return nil
	}
	return x.interim(status, h)
}

// HoldInterim makes Interim do nothing until the returned function is called, once: for middlewares that may discard the
// response that follows. Holds add up.
func (x *Exchange) HoldInterim() (release func()) {
	if x.release == nil {
		x.release = func() { x.held-- }
	}
	x.held++
	return x.release
}

// Cancel tells whoever works for the exchange that nobody waits for it any more. Safe for concurrent use; the first
// cause counts.
func (x *Exchange) Cancel(cause error) {
	if !x.cancelled.CompareAndSwap(nil, &cause) {
		return
	}
	if f := x.canceller.Load(); f != nil {
		(*f)(cause)
	}
}

// Cancelled returns the cause given to Cancel, or nil. Safe for concurrent use.
func (x *Exchange) Cancelled() error {
	if p := x.cancelled.Load(); p != nil {
		return *p
	}
	return nil
}

// OnCancel installs the function that Cancel calls (replacing an earlier one; nil removes it). If the exchange is
// cancelled already, f is called at once. f must not block and must be safe to call from another goroutine, even
// shortly after it was replaced.
func (x *Exchange) OnCancel(f *func(error)) {
	x.canceller.Store(f)
	if f != nil {
		if cause := x.Cancelled(); cause != nil {
			(*f)(cause)
		}
	}
}

// Scratch returns memory of n bytes that lives as long as the exchange, for values computed on the way (a joined
// X-Forwarded-For, a rewritten path).
func (x *Exchange) Scratch(n int) []byte {
	if cap(x.scratch)-len(x.scratch) < n {
		x.scratch = make([]byte, 0, max(512, 2*n))
	}
	start := len(x.scratch)
	x.scratch = x.scratch[:start+n]
	return x.scratch[start : start+n : start+n]
}

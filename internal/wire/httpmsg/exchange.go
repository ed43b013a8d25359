// Package httpmsg has the one form of an HTTP exchange that every middleware and service sees, whatever protocol the
// client and the server speak. http1, http2 and http3 make exchanges from bytes; package bridge converts to and from
// net/http where a library needs it. The package knows no router, no service and no socket.
//
// # Life of an exchange
//
// A connection's loop fills the request, then calls Handler.Serve. Serve returns when the response's head and body
// source stand on the exchange, or with an error (see package fault); nothing final has been sent by then. So whoever
// called Serve may inspect, replace or discard the response, or Rewind and call the next handler again. When the chain
// has unwound, the loop runs the response edits, writes the head, moves the body from its source through the filters
// to the wire, and finishes the exchange.
//
// # Ownership
//
// Views in Request and Response point into buffers that are frozen until the OnFinish hooks have run. The exchange
// belongs to the serving goroutine; only Cancel, Cancelled and the request body source (while a pump owns it) may be
// used from another one.
package httpmsg

import (
	"crypto/tls"
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

// Filter changes a response body on its way out. Filters are called in the order innermost (nearest the server) first.
type Filter interface {
	// Head is called once, after the response edits, before the head is written. It may change x.Res.Header and
	// x.Res.ContentLength. Returning hold=true keeps the head back until the filter has emitted its first bytes or End.
	Head(x *Exchange) (hold bool)
	// Data takes body bytes and emits what it has ready through out. flush asks that nothing be kept back.
	Data(p []byte, flush bool, out func([]byte) error) error
	// End is called once at a regular end of the body.
	End(out func([]byte) error) error
	// Close frees what the filter holds, also when the body broke off.
	Close()
}

// Edit changes the head of the response right before it is committed.
type Edit interface {
	// EditResponse is called once per committed final response, on local answers and faults too, never on 1xx. On 101
	// only edits whose OnUpgrade returns true are called.
	EditResponse(x *Exchange)
}

// Finisher is told the end of an exchange, after the last byte has moved or the message was cut.
type Finisher interface {
	Finish(x *Exchange)
}

// Facts is what is remembered about an exchange for the access record and metrics. Traffic fills it on the way.
type Facts struct {
	EntryPoint, Router, Service, Server string
	// User is the authenticated user, empty if none.
	User string
	// Retries counts tries beyond the first.
	Retries int
	// Start is when the request's head was complete; Sent when the upstream request had been written; FirstByte when
	// the response head was there. Zero where that did not happen.
	Start, Sent, FirstByte time.Time
	// OriginStatus is the server's status, 0 when we answered.
	OriginStatus int
	// BytesIn and BytesOut count body bytes from and to the client.
	BytesIn, BytesOut int64
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
	// Facts collects what logs and metrics say about the exchange.
	Facts Facts

	edits   []Edit
	filters []Filter
	finish  []Finisher
	interim func(status int, h *Header) error
	scratch []byte

	cancelled atomic.Pointer[error]
	canceller atomic.Pointer[func(error)]
}

// Reset makes the exchange empty for the next request of a connection and keeps its memory. interim sends 1xx heads, nil
// where the protocol cannot (HTTP/1.0).
func (x *Exchange) Reset(interim func(status int, h *Header) error) {
	x.Req.Header.Reset()
	x.Res.Header.Reset()
	reqFields, resFields := x.Req.Header, x.Res.Header
	x.Req = Request{Header: reqFields}
	x.Res = Response{Header: resFields}
	x.Upgrade, x.CloseAfter, x.Facts = nil, false, Facts{}
	clear(x.edits)
	clear(x.filters)
	clear(x.finish)
	x.edits, x.filters, x.finish = x.edits[:0], x.filters[:0], x.finish[:0]
	x.interim = interim
	x.scratch = x.scratch[:0]
	x.cancelled.Store(nil)
	x.canceller.Store(nil)
}

// OnCommit registers an edit of the response head. Edits run in reverse order of registration, so that the outermost
// middleware has the last word.
func (x *Exchange) OnCommit(e Edit) { x.edits = append(x.edits, e) }

// AddFilter registers a body filter. Call it on the way back, after next has returned, so that the order of filters is
// the order of the chain from the inside out.
func (x *Exchange) AddFilter(f Filter) { x.filters = append(x.filters, f) }

// OnFinish registers a hook for the end of the exchange; hooks run in reverse order of registration.
func (x *Exchange) OnFinish(f Finisher) { x.finish = append(x.finish, f) }

// RunEdits is the loop's call before it commits.
func (x *Exchange) RunEdits() {
	for i := len(x.edits) - 1; i >= 0; i-- {
		x.edits[i].EditResponse(x)
	}
	clear(x.edits)
	x.edits = x.edits[:0]
}

// Filters returns the registered filters, innermost first.
func (x *Exchange) Filters() []Filter { return x.filters }

// Finish is the loop's last call. It runs the hooks and closes filters and bodies.
func (x *Exchange) Finish() {
	for i := len(x.finish) - 1; i >= 0; i-- {
		x.finish[i].Finish(x)
	}
	clear(x.finish)
	x.finish = x.finish[:0]
	for _, f := range x.filters {
		f.Close()
	}
	clear(x.filters)
	x.filters = x.filters[:0]
	if x.Res.Body != nil {
		x.Res.Body.Close()
		x.Res.Body = nil
	}
}

// Interim sends a 1xx response at once (RFC 9110 section 15.2). Where the client cannot take one it does nothing.
func (x *Exchange) Interim(status int, h *Header) error {
	if x.interim == nil {
		return nil
	}
	return x.interim(status, h)
}

// HoldInterim makes Interim do nothing until the returned function is called: for middlewares that may discard the
// response that follows.
func (x *Exchange) HoldInterim() (release func()) {
	held := x.interim
	x.interim = nil
	return func() { x.interim = held }
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

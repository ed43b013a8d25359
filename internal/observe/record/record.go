// Package record holds the facts of one finished exchange or connection, as plain data, and the interface of those who
// want to hear of it. Traffic fills records; sinks (logs, metrics) read them. Nothing here knows either.
package record

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/fault"
)

// Phase is how far an exchange or connection had come when it ended.
type Phase uint8

// The phases, in the order in which a connection passes them.
const (
	// Accepted: nothing has been read yet, or a PROXY header is incomplete.
	Accepted Phase = iota
	// Sniffing: the first bytes were being looked at.
	Sniffing
	// Handshake: TLS was being set up.
	Handshake
	// Head: a request head was being read.
	Head
	// Routing: the request was complete enough to route; no server was chosen.
	Routing
	// Connecting: a connection to a server was being made.
	Connecting
	// Waiting: the request was sent, no response yet.
	Waiting
	// Data: bodies or tunnel bytes were moving.
	Data
	// Done: a regular end.
	Done
)

// String returns the lower-case name of the phase.
func (p Phase) String() string {
	return [...]string{"accepted", "sniffing", "handshake", "head", "routing", "connecting", "waiting", "data", "done"}[p]
}

// Fields are the header fields of a message, as they stood there.
type Fields interface {
	// Len returns the number of fields.
	Len() int
	// Field returns field i. Both texts are good only as long as the record.
	Field(i int) (name, value string)
}

// TLS is what the client's encrypted connection was agreed to be.
type TLS struct {
	// Version and Suite are the numbers of crypto/tls; both zero in the clear.
	Version, Suite uint16
	// Subject is the subject of the client's certificate, empty without one.
	Subject string
}

// Values of Record.Protocol.
const (
	HTTP             = "http"
	WebSocket        = "websocket"
	ServerSentEvents = "sse"
	GRPC             = "grpc"
	GRPCWeb          = "grpc-web"
)

// Quiet says what a router's requests are kept out of.
type Quiet struct{ AccessLog, Metrics, Tracing bool }

// Record is one finished exchange (Method set) or connection. Its texts and Fields point into the buffers of the exchange:
// they are good until Sink.Record returns. Clone makes a copy to keep.
type Record struct {
	EntryPoint, Router, Service, Server string
	// Client is the peer's address after a believed PROXY header, Local the address it connected to.
	Client, Local netip.AddrPort
	// SNI is the server name of the ClientHello, empty in the clear or without one.
	SNI string
	// Passthrough tells that TLS was forwarded undecrypted.
	Passthrough bool
	// UDP tells that the connection was a session of datagrams.
	UDP bool
	// Secure tells that a request came over TLS. TLS says which.
	Secure bool
	TLS    TLS
	// Method, Host, Path (escaped, without query), Query and Proto describe an HTTP request as it was before middlewares
	// changed it; empty for connections.
	Method, Host, Path, Query, Proto string
	// Protocol is what the request is in: HTTP, WebSocket, ServerSentEvents, GRPC or GRPCWeb; empty for connections.
	Protocol string
	// GRPCStatus is the status of a gRPC call, -1 where the response has none.
	GRPCStatus int
	// Request are the fields of the request, Response those that the client was sent; nil for connections. Origin are those
	// that the server sent; nil unless a sink asked for them (NeedsOrigin).
	Request, Response, Origin Fields
	// Status is what the client was sent, 0 if nothing; OriginStatus what the server sent, 0 if we answered.
	Status, OriginStatus int
	// User is the authenticated user.
	User string
	// Retries counts tries beyond the first.
	Retries int
	// BytesIn and BytesOut count body or tunnel bytes from and to the client; OriginBytes those of the server's response body
	// before filters such as compression.
	BytesIn, BytesOut, OriginBytes int64
	// Start is when the head was complete or the connection accepted.
	Start time.Time
	// Duration is the whole time; Upstream the part spent waiting for the server's head; OriginDuration the part from the
	// server having been asked to the end, zero if none was.
	Duration, Upstream, OriginDuration time.Duration
	// EndedBy is who ended a tunnel first: the client, the server, or we by a limit.
	EndedBy fault.Side
	// Fault is why it ended otherwise than regularly, nil for a regular end.
	Fault *fault.Fault
	// Phase is how far it had come.
	Phase Phase
	// TraceID and SpanID name the span of the request in hexadecimal, empty where it has none.
	TraceID, SpanID string
	// Quiet says which sinks are to pass it by.
	Quiet Quiet
}

// Internal reports whether Sluice answered by a service of its own.
func (r *Record) Internal() bool { return strings.HasSuffix(r.Service, "@internal") }

// Clone returns a copy that may be kept.
func (r *Record) Clone() *Record {
	out := *r
	for _, text := range []*string{&out.EntryPoint, &out.Router, &out.Service, &out.Server, &out.SNI, &out.Method, &out.Host, &out.Path,
		&out.Query, &out.Proto, &out.User, &out.TLS.Subject, &out.TraceID, &out.SpanID} {
		*text = strings.Clone(*text)
	}
	out.Request, out.Response, out.Origin = keep(r.Request), keep(r.Response), keep(r.Origin)
	return &out
}

// kept are fields that own their texts.
type kept [][2]string

func keep(f Fields) Fields {
	if f == nil {
		return nil
	}
	out := make(kept, f.Len())
	for i := range out {
		name, value := f.Field(i)
		out[i] = [2]string{strings.Clone(name), strings.Clone(value)}
	}
	return out
}

// Len implements Fields.
func (k kept) Len() int { return len(k) }

// Field implements Fields.
func (k kept) Field(i int) (name, value string) { return k[i][0], k[i][1] }

// Value returns the first value of a field, names compared without case, and whether there is one. f may be nil.
func Value(f Fields, name string) (value string, ok bool) {
	if f == nil {
		return "", false
	}
	for i := range f.Len() {
		if n, v := f.Field(i); strings.EqualFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// Sink hears of finished exchanges and connections. Record is called from many goroutines at once, must not block, and
// must not keep r or anything of it.
type Sink interface {
	Record(r *Record)
}

// OriginSink is a Sink that wants Record.Origin, which costs a copy of the list of fields.
type OriginSink interface {
	Sink
	NeedsOrigin() bool
}

// NeedsOrigin reports whether a sink, which may be nil, wants Record.Origin.
func NeedsOrigin(s Sink) bool {
	o, ok := s.(OriginSink)
	return ok && o.NeedsOrigin()
}

// Sinks passes each record to several sinks in turn.
type Sinks []Sink

// Record implements Sink.
func (s Sinks) Record(r *Record) {
	for _, sink := range s {
		sink.Record(r)
	}
}

// NeedsOrigin implements OriginSink: one of them is enough.
func (s Sinks) NeedsOrigin() bool { return slices.ContainsFunc(s, NeedsOrigin) }

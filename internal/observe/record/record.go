// Package record holds the facts of one finished exchange or connection, as plain data, and the interface of those who
// want to hear of it. Traffic fills records; sinks (logs, metrics) read them. Nothing here knows either.
package record

import (
	"net/netip"
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

// Record is one finished exchange (Method set) or connection. Its strings are copies and may be kept.
type Record struct {
	EntryPoint, Router, Service, Server string
	// Client is the peer's address after a believed PROXY header, Local the address it connected to.
	Client, Local netip.AddrPort
	// SNI is the server name of the ClientHello, empty in the clear or without one.
	SNI string
	// Passthrough tells that TLS was forwarded undecrypted.
	Passthrough bool
	// Method, Host, Path (without query), Query and Proto describe an HTTP request; empty for connections.
	Method, Host, Path, Query, Proto string
	// Status is what the client was sent, 0 if nothing; OriginStatus what the server sent, 0 if we answered.
	Status, OriginStatus int
	// User is the authenticated user.
	User string
	// Retries counts tries beyond the first.
	Retries int
	// BytesIn and BytesOut count body or tunnel bytes from and to the client.
	BytesIn, BytesOut int64
	// Start is when the head was complete or the connection accepted.
	Start time.Time
	// Duration is the whole time; Upstream the part spent waiting for the server's head.
	Duration, Upstream time.Duration
	// EndedBy is who ended a tunnel first: the client, the server, or we by a limit.
	EndedBy fault.Side
	// Fault is why it ended otherwise than regularly, nil for a regular end.
	Fault *fault.Fault
	// Phase is how far it had come.
	Phase Phase
}

// Sink hears of finished exchanges and connections. Record is called from many goroutines at once, must not block, and
// must not keep r.
type Sink interface {
	Record(r *Record)
}

// Sinks passes each record to several sinks in turn.
type Sinks []Sink

// Record implements Sink.
func (s Sinks) Record(r *Record) {
	for _, sink := range s {
		sink.Record(r)
	}
}

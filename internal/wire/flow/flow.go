// Package flow keeps thousands of connected UDP sockets, each of which hears from one peer only.
//
// On Linux one goroutine reads all sockets of a group: they are watched by an epoll set of their own, which the runtime's
// poller watches in turn as a single descriptor. So a flow costs its socket and a few words, and no goroutine with its stack.
// Elsewhere each flow has a goroutine.
package flow

import "net/netip"

// Sink is told what a flow hears. Its methods are called by the goroutine that reads, for many flows in turn, so they must
// return soon; they may send on the flow and close it.
type Sink interface {
	// Received gets one datagram. p is valid during the call only.
	Received(p []byte)
	// Failed gets what the network answers instead, such as that nobody listens (ECONNREFUSED). The flow stays open.
	Failed(err error)
}

// Group is a set of flows that are read together. Its methods may be called from any goroutine.
type Group interface {
	// Open connects a socket to a peer; the network is not asked. The Sink is called from now on, also before Open returns.
	Open(to netip.AddrPort, sink Sink) (Flow, error)
	// Close ends the reading and waits for it. All flows must be closed before, and none opened afterwards.
	Close()
}

// Flow is one socket of a Group. Its methods may be called from any goroutine.
type Flow interface {
	// Send sends one datagram. An error may concern one that was sent before. A datagram that the system has no room for, or
	// that is too large for the way, is lost without one, as it could be anywhere else.
	Send(p []byte) error
	// Close closes the socket. A call of the Sink that is under way goes on. Closing again does nothing.
	Close()
}

// New returns an empty group.
func New() Group {
	if g := newPolled(); g != nil {
		return g
	}
	return &threaded{}
}

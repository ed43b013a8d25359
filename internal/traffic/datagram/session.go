package datagram

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
	"sluice/internal/wire/flow"
	"sluice/internal/wire/sock"
)

// key tells sessions apart: the client, and the address of ours that it sends to, where we have several.
type key struct {
	client netip.AddrPort
	local  netip.Addr
}

// session is one client with its server.
type session struct {
	e      *EntryPoint
	key    key
	source sock.Source
	server *server
	start  time.Time
	// router and service are how it began.
	router, service string
	checked         atomic.Pointer[Route] // the last route that was seen to lead to the server

	in, out atomic.Int64 // bytes from and to the client

	mu     sync.Mutex
	flow   flow.Flow // nil until the server's address is known
	held   [][]byte  // what waits for that
	closed bool

	// Guarded by the entry point's lock.
	seen       int64
	prev, next *session
	gone       bool
}

// routed reports whether a route leads to the server. The servers of a route are looked through once.
func (s *session) routed(r *Route) bool {
	if s.checked.Load() == r {
		return true
	}
	if r.Service == nil || !r.Service.servers[s.server] {
		return false
	}
	s.checked.Store(r)
	return true
}

// connect opens the way to the server, and sends what waited for it.
func (s *session) connect(to netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	f, err := s.e.flows.Open(to, s)
	if err != nil {
		return err
	}
	s.flow = f
	for _, p := range s.drop() {
		if err := f.Send(p); err != nil {
			return err
		}
	}
	return nil
}

// drop takes back what waits.
func (s *session) drop() [][]byte {
	held := s.held
	for _, p := range held {
		s.server.release(len(p))
	}
	s.held = nil
	return held
}

// resolved is told that the server's name was looked up.
func (s *session) resolved(err error) {
	if err == nil {
		to, ok := s.server.resolve(s)
		if !ok {
			return
		}
		_ = s.e.open(s, to) // which has done what there is to do about an error
		return
	}
	s.e.fail(s, err)
}

// send hands a datagram to the server.
func (s *session) send(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.flow == nil:
		if len(s.held) < maxHeld && s.server.hold(len(p)) {
			s.held = append(s.held, bytes.Clone(p))
			s.in.Add(int64(len(p)))
		}
		return nil
	}
	if err := s.flow.Send(p); err != nil {
		return err
	}
	s.in.Add(int64(len(p)))
	return nil
}

// Received implements flow.Sink: the server answers.
func (s *session) Received(p []byte) {
	if !s.e.touch(s) {
		return
	}
	if !s.routed(s.e.route()) {
		s.e.end(s, nil, record.Done)
		return
	}
	// A client that cannot be reached is nobody's fault; its session ends in silence.
	if s.e.socket.Write(p, s.key.client, s.source) == nil {
		s.out.Add(int64(len(p)))
	}
}

// Failed implements flow.Sink: the network says that the server cannot be reached.
func (s *session) Failed(err error) { s.e.fail(s, err) }

// close ends the way to the server.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
	if s.flow != nil {
		s.flow.Close()
	}
}

// unreachable words what kept a session from its server.
func (s *session) unreachable(err error) *fault.Fault {
	kind := fault.DialFailed
	if s.out.Load() > 0 {
		kind = fault.UpstreamClosed
	}
	return fault.New(kind, "UDP session with "+s.server.address, err)
}

package http1

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/relay"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// Conn is a client's connection: a *sock.Conn, or a wrapper around a *tls.Conn. One that has the methods PeerState and Reset
// of *sock.Conn should offer them too: without the first a client that goes away is noticed only when we read or write,
// without the second a cut response may look complete to an HTTP/1.0 client.
type Conn interface {
	net.Conn
	// CloseWrite ends our direction and leaves the other one open.
	CloseWrite() error
}

// Timeouts bound every wait for a client. Zero or less switches one off.
type Timeouts struct {
	// Read bounds a head, from its first byte to its last, and the time in which at least 1 KiB of a body must arrive. The
	// first byte of a connection must come within the smaller of this and ten seconds.
	Read time.Duration
	// Write bounds the time from the end of the request's head to the last byte of the response.
	Write time.Duration
	// Stall bounds the time in which the client must take one write of at most 64 KiB (60 s).
	Stall time.Duration
	// Idle bounds the wait for the next request.
	Idle time.Duration
}

// Session is what is known of a connection before its first request.
type Session struct {
	Peer, Local netip.AddrPort
	// TLS is nil in the clear.
	TLS *tls.ConnectionState
	// TLSOptions is the fingerprint of the options of the handshake.
	TLSOptions string
}

// Server runs the HTTP/1 connections of an entry point. Set the fields, then call ServeConn; do not change them afterwards.
type Server struct {
	// Handler answers the requests. It must be safe for concurrent use.
	Handler httpmsg.Handler
	// Watch holds the deadlines. It must be set and running.
	Watch *watch.Watch
	// Limits bound request heads.
	Limits Limits
	// Timeouts bound the client.
	Timeouts Timeouts
	// MaxRequests is the number of the response on a connection that closes it; 0 is no limit.
	MaxRequests int
	// MaxAge is the age from which a connection closes after its next response; 0 is no limit.
	MaxAge time.Duration
	// Budget accounts for heads that outgrow the pooled buffers; nil has no limit.
	Budget *httpmsg.Budget
	// Done, if set, is called at the end of each exchange, after all its hooks, with views still good. Requests whose head
	// was malformed come here too, with as much of the request as could be read.
	Done func(x *httpmsg.Exchange)
	// Panicked, if set, is called with the value and the stack of a panic in a handler or body.
	Panicked func(x *httpmsg.Exchange, value any, stack []byte)
	// Tunnel bounds upgraded connections; without a Watch of its own it uses ours.
	Tunnel relay.Options

	prepare  sync.Once
	draining atomic.Bool
	date     dateCache

	mu    sync.Mutex
	first *conn // list of open connections
	open  int
}

const (
	firstByteLimit = 10 * time.Second
	drainBytes     = 256 << 10 // of a request body that nobody read
	drainTime      = 5 * time.Second
	lingerTime     = 2 * time.Second       // after an answer to a message that was not read to its end
	lingerShort    = 20 * time.Millisecond // after a client was too slow: what it has sent already
	lastLook       = 5 * time.Millisecond  // for a request that crossed with Drain
	bodyProgress   = 1 << 10               // bytes of a body that count as progress
	defaultStall   = 60 * time.Second
)

// ServeConn serves c until it ends, and closes it. It returns when no goroutine of the connection is left. Call it from a
// goroutine of its own.
func (s *Server) ServeConn(c Conn, session Session) {
	s.prepare.Do(func() {
		if s.Watch == nil {
			panic("http1: Server without a Watch")
		}
		s.Limits.setDefaults()
		if s.Timeouts.Stall == 0 {
			s.Timeouts.Stall = defaultStall
		}
		if s.Tunnel.Watch == nil {
			s.Tunnel.Watch = s.Watch
		}
	})
	k := &conn{s: s, c: c, session: session, reader: sock.NewReader(c)}
	if c, ok := c.(*sock.Conn); ok {
		k.tcp = c.TCP()
	}
	k.in.k, k.out.k = k, k
	s.Watch.Add(&k.in.Entry, &k.in)
	s.Watch.Add(&k.out.Entry, &k.out)
	s.add(k)
	defer k.end()
	k.born = s.Watch.Now()
	for k.await() && k.exchange() {
	}
}

// Drain makes every connection end after the response under way, and idle ones at once. Connections that come later are
// served one request.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.each(func(k *conn) {
		if k.state.CompareAndSwap(connIdle, connSent) {
			k.c.SetReadDeadline(past)
		}
	})
}

// Draining reports whether Drain was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Cut closes all connections, whatever they are doing.
func (s *Server) Cut() {
	s.draining.Store(true)
	s.each(func(k *conn) {
		k.cut.Store(true)
		k.c.Close()
	})
}

// Open returns the number of connections.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func (s *Server) each(f func(k *conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := s.first; k != nil; k = k.next {
		f(k)
	}
}

func (s *Server) add(k *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.next = s.first; k.next != nil {
		k.next.prev = k
	}
	s.first = k
	s.open++
}

func (s *Server) remove(k *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		s.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	}
	k.prev, k.next = nil, nil
	s.open--
}

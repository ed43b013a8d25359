// Package http2 speaks HTTP/2 (RFC 9113) with clients and with servers, over TLS and in the clear with prior knowledge.
//
// Towards servers (ClientConn) the protocol is our own, on the frames and the compression of golang.org/x/net. Towards clients,
// for the time being, net/http does it and package bridge turns its requests into exchanges, so that HTTP/2
// reaches the same handlers and the same verdicts as HTTP/1 while our own engine is being written. What net/http does
// otherwise than we promise is listed in docs/adr/0001-http2-interim.md and in the conformance test.
package http2

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// Preface is what a client sends first on every HTTP/2 connection (RFC 9113 section 3.4). A connection in the clear that
// begins with it is for this package.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Defaults of Options.
const (
	DefaultMaxConcurrentStreams = 250
	DefaultHeaderTableSize      = 4096
	DefaultMaxHeaderBytes       = 1 << 20
	DefaultStall                = 60 * time.Second
)

// Options adjust a Server. Zero values of limits mean their defaults, zero timeouts none.
type Options struct {
	// Handler answers the exchanges of all connections. It is called from one goroutine per stream.
	Handler httpmsg.Handler
	// Watch holds the deadlines of bodies; it must outlive the Server. Without one there are none.
	Watch *watch.Watch
	// ReadTimeout cuts a request body of which less than 1 KiB arrived while it was waited for that long.
	ReadTimeout time.Duration
	// WriteTimeout bounds the time from the end of a request's head to the last byte of its response.
	WriteTimeout time.Duration
	// Stall bounds the time in which the client must take one write of at most 16 KiB; the stream is reset else. Default 60 s;
	// negative for none.
	Stall time.Duration
	// IdleTimeout closes a connection without streams.
	IdleTimeout time.Duration
	// MaxConcurrentStreams is how many streams a client may have open. Default 250.
	MaxConcurrentStreams int
	// MaxDecoderHeaderTableSize and MaxEncoderHeaderTableSize bound the compression state of a connection in bytes, for
	// what comes in and goes out. Default 4096.
	MaxDecoderHeaderTableSize, MaxEncoderHeaderTableSize int
	// MaxHeaderBytes bounds the head of a request, decoded. Default 1 MiB.
	MaxHeaderBytes int
	// MaxField bounds one field of a head. Default 64 KiB.
	MaxField int
	// MaxRequests is the number of the request on a connection that ends it, by GOAWAY; 0 is no limit.
	MaxRequests int
	// MaxAge is the age from which a connection ends after its next response; 0 is no limit.
	MaxAge time.Duration
	// Done, if set, is called at the end of each exchange, after all its hooks, with views still good. Malformed requests
	// that net/http lets through come here too, with as much of the request as could be read.
	Done func(x *httpmsg.Exchange)
	// Panicked, if set, is called with the value and the stack of a panic in a handler, a body or a hook.
	Panicked func(x *httpmsg.Exchange, value any, stack []byte)
	// Log is told about broken connections, one line each; nil for nobody.
	Log func(line string)
}

// Server serves HTTP/2 connections that somebody else has accepted. It runs from New until Shutdown or Close. Its methods
// may be called from any goroutine.
type Server struct {
	http        http.Server
	queue       queue
	done        chan struct{} // closed when the server has stopped taking connections
	maxRequests int
	maxAge      time.Duration

	mu    sync.Mutex
	conns map[net.Conn]*served
}

// served is a connection in the hands of net/http.
type served struct {
	facts *bridge.Conn
	ended chan struct{}
}

// New starts a server.
func New(opts Options) *Server {
	s := &Server{
		queue: queue{conns: make(chan net.Conn), closed: make(chan struct{})},
		done:  make(chan struct{}),
		conns: map[net.Conn]*served{},

		maxRequests: opts.MaxRequests,
		maxAge:      opts.MaxAge,
	}
	or := func(n, def int) int {
		if n == 0 {
			return def
		}
		return n
	}
	stall := opts.Stall
	if stall == 0 {
		stall = DefaultStall
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = http.Server{
		Handler: bridge.NewServer(opts.Handler, bridge.Options{
			Watch: opts.Watch, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout, Stall: max(stall, 0),
			MaxField: opts.MaxField, Done: opts.Done, Panicked: opts.Panicked,
		}),
		// OPTIONS * has its answer where HTTP/1 has it.
		DisableGeneralOptionsHandler: true,
		IdleTimeout:                  opts.IdleTimeout,
		MaxHeaderBytes:               or(opts.MaxHeaderBytes, DefaultMaxHeaderBytes),
		Protocols:                    &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:      or(opts.MaxConcurrentStreams, DefaultMaxConcurrentStreams),
			MaxDecoderHeaderTableSize: or(opts.MaxDecoderHeaderTableSize, DefaultHeaderTableSize),
			MaxEncoderHeaderTableSize: or(opts.MaxEncoderHeaderTableSize, DefaultHeaderTableSize),
			WriteByteTimeout:          max(stall, 0),
		},
		ConnContext: s.context,
		ConnState:   s.state,
		ErrorLog:    log.New(lines{opts.Log}, "", 0),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(&s.queue) // ends with ErrServerClosed, or when the queue is closed
	}()
	return s
}

// ServeConn serves c and returns when c is closed. c is either a *tls.Conn whose handshake is done and has negotiated h2,
// or a connection in the clear that reads Preface first. facts is what exchanges show of the connection; where its TLS is
// nil, it is filled in from c. The connection belongs to the server from the call on.
func (s *Server) ServeConn(c net.Conn, facts bridge.Conn) error {
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		if !state.HandshakeComplete || state.NegotiatedProtocol != "h2" {
			c.Close()
			return errors.New("http2: the connection has not negotiated h2")
		}
		if facts.TLS == nil {
			facts.TLS = &state
		}
	}
	if s.maxRequests > 0 || s.maxAge > 0 {
		facts.Last = s.counter()
	}
	v := &served{facts: &facts, ended: make(chan struct{})}
	s.mu.Lock()
	s.conns[c] = v
	s.mu.Unlock()
	if !s.queue.put(c) {
		s.forget(c)
		c.Close()
		return http.ErrServerClosed
	}
	<-v.ended
	return nil
}

// counter returns the function that tells when one connection is to end.
func (s *Server) counter() func() bool {
	born, n := time.Now(), atomic.Int64{}
	return func() bool {
		return s.maxRequests > 0 && n.Add(1) >= int64(s.maxRequests) || s.maxAge > 0 && time.Since(born) >= s.maxAge
	}
}

// Conns returns how many connections are being served.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown takes no new connections, sends GOAWAY on the open ones, and waits until their streams have ended or ctx is
// done; then it closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	// What the queue gave away is known to net/http once Serve has returned, so nobody is forgotten.
	s.queue.Close()
	<-s.done
	err := s.http.Shutdown(ctx)
	return errors.Join(err, s.Close())
}

// Close cuts every connection at once and waits until the server has stopped.
func (s *Server) Close() error {
	s.queue.Close()
	<-s.done
	err := s.http.Close()
	s.mu.Lock()
	left := make([]*served, 0, len(s.conns))
	for _, v := range s.conns {
		left = append(left, v)
	}
	s.mu.Unlock()
	for _, v := range left {
		<-v.ended
	}
	return err
}

// context is net/http's hook for the context of a connection.
func (s *Server) context(ctx context.Context, c net.Conn) context.Context {
	s.mu.Lock()
	v := s.conns[c]
	s.mu.Unlock()
	if v == nil {
		return ctx
	}
	return bridge.WithConn(ctx, v.facts)
}

// state is net/http's hook for the life of a connection.
func (s *Server) state(c net.Conn, to http.ConnState) {
	if to == http.StateClosed || to == http.StateHijacked {
		s.forget(c)
	}
}

func (s *Server) forget(c net.Conn) {
	s.mu.Lock()
	v := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if v != nil {
		close(v.ended)
	}
}

// queue is the net.Listener through which connections reach net/http.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (q *queue) put(c net.Conn) bool {
	select {
	case <-q.closed:
		return false
	default:
	}
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// lines hands what net/http logs to Options.Log.
type lines struct{ log func(string) }

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	if l.log != nil {
		l.log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

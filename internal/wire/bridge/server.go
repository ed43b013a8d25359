// Package bridge converts between httpmsg exchanges and net/http, both ways.
//
// Server serves an httpmsg.Handler as an http.Handler: it is how HTTP/2 connections, which net/http handles for the time
// being, reach the same chain as our own HTTP/1 engine, with the same verdicts on malformed requests. Wrap serves an
// http.Handler as an httpmsg.Handler, for handlers that are written for net/http (the API, profiles, metrics).
//
// Both copy heads, so they cost what net/http costs; nothing on the HTTP/1 path goes through here.
package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// Conn is what the owner of a client connection knows about it and every exchange on it shows.
type Conn struct {
	// Peer and Local are the addresses after a believed PROXY header.
	Peer, Local netip.AddrPort
	// TLS is the state of the connection after its handshake, nil in the clear. It is shared and not changed.
	TLS *tls.ConnectionState
	// TLSOptions is the fingerprint of the TLS options of the handshake.
	TLSOptions string
	// Pin becomes Exchange.Conn.
	Pin any
	// Last, if set, is asked once for each exchange and reports whether the connection is to end behind it.
	Last func() bool
}

type connKey struct{}

// WithConn returns a context for http.Server.ConnContext that carries c to Server.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Options adjust a Server. The zero value has no timeouts and the usual limits.
type Options struct {
	// Watch holds the deadlines of bodies; it must outlive every request. Without one there are none.
	Watch *watch.Watch
	// ReadTimeout cuts a request body of which less than 1 KiB arrived while it was waited for that long. 0: never.
	ReadTimeout time.Duration
	// WriteTimeout bounds the time from the end of the request's head to the last byte of the response. 0: no limit.
	WriteTimeout time.Duration
	// Stall bounds the time in which the client must take one write of at most 16 KiB. 0: no limit.
	Stall time.Duration
	// MaxField is the longest field, name and value together. 0: 64 KiB.
	MaxField int
	// Done, if set, is called at the end of each exchange, after all its hooks, with views still good. Malformed requests
	// come here too, with as much of the request as could be read.
	Done func(x *httpmsg.Exchange)
	// Panicked, if set, is called with the value and the stack of a panic in a handler, a body or a hook.
	Panicked func(x *httpmsg.Exchange, value any, stack []byte)
}

// Server serves an httpmsg.Handler as an http.Handler. It is safe for concurrent use.
type Server struct {
	next httpmsg.Handler
	opts Options
	pool sync.Pool
}

// NewServer returns a Server that answers by next.
func NewServer(next httpmsg.Handler, opts Options) *Server {
	if opts.MaxField == 0 {
		opts.MaxField = 64 << 10
	}
	if opts.Watch == nil {
		opts.ReadTimeout, opts.WriteTimeout, opts.Stall = 0, 0, 0
	}
	return &Server{next: next, opts: opts}
}

// errGone ends an exchange to whose client nothing can be said any more.
var errGone = errors.New("client is gone")

// exchange is one exchange in the works; it is reused through the Server's pool.
type exchange struct {
	x    httpmsg.Exchange
	s    *Server
	body source
	out  outlet
	last func() bool
	// late counts goroutines that call net/http back after a deadline passed. They are joined before the handler
	// returns, since a ResponseWriter must not be touched afterwards.
	late sync.WaitGroup
}

// ServeHTTP implements http.Handler. A response that breaks after its head went out ends with the panic
// http.ErrAbortHandler, by which net/http cuts the message.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, _ := s.pool.Get().(*exchange)
	if e == nil {
		e = &exchange{s: s}
	}
	e.out.start(e, w)
	e.x.Reset(e.out.interim)
	if s.opts.Done != nil {
		e.x.OnFinish((*finished)(e))
	}
	e.x.Facts.Start = time.Now()
	stop := context.AfterFunc(r.Context(), func() { e.x.Cancel(fault.New(fault.ClientGone, "the client went away", errGone)) })

	err := error(nil)
	if f := e.read(w, r); f != nil {
		err = f
	} else {
		err = e.call(s.next)
	}
	cut := e.answer(err)

	quiet := stop() // false: the cancelling function runs, now or soon, and needs e
	e.finish()
	if quiet {
		s.pool.Put(e)
	}
	if cut {
		panic(http.ErrAbortHandler)
	}
}

// finished calls Options.Done at the end of the hooks.
type finished exchange

// Finish implements httpmsg.Finisher.
func (f *finished) Finish(x *httpmsg.Exchange) {
	x.Facts.End = time.Now()
	f.s.opts.Done(x)
}

// finish ends the exchange and lets go of the request.
func (e *exchange) finish() {
	for !e.finishOnce() { // a hook that panics is not called again, the others are
	}
	e.body.stop()
	e.out.stop()
	e.late.Wait()
	e.body.release()
	e.out.release()
	e.x.TLS, e.x.Conn = nil, nil
}

func (e *exchange) finishOnce() (sound bool) {
	var err error
	defer func() { sound = err == nil }()
	defer e.contain(&err)
	e.x.Finish()
	return true
}

// call runs the chain, or answers what no handler needs to see.
func (e *exchange) call(next httpmsg.Handler) (err error) {
	defer e.contain(&err)
	if e.x.Req.Path.Is("*") {
		e.x.Respond(http.StatusOK, "", "") // RFC 9110 section 9.3.7: about us, not about a resource
		return nil
	}
	return next.Serve(&e.x)
}

// contain is deferred where code of others runs: a panic becomes a fault.
func (e *exchange) contain(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if e.s.opts.Panicked != nil {
		e.s.opts.Panicked(&e.x, p, debug.Stack())
	}
	*err = fault.New(fault.Panic, fmt.Sprintf("panic: %v", p), nil)
}

// answer sends the response on the exchange, or the one that err leads to, and reports whether the message has to be cut.
func (e *exchange) answer(err error) (cut bool) {
	x := &e.x
	switch {
	case err != nil:
	case x.Upgrade != nil:
		err = fault.New(fault.Internal, "a handler switched protocols where that cannot be", nil)
	case x.Res.Status < 200 || x.Res.Status > 999:
		err = fault.New(fault.Internal, fmt.Sprintf("a handler answered with status %d", x.Res.Status), nil)
	}
	if err != nil {
		x.Fail(err)
	}
	if e.last != nil && e.last() {
		x.CloseAfter = true
	}
	err = e.deliver()
	if err == nil {
		return false
	}
	if !e.out.headSent && x.Cancelled() == nil && x.Facts.Err == nil {
		// The response broke before its first byte, so there is still room for an honest answer.
		x.Facts.BytesOut = 0
		x.Fail(err)
		if err = e.deliver(); err == nil {
			return false
		}
	}
	if x.Facts.Err == nil {
		x.Facts.Err = fault.Of(err)
	}
	return true
}

func (e *exchange) deliver() (err error) {
	defer e.contain(&err)
	return e.x.Deliver(&e.out)
}

// connOf returns what is known of the connection, by WithConn or else by net/http.
func connOf(r *http.Request) *Conn {
	if c, ok := r.Context().Value(connKey{}).(*Conn); ok {
		return c
	}
	c := &Conn{TLS: r.TLS}
	c.Peer, _ = netip.ParseAddrPort(r.RemoteAddr)
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		c.Local, _ = netip.ParseAddrPort(a.String())
	}
	return c
}

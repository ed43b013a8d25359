// Package entrypoint serves one address: it accepts connections, looks at their first bytes, and carries out what
// core/route decides about them; it brings every HTTP request into its one form and hands it to the router that takes
// it. What routers, middlewares and services are is not its business: it gets handlers, tables and TLS configurations as
// values, all of which change together when a new generation is published.
package entrypoint

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"sluice/internal/observe/record"
	"sluice/internal/traffic/faultlog"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/relay"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// Challenges are the ACME challenges of our own that wait to be asked. Safe for concurrent use.
type Challenges interface {
	// HTTP returns the key authorisation for a token that is pending for host (RFC 8555 section 8.3).
	HTTP(host, token string) (answer []byte, ok bool)
	// Pending reports whether a tls-alpn-01 challenge waits for name (RFC 8737).
	Pending(name string) bool
	// TLS returns the configuration that answers it, nil when it has gone.
	TLS(name string) *tls.Config
}

// ProxyProtocol says whose PROXY headers are believed.
type ProxyProtocol struct {
	// Insecure believes everybody.
	Insecure bool
	// Trusted are the peers that are believed; the headers of others are read and ignored.
	Trusted []netip.Prefix
}

func (p *ProxyProtocol) believes(peer netip.Addr) bool {
	f := ForwardedHeaders{Insecure: p.Insecure, Trusted: p.Trusted}
	return f.trusts(peer)
}

// Timeouts bound the phases of a connection; zero or less is none.
type Timeouts struct {
	// Read bounds a request's head, stretches without progress in its body, and (at most ten seconds) the first bytes.
	Read time.Duration
	// Write bounds a response.
	Write time.Duration
	// Idle bounds the wait for the next request.
	Idle time.Duration
	// AcceptGrace is how long connections are still accepted after Shutdown began, Grace how long those that are open may
	// then take.
	AcceptGrace, Grace time.Duration
}

// Options are what is fixed for the life of an entry point.
type Options struct {
	// Name is the name in the configuration, Position its place in each Generation.
	Name     string
	Position int
	// Listener is the bound socket. It belongs to the entry point.
	Listener net.Listener
	HTTP     HTTPOptions
	Timeouts Timeouts
	// Limits bound HTTP/1 heads.
	Limits http1.Limits
	// MaxRequests and MaxAge end keep-alive connections; 0 is no limit.
	MaxRequests int
	MaxAge      time.Duration
	// HTTP2 has the limits of HTTP/2; its Handler, Watch and timeouts are filled in.
	HTTP2 http2.Options
	// Proxy reads a PROXY header in front of each connection; nil takes one for payload.
	Proxy *ProxyProtocol
	// Current says what is in force. It must hold a generation before Run is called.
	Current *Current
	// Challenges may be nil. With ACMEByPass, routers that name the host come before them, and tls-alpn-01 is routed like
	// any other connection.
	Challenges Challenges
	ACMEByPass bool
	// Sink hears of every exchange and refused connection; nil for nobody.
	Sink record.Sink
	// Tracer makes spans of requests; may be nil.
	Tracer record.Tracer
	// Budget accounts for memory beyond pooled buffers; nil has no limit.
	Budget *httpmsg.Budget
	// Watch holds the deadlines. It must run while the entry point does.
	Watch *watch.Watch
	Log   *slog.Logger
}

// EntryPoint is one address that we listen on.
type EntryPoint struct {
	name       string
	position   int
	current    *Current
	http       HTTPOptions
	timeouts   Timeouts
	proxy      *ProxyProtocol
	challenges Challenges
	byPass     bool
	sink       record.Sink
	tracer     record.Tracer
	origin     bool // the sink wants the fields of servers
	log        *slog.Logger
	faults     *faultlog.Log

	listener *sock.Listener
	http1    *http1.Server
	http2    *http2.Server
}

// New makes an entry point; nothing is accepted before Run.
func New(o Options) *EntryPoint {
	e := &EntryPoint{name: o.Name, position: o.Position, current: o.Current, http: o.HTTP, timeouts: o.Timeouts,
		proxy: o.Proxy, challenges: o.Challenges, byPass: o.ACMEByPass, sink: o.Sink, origin: record.NeedsOrigin(o.Sink),
		tracer: o.Tracer,
		log:    o.Log.With("entryPointName", o.Name)}
	e.faults = faultlog.New(e.log)
	e.listener = sock.NewListener(o.Listener, o.Watch, func(err error, suppressed int) {
		e.log.Error("Accepting connections fails for now", "error", err, "suppressed", suppressed)
	})
	panicked := func(x *httpmsg.Exchange, value any, stack []byte) {
		e.log.Error("A request ended in a panic", "value", value, "stack", string(stack), "routerName", x.Facts.Router)
	}
	e.http1 = &http1.Server{
		Handler: e, Watch: o.Watch, Limits: o.Limits, MaxRequests: o.MaxRequests, MaxAge: o.MaxAge, Budget: o.Budget,
		Timeouts: http1.Timeouts{Read: o.Timeouts.Read, Write: o.Timeouts.Write, Idle: o.Timeouts.Idle},
		Tunnel:   relay.Options{Watch: o.Watch},
		Done:     e.malformed,
		Panicked: panicked,
	}
	h2 := o.HTTP2
	h2.Handler, h2.Watch, h2.Done, h2.Panicked = e, o.Watch, e.malformed, panicked
	h2.MaxRequests, h2.MaxAge = o.MaxRequests, o.MaxAge
	h2.ReadTimeout, h2.WriteTimeout, h2.IdleTimeout = o.Timeouts.Read, o.Timeouts.Write, o.Timeouts.Idle
	h2.Log = func(line string) { e.log.Debug("HTTP/2", "message", line) }
	e.http2 = http2.New(h2)
	return e
}

// Name returns the name in the configuration.
func (e *EntryPoint) Name() string { return e.name }

// Addr returns the address that is listened on.
func (e *EntryPoint) Addr() net.Addr { return e.listener.Addr() }

// Open returns the number of open connections.
func (e *EntryPoint) Open() int { return e.listener.Len() }

// Run accepts connections until Shutdown.
func (e *EntryPoint) Run() error {
	err := e.listener.Serve(e.handle)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown ends the entry point: it goes on accepting for the accept grace, then lets requests finish for the grace while
// idle connections close at once, then cuts what is left. ctx ends both waits early. It returns how many connections
// were cut.
func (e *EntryPoint) Shutdown(ctx context.Context) (cut int) {
	if g := e.timeouts.AcceptGrace; g > 0 {
		t := time.NewTimer(g)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
	e.listener.Stop()
	ctx, cancel := context.WithTimeout(ctx, max(e.timeouts.Grace, 0))
	defer cancel()
	e.http1.Drain()
	h2done := make(chan struct{})
	go func() {
		defer close(h2done)
		_ = e.http2.Shutdown(ctx) // what is left then is cut below, and counted there
	}()
	if e.listener.Wait(ctx) != nil {
		cut = e.listener.Cut()
	}
	<-h2done
	_ = e.listener.Wait(context.Background()) // goroutines of cut connections end at once
	return cut
}

func (e *EntryPoint) routes() *Routes { return e.current.Load().Routes[e.position] }

// pending tells Decide which tls-alpn-01 challenges are ours.
func (e *EntryPoint) pending(name string) bool {
	return e.challenges != nil && !e.byPass && e.challenges.Pending(name)
}

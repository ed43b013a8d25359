// Package upstream keeps the connections to servers: it dials, encrypts, pools and retires them, and sends exchanges over
// them.
//
// A Transport is one set of options (a serversTransport); it has a Pool for each address. Both outlive changes of the
// configuration that leave options and address alone: whoever uses a pool holds it by Acquire and lets go of it by
// Release, and the connections of a pool that nobody holds are closed.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// Options say how servers are reached. Zero durations are no limit.
type Options struct {
	// DialTimeout bounds connecting.
	DialTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake.
	HandshakeTimeout time.Duration
	// KeepAlive is the period of TCP keep-alive probes; zero or less switches them off.
	KeepAlive time.Duration
	// IdleConnTimeout is how long an unused connection is kept.
	IdleConnTimeout time.Duration
	// MaxIdlePerHost is how many unused connections an address may have; zero or less keeps none.
	MaxIdlePerHost int
	// Client has the limits of exchanges.
	Client http1.ClientOptions
	// ReadIdleTimeout and PingTimeout are those of http2.ClientOptions.
	ReadIdleTimeout, PingTimeout time.Duration
	// DisableHTTP2 speaks HTTP/1.1 with https servers, and with h2c servers not at all.
	DisableHTTP2 bool
	// Proxy says which proxy leads to a server; nil, or an answer of nil, is none.
	Proxy func(server *url.URL) (*url.URL, error)
	// TLS is for https servers, and for a proxy that is reached by https, whose name is that of its URL and of which
	// VerifyConnection is not asked. nil is the default of crypto/tls; an empty ServerName stands for the host of the
	// address. The configuration is not changed.
	TLS *tls.Config
	// Dial replaces the dialing of TCP, for tests; nil uses net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Defaults returns the options of a transport that nobody configured.
func Defaults() Options {
	return Options{
		DialTimeout:      30 * time.Second,
		HandshakeTimeout: handshakeTimeout,
		KeepAlive:        keepAlive,
		IdleConnTimeout:  90 * time.Second,
		MaxIdlePerHost:   200,
	}
}

const (
	handshakeTimeout = 10 * time.Second
	keepAlive        = 30 * time.Second
)

// Address is where a server listens.
type Address struct {
	// Scheme is http, https or h2c.
	Scheme string
	// Host is host:port.
	Host string
}

// Transport reaches servers with one set of options. Safe for concurrent use.
type Transport struct {
	opts    Options
	client2 http2.ClientOptions
	watch   *watch.Watch

	mu    sync.Mutex
	pools map[Address]*Pool
}

// New returns a transport without connections. w holds its deadlines; it must run as long as the transport is used.
func New(o Options, w *watch.Watch) *Transport {
	c := &o.Client
	return &Transport{opts: o, watch: w, pools: map[Address]*Pool{}, client2: http2.ClientOptions{
		ResponseHeaderTimeout: c.ResponseHeaderTimeout, BodyIdleTimeout: c.BodyIdleTimeout, ContinueTimeout: c.ContinueTimeout,
		ReadIdleTimeout: o.ReadIdleTimeout, PingTimeout: o.PingTimeout, MaxHead: c.MaxHead}}
}

// Acquire returns the pool of an address and holds it until Release. A scheme that cannot be served is an error.
func (t *Transport) Acquire(a Address) (*Pool, error) {
	switch a.Scheme {
	case "http", "https":
	case "h2c":
		if t.opts.DisableHTTP2 {
			return nil, errors.New("servers with scheme h2c speak nothing but HTTP/2, which disableHTTP2 of the transport forbids")
		}
	default:
		return nil, fmt.Errorf("scheme %q of a server is none of http, https, h2c", a.Scheme)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[a]
	if p == nil {
		p = newPool(t, a)
		t.pools[a] = p
	}
	p.held++
	return p, nil
}

// Idle returns the number of unused connections to all addresses.
func (t *Transport) Idle() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, p := range t.pools {
		n += p.Idle()
	}
	return n
}

// CloseIdle closes all unused connections. Those in use are not touched.
func (t *Transport) CloseIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		p.closeIdle()
	}
}

// RoundTripper sends an exchange to one server. On return with nil the response stands on x; otherwise the error is a
// *fault.Fault whose verdict says whether x may be sent elsewhere.
type RoundTripper interface {
	RoundTrip(x *httpmsg.Exchange, t *httpmsg.Target) error
}

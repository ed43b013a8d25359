package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"

	"sluice/internal/core/fault"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
)

// dial opens a connection for x. The exchange's cancellation ends it. It is an HTTP/2 connection, not handed out to anybody
// yet, if the server chose that.
func (p *Pool) dial(x *httpmsg.Exchange, hops uint32, only1 bool) (*http1.ClientConn, *http2.ClientConn, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stop := func(cause error) { cancel(cause) }
	x.OnCancel(&stop)
	defer x.OnCancel(nil)

	nc, two, err := p.reach(ctx, only1)
	switch {
	case err != nil:
		if cause := x.Cancelled(); cause != nil {
			return nil, nil, httpmsg.GoneFault("connecting to the server", cause)
		}
		return nil, nil, err
	case two:
		return nil, p.newConn2(nc, hops), nil
	default:
		return p.newConn1(nc), nil, nil
	}
}

func (p *Pool) newConn1(nc net.Conn) *http1.ClientConn {
	p.open.Add(1)
	c := http1.NewClientConn(nc, &p.t.opts.Client, p.t.watch, (*keeper)(p))
	own.add(nc, &c.Hops)
	return c
}

func (p *Pool) newConn2(nc net.Conn, hops uint32) *http2.ClientConn {
	p.open.Add(1)
	c := http2.NewClientConn(nc, &p.t.client2, p.t.watch, (*keeper2)(p))
	c.Hops.Store(hops)
	own.add(nc, &c.Hops)
	if c.Ended() { // perhaps so early that Gone had nothing to remove
		own.remove(nc, &c.Hops)
	}
	return c
}

// reach opens a connection that is ready for requests, and tells whether it is one for HTTP/2.
func (p *Pool) reach(ctx context.Context, only1 bool) (nc net.Conn, two bool, err error) {
	if nc, err = p.connect(ctx); err != nil {
		return nil, false, err
	}
	if p.addr.Scheme == "https" {
		return p.encrypt(ctx, nc, !only1 && !p.t.opts.DisableHTTP2)
	}
	return nc, p.addr.Scheme == "h2c" && !only1, nil
}

// connect opens the TCP connection, through the proxy if there is one.
func (p *Pool) connect(ctx context.Context) (net.Conn, error) {
	o := &p.t.opts
	if o.DialTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.DialTimeout)
		defer cancel()
	}
	var nc net.Conn
	var err error
	to := p.addr.Host
	if p.proxy != nil || p.proxyError != nil {
		to += " through a proxy"
		nc, err = p.throughProxy(ctx)
	} else {
		nc, err = p.dialTCP(ctx, p.addr.Host)
	}
	if err == nil {
		return nc, nil
	}
	kind := fault.DialFailed
	if timeout(err) {
		kind = fault.DialTimeout
	}
	return nil, fault.New(kind, "dial "+to, err).WithRetry(fault.Always)
}

func (p *Pool) dialTCP(ctx context.Context, host string) (net.Conn, error) {
	if dial := p.t.opts.Dial; dial != nil {
		return dial(ctx, "tcp", host)
	}
	d := net.Dialer{KeepAlive: p.t.opts.KeepAlive}
	if d.KeepAlive <= 0 {
		d.KeepAlive = -1
	}
	return d.DialContext(ctx, "tcp", host)
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout()
}

// encrypt does the TLS handshake over nc, which it closes if that fails. It tells whether the server chose HTTP/2, which it is
// offered with offer.
func (p *Pool) encrypt(ctx context.Context, nc net.Conn, offer bool) (net.Conn, bool, error) {
	o := &p.t.opts
	cfg := p.tlsConfig()
	if cfg.ServerName == "" {
		cfg.ServerName = hostOf(p.addr.Host)
	}
	if offer {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	if o.HandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.HandshakeTimeout)
		defer cancel()
	}
	tc := tls.Client(nc, cfg)
	if err := handshake(ctx, tc); err != nil {
		nc.Close()
		kind := fault.UpstreamTLS
		if timeout(err) {
			kind = fault.DialTimeout
		}
		return nil, false, fault.New(kind, "TLS handshake with "+p.addr.Host, err).WithRetry(fault.Always)
	}
	return tc, tc.ConnectionState().NegotiatedProtocol == "h2", nil
}

// tlsConfig returns a copy of the transport's TLS options, for HTTP/1.
func (p *Pool) tlsConfig() *tls.Config {
	cfg := &tls.Config{}
	if p.t.opts.TLS != nil {
		cfg = p.t.opts.TLS.Clone()
	}
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

// handshake does a TLS handshake. It needs a deep stack once; on a goroutine of its own that stack goes away with it, instead of
// staying with the client's connection for its whole life.
func handshake(ctx context.Context, tc *tls.Conn) error {
	done := make(chan error, 1)
	go func() { done <- tc.HandshakeContext(ctx) }()
	return <-done
}

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

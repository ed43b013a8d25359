package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"

	"sluice/internal/core/fault"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
)

// dial opens a connection for x. The exchange's cancellation ends it.
func (p *Pool) dial(x *httpmsg.Exchange) (*http1.ClientConn, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stop := func(cause error) { cancel(cause) }
	x.OnCancel(&stop)
	defer x.OnCancel(nil)

	nc, err := p.connect(ctx)
	if err == nil && p.addr.Scheme == "https" {
		nc, err = p.encrypt(ctx, nc)
	}
	if err != nil {
		if cause := x.Cancelled(); cause != nil {
			return nil, httpmsg.GoneFault("connecting to the server", cause)
		}
		return nil, err
	}
	p.open.Add(1)
	c := http1.NewClientConn(nc, &p.t.opts.Client, p.t.watch, (*keeper)(p))
	own.add(c)
	return c, nil
}

// connect opens the TCP connection.
func (p *Pool) connect(ctx context.Context) (net.Conn, error) {
	o := &p.t.opts
	if o.DialTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.DialTimeout)
		defer cancel()
	}
	dial := o.Dial
	if dial == nil {
		d := net.Dialer{KeepAlive: o.KeepAlive}
		if d.KeepAlive <= 0 {
			d.KeepAlive = -1
		}
		dial = d.DialContext
	}
	nc, err := dial(ctx, "tcp", p.addr.Host)
	if err == nil {
		return nc, nil
	}
	if timeout(err) {
		return nil, fault.New(fault.DialTimeout, "dial "+p.addr.Host, err).WithRetry(fault.Always)
	}
	return nil, fault.New(fault.DialFailed, "dial "+p.addr.Host, err).WithRetry(fault.Always)
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout()
}

// encrypt does the TLS handshake over nc, which it closes if that fails. The protocols offered are what this package can
// speak; HTTP/2 enters here.
func (p *Pool) encrypt(ctx context.Context, nc net.Conn) (net.Conn, error) {
	o := &p.t.opts
	var cfg *tls.Config
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	} else {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(p.addr.Host)
		if err != nil {
			host = p.addr.Host
		}
		cfg.ServerName = host
	}
	cfg.NextProtos = []string{"http/1.1"}
	if o.HandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.HandshakeTimeout)
		defer cancel()
	}
	tc := tls.Client(nc, cfg)
	// The handshake needs a deep stack once. On a goroutine of its own that stack goes away with it, instead of staying
	// with the client's connection for its whole life.
	done := make(chan error, 1)
	go func() { done <- tc.HandshakeContext(ctx) }()
	if err := <-done; err != nil {
		nc.Close()
		if timeout(err) {
			return nil, fault.New(fault.DialTimeout, "TLS handshake with "+p.addr.Host, err).WithRetry(fault.Always)
		}
		return nil, fault.New(fault.UpstreamTLS, "TLS handshake with "+p.addr.Host, err).WithRetry(fault.Always)
	}
	return tc, nil
}

package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/sniff"
)

// handshakeTimeout bounds what is said to a server before the client's first byte: the PROXY header, the request for TLS of
// Postgres, the TLS handshake.
const handshakeTimeout = 10 * time.Second

// target is a Server with what is worked out once.
type target struct {
	Server
	tls *tls.Config // nil without TLS
}

// newTarget infers the server name from the address where config has none: without it no handshake could succeed.
func newTarget(s Server, config *tls.Config) *target {
	t := &target{Server: s}
	if !s.TLS {
		return t
	}
	t.tls = config.Clone()
	if t.tls == nil {
		t.tls = &tls.Config{}
	}
	if t.tls.ServerName == "" {
		host, _, err := net.SplitHostPort(s.Address)
		if err != nil {
			host = s.Address // it cannot be dialled either
		}
		t.tls.ServerName = host
	}
	if t.tls.ClientSessionCache == nil {
		// A resumed handshake costs neither side a signature.
		t.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return t
}

// dial connects to one server as far as the client's first byte.
func (s *Service) dial(c *Client, t *target) (net.Conn, *fault.Fault) {
	ctx := context.Background()
	if limit := s.options.DialTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	conn, err := s.reach(ctx, t.Address)
	if err != nil {
		kind := fault.DialFailed
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			kind = fault.DialTimeout
		}
		return nil, fault.New(kind, "dial "+t.Address, err).WithRetry(fault.Always)
	}
	if s.options.ProxyVersion == 0 && !c.Postgres && t.tls == nil {
		return conn, nil
	}
	opened, f := s.open(conn, c, t)
	if f != nil {
		_ = conn.Close() // the fault is what matters
		return nil, f
	}
	return opened, nil
}

// reach connects to an address.
func (s *Service) reach(ctx context.Context, address string) (net.Conn, error) {
	if dial := s.options.Dial; dial != nil {
		return dial(ctx, "tcp", address)
	}
	d := net.Dialer{KeepAlive: s.options.KeepAlive}
	return d.DialContext(ctx, "tcp", address)
}

// dialToCheck implements health.Dial: a server is asked in the way that clients' connections go, but without a PROXY header,
// since there is no client.
func (s *Service) dialToCheck(ctx context.Context, server, address string) (net.Conn, error) {
	conn, err := s.reach(ctx, address)
	if err != nil {
		return nil, err
	}
	for _, e := range s.endpoints {
		t := e.Target.(*target)
		if t.Address != server || t.tls == nil {
			continue
		}
		secure := tls.Client(conn, t.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the error of the handshake is what matters
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		return secure, nil
	}
	return conn, nil
}

// open says what a server must hear before the client's first byte, and leaves conn to the caller if that fails.
func (s *Service) open(conn net.Conn, c *Client, t *target) (net.Conn, *fault.Fault) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, fault.New(fault.UpstreamClosed, "connection to "+t.Address, err)
	}
	// Before TLS, and never on a connection that another client has used: each tunnel has its own.
	if v := s.options.ProxyVersion; v != 0 {
		if _, err := conn.Write(proxyproto.Append(nil, v, c.Peer, c.Local)); err != nil {
			return nil, fault.New(fault.UpstreamClosed, "PROXY header to "+t.Address, err)
		}
	}
	if c.Postgres {
		if err := askPostgres(conn); err != nil {
			return nil, fault.New(fault.UpstreamProtocol, "Postgres at "+t.Address, err)
		}
	}
	out := conn
	if t.tls != nil {
		secure := tls.Client(conn, t.tls)
		if err := secure.Handshake(); err != nil {
			return nil, fault.New(fault.UpstreamTLS, "TLS handshake with "+t.Address, err)
		}
		out = secure
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fault.New(fault.UpstreamClosed, "connection to "+t.Address, err)
	}
	return out, nil
}

// askPostgres repeats the client's request for TLS, which the entry point has answered already.
func askPostgres(conn net.Conn) error {
	if _, err := conn.Write([]byte(sniff.PostgresSSLRequest)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := conn.Read(answer[:]); err != nil {
		return fmt.Errorf("answer to the request for TLS: %w", err)
	}
	if answer[0] != 'S' {
		return fmt.Errorf("the server refused TLS with %q", answer[0])
	}
	return nil
}

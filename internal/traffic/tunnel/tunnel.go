// Package tunnel has the services of TCP: what brings a connection, whose bytes are nobody's business, to a server.
//
// A Service dials one of its servers (the next one if that fails), encrypts if asked to, tells it the client's address in a
// PROXY header if asked to, and relays until both directions have ended. Services of services only choose.
package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/balance"
	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/relay"
	"sluice/internal/wire/sniff"
	"sluice/internal/wire/watch"
)

const (
	// handshakeTimeout bounds the TLS handshake with a server, and the answer to a Postgres request for TLS.
	handshakeTimeout = 10 * time.Second
	// maxTries bounds how many servers one connection is offered to.
	maxTries = 8
)

// Options say how the servers of a service are reached.
type Options struct {
	// DialTimeout bounds connecting to one server; 0 is no limit.
	DialTimeout time.Duration
	// KeepAlive is the period of TCP keep-alive probes; 0 is 15 s, negative switches them off.
	KeepAlive time.Duration
	// ProxyVersion of the PROXY header that servers get: 1, 2, or 0 for none.
	ProxyVersion int
	// Termination is for how long one direction may be silent once the other has ended; 0 is no limit.
	Termination time.Duration
	// TLS is for servers that are spoken to by TLS. An empty ServerName stands for the server's host. It is not changed.
	TLS *tls.Config
	// Watch keeps the limit of Termination.
	Watch *watch.Watch
	// Dial replaces dialing, for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is one server of a service.
type Server struct {
	// Address is host:port.
	Address string
	// TLS speaks TLS to it.
	TLS bool
}

// Child is a service below a weighted one.
type Child struct {
	Name    string
	Weight  int
	Service *Service
}

// Live is what outlives changes of the configuration: the place in the round. Safe for concurrent use.
type Live struct{ picker balance.Picker }

// NewLive returns the state of a service that has not been there before.
func NewLive() *Live { return &Live{balance.NewWRR(rand.IntN)} }

// Service is a TCP service; immutable, safe for concurrent use.
type Service struct {
	name      string
	live      *Live
	endpoints []*balance.Endpoint
	options   Options
}

// New makes a service of servers. It serves those of the generation before until Publish.
func New(name string, servers []Server, live *Live, o Options) *Service {
	s := &Service{name: name, live: live, options: o}
	for _, server := range servers {
		s.endpoints = append(s.endpoints, &balance.Endpoint{Key: server.Address, Weight: 1, State: &balance.State{}, Target: server})
	}
	return s
}

// NewWeighted makes a service of services.
func NewWeighted(name string, children []Child, live *Live) *Service {
	s := &Service{name: name, live: live}
	for _, c := range children {
		s.endpoints = append(s.endpoints, &balance.Endpoint{Key: c.Name, Weight: c.Weight, State: &balance.State{}, Target: c.Service})
	}
	return s
}

// Publish makes this generation's servers the ones that are chosen from now on.
func (s *Service) Publish() { s.live.picker.Update(s.endpoints) }

// Client is a connection to be served.
type Client struct {
	// Stream is what is relayed: the connection itself, or what was decrypted from it.
	Stream net.Conn
	// Peer and Local are its addresses, for the PROXY header.
	Peer, Local netip.AddrPort
	// Postgres tells that the client asked for TLS by Postgres' own message and that its TLS passes through: the server is
	// asked the same and must agree.
	Postgres bool
}

// Result is what became of a connection.
type Result struct {
	// Server is the address that was connected to, or tried last.
	Server string
	// In and Out count the bytes from and to the client.
	In, Out int64
	// ByClient and ByServer tell who ended first; both false when a limit or we did.
	ByClient, ByServer bool
	// Fault is why it did not work, or broke; nil for a regular end.
	Fault *fault.Fault
	// Open tells that no server could be had: the client's connection is untouched, and the caller's to end.
	Open bool
}

// Serve relays c to a server and closes it, unless no server could be had. It returns when both directions have ended.
func (s *Service) Serve(c Client) Result {
	server, address, options, f := s.connect(&c)
	if f != nil {
		return Result{Server: address, Fault: f, Open: true}
	}
	r := relay.Run(c.Stream, server, relay.Options{Watch: options.Watch, Termination: options.Termination})
	out := Result{Server: address, In: r.FromA, Out: r.FromB, ByClient: r.By == relay.A, ByServer: r.By == relay.B}
	if r.Reason == relay.Broken {
		kind := fault.UpstreamCut
		if r.By == relay.A {
			kind = fault.ClientGone
		}
		out.Fault = fault.New(kind, "the tunnel broke", r.Err)
	}
	return out
}

// connect finds a server that takes the connection. Nothing of the client's bytes has moved before, so any may be next.
func (s *Service) connect(c *Client) (server net.Conn, address string, o *Options, f *fault.Fault) {
	var tried balance.Tried
	for tried.Len() < maxTries {
		e := s.live.picker.Pick(c.Peer.Addr(), &tried)
		if e == nil {
			break
		}
		if child, ok := e.Target.(*Service); ok {
			server, address, o, f = child.connect(c)
		} else {
			target := e.Target.(Server)
			address, o = target.Address, &s.options
			server, f = s.dial(c, target)
		}
		if f == nil {
			return server, address, o, nil
		}
		tried.Add(e)
	}
	if f == nil {
		f = fault.New(fault.NoServer, "the service "+s.name+" has no server", nil)
	}
	return nil, address, o, f
}

// dial connects to one server as far as the client's first byte.
func (s *Service) dial(c *Client, target Server) (net.Conn, *fault.Fault) {
	ctx := context.Background()
	if t := s.options.DialTimeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	dial := s.options.Dial
	if dial == nil {
		d := net.Dialer{KeepAlive: s.options.KeepAlive}
		dial = d.DialContext
	}
	conn, err := dial(ctx, "tcp", target.Address)
	if err != nil {
		kind := fault.DialFailed
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			kind = fault.DialTimeout
		}
		return nil, fault.New(kind, "dial "+target.Address, err).WithRetry(fault.Always)
	}
	if v := s.options.ProxyVersion; v != 0 {
		if _, err := conn.Write(proxyproto.Append(nil, v, c.Peer, c.Local)); err != nil {
			conn.Close()
			return nil, fault.New(fault.UpstreamClosed, "PROXY header to "+target.Address, err)
		}
	}
	if c.Postgres {
		if err := askPostgres(conn); err != nil {
			conn.Close()
			return nil, fault.New(fault.UpstreamProtocol, "Postgres at "+target.Address, err)
		}
	}
	if target.TLS {
		return s.encrypt(conn, target.Address)
	}
	return conn, nil
}

// encrypt does the TLS handshake with a server.
func (s *Service) encrypt(conn net.Conn, address string) (net.Conn, *fault.Fault) {
	config := s.options.TLS
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		config = config.Clone()
		config.ServerName = host
	}
	t := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fault.New(fault.UpstreamTLS, "TLS handshake with "+address, err)
	}
	return t, nil
}

// askPostgres repeats the client's request for TLS, which the entry point has answered already.
func askPostgres(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
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
	return conn.SetDeadline(time.Time{})
}

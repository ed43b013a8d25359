// Package tunnel has the services of TCP: what brings a connection, whose bytes are nobody's business, to a server.
//
// A Service dials one of its servers (the next one if that fails), encrypts if asked to, tells it the client's address in a
// PROXY header if asked to, and relays until both directions have ended. Services of services only choose.
package tunnel

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
	"sluice/internal/wire/relay"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// maxTries bounds how many servers one connection is offered to.
const maxTries = 8

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
	// Health asks the servers regularly whether they are well; nil for no check. health.ValidateTCP must have nothing to say
	// about it.
	Health *dynamic.TCPHealthCheck
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
	// Follow passes the child over while all its servers are down.
	Follow bool
}

// Service is a TCP service; immutable, safe for concurrent use.
type Service struct {
	name      string
	live      *Live
	endpoints []*balance.Endpoint
	options   Options
	checker   *health.TCP // nil without
	published sync.Once
}

// New makes a service of servers. It serves those of the generation before until Publish.
func New(name string, servers []Server, live *Live, o Options) *Service {
	s := &Service{name: name, live: live, options: o}
	checks := healthKey(o.Health)
	var checked []health.Server
	for _, server := range servers {
		at := live.server(server, checks)
		s.endpoints = append(s.endpoints, &balance.Endpoint{Key: server.Address, Weight: 1, State: &at.state,
			Target: newTarget(server, o.TLS)})
		if !slices.ContainsFunc(checked, func(c health.Server) bool { return c.State == &at.state }) {
			checked = append(checked, health.Server{URL: server.Address, State: &at.state, Schedule: &at.schedule})
		}
	}
	if o.Health != nil {
		s.checker = health.NewTCP(o.Health, checked, s.dialToCheck, live.changed)
	}
	return s
}

// NewWeighted makes a service of services.
func NewWeighted(name string, children []Child, live *Live) *Service {
	s := &Service{name: name, live: live}
	for _, c := range children {
		e := &balance.Endpoint{Key: c.Name, Weight: c.Weight, State: &balance.State{}, Target: c.Service}
		if c.Follow {
			e.Child = c.Service
		}
		s.endpoints = append(s.endpoints, e)
	}
	return s
}

// Publish makes this generation's servers the ones that are chosen from now on, and begins to check them. Publishing again
// does no harm.
func (s *Service) Publish() {
	s.live.publish(s.endpoints)
	s.published.Do(func() {
		if s.checker != nil {
			s.checker.Start()
		}
	})
}

// Close ends the checks. Connections go on.
func (s *Service) Close() {
	if s.checker != nil {
		s.checker.Stop()
	}
}

// Up implements balance.Health: some server is up, as far as is known.
func (s *Service) Up() bool {
	return slices.ContainsFunc(s.endpoints, func(e *balance.Endpoint) bool { return e.Weight > 0 && e.Up() })
}

// Status tells for each server, by its address, whether it is up; empty for a service of services.
func (s *Service) Status() map[string]bool {
	out := map[string]bool{}
	for _, e := range s.endpoints {
		if t, ok := e.Target.(*target); ok {
			out[t.Address] = e.Up()
		}
	}
	return out
}

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

// gone reports whether nobody waits for a server any more: the client was reset, or its socket was taken away from us. A FIN
// is no such sign, since the bytes before it may be all that the client had to say.
func (c *Client) gone() bool {
	asked, ok := c.Stream.(interface{ PeerState() sock.PeerState })
	return ok && asked.PeerState() == sock.PeerGone
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
	switch {
	case r.Reason == relay.Cut:
		out.Fault = fault.New(fault.ShuttingDown, "the tunnel was cut by us", nil)
	case r.Reason == relay.Broken && r.By == relay.A:
		out.Fault = fault.New(fault.ClientGone, "the tunnel broke", r.Err)
	case r.Reason == relay.Broken:
		out.Fault = fault.New(fault.UpstreamCut, "the tunnel broke", r.Err)
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
			t := e.Target.(*target)
			address, o = t.Address, &s.options
			server, f = s.dial(c, t)
		}
		if f == nil {
			return server, address, o, nil
		}
		if c.gone() {
			return nil, address, o, fault.New(fault.ClientGone, "the client left while a server was sought", f)
		}
		tried.Add(e)
	}
	if f == nil {
		f = fault.New(fault.NoServer, "the service "+s.name+" has no server", nil)
	}
	return nil, address, o, f
}

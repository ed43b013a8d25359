package engine

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/traffic/tunnel"
	"sluice/internal/wire/httpmsg"
)

// tcpService is a built TCP service.
type tcpService struct {
	holding
	name plan.Name
	// service is nil when it cannot be built; refused says why then.
	service *tunnel.Service
	refused string
	// machine answers HTTP-01 challenges of the hosts that a passthrough router has on this service.
	machine  entrypoint.Machines
	machines []*service
}

func (s *tcpService) publish() {
	if s.service != nil {
		s.service.Publish()
	}
	for _, m := range s.machines {
		m.publish()
	}
}

func (s *tcpService) close() {
	if s.service != nil {
		s.service.Close()
	}
	for _, m := range s.machines {
		m.close()
	}
}

// tcpRoute is a built TCP router.
type tcpRoute struct {
	holding
	entrypoint.TCPRouter
}

func (b *build) tcpRoute(r *plan.TCPRouter) *tcpRoute {
	out := &tcpRoute{}
	done := b.hold(&out.holding)
	out.TCPRouter = b.tcpRouter(r)
	done()
	return out
}

// tcpRouter builds what an entry point does with a TCP router's connections.
func (b *build) tcpRouter(r *plan.TCPRouter) entrypoint.TCPRouter {
	out := entrypoint.TCPRouter{Name: r.Name.String()}
	if r.Config.TLS != nil && !r.Config.TLS.Passthrough && r.Options != nil {
		out.TLS = b.tlsOptions(r.Options.Config, r.Options)
	}
	if r.Service == nil {
		return out
	}
	s := b.tcpService(r.Service)
	if r.Passthrough() {
		out.Machine = s.machine
	}
	if r.Status == plan.Disabled || s.service == nil {
		return out
	}
	guards, err := b.tcpGuards(r)
	if err != nil {
		b.report(&r.Node, r.Identity, err)
		return out
	}
	out.Serve = serveTCP(s, guards)
	return out
}

// serveTCP brings connections to a service, past what may refuse them.
func serveTCP(s *tcpService, guards []tunnel.Guard) func(stream net.Conn, c *entrypoint.Accepted) entrypoint.Outcome {
	name := s.name.String()
	return func(stream net.Conn, c *entrypoint.Accepted) entrypoint.Outcome {
		for _, g := range guards {
			leave, f := g.Enter(c.Peer().Addr())
			if f != nil {
				return entrypoint.Outcome{Service: name, Fault: f, Open: true}
			}
			defer leave()
		}
		r := s.service.Serve(tunnel.Client{Stream: stream, Peer: c.Peer(), Local: c.Local(), Postgres: c.Postgres && c.Passthrough})
		out := entrypoint.Outcome{Service: name, Server: r.Server, In: r.In, Out: r.Out, Fault: r.Fault, Open: r.Open}
		switch {
		case r.ByClient:
			out.EndedBy = fault.Client
		case r.ByServer:
			out.EndedBy = fault.Upstream
		}
		return out
	}
}

// tcpService returns a built service: the one there is, when nothing about it changed, or a new one.
func (b *build) tcpService(s *plan.TCPService) *tcpService {
	built := b.e.tunnels[s.Identity]
	if built == nil {
		built = &tcpService{name: s.Name}
		b.e.tunnels[s.Identity] = built
		b.tunnels = append(b.tunnels, built)
		done := b.hold(&built.holding)
		b.fillTunnel(s, built)
		done()
	}
	b.holder.tunnels = append(b.holder.tunnels, built)
	return built
}

// fillTunnel builds a service, or notes why it refuses.
func (b *build) fillTunnel(s *plan.TCPService, built *tcpService) {
	if why := b.broken(&s.Node, s.Identity); s.Status == plan.Disabled || len(why) > 0 {
		built.refused = first(append(why, s.Findings...))
		return
	}
	live := b.tcpLive(s.Name.String())
	if s.Type == "weighted" {
		var children []tunnel.Child
		for i, c := range s.Children {
			child := b.tcpService(c)
			if child.service == nil {
				built.refused = fmt.Sprintf("the service %s cannot be used: %s", c.Name, child.refused)
				return
			}
			children = append(children, tunnel.Child{Name: c.Name.String(), Weight: s.Config.Weighted.Services[i].Share(), Service: child.service, Follow: s.ReportsHealth()})
			built.machine = append(built.machine, child.machine...)
		}
		built.service = tunnel.NewWeighted(s.Name.String(), children, live)
		return
	}
	options, err := b.tunnelOptions(s)
	if err != nil {
		b.report(&s.Node, s.Identity, err)
		built.refused = err.Error()
		return
	}
	var servers []tunnel.Server
	for _, server := range s.Config.LoadBalancer.Servers {
		servers = append(servers, tunnel.Server{Address: server.Address, TLS: server.TLS})
	}
	built.service = tunnel.New(s.Name.String(), servers, live, options)
	b.machines(built, s)
}

// tcpLive returns the place in the round and the health of a service's servers, which outlive changes.
func (b *build) tcpLive(name string) *tunnel.Live {
	live := b.e.rounds[name]
	if live == nil {
		live = tunnel.NewLive()
		live.Changed = b.told(name)
		b.e.rounds[name] = live
	}
	return live
}

// tunnelOptions reads how the servers of a TCP service are reached.
func (b *build) tunnelOptions(s *plan.TCPService) (tunnel.Options, error) {
	lb := s.Config.LoadBalancer
	o := tunnel.Options{Watch: b.e.o.Watch, Health: lb.HealthCheck}
	var t *dynamic.TCPServersTransport
	if s.Transport != nil {
		if why := b.broken(&s.Transport.Node, s.Transport.Identity); s.Transport.Status == plan.Disabled || len(why) > 0 {
			return o, fmt.Errorf("the serversTransport %s cannot be used: %s", s.Transport.Name, first(append(why, s.Transport.Findings...)))
		}
		t = s.Transport.Config
		o.Termination = max(t.TerminationDelay.Std(), 0)
	} else {
		t = defaultTCPTransport(b)
		if lb.ProxyProtocol != nil {
			o.ProxyVersion = lb.ProxyProtocol.Version
		}
		if d := lb.TerminationDelay; d != nil {
			o.Termination = time.Duration(max(*d, 0)) * time.Millisecond
		}
	}
	o.DialTimeout, o.KeepAlive = t.DialTimeout.Std(), t.DialKeepAlive.Std()
	if t.ProxyProtocol != nil {
		o.ProxyVersion = t.ProxyProtocol.Version
	}
	if t.TLS != nil {
		config, err := certs.TCPClient(t.TLS)
		if err != nil {
			return o, err
		}
		o.TLS = config
	}
	return o, nil
}

// defaultTCPTransport is the transport of services that name none.
func defaultTCPTransport(b *build) *dynamic.TCPServersTransport {
	out := &dynamic.TCPServersTransport{}
	out.SetDefaults()
	if s := b.e.o.Static.TCPServersTransport; s != nil {
		out.DialTimeout, out.DialKeepAlive = s.DialTimeout, s.DialKeepAlive
		if s.TLS != nil {
			out.TLS = &dynamic.TCPClientTLS{InsecureSkipVerify: s.TLS.InsecureSkipVerify, RootCAs: s.TLS.RootCAs, Spiffe: s.TLS.Spiffe}
		}
	}
	return out
}

// machines builds what answers challenges: each server's machine, on the port that ACME clients listen on.
func (b *build) machines(built *tcpService, s *plan.TCPService) {
	lb := s.Config.LoadBalancer
	port := strconv.Itoa(lb.ChallengePort())
	for i, server := range lb.Servers {
		host, _, err := net.SplitHostPort(server.Address)
		if err != nil {
			continue // plan has said so
		}
		c := &dynamic.LoadBalancer{}
		c.SetDefaults()
		c.Servers = []*dynamic.Server{{URL: "http://" + net.JoinHostPort(host, port)}}
		key := machineName(s.Name.String(), i)
		balancer, err := b.loadBalancer(key, c, nil)
		if err != nil {
			b.report(&s.Node, s.Identity, err)
			continue
		}
		built.machines = append(built.machines, &service{live: key, kind: balancer})
		built.machine = append(built.machine, httpmsg.Handler(&named{s.Name.String(), balancer}))
	}
}

// tcpGuards builds the TCP middlewares of a router.
func (b *build) tcpGuards(r *plan.TCPRouter) ([]tunnel.Guard, error) {
	var out []tunnel.Guard
	for _, m := range r.Middlewares {
		if why := b.broken(&m.Node, m.Identity); m.Status == plan.Disabled || len(why) > 0 {
			return nil, fmt.Errorf("the middleware %s cannot be used: %s", m.Name, first(append(why, m.Findings...)))
		}
		switch m.Type {
		case "ipAllowList", "ipWhiteList":
			g, err := tunnel.NewAllowList(*sourceRange(m))
			if err != nil {
				return nil, fmt.Errorf("the middleware %s: %w", m.Name, err)
			}
			out = append(out, g)
		case "inFlightConn":
			key := fmt.Sprintf("tcp %s %s %d", r.Name, m.Name, m.Config.InFlightConn.Amount)
			out = append(out, b.e.state.Keep(key, func() any { return tunnel.NewInFlight(m.Config.InFlightConn.Amount) }).(tunnel.Guard))
		default:
			return nil, fmt.Errorf("the middleware %s has no type that works", m.Name)
		}
	}
	return out, nil
}

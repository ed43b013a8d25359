// Package forward has the services of HTTP: the handlers at the end of a router's chain that bring a request to a server.
//
// A LoadBalancer chooses a server (package balance) and sends the request over one of its connections (package upstream),
// to another server if the first one could not be reached. Services made of services stand in the same package and see
// only httpmsg.Handler.
//
// A handler belongs to one generation of the configuration and is immutable. What outlives generations is in Live: the
// place in the round of servers, who is up, who has how many requests.
package forward

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
)

// LoadBalancer is a service that spreads requests over servers. Safe for concurrent use.
type LoadBalancer struct {
	name    string
	live    *Live
	picker  balance.Picker
	sticky  *balance.Sticky // nil without
	timed   bool            // times to first byte are measured
	passive *health.Passive // nil without
	// retryAfter is what clients are told when there is no server, in seconds; 0 tells nothing.
	retryAfter int
	checker    *health.Checker // nil without

	endpoints []*balance.Endpoint
	pools     []*upstream.Pool
	published sync.Once
}

// server is what an endpoint's Target is.
type server struct {
	url    string // as configured
	pool   upstream.RoundTripper
	target http1.Target
	state  *balance.State
	failed *health.Failures // nil without a passive check
}

func cookieOf(c *dynamic.LoadBalancer) *balance.CookieOptions {
	if c.Strategy == dynamic.StrategyHRW {
		return nil
	}
	return cookieOptions(c.Sticky)
}

// New builds the load balancer called name (qualified), whose live state is live, over the connections of t. It serves
// the servers of earlier generations until Publish.
func New(name string, c *dynamic.LoadBalancer, live *Live, t *upstream.Transport) (*LoadBalancer, error) {
	if err := refusal(Check(&dynamic.Service{LoadBalancer: c})); err != nil {
		return nil, err
	}
	b := &LoadBalancer{name: name, live: live, picker: live.pickerFor(c.Strategy), timed: c.Strategy == dynamic.StrategyLeastTime,
		retryAfter: int(c.RetryAfter.Std().Seconds())}
	if p := c.PassiveHealthCheck; p != nil {
		b.passive = health.NewPassive(p, c.HealthCheck != nil)
	}
	key := live.healthKey(c)
	var checked []health.Server
	for _, s := range c.Servers {
		e, err := b.endpoint(s, c, key, t)
		if err != nil {
			b.Close()
			return nil, err
		}
		if e.Weight > 0 || c.Strategy == dynamic.StrategyP2C {
			b.endpoints = append(b.endpoints, e)
			if _, unreachable := e.Target.(*server).pool.(nowhere); !unreachable {
				checked = append(checked, live.checked(s.URL, key))
			}
		}
	}
	if c.HealthCheck != nil {
		var err error
		if b.checker, err = health.New(c.HealthCheck, distinct(checked), t, live.changed); err != nil {
			b.Close()
			return nil, err
		}
	}
	if o := cookieOf(c); o != nil {
		b.sticky = balance.NewSticky(*o, name)
		b.sticky.Update(b.endpoints)
	}
	return b, nil
}

func (b *LoadBalancer) endpoint(s *dynamic.Server, c *dynamic.LoadBalancer, key string, t *upstream.Transport) (*balance.Endpoint, error) {
	srv := &server{url: s.URL, state: &b.live.server(s.URL, key).state}
	u, err := parseServer(s)
	if err != nil {
		srv.pool = nowhere{err}
	} else {
		pool, err := t.Acquire(upstream.Address{Scheme: u.scheme, Host: u.dial})
		if err != nil {
			return nil, err
		}
		b.pools = append(b.pools, pool)
		srv.pool = pool
	}
	srv.target.ForwardPeer = true
	srv.target.Prefix = u.prefix
	if c.PassHostHeader != nil && !*c.PassHostHeader {
		srv.target.Host = u.host
	}
	if b.passive != nil {
		srv.failed = &b.live.server(s.URL, key).failures
	}
	return &balance.Endpoint{Key: s.URL, Weight: s.Share(), Fenced: s.Fenced, State: srv.state, Target: srv}, nil
}

// nowhere stands for a server whose address cannot be dialled: its requests fail, or go to another server.
type nowhere struct{ why error }

// RoundTrip implements upstream.RoundTripper.
func (n nowhere) RoundTrip(*httpmsg.Exchange, *http1.Target) error {
	return fault.New(fault.DialFailed, "server", n.why).WithRetry(fault.Always)
}

// serverURL is a server's URL taken apart.
type serverURL struct {
	scheme string
	host   string // as a Host field has it
	dial   string // host:port
	prefix string // of the path, with PreservePath
}

func parseServer(s *dynamic.Server) (serverURL, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return serverURL{}, fmt.Errorf("url %q: %w", s.URL, errors.Unwrap(err))
	}
	out := serverURL{scheme: strings.ToLower(u.Scheme), host: u.Host}
	port := u.Port()
	switch out.scheme {
	case "http", "h2c":
		if port == "" {
			port = "80"
		}
	case "https":
		if port == "" {
			port = "443"
		}
	default:
		return serverURL{}, fmt.Errorf("url %q: the scheme must be http, https or h2c", s.URL)
	}
	if u.Hostname() == "" {
		return serverURL{}, fmt.Errorf("url %q has no host", s.URL)
	}
	out.dial = net.JoinHostPort(u.Hostname(), port)
	if s.PreservePath {
		out.prefix = strings.TrimRight(u.EscapedPath(), "/")
	}
	return out, nil
}

// distinct leaves out servers that are named twice.
func distinct(list []health.Server) []health.Server {
	seen := map[*balance.State]bool{}
	out := list[:0]
	for _, s := range list {
		if !seen[s.State] {
			seen[s.State] = true
			out = append(out, s)
		}
	}
	return out
}

// Publish makes this generation's servers the ones that are chosen from now on, and begins to check them. Publishing
// again does no harm.
func (b *LoadBalancer) Publish() {
	b.live.publish(b)
	b.published.Do(func() {
		if b.checker != nil {
			b.checker.Start()
		}
	})
}

// Close ends the checks and lets go of the connections. Exchanges under way finish.
func (b *LoadBalancer) Close() {
	if b.checker != nil {
		b.checker.Stop()
	}
	for _, p := range b.pools {
		p.Release()
	}
	b.pools = nil
}

// Up reports whether any server can take traffic, for services that contain this one.
func (b *LoadBalancer) Up() bool {
	for _, e := range b.endpoints {
		if !e.Fenced && e.Up() {
			return true
		}
	}
	return false
}

// ServerState is the state of a server.
type ServerState struct {
	// URL as configured.
	URL string
	Up  bool
	// Checked tells that something looks whether it is up, actively or passively.
	Checked bool
}

// Servers returns the state of all servers that requests can be sent to, each URL once.
func (b *LoadBalancer) Servers() []ServerState {
	list := make([]ServerState, 0, len(b.endpoints))
	seen := make(map[string]bool, len(b.endpoints))
	for _, e := range b.endpoints {
		if !seen[e.Key] {
			seen[e.Key] = true
			list = append(list, ServerState{URL: e.Key, Up: e.Up(), Checked: b.checker != nil || b.passive != nil})
		}
	}
	return list
}

// Serve implements httpmsg.Handler.
func (b *LoadBalancer) Serve(x *httpmsg.Exchange) error {
	client := x.Peer.Addr()
	e, stick := choose(b.sticky, b.picker, x)
	if e == nil {
		return noServer(b.retryAfter)
	}
	b.live.budget.asked()
	var tried *balance.Tried
	closed := 0
	for {
		measured := b.timed && (b.sticky == nil || stick)
		f := b.send(x, e, measured)
		if f == nil || !upstream.Repeatable(x, f) || x.Cancelled() != nil {
			return b.finish(x, e, stick, f)
		}
		if tried == nil {
			tried = new(balance.Tried)
		}
		tried.Add(e)
		if f.Retry == fault.Idempotent {
			if closed++; closed > 1 {
				// A request that two servers answered by closing is itself the reason.
				return b.finish(x, e, stick, f)
			}
		}
		if !b.again(tried, f) {
			return b.finish(x, e, stick, f)
		}
		next := b.picker.Pick(client, tried)
		if next == nil {
			return b.finish(x, e, stick, f)
		}
		e, stick = next, true
		x.Facts.Retries++
	}
}

// again reports whether a request that failed with f at the last of tried may go on to another server. The first retry is
// free; later ones must not make an outage worse (UPS-14). A server that takes no connections is not made worse by one
// more that it refuses, and the one that is left gets the request once, so those count for nothing.
func (b *LoadBalancer) again(tried *balance.Tried, f *fault.Fault) bool {
	switch {
	case tried.Len() >= balance.MaxTried:
		return false // it would begin anew with those it has forgotten
	case tried.Len() == 1 || f.Kind == fault.DialFailed:
		return true
	}
	return b.live.budget.take()
}

// send tries one server.
func (b *LoadBalancer) send(x *httpmsg.Exchange, e *balance.Endpoint, measured bool) *fault.Fault {
	s := e.Target.(*server)
	x.Facts.Server = s.url
	var from time.Time
	if measured {
		from = time.Now()
	}
	s.state.Begin()
	err := s.pool.RoundTrip(x, &s.target)
	if err != nil {
		s.state.End()
		f := fault.Of(err)
		if s.failed != nil && f.Kind.Side() == fault.Upstream {
			s.failed.Failed(b.passive, s.state)
		}
		return f
	}
	if x.KeepOrigin {
		x.Facts.Origin.CopyFrom(&x.Res.Header)
	}
	x.OnFinish(s)
	if measured {
		s.state.Took(x.Facts.FirstByte.Sub(from))
	}
	if s.failed != nil {
		if x.Res.Status >= 500 {
			s.failed.Failed(b.passive, s.state)
		} else {
			s.failed.Fine()
		}
	}
	return nil
}

// Finish ends the request's count as one in flight.
func (s *server) Finish(*httpmsg.Exchange) { s.state.End() }

// finish sets the cookie, for errors too, and makes f an error.
func (b *LoadBalancer) finish(x *httpmsg.Exchange, e *balance.Endpoint, stick bool, f *fault.Fault) error {
	if stick && b.sticky != nil {
		b.sticky.Stick(x, e)
	}
	if f != nil {
		return f
	}
	return nil
}

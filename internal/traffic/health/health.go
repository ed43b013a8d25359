// Package health finds out which servers work: actively, by asking each of them regularly, and passively, by what becomes of
// ordinary requests.
//
// What it finds out stands in a balance.State, which outlives changes of the configuration, as does the time of the last
// probe: a service that is changed every few seconds is still probed.
package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/upstream"
)

const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 5 * time.Second
)

// Schedule remembers when a server was probed. The zero value is a server that was never seen.
type Schedule struct{ last atomic.Int64 } // unix nanoseconds

// Server is one server under check.
type Server struct {
	// URL as configured.
	URL string
	// State is where the result goes.
	State *balance.State
	// Schedule belongs to the server like its State.
	Schedule *Schedule
}

// Checker asks the servers of one service. It works between Start and Stop.
type Checker struct {
	opts      options
	transport *upstream.Transport
	servers   []Server
	// changed, if not nil, is told when a probe changes a server's state; why is nil if it came up.
	changed func(url string, up bool, why error)

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// options are a dynamic.HealthCheck with everything resolved that does not depend on the server.
type options struct {
	scheme, method, hostname string
	ref                      *url.URL // path and query
	port                     int
	headers                  map[string]string
	status                   int
	follow                   bool
	interval, unhealthy      time.Duration
	timeout                  time.Duration
}

// Validate reports what is wrong with a health check, nil if nothing is.
func Validate(c *dynamic.HealthCheck) error {
	_, err := resolve(c)
	return err
}

func resolve(c *dynamic.HealthCheck) (options, error) {
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	o := options{scheme: strings.ToLower(c.Scheme), method: c.Method, hostname: c.Hostname, port: c.Port, headers: c.Headers,
		status: c.Status, follow: c.FollowRedirects == nil || *c.FollowRedirects,
		interval: positive(c.Interval, defaultInterval), timeout: positive(c.Timeout, defaultTimeout)}
	o.unhealthy = o.interval
	if c.UnhealthyInterval != nil {
		o.unhealthy = positive(*c.UnhealthyInterval, defaultInterval)
	}
	if o.method == "" {
		o.method = "GET"
	}
	if c.Mode == dynamic.HealthGRPC {
		fail("mode grpc is not supported yet")
	}
	switch o.scheme {
	case "", "http", "https":
	default:
		fail("scheme %q is neither http nor https", c.Scheme)
	}
	if c.Port < 0 || c.Port > 65535 {
		fail("port %d is not in 1 to 65535", c.Port)
	}
	ref, err := url.Parse(c.Path)
	switch {
	case err != nil:
		fail("path %q: %w", c.Path, errors.Unwrap(err))
	case ref.IsAbs() || ref.Host != "" || ref.User != nil:
		fail("path %q must be a path, with a query perhaps, and name no host", c.Path)
	default:
		ref.Fragment = ""
		o.ref = ref
	}
	return o, errors.Join(wrong...)
}

func positive(d dynamic.Duration, instead time.Duration) time.Duration {
	if d <= 0 {
		return instead
	}
	return time.Duration(d)
}

// New returns a checker that is not started. changed may be nil.
func New(c *dynamic.HealthCheck, servers []Server, t *upstream.Transport, changed func(url string, up bool, why error)) (*Checker, error) {
	o, err := resolve(c)
	if err != nil {
		return nil, err
	}
	return &Checker{opts: o, transport: t, servers: servers, changed: changed}, nil
}

// Start begins to probe. Every server has one goroutine, so that a slow one does not keep the others waiting. A server that
// is new counts as up, and is probed for the first time when one interval has passed.
func (k *Checker) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	for _, s := range k.servers {
		s.Schedule.last.CompareAndSwap(0, time.Now().UnixNano())
		k.done.Go(func() { k.watch(ctx, s) })
	}
}

// Stop calls probes off and waits until all have ended. Stopping a checker that was never started does nothing.
func (k *Checker) Stop() {
	if k.cancel != nil {
		k.cancel()
		k.done.Wait()
	}
}

// watch probes one server until ctx ends.
func (k *Checker) watch(ctx context.Context, s Server) {
	timer := time.NewTimer(k.wait(s))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := k.Probe(ctx, s.URL)
		if ctx.Err() != nil {
			return
		}
		s.Schedule.last.Store(time.Now().UnixNano())
		if s.State.SetUp(err == nil) && k.changed != nil {
			k.changed(s.URL, err == nil, err)
		}
		timer.Reset(k.wait(s))
	}
}

// wait is the time until the next probe.
func (k *Checker) wait(s Server) time.Duration {
	every := k.opts.interval
	if !s.State.Up() {
		every = k.opts.unhealthy
	}
	return max(every-time.Since(time.Unix(0, s.Schedule.last.Load())), 0)
}

// target is the URL that is asked for a server.
func (o *options) target(server string) (*url.URL, error) {
	base, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	u := base.ResolveReference(o.ref)
	u.User, u.Fragment = nil, ""
	if o.scheme != "" {
		u.Scheme = o.scheme
	}
	if o.port != 0 {
		u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(o.port))
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

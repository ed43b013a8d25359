// Package health finds out which servers work: actively, by asking each of them regularly, and passively, by what becomes of
// ordinary requests.
//
// What it finds out stands in a balance.State, which outlives changes of the configuration, as does the time of the last
// probe: a service that is changed every few seconds is still probed.
package health

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/upstream"
)

// Checker asks the servers of one service by HTTP. It works between Start and Stop.
type Checker struct {
	rounds
	opts      options
	transport *upstream.Transport
}

// options are a dynamic.HealthCheck with everything resolved that does not depend on the server.
type options struct {
	scheme, method, hostname string
	ref                      *url.URL // path and query
	port                     int
	headers                  map[string]string
	status                   int
	follow, grpc             bool
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
		status: c.Status, follow: c.FollowRedirects == nil || *c.FollowRedirects, timeout: positive(c.Timeout, defaultTimeout)}
	o.interval, o.unhealthy = intervals(c.Interval, c.UnhealthyInterval)
	if o.method == "" {
		o.method = "GET"
	}
	o.grpc = c.Mode == dynamic.HealthGRPC
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

// New returns a checker that is not started. changed may be nil.
func New(c *dynamic.HealthCheck, servers []Server, t *upstream.Transport, changed func(url string, up bool, why error)) (*Checker, error) {
	o, err := resolve(c)
	if err != nil {
		return nil, err
	}
	k := &Checker{opts: o, transport: t}
	k.rounds = rounds{interval: o.interval, unhealthy: o.unhealthy, probe: k.Probe, servers: servers, changed: changed}
	return k, nil
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

package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
)

const (
	maxRedirects = 10
	maxProbeBody = 64 << 10 // read so that the connection can be kept
)

// Probe asks the server once and says why it is not well, nil if it is.
func (k *Checker) Probe(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, k.opts.timeout)
	defer cancel()
	u, err := k.opts.target(server)
	if err != nil {
		return err
	}
	if k.opts.grpc {
		u = grpcURL(u)
		if err := k.probeGRPC(ctx, u); err != nil {
			return k.failed(ctx, u, err)
		}
		return nil
	}
	// The name given is the host of the first request; a redirection says where it goes by itself.
	host, method := k.opts.hostname, k.opts.method
	for range maxRedirects + 1 {
		status, location, err := k.ask(ctx, method, u, host)
		if err != nil {
			return k.failed(ctx, u, err)
		}
		next := redirection(u, status, location)
		if !k.opts.follow || next == nil {
			return k.judge(u, status)
		}
		if status == 301 || status == 302 || status == 303 {
			if method != "HEAD" {
				method = "GET"
			}
		}
		u, host = next, ""
	}
	return fmt.Errorf("%s: more than %d redirections", u, maxRedirects)
}

// failed words an error of a probe.
func (k *Checker) failed(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("%s: no answer within %s", u, k.opts.timeout)
	}
	return fmt.Errorf("%s: %w", u, err)
}

func (k *Checker) judge(u *url.URL, status int) error {
	switch want := k.opts.status; {
	case want == 0 && status >= 200 && status < 400, want != 0 && status == want:
		return nil
	case want == 0:
		return fmt.Errorf("%s: status %d is not in 200 to 399", u, status)
	default:
		return fmt.Errorf("%s: status %d, want %d", u, status, want)
	}
}

// redirection returns where a response leads, nil if nowhere.
func redirection(from *url.URL, status int, location string) *url.URL {
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		return nil
	}
	if location == "" {
		return nil
	}
	to, err := from.Parse(location)
	if err != nil || to.Host == "" {
		return nil
	}
	return to
}

// ask sends one request and reads the answer.
func (k *Checker) ask(ctx context.Context, method string, u *url.URL, host string) (status int, location string, err error) {
	x, done := k.exchange(ctx, method, u, host)
	defer done()
	if err := k.roundTrip(x, u); err != nil {
		return 0, "", err
	}
	status = x.Res.Status
	location = x.Res.Header.Get(httpmsg.HdrLocation).String()
	drain(x)
	return status, location, nil
}

// exchange makes a request to u, under the name host if that is not empty. done ends it.
func (k *Checker) exchange(ctx context.Context, method string, u *url.URL, host string) (x *httpmsg.Exchange, done func()) {
	if host == "" {
		host = u.Host
	}
	x = new(httpmsg.Exchange)
	x.Reset(nil)
	x.Req.Method, x.Req.Host, x.Req.Proto = httpmsg.Text(method), httpmsg.Text(host), httpmsg.HTTP11
	x.Req.Path, x.Req.Query, x.Req.HasQuery = httpmsg.Text(u.EscapedPath()), httpmsg.Text(u.RawQuery), u.RawQuery != ""
	if u.Path == "" {
		x.Req.Path = httpmsg.Text("/")
	}
	for name, value := range k.opts.headers {
		if !strings.EqualFold(name, "Host") {
			x.Req.Header.Add(name, value)
		}
	}
	stop := context.AfterFunc(ctx, func() { x.Cancel(context.Cause(ctx)) })
	return x, func() { stop(); x.Finish() }
}

// roundTrip sends x to the server of u.
func (k *Checker) roundTrip(x *httpmsg.Exchange, u *url.URL) error {
	pool, err := k.transport.Acquire(upstream.Address{Scheme: u.Scheme, Host: dialAddress(u)})
	if err != nil {
		return err
	}
	defer pool.Release()
	if err := pool.RoundTrip(x, &http1.Target{}); err != nil {
		return err
	}
	if x.Upgrade != nil {
		x.Upgrade.Server.Close()
		return errors.New("the server switched protocols")
	}
	return nil
}

// drain reads a body to its end if that is near. What becomes of it does not matter: the status has been said.
func drain(x *httpmsg.Exchange) {
	if x.Res.Body == nil {
		return
	}
	for n := 0; n < maxProbeBody; {
		p, err := x.Res.Body.Next()
		if err != nil {
			return
		}
		n += len(p)
	}
}

func dialAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

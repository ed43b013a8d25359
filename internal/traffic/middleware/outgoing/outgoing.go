// Package outgoing asks servers of the user's on behalf of middlewares: auth servers, identity providers, policy servers. It
// is the one way in which middlewares send requests of their own.
//
// Every question is bounded in time and every answer in size. Redirects are answers and are not followed: a server that
// could send us elsewhere could make us ask anybody for keys. Errors show addresses without user, password and query.
package outgoing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

const (
	// dialTime bounds connecting, where the context does not do it earlier.
	dialTime = 30 * time.Second
	// idleConns are kept open to one server.
	idleConns = 64
	// maxHead is the largest head of an answer, in bytes.
	maxHead = 256 << 10
)

// Client holds connections to servers. Safe for concurrent use.
type Client struct{ http *http.Client }

// New returns a client that connects as c says; nil trusts the system's authorities.
func New(c *dynamic.ClientTLS) (*Client, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true, // limits count what is sent, and answers are passed on as they are
	}
	if c != nil {
		var err error
		if t.TLSClientConfig, err = certs.Client(c); err != nil {
			return nil, err
		}
	}
	return over(t), nil
}

// over returns a client over a transport.
func over(t http.RoundTripper) *Client {
	return &Client{&http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Kept is New for a middleware: its connections are kept over changes of the configuration, and shared by all instances of
// the same name and kind.
func Kept(env middleware.Env, kind string, c *dynamic.ClientTLS) (*Client, error) {
	fresh, err := New(c)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if env.State == nil {
		return fresh, nil
	}
	return env.State.Keep(kind+"\x00"+env.Name+"\x00"+Print(c), func() any { return fresh }).(*Client), nil
}

// Do sends a request. The caller bounds it by the request's context, and closes the body of the answer.
func (c *Client) Do(r *http.Request) (*http.Response, error) { return c.http.Do(r) }

// Close lets go of unused connections, for State.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CheckTLS reports what New would refuse; key is the path of the section below the middleware.
func CheckTLS(key string, c *dynamic.ClientTLS) diag.List {
	if c == nil {
		return nil
	}
	l := certs.ValidateClient(c)
	for i := range l {
		l[i].Key = key + "." + l[i].Key
	}
	return l
}

// Print tells ways to connect apart, secrets included, without showing them.
func Print(c *dynamic.ClientTLS) string {
	if c == nil {
		return ""
	}
	sum := sha256.New()
	for _, p := range []string{c.CA.Content.Reveal(), c.Cert.Content.Reveal(), c.Key.Content.Reveal(), fmt.Sprint(c.InsecureSkipVerify)} {
		fmt.Fprintf(sum, "%d %s\n", len(p), p)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// ParseURL reads the absolute address of a server. Its errors never show it, since it may hold a password.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("the address of the server must be given")
	case err != nil:
		return nil, errors.New("this is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the scheme must be http or https")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Shown is an address as logs and errors may show it.
func Shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// Within gives work for an exchange a context that ends with the exchange, or after d. end must be called; until then
// nobody else may use x.OnCancel.
func Within(x *httpmsg.Exchange, d time.Duration) (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	gone := func(error) { cancel() }
	x.OnCancel(&gone)
	return ctx, func() {
		x.OnCancel(nil)
		cancel()
	}
}

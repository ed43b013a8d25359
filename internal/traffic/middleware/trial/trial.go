// Package trial runs handlers on real connections, for tests of middlewares only: clients speak HTTP/1.1, HTTP/2 over TLS and
// HTTP/2 in the clear to the same handler, behind which a service with real servers may stand.
package trial

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/forward"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// Front is an entry with one handler.
type Front struct {
	// URL is where clients connect.
	URL string
	// Client follows no redirects and does not decode bodies.
	Client *http.Client

	ended chan httpmsg.Facts
}

// Each calls body once for each version of HTTP, with a front that serves h in that version.
func Each(t *testing.T, h httpmsg.Handler, body func(t *testing.T, f *Front)) {
	t.Run("HTTP1", func(t *testing.T) { body(t, HTTP1(t, h)) })
	t.Run("HTTP2", func(t *testing.T) { body(t, http2(t, h, true)) })
	t.Run("h2c", func(t *testing.T) { body(t, http2(t, h, false)) })
}

// HTTP1 serves h by our own engine until the test ends.
func HTTP1(t testing.TB, h httpmsg.Handler) *Front {
	t.Helper()
	w := watch.New()
	w.Start()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFront("http://"+ln.Addr().String(), &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Second})
	s := &http1.Server{Watch: w, Handler: h, Timeouts: http1.Timeouts{Read: 10 * time.Second, Idle: 10 * time.Second}, Done: f.done}
	entry := sock.NewListener(ln, w, nil)
	go entry.Serve(func(c *sock.Conn) { s.ServeConn(c, http1.Session{Peer: c.Peer(), Local: c.Local()}) })
	t.Cleanup(func() {
		f.Client.CloseIdleConnections()
		entry.Stop()
		s.Cut()
		entry.Wait(context.Background())
		for s.Open() > 0 { // a loop's last steps come after its connection is closed
			time.Sleep(time.Millisecond)
		}
		w.Stop()
	})
	return f
}

func http2(t testing.TB, h httpmsg.Handler, secure bool) *Front {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	s.Config.Protocols = new(http.Protocols)
	if secure {
		s.EnableHTTP2 = true
		s.Config.Protocols.SetHTTP2(true)
		transport.Protocols.SetHTTP2(true)
	} else {
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	f := newFront("", transport)
	s.Config.Handler = bridge.NewServer(httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.OnFinish(finisher(f.done))
		return h.Serve(x)
	}), bridge.Options{})
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	f.URL = s.URL
	t.Cleanup(func() { f.Client.CloseIdleConnections(); s.Close() })
	return f
}

type finisher func(x *httpmsg.Exchange)

func (f finisher) Finish(x *httpmsg.Exchange) { f(x) }

func newFront(url string, transport *http.Transport) *Front {
	return &Front{URL: url, ended: make(chan httpmsg.Facts, 10_000), Client: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 30 * time.Second}}
}

func (f *Front) done(x *httpmsg.Exchange) { f.ended <- x.Facts }

// Last waits for the next exchange that ends, in the order of their ends, and returns its facts.
func (f *Front) Last(t testing.TB) httpmsg.Facts {
	t.Helper()
	select {
	case facts := <-f.ended:
		return facts
	case <-time.After(10 * time.Second):
		t.Fatal("no exchange ended")
		panic("unreachable")
	}
}

// Service is a load balancer over servers, given as URLs or host:port, until the test ends.
func Service(t testing.TB, servers ...string) httpmsg.Handler {
	t.Helper()
	c := &dynamic.LoadBalancer{}
	c.SetDefaults()
	for _, s := range servers {
		if !strings.Contains(s, "://") {
			s = "http://" + s
		}
		c.Servers = append(c.Servers, &dynamic.Server{URL: s})
	}
	w := watch.New()
	w.Start()
	tr := upstream.New(upstream.Defaults(), w)
	lb, err := forward.New("trial@file", c, forward.NewLive(), tr)
	if err != nil {
		t.Fatal(err)
	}
	lb.Publish()
	t.Cleanup(func() {
		lb.Close()
		tr.CloseIdle()
		w.Stop()
	})
	return lb
}

// Refusing returns an address that nobody listens on.
func Refusing(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

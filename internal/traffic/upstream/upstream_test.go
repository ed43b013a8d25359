package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

const okReply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newPoolFor(t testing.TB, scheme, addr string, o Options) *Pool {
	t.Helper()
	w := watch.New()
	w.Start()
	tr := New(o, w)
	p, err := tr.Acquire(Address{Scheme: scheme, Host: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Release()
		settle(t, p)
		w.Stop()
	})
	return p
}

func request(method string) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	x.Reset(nil)
	x.Req.Method, x.Req.Path, x.Req.Host = httpmsg.Text(method), httpmsg.Text("/"), httpmsg.Text("a.test")
	return x
}

// ask sends one request and returns the body of the answer.
func ask(p *Pool, method string) (string, error) {
	x := request(method)
	defer x.Finish()
	if err := p.RoundTrip(x, &http1.Target{}); err != nil {
		return "", err
	}
	return bodyOf(x)
}

func bodyOf(x *httpmsg.Exchange) (string, error) {
	var b strings.Builder
	for x.Res.Body != nil {
		p, err := x.Res.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return b.String(), err
		}
		b.Write(p)
	}
	return b.String(), nil
}

func TestPoolReuses(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer(okReply))
	p := newPoolFor(t, "http", peer.Addr, Defaults())
	for range 10 {
		if got, err := ask(p, "GET"); got != "ok" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if peer.Conns() != 1 || p.Idle() != 1 || p.Open() != 1 {
		t.Errorf("%d connections, %d idle, %d open, want one", peer.Conns(), p.Idle(), p.Open())
	}
}

func TestPoolLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		o    func(*Options)
		want int
	}{
		{"two", func(o *Options) { o.MaxIdlePerHost = 2 }, 2},
		{"none", func(o *Options) { o.MaxIdlePerHost = 0 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, testkit.Answer(okReply))
			o := Defaults()
			c.o(&o)
			p := newPoolFor(t, "http", peer.Addr, o)
			var all []*httpmsg.Exchange
			for range 5 {
				x := request("GET")
				if err := p.RoundTrip(x, &http1.Target{}); err != nil {
					t.Fatal(err)
				}
				all = append(all, x)
			}
			for _, x := range all {
				bodyOf(x)
				x.Finish()
			}
			if p.Idle() > c.want || p.Open() != p.Idle() {
				t.Errorf("%d idle, %d open, want %d", p.Idle(), p.Open(), c.want)
			}
		})
	}
}

// The connection that was used last is used next.
func TestPoolLastInFirstOut(t *testing.T) {
	hold := make(chan bool)
	peer := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		for {
			if _, err := c.ReadUntil("\r\n\r\n"); err != nil {
				return
			}
			if n == 0 {
				<-hold
			}
			io.WriteString(c, okReply)
		}
	})
	p := newPoolFor(t, "http", peer.Addr, Defaults())
	first := make(chan error)
	go func() { _, err := ask(p, "GET"); first <- err }()
	peer.Conn(t, 0)
	if _, err := ask(p, "GET"); err != nil {
		t.Fatal(err)
	}
	hold <- true
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	close(hold)
	before := len(peer.Conn(t, 1).Received())
	for range 3 {
		ask(p, "GET")
	}
	if got := len(peer.Conn(t, 1).Received()); got != before {
		t.Errorf("the connection unused for longer was used")
	}
	if p.Idle() != 2 {
		t.Errorf("%d idle", p.Idle())
	}
}

func TestPoolIdleTimeout(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer(okReply))
	o := Defaults()
	o.IdleConnTimeout = 30 * time.Millisecond
	p := newPoolFor(t, "http", peer.Addr, o)
	ask(p, "GET")
	for deadline := time.Now().Add(5 * time.Second); p.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the idle connection was never closed")
		}
	}
	if _, err := ask(p, "GET"); err != nil {
		t.Fatal(err)
	}
}

func TestPoolRelease(t *testing.T) {
	hold := make(chan bool)
	peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		<-hold
		io.WriteString(c, "k")
		io.Copy(io.Discard, c)
	})
	w := watch.New()
	w.Start()
	defer w.Stop()
	tr := New(Defaults(), w)
	addr := Address{Scheme: "http", Host: peer.Addr}
	p, _ := tr.Acquire(addr)
	if q, _ := tr.Acquire(addr); q != p {
		t.Error("one address has two pools")
	}
	x := request("GET")
	if err := p.RoundTrip(x, &http1.Target{}); err != nil {
		t.Fatal(err)
	}
	p.Release()
	p.Release()
	if q, _ := tr.Acquire(addr); q == p {
		t.Error("a released pool was handed out")
	} else {
		q.Release()
	}
	hold <- true
	if got, err := bodyOf(x); got != "ok" || err != nil {
		t.Errorf("the exchange under way ended with %q, %v", got, err)
	}
	x.Finish()
	if p.Open() != 0 {
		t.Errorf("%d connections of a released pool are open", p.Open())
	}
}

func TestAcquireScheme(t *testing.T) {
	tr := New(Defaults(), watch.New())
	for _, scheme := range []string{"ws", "ftp", ""} {
		if _, err := tr.Acquire(Address{Scheme: scheme, Host: "a:1"}); err == nil {
			t.Errorf("scheme %q was accepted", scheme)
		}
	}
}

// UPS-01: a stale connection costs a replayable request nothing.
func TestPoolStaleUPS01(t *testing.T) {
	// Every connection answers one request and closes: while idle, or upon the second request.
	for _, c := range []struct {
		name   string
		script func(c *testkit.PeerConn, n int)
		method string
		want   string
		kind   fault.Kind
	}{
		{"closed while idle, GET", answerOnce, "GET", "ok", 0},
		{"closed while idle, POST", answerOnce, "POST", "ok", 0},
		{"closed upon the request, GET", closeUpon, "GET", "ok", 0},
		{"closed upon the request, POST", closeUpon, "POST", "", fault.UpstreamClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, c.script)
			p := newPoolFor(t, "http", peer.Addr, Defaults())
			for range 3 {
				if got, err := ask(p, "GET"); got != "ok" || err != nil {
					t.Fatalf("%q, %v", got, err)
				}
				if strings.HasPrefix(c.name, "closed while idle") {
					waitClosed(t, p)
				}
				got, err := ask(p, c.method)
				if f := fault.Of(err); got != c.want || f != nil && f.Kind != c.kind || f == nil && c.want == "" {
					t.Fatalf("second request: %q, %v", got, err)
				}
			}
		})
	}
	t.Run("fresh connection closed", func(t *testing.T) {
		peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { c.ReadUntil("\r\n\r\n") })
		p := newPoolFor(t, "http", peer.Addr, Defaults())
		_, err := ask(p, "GET")
		if f := fault.Of(err); f == nil || f.Kind != fault.UpstreamClosed || f.Status() != 502 || f.Retry != fault.Idempotent {
			t.Errorf("%v", err)
		}
		if peer.Conns() != 1 {
			t.Errorf("%d connections", peer.Conns())
		}
	})
	t.Run("closed twice", func(t *testing.T) {
		peer := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
			if n == 0 {
				closeUpon(c, n)
			} else {
				c.ReadUntil("\r\n\r\n")
			}
		})
		p := newPoolFor(t, "http", peer.Addr, Defaults())
		ask(p, "GET")
		_, err := ask(p, "GET")
		if f := fault.Of(err); f == nil || f.Kind != fault.UpstreamClosed || f.Retry != fault.Never {
			t.Errorf("%v: want no more retries", err)
		}
		if peer.Conns() != 2 {
			t.Errorf("%d connections", peer.Conns())
		}
	})
}

// waitClosed waits until the FIN of the server has come to the idle connection.
func waitClosed(t *testing.T, p *Pool) {
	t.Helper()
	nc := p.idle[len(p.idle)-1].Conn()
	nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("idle connection: %d bytes, %v", n, err)
	}
	nc.SetReadDeadline(time.Time{})
}

func answerOnce(c *testkit.PeerConn, _ int) {
	c.ReadUntil("\r\n\r\n")
	io.WriteString(c, okReply)
}

func closeUpon(c *testkit.PeerConn, _ int) {
	c.ReadUntil("\r\n\r\n")
	io.WriteString(c, okReply)
	c.ReadUntil("\r\n\r\n")
}

func TestDialFaults(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, c := range []struct {
		name   string
		dial   func(context.Context, string, string) (net.Conn, error)
		kind   fault.Kind
		status int
	}{
		{"refused", nil, fault.DialFailed, 502},
		{"no such host", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}, fault.DialFailed, 502},
		{"times out", func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, fault.DialTimeout, 504},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Defaults()
			o.Dial = c.dial
			o.DialTimeout = 20 * time.Millisecond
			p := newPoolFor(t, "http", closed.Addr().String(), o)
			_, err := ask(p, "POST")
			if f := fault.Of(err); f == nil || f.Kind != c.kind || f.Status() != c.status || f.Retry != fault.Always {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("client gone", func(t *testing.T) {
		o := Defaults()
		dialing := make(chan bool)
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := newPoolFor(t, "http", closed.Addr().String(), o)
		x := request("GET")
		go func() { <-dialing; x.Cancel(errors.New("gone")) }()
		if f := fault.Of(p.RoundTrip(x, &http1.Target{})); f == nil || f.Kind != fault.ClientGone {
			t.Errorf("%v", f)
		}
		x.Finish()
	})
}

// UPS-12: only a server that proves its name is talked to.
func TestTLSUPS12(t *testing.T) {
	ca := testkit.NewCA(t)
	good := ca.Leaf(t, "backend.test", "127.0.0.1").ServerConfig()
	wrong := ca.Leaf(t, "other.test").ServerConfig()
	expired := ca.Issue(t, testkit.Request{Names: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}).ServerConfig()
	pool := ca.Pool()
	for _, c := range []struct {
		name   string
		server *tls.Config // nil answers in the clear
		client *tls.Config
		kind   fault.Kind
		status int
	}{
		{"trusted", good, &tls.Config{RootCAs: pool}, 0, 0},
		{"by configured name", good, &tls.Config{RootCAs: pool, ServerName: "backend.test"}, 0, 0},
		{"unknown authority", good, nil, fault.UpstreamTLS, 502},
		{"wrong name", wrong, &tls.Config{RootCAs: pool}, fault.UpstreamTLS, 502},
		{"wrong configured name", good, &tls.Config{RootCAs: pool, ServerName: "x.test"}, fault.UpstreamTLS, 502},
		{"expired", expired, &tls.Config{RootCAs: pool}, fault.UpstreamTLS, 502},
		{"anything goes", wrong, &tls.Config{InsecureSkipVerify: true}, 0, 0},
		{"plain port", nil, &tls.Config{RootCAs: pool}, fault.UpstreamTLS, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, n int) {
				if c.server == nil {
					io.WriteString(p, "HTTP/1.1 400 Bad Request\r\n\r\n")
					return
				}
				tc := tls.Server(p.Conn, c.server)
				defer tc.Close()
				testkit.Answer(okReply)(&testkit.PeerConn{Conn: tc}, n)
			})
			o := Defaults()
			o.TLS = c.client
			p := newPoolFor(t, "https", peer.Addr, o)
			for range 3 {
				got, err := ask(p, "GET")
				if c.status == 0 {
					if got != "ok" || err != nil {
						t.Fatalf("%q, %v", got, err)
					}
					continue
				}
				if f := fault.Of(err); f == nil || f.Kind != c.kind || f.Status() != c.status || f.Retry != fault.Always {
					t.Fatalf("%q, %v", got, err)
				}
			}
			if c.status == 0 && peer.Conns() != 1 {
				t.Errorf("%d connections for three requests", peer.Conns())
			}
		})
	}
	t.Run("handshake never ends", func(t *testing.T) {
		peer := testkit.Listen(t, nil)
		o := Defaults()
		o.HandshakeTimeout = 20 * time.Millisecond
		p := newPoolFor(t, "https", peer.Addr, o)
		_, err := ask(p, "GET")
		if f := fault.Of(err); f == nil || f.Kind != fault.DialTimeout || f.Status() != 504 {
			t.Errorf("%v", err)
		}
	})
}

func TestOptionsOf(t *testing.T) {
	o, err := OptionsOf(&dynamic.ServersTransport{ForwardingTimeouts: &dynamic.ForwardingTimeouts{ResponseHeaderTimeout: dynamic.Seconds(3)}})
	if err != nil || o.MaxIdlePerHost != 2 || o.DialTimeout != 0 || o.IdleConnTimeout != 0 || o.Client.ResponseHeaderTimeout != 3*time.Second {
		t.Errorf("options %+v, %v", o, err)
	}
	o, _ = OptionsOf(&dynamic.ServersTransport{MaxIdleConnsPerHost: -1})
	if o.MaxIdlePerHost != 0 || o.DialTimeout != 30*time.Second || o.IdleConnTimeout != 90*time.Second {
		t.Errorf("options %+v", o)
	}
	if _, err := OptionsOf(&dynamic.ServersTransport{RootCAs: []dynamic.Material{{Written: "/nowhere.pem"}}}); err == nil {
		t.Error("a missing authority is no error")
	}
}

// The names that a transport demands are those of the certificate, also where the host's name is not verified.
func TestPeerNames(t *testing.T) {
	ca := testkit.NewCA(t)
	server := ca.Leaf(t, "127.0.0.1", "backend.test").ServerConfig()
	for name, ok := range map[string]bool{"backend.test": true, "x.test": false} {
		t.Run(name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, n int) {
				tc := tls.Server(p.Conn, server)
				defer tc.Close()
				testkit.Answer(okReply)(&testkit.PeerConn{Conn: tc}, n)
			})
			root := dynamic.Material{Written: "inline", Content: secret.New(string(ca.PEM))}
			o, err := OptionsOf(&dynamic.ServersTransport{RootCAs: []dynamic.Material{root},
				PeerCertSANs: []*dynamic.PeerCertSAN{{Type: "DNSName", Value: name}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = ask(newPoolFor(t, "https", peer.Addr, o), "GET")
			if f := fault.Of(err); (f == nil) != ok || f != nil && f.Kind != fault.UpstreamTLS {
				t.Errorf("error %v, want ok %v", err, ok)
			}
		})
	}
}

// FLD-11: a server that is ourselves ends in 508 after ten rounds, without a header to count them.
func TestLoopFLD11(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := watch.New()
	w.Start()
	defer w.Stop()
	tr := New(Defaults(), w)
	p, _ := tr.Acquire(Address{Scheme: "http", Host: ln.Addr().String()})
	var rounds sync.Map
	served := 0
	srv := &http1.Server{Watch: w, Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		rounds.Store(x.Peer, true)
		return p.RoundTrip(x, &http1.Target{})
	})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			peer := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			local := c.LocalAddr().(*net.TCPAddr).AddrPort()
			wg.Go(func() { srv.ServeConn(c.(*net.TCPConn), http1.Session{Peer: peer, Local: local}) })
		}
	})
	got := testkit.Exchange(t, ln.Addr().String(), "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 508 ") {
		t.Errorf("answer %q", got)
	}
	rounds.Range(func(any, any) bool { served++; return true })
	if served != maxHops+1+1 {
		t.Errorf("%d rounds, want %d", served, maxHops+2)
	}
	ln.Close()
	p.Release()
	srv.Cut()
	wg.Wait()
}

func TestLoopIsNotSeenForOthers(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer(okReply))
	p := newPoolFor(t, "http", peer.Addr, Defaults())
	ask(p, "GET")
	x := request("GET")
	x.Peer = netip.MustParseAddrPort("127.0.0.1:1")
	if n := own.hops(x); n != 0 {
		t.Errorf("%d hops for a client that is not us", n)
	}
	local, _ := localOf(p.idle[0].Conn())
	x.Peer = local
	if n := own.hops(x); n != 1 {
		t.Errorf("%d hops for our own connection", n)
	}
	x.Peer = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), local.Port())
	if n := own.hops(x); n != 0 {
		t.Errorf("%d hops for a stranger with the same port", n)
	}
	p.t.CloseIdle()
	x.Peer = local
	if n := own.hops(x); n != 0 {
		t.Errorf("%d hops when the connection is closed", n)
	}
}

func TestPoolConcurrent(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer(okReply))
	p := newPoolFor(t, "http", peer.Addr, Defaults())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if got, err := ask(p, "GET"); got != "ok" || err != nil {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if p.Open() != p.Idle() || p.Open() > 8 {
		t.Errorf("%d open, %d idle", p.Open(), p.Idle())
	}
}

package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// network is an in-memory network: each address has a script for the connections that it gets.
type network map[string]func(c net.Conn)

func (n network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	script := n[address]
	if script == nil {
		<-ctx.Done() // as a machine that is switched off
		return nil, ctx.Err()
	}
	ours, theirs := testkit.Pipe()
	go func() {
		defer theirs.Close()
		script(theirs)
	}()
	return ours, nil
}

func answer(s string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, s)
		_, _ = io.Copy(io.Discard, c)
	}
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// A server that is dead, or accepts and says nothing, costs its time limit and then the next one is asked.
func TestSilentServersAreBounded(t *testing.T) {
	tests := []struct {
		name     string
		dead     Server
		postgres bool
		atMost   time.Duration
		kind     fault.Kind
	}{
		{"dead machine", Server{Address: "off:1"}, false, 3 * time.Second, fault.DialTimeout},
		{"TLS-12 silent after the request of Postgres", Server{Address: "silent:1"}, true, handshakeTimeout, fault.UpstreamProtocol},
		{"silent in the TLS handshake", Server{Address: "silent:1", TLS: true}, false, handshakeTimeout, fault.UpstreamTLS},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := network{"silent:1": silent, "good:1": answer("Shello")}
				o := Options{DialTimeout: 3 * time.Second, Dial: n.dial}
				alone := New("s", []Server{test.dead}, NewLive(), o)
				alone.Publish()
				began := time.Now()
				_, r := through(t, alone, "x", test.postgres)
				if r.Fault == nil || r.Fault.Kind != test.kind || !r.Open || r.Server != test.dead.Address {
					t.Errorf("alone: got %+v", r)
				}
				if took := time.Since(began); took > test.atMost {
					t.Errorf("alone: took %v", took)
				}
				both := New("s", []Server{test.dead, {Address: "good:1"}}, NewLive(), o)
				both.Publish()
				want := "Shello"
				if test.postgres {
					want = "hello"
				}
				for range 4 {
					began := time.Now()
					got, r := through(t, both, "x", test.postgres)
					if got != want || r.Fault != nil || r.Server != "good:1" {
						t.Errorf("with another: got %q, %+v", got, r)
					}
					if took := time.Since(began); took > test.atMost {
						t.Errorf("with another: took %v", took)
					}
				}
			})
		})
	}
}

// Surprise 18 of the reference: nothing to choose from must not be searched for ever.
func TestOnlyZeroWeights(t *testing.T) {
	child := New("c", []Server{{Address: "a:1"}}, NewLive(), Options{Dial: network{"a:1": answer("a")}.dial})
	w := NewWeighted("w", []Child{{Name: "c", Service: child}}, NewLive())
	child.Publish()
	w.Publish()
	if _, r := through(t, w, "", false); r.Fault == nil || r.Fault.Kind != fault.NoServer || !r.Open {
		t.Errorf("got %+v", r)
	}
}

func TestWeightedGoesOnToAChildThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network{"good:1": answer("good")}
		o := Options{DialTimeout: time.Second, Dial: n.dial}
		none := New("none", nil, NewLive(), o)
		dead := New("dead", []Server{{Address: "off:1"}, {Address: "off:2"}}, NewLive(), o)
		good := New("good", []Server{{Address: "good:1"}}, NewLive(), o)
		w := NewWeighted("w", []Child{{Name: "none", Weight: 1, Service: none}, {Name: "dead", Weight: 1, Service: dead}, {Name: "good", Weight: 1, Service: good}}, NewLive())
		for _, s := range []*Service{none, dead, good, w} {
			s.Publish()
		}
		for range 6 {
			if got, r := through(t, w, "", false); got != "good" || r.Fault != nil {
				t.Errorf("got %q, %+v", got, r)
			}
		}
	})
}

// PPX-09: the header stands before the TLS handshake and tells the family, or that nothing is known.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	config := ca.Leaf(t, "server.test").ServerConfig()
	four, six := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::2]:2")
	tests := []struct {
		name       string
		peer, host netip.AddrPort
	}{
		{"IPv4", four, netip.MustParseAddrPort("198.51.100.2:443")},
		{"IPv6", netip.MustParseAddrPort("[2001:db8::1]:1"), six},
		{"mixed", four, six},
		{"unknown", netip.AddrPort{}, six},
	}
	for _, test := range tests {
		for version := 1; version <= 2; version++ {
			headers := make(chan proxyproto.Header, 1)
			n := network{"server.test:1": func(c net.Conn) {
				s := sock.New(c, nil)
				h, err := s.ReadProxyHeader(true)
				if err != nil {
					t.Errorf("%s, version %d: %v", test.name, version, err)
				}
				headers <- h
				secure := tls.Server(s, config)
				_, _ = io.Copy(secure, secure)
				_ = secure.CloseWrite()
			}}
			s := New("s", []Server{{Address: "server.test:1", TLS: true}}, NewLive(),
				Options{ProxyVersion: version, TLS: &tls.Config{RootCAs: ca.Pool()}, Dial: n.dial})
			s.Publish()
			client, ours := testkit.Pipe()
			done := make(chan Result, 1)
			go func() { done <- s.Serve(Client{Stream: ours, Peer: test.peer, Local: test.host}) }()
			_, _ = io.WriteString(client, "hello")
			_ = client.CloseWrite()
			got, err := io.ReadAll(client)
			if r := <-done; string(got) != "hello" || err != nil || r.Fault != nil {
				t.Errorf("%s, version %d: got %q, %v, %+v", test.name, version, got, err, r)
			}
			h := <-headers
			if h.Version != version || h.Source != test.peer || test.peer.IsValid() && h.Destination != test.host {
				t.Errorf("%s, version %d: the server read %+v", test.name, version, h)
			}
		}
	}
}

// A second connection to a TLS server resumes the session of the first.
func TestTLSIsResumed(t *testing.T) {
	ca := testkit.NewCA(t)
	config := ca.Leaf(t, "server.test").ServerConfig()
	var resumed atomic.Int32
	n := network{"server.test:1": func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.Handshake() == nil && secure.ConnectionState().DidResume {
			resumed.Add(1)
		}
		_, _ = io.Copy(secure, secure)
		_ = secure.CloseWrite()
	}}
	given := &tls.Config{RootCAs: ca.Pool()}
	s := New("s", []Server{{Address: "server.test:1", TLS: true}}, NewLive(), Options{TLS: given, Dial: n.dial})
	s.Publish()
	for range 3 {
		if got, r := through(t, s, "hello", false); got != "hello" {
			t.Fatalf("got %q, %+v", got, r)
		}
	}
	if resumed.Load() != 2 {
		t.Errorf("%d of 2 connections were resumed", resumed.Load())
	}
	if given.ServerName != "" || given.ClientSessionCache != nil {
		t.Error("the configuration given was changed")
	}
}

// socket returns a client's socket and the connection that was accepted for it.
func socket(t *testing.T) (*net.TCPConn, *sock.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := testkit.Dial(t, l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours := sock.New(c, nil)
	t.Cleanup(func() { ours.Close() })
	return client, ours
}

func TestClientThatIsGoneEndsTheSearch(t *testing.T) {
	client, ours := socket(t)
	dials := 0
	s := New("s", []Server{{Address: "a:1"}, {Address: "b:1"}, {Address: "c:1"}}, NewLive(), Options{
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dials++
			_ = client.SetLinger(0)
			client.Close()
			for ours.PeerState() != sock.PeerGone {
				time.Sleep(time.Millisecond)
			}
			return nil, errors.New("refused")
		}})
	s.Publish()
	r := s.Serve(Client{Stream: ours})
	if dials != 1 || r.Fault == nil || r.Fault.Kind != fault.ClientGone || !r.Open {
		t.Errorf("%d servers were tried, got %+v", dials, r)
	}
}

// Who ended, and how, as the access record needs it.
func TestWhoEnded(t *testing.T) {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }
	tests := []struct {
		name               string
		act                func(client, server *net.TCPConn, ours *sock.Conn)
		byClient, byServer bool
		kind               fault.Kind
		fault              bool
		clientGets         string
	}{
		{"client finishes", func(c, s *net.TCPConn, _ *sock.Conn) {
			c.CloseWrite()
			_, _ = io.Copy(io.Discard, s)
			_, _ = io.WriteString(s, "late reply")
			s.Close()
		}, true, false, 0, false, "late reply"},
		{"server finishes", func(c, s *net.TCPConn, _ *sock.Conn) {
			s.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}, false, true, 0, false, ""},
		{"client breaks", func(c, _ *net.TCPConn, _ *sock.Conn) { reset(c) }, true, false, fault.ClientGone, true, ""},
		{"server breaks", func(_, s *net.TCPConn, _ *sock.Conn) { reset(s) }, false, true, fault.UpstreamCut, true, ""},
		{"we cut", func(_, _ *net.TCPConn, ours *sock.Conn) { ours.NetConn().Close() }, false, false, fault.ShuttingDown, true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			servers := make(chan *net.TCPConn, 1)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					servers <- c.(*net.TCPConn)
				}
			}()
			client, ours := socket(t)
			s := New("s", []Server{{Address: l.Addr().String()}}, NewLive(), Options{})
			s.Publish()
			done := make(chan Result, 1)
			go func() { done <- s.Serve(Client{Stream: ours}) }()
			server := <-servers
			defer server.Close()
			// Once a byte has gone through, the tunnel stands.
			_, _ = io.WriteString(client, "x")
			if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			test.act(client, server, ours)
			if test.clientGets != "" {
				if got, err := io.ReadAll(client); err != nil || string(got) != test.clientGets {
					t.Errorf("the client got %q, error %v", got, err)
				}
			}
			r := <-done
			if r.ByClient != test.byClient || r.ByServer != test.byServer || (r.Fault != nil) != test.fault || r.Open ||
				r.In != 1 || r.Out != int64(len(test.clientGets)) || r.Server != l.Addr().String() {
				t.Errorf("got %+v", r)
			}
			if r.Fault != nil && r.Fault.Kind != test.kind {
				t.Errorf("got fault %s, want %s", r.Fault.Kind.Code(), test.kind.Code())
			}
		})
	}
}

// The termination delay ends a direction that is silent, never one that moves.
func TestTermination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch.New()
		w.Start()
		defer w.Stop()
		n := network{"a:1": func(c net.Conn) {
			_, _ = io.Copy(io.Discard, c)
			for range 10 {
				time.Sleep(80 * time.Millisecond)
				_, _ = io.WriteString(c, "x")
			}
			time.Sleep(time.Hour)
		}}
		s := New("s", []Server{{Address: "a:1"}}, NewLive(), Options{Termination: 100 * time.Millisecond, Watch: w, Dial: n.dial})
		s.Publish()
		began := time.Now()
		got, r := through(t, s, "bye", false)
		if got != "xxxxxxxxxx" || !r.ByClient || r.Fault != nil {
			t.Errorf("got %q, %+v", got, r)
		}
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		time.Sleep(2 * time.Hour) // the script ends
	})
}

// A tunnel lives on when its service is replaced, and new connections go to the new servers.
func TestPublishLeavesTunnelsAlone(t *testing.T) {
	n := network{"old:1": func(c net.Conn) { _, _ = io.Copy(c, c) }, "new:1": answer("new")}
	live := NewLive()
	before := New("s", []Server{{Address: "old:1"}}, live, Options{Dial: n.dial})
	before.Publish()
	client, ours := testkit.Pipe()
	done := make(chan Result, 1)
	go func() { done <- before.Serve(Client{Stream: ours}) }()
	say := func(s string) {
		t.Helper()
		_, _ = io.WriteString(client, s)
		got := make([]byte, len(s))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != s {
			t.Errorf("got %q, error %v", got, err)
		}
	}
	say("one")
	after := New("s", []Server{{Address: "new:1"}}, live, Options{Dial: n.dial})
	after.Publish()
	if got, r := through(t, after, "", false); got != "new" {
		t.Errorf("got %q, %+v", got, r)
	}
	say("two")
	_ = client.CloseWrite()
	if r := <-done; r.Fault != nil || r.In != 6 || r.Out != 6 {
		t.Errorf("got %+v", r)
	}
	client.Close()
}

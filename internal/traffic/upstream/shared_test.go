package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// website is a net/http server that counts its connections.
type website struct {
	addr  string
	tls   *tls.Config // for clients
	conns atomic.Int32
}

func newWebsite(t testing.TB, secure bool, protos string, h http.HandlerFunc, adjust func(*http.Server)) *website {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &website{addr: ln.Addr().String()}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: nil}
	s.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			w.conns.Add(1)
		}
	}
	s.Protocols.SetHTTP1(protos != "h2")
	if secure {
		s.Protocols.SetHTTP2(protos != "h1")
		ca := testkit.NewCA(t)
		s.TLSConfig = ca.Leaf(t, "a.test").ServerConfig()
		w.tls = &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"}
	} else {
		s.Protocols.SetUnencryptedHTTP2(protos != "h1")
	}
	if adjust != nil {
		adjust(s)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		if secure {
			s.ServeTLS(ln, "", "")
		} else {
			s.Serve(ln)
		}
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return w
}

func sayProto(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }

// settle waits until a pool has no connection left.
func settle(t testing.TB, p *Pool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); p.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections left open", p.Open())
		}
	}
}

func poolFor(t testing.TB, scheme string, w *website, o Options) *Pool {
	o.TLS = w.tls
	return newPoolFor(t, scheme, w.addr, o)
}

func TestWhatIsSpoken(t *testing.T) {
	for _, row := range []struct {
		scheme, protos string
		disable        bool
		upgrade        bool
		want           string
	}{
		{"https", "both", false, false, "HTTP/2.0"},
		{"https", "h1", false, false, "HTTP/1.1"},
		{"https", "h2", false, false, "HTTP/2.0"},
		{"https", "both", true, false, "HTTP/1.1"},
		{"https", "both", false, true, "HTTP/1.1"},
		{"http", "both", false, false, "HTTP/1.1"},
		{"http", "both", true, false, "HTTP/1.1"},
		{"h2c", "both", false, false, "HTTP/2.0"},
		{"h2c", "h2", false, false, "HTTP/2.0"},
		{"h2c", "both", false, true, "HTTP/1.1"},
	} {
		t.Run(fmt.Sprint(row), func(t *testing.T) {
			w := newWebsite(t, row.scheme == "https", row.protos, sayProto, nil)
			o := Defaults()
			o.DisableHTTP2 = row.disable
			p := poolFor(t, row.scheme, w, o)
			for range 3 {
				x := request("GET")
				if row.upgrade {
					x.Req.UpgradeTo = httpmsg.Text("websocket")
				}
				if err := p.RoundTrip(x, &httpmsg.Target{}); err != nil {
					t.Fatal(err)
				}
				if got, err := bodyOf(x); got != row.want || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				x.Finish()
			}
			if w.conns.Load() != 1 || p.Idle() != 1 {
				t.Errorf("%d connections, %d idle", w.conns.Load(), p.Idle())
			}
		})
	}
	tr := New(Options{DisableHTTP2: true}, watch.New())
	if _, err := tr.Acquire(Address{Scheme: "h2c", Host: "a:1"}); err == nil {
		t.Error("h2c without HTTP/2 was accepted")
	}
}

// burst sends n requests at once and returns how often each answer came.
func burst(p *Pool, n int) map[string]int {
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			s, err := ask(p, "GET")
			if err != nil {
				s = err.Error()
			}
			mu.Lock()
			got[s]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return got
}

// A burst of requests to a server that nothing is known of is one handshake.
func TestBurstIsOneConnection(t *testing.T) {
	for _, scheme := range []string{"https", "h2c"} {
		w := newWebsite(t, scheme == "https", "both", sayProto, nil)
		p := poolFor(t, scheme, w, Defaults())
		if got := burst(p, 80); got["HTTP/2.0"] != 80 || w.conns.Load() != 1 {
			t.Errorf("%s: %v over %d connections", scheme, got, w.conns.Load())
		}
	}
	w := newWebsite(t, true, "h1", sayProto, nil)
	p := poolFor(t, "https", w, Defaults())
	if got := burst(p, 20); got["HTTP/1.1"] != 20 || w.conns.Load() > 21 {
		t.Errorf("h1: %v over %d connections", got, w.conns.Load())
	}
}

// When all streams that the server allows are taken, another connection is opened; unused ones beyond the limit close.
func TestMoreConnectionsWhenFull(t *testing.T) {
	var busy atomic.Int32
	all := make(chan bool)
	w := newWebsite(t, false, "h2", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			if busy.Add(1) == 6 {
				close(all)
			}
			<-all
		}
		sayProto(w, r)
	}, func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2} })
	o := Defaults()
	o.MaxIdlePerHost = 1
	p := poolFor(t, "h2c", w, o)
	ask(p, "GET") // so that the limit is known
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			x := request("GET")
			x.Req.Path = httpmsg.Text("/hold")
			if err := p.RoundTrip(x, &httpmsg.Target{}); err != nil {
				t.Error(err)
			}
			bodyOf(x)
			x.Finish()
		})
	}
	wg.Wait()
	if n := w.conns.Load(); n < 3 {
		t.Errorf("%d connections for 6 streams, 2 on each", n)
	}
	for deadline := time.Now().Add(5 * time.Second); p.Open() > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are kept, 1 may be", p.Open())
		}
	}
}

// frameServer plays the server's side of HTTP/2 in the clear: f is called for each request with its stream.
func frameServer(t *testing.T, f func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32)) *testkit.Peer {
	return testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		if _, err := io.ReadFull(c, make([]byte, len(frames.ClientPreface))); err != nil {
			return
		}
		fr := frames.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		fr.WriteSettings()
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*frames.MetaHeadersFrame); ok {
				f(n, fr, c, h.StreamID)
			}
		}
	})
}

// status is a head of one status, ending the stream.
func status(fr *frames.Framer, id uint32) {
	fr.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true}) // :status 200
}

// UPS-11: what the server has not processed goes to it again, over another connection if need be; what it may have, only if
// that does no harm.
func TestLostStreamsUPS11(t *testing.T) {
	for name, row := range map[string]struct {
		server func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32)
		method string
		kind   string // "" for success
	}{
		"refused once": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if id == 3 {
				fr.WriteRSTStream(id, frames.ErrCodeRefusedStream)
				return
			}
			status(fr, id)
		}, "POST", ""},
		"refused always": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if id == 1 {
				status(fr, id)
				return
			}
			fr.WriteRSTStream(id, frames.ErrCodeRefusedStream)
		}, "POST", "UPSTREAM-CLOSED retry=2"},
		"goaway": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if conn == 0 && id == 3 {
				fr.WriteGoAway(1, frames.ErrCodeNo, nil)
				return
			}
			status(fr, id)
		}, "POST", ""},
		"goaway always": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if conn == 0 && id == 1 {
				status(fr, id)
				return
			}
			fr.WriteGoAway(0, frames.ErrCodeNo, nil)
		}, "POST", "UPSTREAM-CLOSED retry=2"},
		"closed, GET": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if conn == 0 && id == 3 {
				c.Conn.Close()
				return
			}
			status(fr, id)
		}, "GET", ""},
		"closed, POST": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if conn == 0 && id == 3 {
				c.Conn.Close()
				return
			}
			status(fr, id)
		}, "POST", "UPSTREAM-CLOSED retry=1"},
		"closed twice, GET": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if conn == 0 && id == 1 {
				status(fr, id)
				return
			}
			c.Conn.Close()
		}, "GET", "UPSTREAM-CLOSED retry=0"},
		"reset, GET": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if id == 3 {
				fr.WriteRSTStream(id, frames.ErrCodeInternal)
				return
			}
			status(fr, id)
		}, "GET", "UPSTREAM-CLOSED retry=1"},
		"HTTP/1.1 required": {func(conn int, fr *frames.Framer, c *testkit.PeerConn, id uint32) {
			if id == 3 {
				fr.WriteRSTStream(id, frames.ErrCodeHTTP11Required)
				return
			}
			status(fr, id)
		}, "GET", "UPSTREAM-PROTOCOL retry=0"},
	} {
		t.Run(name, func(t *testing.T) {
			peer := frameServer(t, row.server)
			p := newPoolFor(t, "h2c", peer.Addr, Defaults())
			if _, err := ask(p, "GET"); err != nil {
				t.Fatal(err)
			}
			_, err := ask(p, row.method)
			got := ""
			if f := fault.Of(err); f != nil {
				got = fmt.Sprintf("%s retry=%d", f.Kind.Code(), f.Retry)
			}
			if got != row.kind {
				t.Errorf("got %q, want %q", got, row.kind)
			}
		})
	}
}

// A server that wants HTTP/1.1 for a request gets it, the others stay on HTTP/2.
func TestHTTP1Required(t *testing.T) {
	ca := testkit.NewCA(t)
	conf := ca.Leaf(t, "a.test").ServerConfig()
	conf.NextProtos = []string{"h2", "http/1.1"}
	peer := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		tc := tls.Server(c.Conn, conf)
		if tc.Handshake() != nil {
			return
		}
		if tc.ConnectionState().NegotiatedProtocol == "h2" {
			io.ReadFull(tc, make([]byte, len(frames.ClientPreface)))
			fr := frames.NewFramer(tc, tc)
			fr.WriteSettings()
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := f.(*frames.HeadersFrame); ok {
					if h.StreamID == 3 {
						fr.WriteRSTStream(3, frames.ErrCodeHTTP11Required)
					} else {
						status(fr, h.StreamID)
					}
				}
			}
		}
		in := bufio.NewReader(tc)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(tc, okReply)
		}
	})
	o := Defaults()
	o.TLS = &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"}
	p := newPoolFor(t, "https", peer.Addr, o)
	for i, want := range []string{"", "ok", ""} {
		if got, err := ask(p, "POST"); got != want || err != nil {
			t.Errorf("request %d: %q, %v", i, got, err)
		}
	}
	if peer.Conns() != 2 {
		t.Errorf("%d connections", peer.Conns())
	}
}

// Whoever waits for a connection gets it or its failure; one that leaves takes nothing from the others.
func TestSharedDial(t *testing.T) {
	w := newWebsite(t, false, "h2", sayProto, nil)
	hold := make(chan bool)
	var dials atomic.Int32
	o := Defaults()
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if n := dials.Add(1); n == 1 {
			<-hold
		} else if n == 2 {
			<-hold
			return nil, errors.New("no way")
		}
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	p := poolFor(t, "h2c", w, o)
	round := func(leaving bool) (stay chan string) {
		stay = make(chan string, 3)
		x := request("GET")
		left := make(chan error)
		go func() { left <- p.RoundTrip(x, &httpmsg.Target{}) }()
		for p.waiting() < 1 {
			time.Sleep(time.Millisecond)
		}
		for range 3 {
			go func() {
				got, err := ask(p, "GET")
				if err != nil {
					got = fault.Of(err).Kind.Code()
				}
				stay <- got
			}()
		}
		for p.waiting() < 4 {
			time.Sleep(time.Millisecond)
		}
		if leaving {
			x.Cancel(fault.New(fault.ClientGone, "left", nil))
			if f := fault.Of(<-left); f.Kind != fault.ClientGone {
				t.Error(f)
			}
		}
		hold <- true
		if !leaving {
			if f := fault.Of(<-left); f.Kind != fault.DialFailed || f.Retry != fault.Always {
				t.Error(f)
			}
		}
		return stay
	}
	stay := round(true)
	for range 3 {
		if got := <-stay; got != "HTTP/2.0" {
			t.Error(got)
		}
	}
	p.t.CloseIdle()
	stay = round(false)
	for range 3 {
		if got := <-stay; got != "DIAL-FAILED" {
			t.Error(got)
		}
	}
	if got, err := ask(p, "GET"); got != "HTTP/2.0" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func (p *Pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing == nil {
		return 0
	}
	return p.dialing.waiting
}

// Nobody waits any more when the connection is there: it is kept as an unused one.
func TestSharedDialAbandoned(t *testing.T) {
	w := newWebsite(t, false, "h2", sayProto, nil)
	hold := make(chan bool)
	o := Defaults()
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		<-hold
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	p := poolFor(t, "h2c", w, o)
	x := request("GET")
	left := make(chan error)
	go func() { left <- p.RoundTrip(x, &httpmsg.Target{}) }()
	for p.waiting() < 1 {
		time.Sleep(time.Millisecond)
	}
	x.Cancel(fault.New(fault.ClientGone, "left", nil))
	<-left
	close(hold)
	for deadline := time.Now().Add(5 * time.Second); p.Idle() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d idle", p.Idle())
		}
	}
}

// A released pool lets what is under way finish, on its connection.
func TestReleaseShared(t *testing.T) {
	hold := make(chan bool)
	w := newWebsite(t, false, "h2", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun ")
		w.(http.Flusher).Flush()
		<-hold
		io.WriteString(w, "done")
	}, nil)
	clock := watch.New()
	clock.Start()
	defer clock.Stop()
	p, err := New(Defaults(), clock).Acquire(Address{Scheme: "h2c", Host: w.addr})
	if err != nil {
		t.Fatal(err)
	}
	x := request("GET")
	if err := p.RoundTrip(x, &httpmsg.Target{}); err != nil {
		t.Fatal(err)
	}
	p.Release()
	close(hold)
	if got, err := bodyOf(x); got != "begun done" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	x.Finish()
	settle(t, p)
	if clock.Len() != 0 {
		t.Errorf("%d entries of the watch left", clock.Len())
	}
}

// idleConnTimeout holds to 100 ms, on every kind of connection, without a goroutine for each idle one.
func TestIdleTimeoutIsExact(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		for _, limit := range []time.Duration{50 * time.Millisecond, 700 * time.Millisecond, 90 * time.Second} {
			t.Run(fmt.Sprint(scheme, " ", limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clock := watch.New()
					clock.Start()
					o := Defaults()
					o.IdleConnTimeout = limit
					var servers sync.WaitGroup
					closed := make(chan time.Time, 1)
					o.Dial = func(context.Context, string, string) (net.Conn, error) {
						a, b := testkit.Pipe()
						servers.Go(func() {
							defer b.Close()
							if scheme == "h2c" {
								io.ReadFull(b, make([]byte, len(frames.ClientPreface)))
								fr := frames.NewFramer(b, b)
								fr.WriteSettings()
								for {
									f, err := fr.ReadFrame()
									if err != nil {
										break
									}
									if h, ok := f.(*frames.HeadersFrame); ok {
										status(fr, h.StreamID)
									}
								}
							} else {
								for {
									if _, err := testkit.ReadUntil(b, "\r\n\r\n"); err != nil {
										break
									}
									io.WriteString(b, okReply)
								}
							}
							closed <- time.Now()
						})
						return a, nil
					}
					p, _ := New(o, clock).Acquire(Address{Scheme: scheme, Host: "a.test:80"})
					for range 3 {
						if _, err := ask(p, "GET"); err != nil {
							t.Fatal(err)
						}
						time.Sleep(limit / 2)
					}
					from := time.Now().Add(-limit / 2)
					if d := (<-closed).Sub(from); d < limit || d > limit+100*time.Millisecond {
						t.Errorf("closed after %v, want %v", d, limit)
					}
					p.Release()
					servers.Wait()
					clock.Stop()
				})
			})
		}
	}
}

// A connection that ends before anybody knows of it leaves nothing behind, neither among those handed out nor in the table of
// our own connections.
func TestEndsBeforeItIsShared(t *testing.T) {
	peer := testkit.Listen(t, nil)
	p := newPoolFor(t, "h2c", peer.Addr, Defaults())
	for range 200 {
		nc, err := net.Dial("tcp", peer.Addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		c := p.newConn2(nc, 1)
		for !c.Ended() {
			runtime.Gosched()
		}
		if p.join(c) != nil {
			t.Fatal("a connection that has ended is handed out")
		}
		settle(t, p)
		local, _ := localOf(nc)
		x := request("GET")
		x.Peer = local
		if len(p.shared) > 0 || own.hops(x) > 0 {
			t.Fatalf("%d connections shared, %d hops", len(p.shared), own.hops(x))
		}
	}
}

package forward

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

// front is an HTTP/1 entry with one service behind it.
type front struct {
	addr  string
	lb    *LoadBalancer
	live  *Live
	tr    *upstream.Transport
	mu    sync.Mutex
	ended []httpmsg.Facts
	wait  chan bool // one per ended exchange
}

func config(urls ...string) *dynamic.LoadBalancer {
	c := &dynamic.LoadBalancer{}
	c.SetDefaults()
	for _, u := range urls {
		if !strings.Contains(u, "://") {
			u = "http://" + u
		}
		c.Servers = append(c.Servers, &dynamic.Server{URL: u})
	}
	return c
}

func newFront(t testing.TB, c *dynamic.LoadBalancer, o upstream.Options) *front {
	t.Helper()
	w := watch.New()
	w.Start()
	f := &front{live: NewLive(), tr: upstream.New(o, w), wait: make(chan bool, 10_000)}
	var err error
	if f.lb, err = New("svc@file", c, f.live, f.tr); err != nil {
		t.Fatal(err)
	}
	f.lb.Publish()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	srv := &http1.Server{
		Watch: w, Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { return f.lb.Serve(x) }),
		Timeouts: http1.Timeouts{Read: 10 * time.Second, Idle: 10 * time.Second},
		Done: func(x *httpmsg.Exchange) {
			f.mu.Lock()
			f.ended = append(f.ended, x.Facts)
			f.mu.Unlock()
			f.wait <- true
		},
	}
	entry := sock.NewListener(ln, w, nil)
	go entry.Serve(func(c *sock.Conn) { srv.ServeConn(c, http1.Session{Peer: c.Peer(), Local: c.Local()}) })
	t.Cleanup(func() {
		entry.Stop()
		srv.Cut()
		entry.Wait(context.Background())
		for srv.Open() > 0 { // a loop's last steps come after its connection is closed
			time.Sleep(time.Millisecond)
		}
		f.lb.Close()
		f.tr.CloseIdle()
		for _, e := range f.lb.endpoints {
			if n := e.State.InFlight(); n != 0 {
				t.Errorf("%s: %d requests in flight at the end", e.Key, n)
			}
		}
		w.Stop()
	})
	return f
}

// last waits for the end of an exchange and returns its facts.
func (f *front) last(t testing.TB) httpmsg.Facts {
	t.Helper()
	select {
	case <-f.wait:
	case <-time.After(10 * time.Second):
		t.Fatal("no exchange ended")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended[len(f.ended)-1]
}

// ask sends a raw request and returns the response read by net/http, with its body.
func (f *front) ask(t testing.TB, raw string) (*http.Response, string) {
	t.Helper()
	c := testkit.Dial(t, f.addr)
	defer c.Close()
	io.WriteString(c, raw)
	method, _, _ := strings.Cut(raw, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("response: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("body: %q, %v", body, err)
	}
	return res, string(body)
}

const get = "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n"

func reply(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// refused returns an address that nobody listens on: the near end of an open connection, whose port nobody else gets.
func refused(t testing.TB) string {
	t.Helper()
	return testkit.Dial(t, testkit.Listen(t, nil).Addr).LocalAddr().String()
}

func TestForwards(t *testing.T) {
	peer := testkit.Listen(t, testkit.Answer("HTTP/1.1 201 Created\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok"))
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	res, body := f.ask(t, get)
	if res.StatusCode != 201 || body != "ok" || res.Header.Get("X-A") != "1" || res.Header.Get("Sluice-Error") != "" {
		t.Errorf("%v %q", res, body)
	}
	want := "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
	if got := peer.Received(); got != want {
		t.Errorf("server was sent\n%q\nwant\n%q", got, want)
	}
	facts := f.last(t)
	if facts.Server != "http://"+peer.Addr || facts.OriginStatus != 201 || facts.Retries != 0 || facts.Sent.IsZero() || facts.FirstByte.Before(facts.Sent) {
		t.Errorf("facts %+v", facts)
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(c *dynamic.LoadBalancer)
		want string // request line and Host, SERVER standing for the address
	}{
		{"path of the URL ignored", func(c *dynamic.LoadBalancer) { c.Servers[0].URL += "/base?q#f" }, "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\n"},
		{"preservePath", func(c *dynamic.LoadBalancer) { c.Servers[0].URL += "/base/"; c.Servers[0].PreservePath = true },
			"GET /base/x?y=1 HTTP/1.1\r\nHost: a.test\r\n"},
		{"preservePath of the root", func(c *dynamic.LoadBalancer) { c.Servers[0].URL += "/"; c.Servers[0].PreservePath = true },
			"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\n"},
		{"passHostHeader false", func(c *dynamic.LoadBalancer) { c.PassHostHeader = new(false) }, "GET /x?y=1 HTTP/1.1\r\nHost: SERVER\r\n"},
		{"user in the URL", func(c *dynamic.LoadBalancer) {
			c.Servers[0].URL = strings.Replace(c.Servers[0].URL, "//", "//user:pass@", 1)
		}, "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, testkit.Answer(reply("ok")))
			lb := config(peer.Addr)
			c.edit(lb)
			newFront(t, lb, upstream.Defaults()).ask(t, get)
			if got, want := peer.Received(), strings.ReplaceAll(c.want, "SERVER", peer.Addr); !strings.HasPrefix(got, want) {
				t.Errorf("server was sent %q, want %q", got, want)
			}
		})
	}
}

// The table of statuses that we make ourselves.
func TestStatuses(t *testing.T) {
	silent := testkit.Listen(t, nil)
	closing := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { c.ReadUntil("\r\n\r\n") })
	garbage := testkit.Listen(t, testkit.Answer("garbage\r\n\r\n"))
	for _, c := range []struct {
		name   string
		server string
		status int
		body   string
		code   string
	}{
		{"no server", "", 503, "no available server", "NO-SERVER"},
		{"refused", refused(t), 502, "Bad Gateway", "DIAL-FAILED"},
		{"UPS-01 closes", closing.Addr, 502, "Bad Gateway", "UPSTREAM-CLOSED"},
		{"UPS-04 garbage", garbage.Addr, 502, "Bad Gateway", "UPSTREAM-PROTOCOL"},
		{"UPS-10 never answers", silent.Addr, 504, "Gateway Timeout", "UPSTREAM-SILENT"},
		{"UPS-12 https to a plain port", "https://" + garbage.Addr, 504, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lb *dynamic.LoadBalancer
			if c.server == "" {
				lb = config()
			} else {
				lb = config(c.server)
			}
			o := upstream.Defaults()
			o.Client.ResponseHeaderTimeout = 40 * time.Millisecond
			o.HandshakeTimeout = 40 * time.Millisecond
			res, body := newFront(t, lb, o).ask(t, get)
			if res.StatusCode != c.status || c.code != "" && (body != c.body || res.Header.Get("Sluice-Error") != c.code) {
				t.Errorf("%d %q %q, want %d %q %q", res.StatusCode, body, res.Header.Get("Sluice-Error"), c.status, c.body, c.code)
			}
		})
	}
}

func TestSpreads(t *testing.T) {
	a, b := testkit.Listen(t, testkit.Answer(reply("a"))), testkit.Listen(t, testkit.Answer(reply("b")))
	lb := config(a.Addr, b.Addr)
	lb.Servers[0].Weight = new(3)
	f := newFront(t, lb, upstream.Defaults())
	got := map[string]int{}
	for range 40 {
		_, body := f.ask(t, get)
		got[body]++
	}
	if got["a"] != 30 || got["b"] != 10 {
		t.Errorf("3:1 came out as %v", got)
	}
}

func TestNextServer(t *testing.T) {
	good := testkit.Listen(t, testkit.Answer(reply("good")))
	closing := func() *testkit.Peer {
		return testkit.Listen(t, func(c *testkit.PeerConn, _ int) { c.ReadUntil("\r\n\r\n") })
	}
	closingA, closingB := closing(), closing()
	dead, dead2 := refused(t), refused(t)
	var many []string
	for range balance.MaxTried + 1 {
		many = append(many, refused(t))
	}
	post := "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
	for _, c := range []struct {
		name    string
		servers []string
		raw     string
		want    map[int]bool // statuses that may come out, over many requests
	}{
		{"refused, GET", []string{dead, good.Addr}, get, map[int]bool{200: true}},
		{"refused, POST", []string{dead, good.Addr}, post, map[int]bool{200: true}},
		{"two refused", []string{dead, dead2, good.Addr}, get, map[int]bool{200: true}},
		{"nine refused", many, get, map[int]bool{502: true}},
		{"closing, GET", []string{closingA.Addr, good.Addr}, get, map[int]bool{200: true}},
		{"closing, POST", []string{closingA.Addr, good.Addr}, post, map[int]bool{200: true, 502: true}},
		{"two closing, GET", []string{closingA.Addr, closingB.Addr}, get, map[int]bool{502: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, config(c.servers...), upstream.Defaults())
			seen := map[int]bool{}
			for range 40 {
				res, _ := f.ask(t, c.raw)
				seen[res.StatusCode] = true
			}
			if fmt.Sprint(seen) != fmt.Sprint(c.want) {
				t.Errorf("statuses %v, want %v", seen, c.want)
			}
		})
	}
	t.Run("a close is tried again once", func(t *testing.T) {
		var n atomic.Int64
		script := func(c *testkit.PeerConn, _ int) { c.ReadUntil("\r\n\r\n"); n.Add(1) }
		servers := []string{}
		for range 4 {
			servers = append(servers, testkit.Listen(t, script).Addr)
		}
		f := newFront(t, config(servers...), upstream.Defaults())
		if res, _ := f.ask(t, get); res.StatusCode != 502 || n.Load() != 2 {
			t.Errorf("status %d after %d servers, want 502 after 2", res.StatusCode, n.Load())
		}
		if facts := f.last(t); facts.Retries != 1 {
			t.Errorf("%d retries", facts.Retries)
		}
	})
}

// UPS-14: with most servers gone the retries stay within a tenth of the requests, beyond the first of each.
func TestRetryBudgetUPS14(t *testing.T) {
	var b budget
	b.fill()
	granted := 0
	for range 1000 {
		b.asked()
		for range 3 {
			if b.take() {
				granted++
			}
		}
	}
	if granted < 100 || granted > 111 {
		t.Errorf("%d retries for 1000 requests", granted)
	}
	for range 5000 {
		b.asked()
	}
	granted = 0
	for b.take() {
		granted++
	}
	if granted != 100 {
		t.Errorf("%d retries were saved up, want 100", granted)
	}
}

func TestSticky(t *testing.T) {
	a, b := testkit.Listen(t, testkit.Answer(reply("a"))), testkit.Listen(t, testkit.Answer(reply("b")))
	lb := config(a.Addr, b.Addr)
	lb.Sticky = &dynamic.Sticky{Cookie: &dynamic.Cookie{Name: "lb"}}
	f := newFront(t, lb, upstream.Defaults())
	res, first := f.ask(t, get)
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(cookie, "lb=") {
		t.Fatalf("Set-Cookie %q", res.Header["Set-Cookie"])
	}
	with := "GET / HTTP/1.1\r\nHost: a.test\r\nCookie: " + cookie + "\r\n\r\n"
	for range 5 {
		if res, body := f.ask(t, with); body != first || res.Header["Set-Cookie"] != nil {
			t.Errorf("with the cookie: %q, Set-Cookie %q", body, res.Header["Set-Cookie"])
		}
	}
	for _, e := range f.lb.endpoints {
		if e.Key == "http://"+map[string]string{"a": a.Addr, "b": b.Addr}[first] {
			e.State.SetUp(false)
		}
	}
	res, second := f.ask(t, with)
	if second == first || len(res.Header["Set-Cookie"]) != 1 {
		t.Errorf("server down: %q, Set-Cookie %q", second, res.Header["Set-Cookie"])
	}
	t.Run("on errors too, for the last server tried", func(t *testing.T) {
		lb := config(refused(t))
		lb.Sticky = &dynamic.Sticky{Cookie: &dynamic.Cookie{}}
		res, _ := newFront(t, lb, upstream.Defaults()).ask(t, get)
		if res.StatusCode != 502 || len(res.Header["Set-Cookie"]) != 1 {
			t.Errorf("%d, Set-Cookie %q", res.StatusCode, res.Header["Set-Cookie"])
		}
	})
	t.Run("one cookie after a retry", func(t *testing.T) {
		lb := config(refused(t), a.Addr)
		lb.Sticky = &dynamic.Sticky{Cookie: &dynamic.Cookie{Name: "lb"}}
		f := newFront(t, lb, upstream.Defaults())
		for range 4 {
			res, body := f.ask(t, get)
			cookies := res.Header["Set-Cookie"]
			if body != "a" || len(cookies) != 1 {
				t.Fatalf("%q, Set-Cookie %q", body, cookies)
			}
			x := new(httpmsg.Exchange)
			value, _, _ := strings.Cut(cookies[0], ";")
			x.Req.Header.Add("Cookie", value)
			if e, _ := f.lb.sticky.Lookup(x); e == nil || e.Key != "http://"+a.Addr {
				t.Error("the cookie names the server that did not answer")
			}
		}
	})
}

func TestPassive(t *testing.T) {
	bad := testkit.Listen(t, testkit.Answer("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad"))
	good := testkit.Listen(t, testkit.Answer(reply("good")))
	for _, c := range []struct {
		name   string
		server string
	}{{"answers 500", bad.Addr}, {"refused", refused(t)}} {
		t.Run(c.name, func(t *testing.T) {
			lb := config(c.server, good.Addr)
			lb.PassiveHealthCheck = &dynamic.PassiveHealthCheck{FailureWindow: dynamic.Seconds(60), MaxFailedAttempts: 2}
			f := newFront(t, lb, upstream.Defaults())
			for range 4 {
				f.ask(t, get)
			}
			if f.lb.endpoints[0].Up() || !f.lb.endpoints[1].Up() {
				t.Fatal("two failures did not take the server out, or took out another")
			}
			for range 6 {
				if _, body := f.ask(t, get); body != "good" {
					t.Errorf("a server that is out answered %q", body)
				}
			}
		})
	}
	t.Run("a client that leaves is no failure", func(t *testing.T) {
		silent := testkit.Listen(t, nil)
		lb := config(silent.Addr)
		lb.PassiveHealthCheck = &dynamic.PassiveHealthCheck{FailureWindow: dynamic.Seconds(60), MaxFailedAttempts: 1}
		f := newFront(t, lb, upstream.Defaults())
		c := testkit.Dial(t, f.addr)
		io.WriteString(c, get)
		peer := silent.Conn(t, 0)
		for !strings.Contains(peer.Received(), "\r\n\r\n") {
			time.Sleep(time.Millisecond)
		}
		c.SetLinger(0)
		c.Close()
		facts := f.last(t)
		if g := fault.Of(facts.Err); g == nil || g.Kind != fault.ClientGone {
			t.Errorf("fault %v", facts.Err)
		}
		if !f.lb.endpoints[0].Up() {
			t.Error("the server was taken out")
		}
	})
	t.Run("comes back", func(t *testing.T) {
		p := health.NewPassive(&dynamic.PassiveHealthCheck{FailureWindow: dynamic.Milliseconds(1), MaxFailedAttempts: 1}, false)
		l := NewLive()
		s := l.server("http://a", "")
		s.failures.Failed(p, &s.state)
		time.Sleep(2 * time.Millisecond)
		if !s.state.Up() {
			t.Error("still out after the window")
		}
		active := health.NewPassive(&dynamic.PassiveHealthCheck{FailureWindow: dynamic.Milliseconds(1)}, true)
		s.failures.Failed(active, &s.state)
		time.Sleep(2 * time.Millisecond)
		if s.state.Up() {
			t.Error("came back although that is up to the active check")
		}
	})
}

// A new generation keeps the place in the round and what is known of servers.
func TestReload(t *testing.T) {
	a, b := testkit.Listen(t, testkit.Answer(reply("a"))), testkit.Listen(t, testkit.Answer(reply("b")))
	f := newFront(t, config(a.Addr, b.Addr), upstream.Defaults())
	_, first := f.ask(t, get)
	f.lb.endpoints[1].State.Begin()
	next, err := New("svc@file", config(a.Addr, b.Addr), f.live, f.tr)
	if err != nil {
		t.Fatal(err)
	}
	next.Publish()
	old := f.lb
	f.lb = next
	old.Close()
	if _, second := f.ask(t, get); second == first {
		t.Errorf("the round began anew: %s again", second)
	}
	// The client has its answer before the exchange has ended here.
	for deadline := time.Now().Add(5 * time.Second); next.endpoints[1].State.InFlight() != 1 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if next.endpoints[1].State != old.endpoints[1].State || next.endpoints[1].State.InFlight() != 1 {
		t.Error("the state of a server was lost")
	}
	next.endpoints[1].State.End()
	if a.Conns() > 1 || b.Conns() > 1 {
		t.Errorf("connections were not kept: %d and %d", a.Conns(), b.Conns())
	}
	f.live.mu.Lock()
	n := len(f.live.servers)
	f.live.mu.Unlock()
	if n != 2 {
		t.Errorf("%d servers remembered", n)
	}
}

// A server whose address cannot be dialled costs its own requests only.
func TestBadAddress(t *testing.T) {
	good := testkit.Listen(t, testkit.Answer(reply("good")))
	for _, url := range []string{"ftp://a", "a:80", "http:///x", "http://a:b c", ""} {
		bad := &dynamic.Server{URL: url}
		c := config()
		c.Servers = []*dynamic.Server{bad}
		f := newFront(t, c, upstream.Defaults())
		if resp, _ := f.ask(t, get); resp.StatusCode != 502 {
			t.Errorf("%q alone: got %d, want 502", url, resp.StatusCode)
		}
		c = config(good.Addr)
		c.Servers = append(c.Servers, bad)
		f = newFront(t, c, upstream.Defaults())
		for range 3 {
			if resp, body := f.ask(t, get); resp.StatusCode != 200 || body != "good" {
				t.Errorf("%q beside a good one: got %d %q", url, resp.StatusCode, body)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*dynamic.LoadBalancer)
		want string
	}{
		{"sound", func(*dynamic.LoadBalancer) {}, ""},
		{"strategy", func(c *dynamic.LoadBalancer) { c.Strategy = "best" }, "strategy"},
		{"cookie", func(c *dynamic.LoadBalancer) {
			c.Sticky = &dynamic.Sticky{Cookie: &dynamic.Cookie{SameSite: "x"}}
		}, "sticky.cookie"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lb := config("http://a")
			c.edit(lb)
			if err := refusal(Check(&dynamic.Service{LoadBalancer: lb})); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A server that its check finds down gets no requests, and comes back by itself; a new generation goes on with both.
func TestActiveCheck(t *testing.T) {
	var ill atomic.Bool
	sick := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		for {
			head, err := c.ReadUntil("\r\n\r\n")
			if err != nil {
				return
			}
			if strings.HasPrefix(head, "GET /health ") && ill.Load() {
				io.WriteString(c, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
				continue
			}
			io.WriteString(c, reply("sick"))
		}
	})
	good := testkit.Listen(t, testkit.Answer(reply("good")))
	lb := config(sick.Addr, good.Addr)
	lb.HealthCheck = &dynamic.HealthCheck{Path: "/health", Interval: dynamic.Milliseconds(5)}
	f := newFront(t, lb, upstream.Defaults())
	state := func(up bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); f.lb.endpoints[0].Up() != up; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the server never became up=%v", up)
			}
		}
	}
	ill.Store(true)
	state(false)
	for range 4 {
		if _, body := f.ask(t, get); body != "good" {
			t.Errorf("%q answered", body)
		}
	}
	want := []ServerState{{URL: "http://" + sick.Addr, Checked: true}, {URL: "http://" + good.Addr, Up: true, Checked: true}}
	if got := f.lb.Servers(); !slices.Equal(got, want) || !f.lb.Up() {
		t.Errorf("servers %v, up %v", got, f.lb.Up())
	}
	next, err := New("svc@file", lb, f.live, f.tr)
	if err != nil {
		t.Fatal(err)
	}
	if next.endpoints[0].Up() {
		t.Error("a new generation thinks that the server is up")
	}
	next.Publish()
	next.Publish()
	old := f.lb
	f.lb = next
	old.Close()
	ill.Store(false)
	state(true)
}

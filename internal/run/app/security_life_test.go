package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// soon waits until something holds.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after ten seconds", what)
		}
	}
}

// ended waits for records and returns those that match.
func (r *router) ended(status int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if rec.Status == status {
			n++
		}
	}
	return n
}

// TCP-01 to TCP-03, H2-16: who is too slow at any stage is let go, whatever the version.
func TestSecuritySlowClients(t *testing.T) {
	w := newWitness(t)
	r := start(t, shortTimeouts, everything(w.Addr))
	const post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n"
	var silent sync.WaitGroup
	quiet := r.dial("h2")
	quiet.SetDeadline(time.Now().Add(20 * time.Second))
	silent.Go(func() {
		// net/http gives the preface ten seconds, whatever the read timeout.
		if _, err := io.ReadAll(quiet); isTimeout(err) {
			t.Error("H2-16: silence behind a handshake is never ended")
		}
	})
	for _, c := range []struct{ id, entryPoint, first, drip string }{
		{"TCP-01", "web", "", ""},
		{"TCP-01 TLS", "secure", "", ""},
		{"TCP-02 stalled", "web", "GET / HTTP/1.1\r\nHost:", ""},
		{"TCP-02 drip", "web", "GET / HTTP/1.1\r\nHost: a.test\r\n", "X: y\r\n"},
		{"TCP-02 drip after a request", "web", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\n", "X: y\r\n"},
		{"TCP-03 stalled", "web", post + "abc", ""},
		{"TCP-03 drip", "web", post, "x"},
		{"TCP-03 chunked drip", "web", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		{"H2-16 preface cut", "web", "PRI * HTTP/2.0\r\n", ""},
		{"H2-16 silence behind it", "web", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			began := time.Now()
			conn := testkit.Dial(t, r.addr(c.entryPoint))
			io.WriteString(conn, c.first)
			stop := make(chan struct{})
			var dripping sync.WaitGroup
			dripping.Go(func() {
				for c.drip != "" {
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
					}
					if _, err := io.WriteString(conn, c.drip); err != nil {
						return
					}
				}
			})
			_, err := io.ReadAll(conn)
			close(stop)
			dripping.Wait()
			if isTimeout(err) || time.Since(began) > 6*time.Second {
				t.Errorf("still there after %v", time.Since(began))
			}
		})
	}
	for _, m := range w.messages(0) {
		if strings.HasPrefix(m.line, "POST") {
			t.Errorf("the server got a whole message: %q", m.line)
		}
	}
	// The same over TLS, behind the handshake.
	for _, first := range []string{"", "GET / HT", "PRI * HTTP/2.0\r\n"} {
		began := time.Now()
		c := r.dial("h1s")
		io.WriteString(c, first)
		if _, err := io.ReadAll(c); isTimeout(err) || time.Since(began) > 6*time.Second {
			t.Errorf("%q: still there after %v", first, time.Since(began))
		}
	}
	silent.Wait()
}

// TCP-04: a client that does not read makes the server wait, and is let go; nothing piles up.
func TestSecurityTCP04(t *testing.T) {
	var sent atomic.Int64
	gone := make(chan struct{}, 8)
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		piece := make([]byte, 64<<10)
		for {
			n, err := c.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				gone <- struct{}{}
				return
			}
		}
	})
	r := start(t, shortTimeouts, everything(server.Addr))
	for _, transport := range []string{"h1", "h1s"} {
		sent.Store(0)
		c := r.dial(transport)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetReadBuffer(4096)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the server still waits", transport)
		}
		if n := sent.Load(); n > 64<<20 {
			t.Errorf("%s: %d bytes were taken for a client that reads none", transport, n)
		}
		c.Close()
	}
}

// TCP-05: half-closes, before and after a response has begun, and through a tunnel in each direction.
func TestSecurityTCP05(t *testing.T) {
	t.Run("before the response", func(t *testing.T) {
		cancelled := make(chan struct{})
		server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			c.ReadUntil("\r\n\r\n")
			c.Read(make([]byte, 1)) // ends when the exchange is called off
			close(cancelled)
		})
		r := start(t, twoEntryPoints, everything(server.Addr))
		c := testkit.Dial(t, r.addr("web"))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		server.Conn(t, 0)
		c.CloseWrite()
		select {
		case <-cancelled:
		case <-time.After(10 * time.Second):
			t.Error("the server was not told")
		}
		soon(t, "a record with 499", func() bool { return r.ended(499) == 1 })
	})
	t.Run("after it began", func(t *testing.T) {
		goOn := make(chan struct{})
		server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			c.ReadUntil("\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
			<-goOn
			io.WriteString(c, "def")
		})
		r := start(t, twoEntryPoints, everything(server.Addr))
		c := testkit.Dial(t, r.addr("web"))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if _, err := testkit.ReadUntil(c, "abc"); err != nil {
			t.Fatal(err)
		}
		c.CloseWrite()
		time.Sleep(50 * time.Millisecond)
		close(goOn)
		if rest, err := io.ReadAll(c); err != nil || string(rest) != "def" {
			t.Errorf("got %q, %v", rest, err)
		}
	})
	t.Run("tunnel", func(t *testing.T) {
		server := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
			if n == 0 {
				io.Copy(io.Discard, c) // until the client ends its direction
				time.Sleep(50 * time.Millisecond)
				io.WriteString(c, "late")
				return
			}
			io.WriteString(c, "early")
			c.CloseWrite()
			io.Copy(io.Discard, c)
		})
		r := start(t, twoEntryPoints, `
tcp:
  routers:
    raw: {rule: "HostSNI(`+"`raw.test`"+`)", service: raw, tls: {passthrough: true}, entryPoints: [secure]}
  services:
    raw: {loadBalancer: {servers: [{address: "`+server.Addr+`"}]}}
`)
		first := hello(t, "raw.test")
		c := testkit.Dial(t, r.addr("secure"))
		c.Write(first)
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "late" {
			t.Errorf("client first: got %q, %v", got, err)
		}
		c = testkit.Dial(t, r.addr("secure"))
		c.Write(first)
		if got, err := io.ReadAll(c); err != nil || string(got) != "early" {
			t.Errorf("server first: got %q, %v", got, err)
		}
		time.Sleep(50 * time.Millisecond)
		io.WriteString(c, "still open")
		c.CloseWrite()
		soon(t, "the other direction goes on", func() bool {
			return strings.HasSuffix(server.Conn(t, 1).Received(), "still open")
		})
	})
}

// descriptors counts the open files of the process.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// INV-10: clients that leave at any byte leave nothing behind.
func TestSecurityINV10(t *testing.T) {
	w := startTLS(t)
	exchange(t, w.dial("h1s"), get1, "GET", true) // what is made once is there
	w.tell("h2", ask{}, false)
	var ch = hello(t, "a.test", "http/1.1")
	inputs := []struct{ entryPoint, in string }{
		{"web", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{"web", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n0123456789"},
		{"web", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		{"secure", string(ch)},
		{"secure", string(hello(t, "raw.test"))},
		{"secure", string(hello(t, "vm.test"))},
		{"secure", "\x00\x00\x00\x08\x04\xd2\x16\x2f"},
	}
	soon(t, "all connections have ended", func() bool { return w.open() == 0 })
	goroutines, files := runtime.NumGoroutine(), descriptors()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		in := inputs[i%len(inputs)]
		c, err := net.Dial("tcp", w.addr(in.entryPoint))
		if err != nil {
			t.Fatal(err)
		}
		tcp := c.(*net.TCPConn)
		io.WriteString(c, in.in[:random.IntN(len(in.in)+1)])
		switch i % 3 {
		case 0:
			tcp.SetLinger(0) // reset
			c.Close()
		case 1:
			c.Close()
		case 2:
			tcp.CloseWrite()
			time.Sleep(time.Millisecond)
			c.Close()
		}
	}
	soon(t, "all connections have ended", func() bool { return w.open() == 0 })
	// Idle connections to servers stay, at most as many as requests ran at once.
	soon(t, "goroutines are back", func() bool { return runtime.NumGoroutine() <= goroutines+4 })
	soon(t, "descriptors are back", func() bool { return descriptors() <= files+20 })
	if got := w.reached(t, "a.test", testkit.Dial(t, w.addr("secure")), "http/1.1"); got != "own" {
		t.Errorf("afterwards: %s", got)
	}
}

func (r *router) open() (n int) {
	for _, e := range r.app.entryPoints {
		n += e.Open()
	}
	return n
}

// PRC-01: a shutdown under load finishes what is under way and loses nothing.
func TestSecurityPRC01(t *testing.T) {
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			if _, err := readMessage(in); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", transport: {lifeCycle: {requestAcceptGraceTimeout: 100ms, graceTimeOut: 5s}}}
  secure: {address: "127.0.0.1:0", transport: {lifeCycle: {requestAcceptGraceTimeout: 100ms, graceTimeOut: 5s}}}
`, everything(server.Addr))
	var done, lost atomic.Int32
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			entryPoint, h2 := "web", false
			if i%2 == 1 {
				entryPoint, h2 = "secure", i%4 == 3
			}
			addr := r.addr(entryPoint)
			transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"},
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, addr)
				}}
			if !h2 {
				transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
			}
			defer transport.CloseIdleConnections()
			scheme := map[string]string{"web": "http", "secure": "https"}[entryPoint]
			for {
				// A GET that net/http may repeat on another connection, as browsers do.
				resp, err := transport.RoundTrip(request(t, scheme+"://a.test/"))
				if err != nil {
					if !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "reset by peer") {
						t.Logf("client %d: %v", i, err)
						lost.Add(1)
					}
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || string(body) != "ok" {
					t.Logf("client %d: %d %q %v", i, resp.StatusCode, body, err)
					lost.Add(1)
				}
				done.Add(1)
			}
		})
	}
	time.Sleep(150 * time.Millisecond)
	began := time.Now()
	r.stop()
	clients.Wait()
	if done.Load() == 0 {
		t.Error("nothing was under way")
	}
	if n := lost.Load(); n > 0 {
		t.Errorf("%d of %d requests were lost", n, n+done.Load())
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("the shutdown took %v", d)
	}
}

// ACM-01, ACM-02, ACM-04 and ACM-05: who is asked for a challenge.
func TestSecurityACM(t *testing.T) {
	machine := newWitness(t)
	own := newWitness(t)
	_, port, _ := net.SplitHostPort(machine.Addr)
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", http: {redirections: {entryPoint: {to: ":8443"}}}}
  secure: {address: "127.0.0.1:0"}
`, fmt.Sprintf(`
http:
  routers:
    own: {rule: "Host(%[1]sown.test%[1]s)", service: own, entryPoints: [web]}
    all: {rule: "PathPrefix(%[1]s/%[1]s)", service: own, entryPoints: [secure], tls: {}}
  services:
    own: {loadBalancer: {servers: [{url: "http://%[2]s"}]}}
tcp:
  routers:
    vm: {rule: "HostSNI(%[1]svm.test%[1]s)", service: vm, tls: {passthrough: true}, entryPoints: [secure]}
    wild: {rule: "HostSNIRegexp(%[1]s^[a-z]+\\.vm\\.test$%[1]s)", service: vm, tls: {passthrough: true}, entryPoints: [secure]}
  services:
    vm: {loadBalancer: {acmePort: %[3]s, servers: [{address: "127.0.0.1:9"}]}}
`, "`", own.Addr, port))
	const prefix = "/.well-known/acme-challenge/"
	const token = prefix + "yK1iwHnN-_RFgGed5cyyHfi2IjCx7Xbi"
	for _, c := range []struct {
		id, method, host, target string
		want                     string // machine, own, or the status
	}{
		{"ACM-01", "GET", "vm.test", token, "machine"},
		{"ACM-01 HEAD", "HEAD", "vm.test", token, "machine"},
		{"ACM-01 port", "GET", "VM.test:80", token, "machine"},
		{"ACM-01 pattern", "GET", "www.vm.test", token, "machine"},
		{"ACM-02 elsewhere", "GET", "vm.test", "/", "redirected"},
		{"ACM-02 other host", "GET", "other.test", token, "redirected"},
		{"ACM-02 own host", "GET", "own.test", token, "own"},
		{"ACM-04 POST", "POST", "vm.test", token, "redirected"},
		{"ACM-04 dots", "GET", "vm.test", prefix + "../../etc/passwd", "redirected"},
		{"ACM-04 encoded dots", "GET", "vm.test", prefix + "%2e%2e/%2e%2e/etc", "redirected"},
		{"ACM-04 encoded slash", "GET", "vm.test", prefix + "a%2fb", "redirected"},
		{"ACM-04 segment", "GET", "vm.test", token + "/x", "redirected"},
		{"ACM-04 none", "GET", "vm.test", prefix, "redirected"},
		{"ACM-04 long", "GET", "vm.test", prefix + strings.Repeat("a", 10000), "redirected"},
		{"ACM-04 unclean", "GET", "vm.test", "/x/.." + token, "machine"},
		{"ACM-05 absolute", "GET", "x.test", "http://vm.test" + token, "machine"},
	} {
		for _, transport := range []string{"h1", "h2c"} {
			if c.id == "ACM-05 absolute" && transport == "h2c" {
				continue
			}
			t.Run(c.id+" "+transport, func(t *testing.T) {
				m, o := machine.count(), own.count()
				got := r.tell(transport, ask{method: c.method, host: c.host, target: c.target}, false)
				saw := fmt.Sprint(got.status)
				switch {
				case len(machine.messages(m)) == 1 && got.status == 200:
					saw = "machine"
				case len(own.messages(o)) == 1 && got.status == 200:
					saw = "own"
				case got.status >= 301 && got.status <= 308:
					saw = "redirected"
				}
				if saw != c.want {
					t.Errorf("got %s (%+v), want %s", saw, got, c.want)
				}
			})
		}
	}
}

// HST-10: a request for a host behind a passthrough that comes over a connection which we terminated for another host is
// refused, also where a catch-all router would take it.
func TestSecurityHST10(t *testing.T) {
	own := newWitness(t)
	raw := testkit.Listen(t, nil)
	r := start(t, twoEntryPoints, fmt.Sprintf(`
http:
  routers:
    a: {rule: "Host(%[1]sa.test%[1]s)", service: own, entryPoints: [secure], tls: {}}
    all: {rule: "PathPrefix(%[1]s/%[1]s)", service: own, entryPoints: [secure], tls: {}}
    named: {rule: "Host(%[1]sboth.vm.test%[1]s)", service: own, entryPoints: [secure], tls: {}}
  services:
    own: {loadBalancer: {servers: [{url: "http://%[2]s"}]}}
tcp:
  routers:
    vm: {rule: "HostSNI(%[1]svm.test%[1]s) || HostSNIRegexp(%[1]s^.+\\.vm\\.test$%[1]s)", service: vm, tls: {passthrough: true}, entryPoints: [secure]}
  services:
    vm: {loadBalancer: {servers: [{address: "%[3]s"}]}}
`, "`", own.Addr, raw.Addr))
	for host, want := range map[string]int{"a.test": 200, "other.test": 200, "vm.test": 421, "VM.TEST": 421, "vm.test.": 421, "vm.test:443": 421, "www.vm.test": 421, "both.vm.test": 200} {
		for _, transport := range []string{"h1s", "h2"} {
			before := own.count()
			got := r.tell(transport, ask{host: host}, false)
			if got.status != want || (own.count() > before) != (want == 200) {
				t.Errorf("%s %s: got %+v, want %d", transport, host, got, want)
			}
		}
	}
	if raw.Conns() > 0 {
		t.Error("a request was tunnelled")
	}
}

// UPG-06 and H2-06: extended CONNECT is not offered, and refused.
func TestSecurityUPG06(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	for _, transport := range []string{"h2", "h2c"} {
		got := r.tell(transport, ask{method: "CONNECT", fields: []string{":protocol", "websocket"}}, true)
		if got.status != 400 && got.status != 501 {
			t.Errorf("%s: got %+v", transport, got)
		}
	}
	if w.count() > 0 {
		t.Error("the server heard of it")
	}
}

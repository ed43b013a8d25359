package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// changes is how many times the configuration changes under load.
const changes = 500

// sockets is a server that answers plainly, and echoes on connections that it switches to WebSocket (as far as its handshake
// goes: what follows is a stream of bytes).
func sockets(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, "stays")
			return
		}
		c, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.Copy(c, buffered)
	}))
	t.Cleanup(s.Close)
	return s
}

// steady asks for one host over and over, on connections that stay open, until it is stopped. It counts what was not as it
// ought to be.
type steady struct {
	asked, failed atomic.Int64
	first         atomic.Pointer[string] // what failed first
}

func (s *steady) run(stop context.Context, client *http.Client, url string) {
	for stop.Err() == nil {
		s.asked.Add(1)
		if err := askOnce(client, url); err != nil {
			s.failed.Add(1)
			text := err.Error()
			s.first.CompareAndSwap(nil, &text)
		}
	}
}

func askOnce(client *http.Client, url string) error {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	req.Host = "stays.test"
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || string(body) != "stays") {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return err
}

// upgraded is a switched connection through the router.
type upgraded struct {
	c  net.Conn
	in *bufio.Reader
}

func (r *router) upgrade() *upgraded {
	r.t.Helper()
	c := testkit.Dial(r.t, r.addr("web"))
	_, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: stays.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		r.t.Fatal(err)
	}
	u := &upgraded{c, bufio.NewReader(c)}
	for line := ""; line != "\r\n"; {
		if line, err = u.in.ReadString('\n'); err != nil {
			r.t.Fatal(err)
		}
	}
	return u
}

// echo sends a line there and back.
func (u *upgraded) echo(line string) error {
	_ = u.c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(u.c, line+"\n"); err != nil {
		return err
	}
	got, err := u.in.ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("%q came back as %q", line, got)
	}
	return err
}

// settled counts goroutines once as many as may have ended.
func settled(most int) (n int) {
	for range 200 {
		if n = runtime.NumGoroutine(); n <= most {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

// While the configuration changes all the time, no request of a router that stays is failed, no switched connection is cut,
// no passthrough tunnel either, and nothing is left behind.
func TestChangesUnderLoad(t *testing.T) {
	server := sockets(t)
	echo := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { _, _ = io.Copy(c, c) })
	text := func(i int) string {
		var b strings.Builder
		fmt.Fprintf(&b, `
http:
  routers:
    stays: {rule: "Host(`+"`stays.test`"+`)", service: stays, entryPoints: [web], middlewares: [limit]}
    stays-tls: {rule: "Host(`+"`stays.test`"+`)", service: stays, entryPoints: [secure], tls: {}}
`)
		for k := range 5 {
			n := i + k
			fmt.Fprintf(&b, "    r%d: {rule: \"Host(`h%d.test`) && PathPrefix(`/%d`)\", service: s%d, entryPoints: [web], middlewares: [m%d]}\n", n, n, i, n, n)
		}
		fmt.Fprintf(&b, "  middlewares:\n    limit: {inFlightReq: {amount: 1000}}\n")
		for k := range 5 {
			fmt.Fprintf(&b, "    m%d: {rateLimit: {average: %d}}\n", i+k, 100+i)
		}
		fmt.Fprintf(&b, "  services:\n    stays: {loadBalancer: {servers: [{url: %q}]}}\n", server.URL)
		for k := range 5 {
			fmt.Fprintf(&b, "    s%d: {loadBalancer: {healthCheck: {path: /, interval: 1h}, servers: [{url: %q}]}}\n", i+k, server.URL)
		}
		fmt.Fprintf(&b, `
tcp:
  routers: {tunnel: {rule: "HostSNI(`+"`*`"+`)", service: tunnel, entryPoints: [raw]}}
  services: {tunnel: {loadBalancer: {servers: [{address: %q}]}}}
`, echo.Addr)
		return b.String()
	}
	r := start(t, `entryPoints: {web: {address: "127.0.0.1:0"}, secure: {address: "127.0.0.1:0"}, raw: {address: "127.0.0.1:0"}}`, text(0))

	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	secure := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "stays.test"}}
	defer transport.CloseIdleConnections()
	defer secure.CloseIdleConnections()
	ws := r.upgrade()
	tunnel := &upgraded{c: testkit.Dial(t, r.addr("raw"))}
	tunnel.in = bufio.NewReader(tunnel.c)
	for _, u := range []*upgraded{ws, tunnel} {
		if err := u.echo("before"); err != nil {
			t.Fatal(err)
		}
	}
	before := runtime.NumGoroutine()
	var load steady
	stop, end := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer end()
	for range 4 {
		clients.Go(func() { load.run(stop, &http.Client{Transport: transport}, "http://"+r.addr("web")+"/") })
		clients.Go(func() { load.run(stop, &http.Client{Transport: secure}, "https://"+r.addr("secure")+"/") })
	}

	warm := r.memory(text, 1, 50)
	for i := 50; i < changes; i++ {
		r.reload(text(i))
		if i%25 == 0 {
			for _, u := range []*upgraded{ws, tunnel} {
				if err := u.echo(fmt.Sprint("change ", i)); err != nil {
					t.Fatalf("change %d: %v", i, err)
				}
			}
		}
	}
	// A configuration that is broken here and there takes down its own elements only.
	r.reload(strings.Replace(text(changes), "    limit:", "    hurt: {ipAllowList: {sourceRange: [nonsense]}}\n    limit:", 1) + `
  middlewares: {odd: {inFlightConn: {amonut: 3}}}
`)
	if err := ws.echo("after a broken change"); err != nil {
		t.Error(err)
	}
	if p, refused := r.app.InForce(); len(p.Findings) == 0 || len(refused) == 0 {
		t.Error("the broken change is not reported")
	}
	r.reload(text(changes))
	end()
	clients.Wait()
	if first := load.first.Load(); first != nil {
		t.Errorf("%d of %d requests failed; the first: %s", load.failed.Load(), load.asked.Load(), *first)
	} else if load.asked.Load() < changes {
		t.Errorf("only %d requests", load.asked.Load())
	}
	transport.CloseIdleConnections()
	secure.CloseIdleConnections()
	if n := settled(before + 20); n > before+20 {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
	if now := heap(); now > warm+16<<20 {
		t.Errorf("%d KiB of memory after 50 changes, %d KiB after %d", warm>>10, now>>10, changes)
	}
}

// memory makes changes and returns what is allocated behind them.
func (r *router) memory(text func(int) string, from, to int) uint64 {
	for i := from; i < to; i++ {
		r.reload(text(i))
	}
	return heap()
}

// heap is what is in use, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

package app

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// section11 routes everything to one server, with deadlines that a test can wait for.
func section11(server string) string {
	return `
http:
  routers:
    clear: {rule: "PathPrefix(` + "`/`" + `)", service: s, entryPoints: [web]}
    tls: {rule: "PathPrefix(` + "`/`" + `)", service: s, tls: {}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {serversTransport: t, servers: [{url: "http://` + server + `"}]}}
  serversTransports:
    t: {forwardingTimeouts: {responseHeaderTimeout: 300ms, dialTimeout: 1s}}
`
}

// Section 11: a faulty server is 502 or 504 to this client, never a crash, and never anything to the next client.
func TestSecurityUpstreamFaults(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	var answer atomic.Pointer[string]
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			if _, err := readMessage(in); err != nil {
				return
			}
			a := *answer.Load()
			cut := strings.HasSuffix(a, "CUT")
			if _, err := io.WriteString(c, strings.TrimSuffix(a, "CUT")); err != nil || cut {
				return
			}
		}
	})
	r := start(t, twoEntryPoints, section11(server.Addr))
	for _, row := range []struct {
		id, answer string
		status     int
	}{
		{"UPS-01", "CUT", 502},
		{"UPS-03 both", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502},
		{"UPS-03 two lengths", ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 502},
		{"UPS-03 negative", ok + "Content-Length: -3\r\n\r\nabc", 502},
		{"UPS-03 coding", ok + "Transfer-Encoding: gzip\r\n\r\nabc", 502},
		{"UPS-03 coding list", ok + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 502},
		{"UPS-03 first chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 502},
		{"UPS-04 garbage", "\x00\x01garbage\r\n\r\n", 502},
		{"UPS-04 0.9", "<html>hello</html>CUT", 502},
		{"UPS-04 cut head", ok + "X: yCUT", 502},
		{"UPS-04 cut status", "HTTP/1.1 20CUT", 502},
		{"UPS-04 status 99", "HTTP/1.1 99 No\r\nContent-Length: 0\r\n\r\n", 502},
		{"UPS-04 status 1000", "HTTP/1.1 1000 No\r\nContent-Length: 0\r\n\r\n", 502},
		{"UPS-04 bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502},
		{"UPS-04 NUL", ok + "X: a\x00b\r\nContent-Length: 0\r\n\r\n", 502},
		{"UPS-04 version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502},
		{"UPS-08 100 KB", ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100) + "Content-Length: 2\r\n\r\nok", 200},
		{"UPS-08 2 MB", ok + strings.Repeat("X: "+strings.Repeat("y", 10000)+"\r\n", 200) + "Content-Length: 2\r\n\r\nok", 502},
		{"UPS-08 10000 fields", ok + strings.Repeat("X: y\r\n", 10000) + "Content-Length: 2\r\n\r\nok", 200},
		{"UPS-10 silence", "", 504},
		{"UPS-10 half a head", ok + "X: y\r\n", 504},
		{"UPS-07 103, then nothing", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 504},
		{"UPS-07 200 interims", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 200) + ok + "Content-Length: 2\r\n\r\nok", 200},
		{"UPS-13", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/secret\r\nX-Accel-Redirect: /secret\r\nContent-Length: 0\r\n\r\n", 302},
		{"UPG-03 unasked 101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502},
		{"FLD-09 space before colon", ok + "X : y\r\nContent-Length: 0\r\n\r\n", 502},
		{"FLD-09 bad name", ok + "X[]: y\r\nContent-Length: 0\r\n\r\n", 502},
		{"FLD-09 fold", ok + "X: y\r\n z\r\nContent-Length: 0\r\n\r\n", 502},
		{"FLD-09 CR", ok + "X: y\rz\r\nContent-Length: 0\r\n\r\n", 502},
		{"sound", ok + "Content-Length: 2\r\n\r\nok", 200},
	} {
		for _, transport := range transports {
			t.Run(row.id+" "+transport, func(t *testing.T) {
				answer.Store(&row.answer)
				began := time.Now()
				got := r.tell(transport, ask{}, false)
				if got.status != row.status || time.Since(began) > 5*time.Second {
					t.Errorf("got %+v after %v, want %d", got, time.Since(began), row.status)
				}
				if row.status == 502 || row.status == 504 {
					if got.code == "" || len(got.body) > 32 {
						t.Errorf("not our own answer: %+v", got)
					}
				} else if got.code != "" {
					t.Errorf("our own answer: %+v", got)
				}
				sound := ok + "Content-Length: 5\r\n\r\nsound"
				answer.Store(&sound)
				if got := r.tell(transport, ask{}, false); got.status != 200 || got.body != "sound" {
					t.Errorf("the next client got %+v", got)
				}
			})
		}
	}
}

// UPS-02, UPS-05 and UPS-06: a cut response never looks complete; what follows a response reaches nobody.
func TestSecurityUpstreamBodies(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	var answer atomic.Pointer[string]
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			if _, err := readMessage(in); err != nil {
				return
			}
			a := *answer.Load()
			cut := strings.HasSuffix(a, "CUT")
			if _, err := io.WriteString(c, strings.TrimSuffix(a, "CUT")); err != nil || cut {
				return
			}
		}
	})
	r := start(t, twoEntryPoints, section11(server.Addr))
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for _, row := range []struct {
		id, method, answer string
		cut                bool
		body               string
	}{
		{"UPS-02 length", "GET", ok + "Content-Length: 100\r\n\r\nabcCUT", true, ""},
		{"UPS-02 no last chunk", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nCUT", true, ""},
		{"UPS-02 cut in chunk", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcCUT", true, ""},
		{"UPS-02 no final CRLF", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nCUT", true, ""},
		{"UPS-03 late chunk size", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n", true, ""},
		{"UPS-05", "GET", ok + "Content-Length: 3\r\n\r\nabc" + poison, false, "abc"},
		{"UPS-05 chunked", "GET", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + poison, false, "abc"},
		{"UPS-06 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n" + poison, false, ""},
		{"UPS-06 204 with length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison", false, ""},
		{"UPS-06 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison", false, ""},
		{"UPS-06 HEAD", "HEAD", ok + "Content-Length: 6\r\n\r\npoison", false, ""},
		{"UPS-06 HEAD chunked", "HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n", false, ""},
		{"to the end", "GET", ok + "\r\nabcCUT", false, "abc"},
	} {
		for _, transport := range transports {
			t.Run(row.id+" "+transport, func(t *testing.T) {
				answer.Store(&row.answer)
				got := r.tell(transport, ask{method: row.method}, false)
				whole := got.extra == ""
				if row.cut && whole && got.status < 500 || !row.cut && (!whole || got.body != row.body || got.status >= 500) {
					t.Errorf("got %+v", got)
				}
				sound := ok + "Content-Length: 5\r\n\r\nsound"
				answer.Store(&sound)
				for range 2 {
					if got := r.tell(transport, ask{}, false); got.status != 200 || got.body != "sound" {
						t.Errorf("the next client got %+v", got)
					}
				}
			})
		}
	}
}

// UPS-01 and UPS-14: requests are repeated only where that is safe.
func TestSecurityUPS01(t *testing.T) {
	var conns atomic.Int32
	server := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		conns.Add(1)
		in := bufio.NewReader(c)
		if _, err := readMessage(in); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		readMessage(in) // the second request on a connection gets no answer
	})
	r := start(t, twoEntryPoints, section11(server.Addr))
	for i := range 6 {
		if got := r.tell(transports[i%4], ask{}, false); got.status != 200 {
			t.Errorf("GET %d: got %+v", i, got)
		}
	}
	seen := strings.Count(server.Received(), "POST /")
	r.tell("h1", ask{}, false)
	got := r.tell("h1", ask{method: "POST", body: "abc"}, false)
	if n := strings.Count(server.Received(), "POST /") - seen; n != 1 || got.status != 200 && got.status != 502 {
		t.Errorf("a POST was sent %d times: %+v", n, got)
	}
}

// UPS-09: an answer that comes before the body was read reaches the client, on every version.
func TestSecurityUPS09(t *testing.T) {
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
		c.CloseWrite()
		io.Copy(io.Discard, io.LimitReader(c.Conn, 64<<10))
	})
	r := start(t, twoEntryPoints, section11(server.Addr))
	for _, transport := range transports {
		if got := r.tell(transport, ask{method: "POST", body: strings.Repeat("x", 40000)}, false); got.status != 413 || got.body != "no\n" || got.code != "" {
			t.Errorf("%s: got %+v", transport, got)
		}
	}
}

// UPS-14: a server that is killed and comes back, over and over, costs only its own requests.
func TestSecurityUPS14(t *testing.T) {
	good := newWitness(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	r := start(t, twoEntryPoints, `
http:
  routers:
    two: {rule: "Host(`+"`two.test`"+`)", service: two, entryPoints: [web]}
    down: {rule: "Host(`+"`down.test`"+`)", service: down, entryPoints: [web]}
    none: {rule: "Host(`+"`none.test`"+`)", service: none, entryPoints: [web]}
  services:
    two: {loadBalancer: {servers: [{url: "http://`+good.Addr+`"}, {url: "http://`+dead.Addr().String()+`"}]}}
    down: {loadBalancer: {servers: [{url: "http://`+dead.Addr().String()+`"}]}}
    none: {loadBalancer: {servers: []}}
`)
	failed := 0
	for range 40 {
		if got := r.tell("h1", ask{host: "two.test"}, false); got.status == 502 {
			failed++
		} else if got.status != 200 {
			t.Errorf("got %+v", got)
		}
	}
	if failed > 20 {
		t.Errorf("%d of 40 requests failed", failed)
	}
	if got := r.tell("h1", ask{host: "down.test"}, false); got.status != 502 {
		t.Errorf("down: got %+v", got)
	}
	if got := r.tell("h1", ask{host: "none.test"}, false); got.status != 503 {
		t.Errorf("none: got %+v", got)
	}
}

// UPG-01 to UPG-05 and UPG-07: what becomes a tunnel, what does not, and that nothing of it is lost.
func TestSecurityUpgrade(t *testing.T) {
	const accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	var answer atomic.Pointer[string]
	server := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		in := bufio.NewReader(c)
		for {
			m, err := readMessage(in)
			if err != nil {
				return
			}
			a := *answer.Load()
			if len(m.values("Upgrade")) == 0 {
				a = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain"
			}
			if _, err := io.WriteString(c, a); err != nil {
				return
			}
			if strings.HasPrefix(a, "HTTP/1.1 101") {
				io.Copy(c, in) // echo
				c.CloseWrite()
				return
			}
		}
	})
	r := start(t, shortTimeouts, section11(server.Addr))
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const ask = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "\r\n"
	set := func(a string) { answer.Store(&a) }
	for _, transport := range []string{"h1", "h1s"} {
		t.Run("UPG-05 "+transport, func(t *testing.T) {
			set(accept + "first")
			c := r.dial(transport)
			defer c.Close()
			in := bufio.NewReader(c)
			io.WriteString(c, ask+"early")
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") == "" {
				t.Fatalf("got %+v, %v", resp, err)
			}
			big := strings.Repeat("0123456789abcdef", 1<<16)
			go func() {
				time.Sleep(400 * time.Millisecond) // longer than the timeouts of requests
				io.WriteString(c, big)
				c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(in)
			if want := "firstearly" + big; err != nil || string(got) != want {
				t.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
			}
		})
		t.Run("UPG-07 "+transport, func(t *testing.T) {
			set(accept)
			c := r.dial(transport)
			defer c.Close()
			in := bufio.NewReader(c)
			io.WriteString(c, ask)
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
				t.Fatalf("got %+v, %v", resp, err)
			}
			other := newWitness(t)
			r.reload(section11(other.Addr))
			defer r.reload(section11(server.Addr))
			for range 3 {
				io.WriteString(c, "ping")
				b := make([]byte, 4)
				if _, err := io.ReadFull(in, b); err != nil || string(b) != "ping" {
					t.Fatalf("the tunnel did not survive: %q, %v", b, err)
				}
			}
		})
		for _, row := range []struct {
			id, ask, answer string
			status          int
			body            string
		}{
			{"UPG-02", ask + smuggled, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, "no"},
			{"UPG-02 200", ask + smuggled, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200, "no"},
			{"UPG-03 other protocol", ask, strings.Replace(accept, "websocket", "foo", 1), 502, "Bad Gateway"},
			{"UPG-03 no protocol", ask, strings.Replace(accept, "Upgrade: websocket\r\n", "", 1), 502, "Bad Gateway"},
			{"UPG-03 bad accept", ask, strings.Replace(accept, "s3pP", "xxxx", 1), 502, "Bad Gateway"},
			{"UPG-03 no accept", ask, strings.Replace(accept, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "", 1), 502, "Bad Gateway"},
			{"UPG-01 h2c", strings.Replace(ask, "Upgrade: websocket", "Upgrade: h2c", 1), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200, "plain"},
			{"UPG-01 foo", strings.Replace(ask, "Upgrade: websocket", "Upgrade: foo", 1), accept, 200, "plain"},
			{"UPG-04 HTTP/1.0", strings.Replace(ask, "HTTP/1.1", "HTTP/1.0", 1), accept, 200, "plain"},
		} {
			t.Run(row.id+" "+transport, func(t *testing.T) {
				set(row.answer)
				c := r.dial(transport)
				defer c.Close()
				got := exchange(t, c, row.ask, "GET", row.id[:6] == "UPG-02")
				if got.status != row.status || got.body != row.body || strings.Contains(got.extra, "HTTP/1") {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
	if strings.Contains(server.Received(), "smuggled") {
		t.Error("bytes behind a refused upgrade reached the server")
	}
	// UPG-04: forwarded for the server to refuse.
	for name, raw := range map[string]string{
		"version": strings.Replace(ask, "Version: 13", "Version: 8", 1),
		"no key":  strings.Replace(ask, key, "", 1),
		"POST":    strings.Replace(ask, "GET", "POST", 1),
		"body":    strings.Replace(ask, key, key+"Content-Length: 3\r\n", 1) + "abc",
	} {
		t.Run("UPG-04 "+name, func(t *testing.T) {
			set("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
			got := exchange(t, r.dial("h1"), raw, "GET", false)
			if got.status != 426 && got.body != "plain" {
				t.Errorf("got %+v", got)
			}
			set(accept)
			if got := exchange(t, r.dial("h1"), raw, "GET", false); got.status == 101 || strings.Contains(got.extra, "101") {
				t.Errorf("became a tunnel: %+v", got)
			}
		})
	}
}

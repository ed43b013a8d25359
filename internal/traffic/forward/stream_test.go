package forward

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/upstream"
)

// expect reads exactly want from r.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if string(got[:n]) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// Pieces of a response arrive as the server sends them: events and long answers are not kept back.
func TestStreamsAtOnce(t *testing.T) {
	next := make(chan string)
	peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for s := range next {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(s), s)
		}
		io.WriteString(c, "0\r\nX-Sum: 3\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	c := testkit.Dial(t, f.addr)
	io.WriteString(c, get)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s := fmt.Sprintf("data: %d\n\n", i)
		next <- s
		expect(t, res.Body, s)
	}
	close(next)
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil || res.Trailer.Get("X-Sum") != "3" {
		t.Errorf("rest %q, %v, trailer %v", rest, err, res.Trailer)
	}
}

// UPS-02: a body that the server cuts is cut for the client too, so that nobody takes it for complete.
func TestCutUPS02(t *testing.T) {
	for name, raw := range map[string]string{
		"counted": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
				c.ReadUntil("\r\n\r\n")
				io.WriteString(c, raw)
			})
			f := newFront(t, config(peer.Addr), upstream.Defaults())
			c := testkit.Dial(t, f.addr)
			io.WriteString(c, get)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			if err == nil {
				t.Error("the client took the response for complete")
			}
			if g := fault.Of(f.last(t).Err); g == nil || g.Kind != fault.UpstreamCut {
				t.Errorf("recorded %v", g)
			}
		})
	}
}

// UPS-06 end to end: framing of answers without a body.
func TestBodilessUPS06(t *testing.T) {
	for _, c := range []struct{ name, method, raw, field string }{
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "500"},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", "500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, testkit.Answer(c.raw))
			f := newFront(t, config(peer.Addr), upstream.Defaults())
			conn := testkit.Dial(t, f.addr)
			r := bufio.NewReader(conn)
			for range 3 { // on one connection: an answer misframed would spoil the next
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: a.test\r\n\r\n", c.method)
				res, err := http.ReadResponse(r, &http.Request{Method: c.method})
				if err != nil {
					t.Fatal(err)
				}
				if body, _ := io.ReadAll(res.Body); len(body) > 0 || res.Header.Get("Content-Length") != c.field {
					t.Errorf("body %q, Content-Length %q", body, res.Header.Get("Content-Length"))
				}
			}
			if peer.Conns() != 1 {
				t.Errorf("%d connections to the server", peer.Conns())
			}
		})
	}
}

// A large upload is passed on unchanged, counted or chunked, while the server reads slowly.
func TestUpload(t *testing.T) {
	const size = 8 << 20
	block := make([]byte, size)
	for i := range block {
		block[i] = byte(i ^ i>>8 ^ i>>16)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(block))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		io.Copy(h, r.Body)
		fmt.Fprintf(w, "%x", h.Sum(nil))
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	f := newFront(t, config(ln.Addr().String()), upstream.Defaults())
	for _, length := range []int64{size, -1} {
		c := testkit.Dial(t, f.addr)
		req, _ := http.NewRequest("POST", "http://a.test/", struct{ io.Reader }{bytes.NewReader(block)})
		req.ContentLength = length
		go req.Write(c)
		res, err := http.ReadResponse(bufio.NewReader(c), req)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(res.Body); string(got) != want {
			t.Errorf("length %d: sum %s, want %s", length, got, want)
		}
		if facts := f.last(t); facts.BytesIn != size || facts.Err != nil {
			t.Errorf("length %d: %d bytes in, %v", length, facts.BytesIn, facts.Err)
		}
	}
}

// UPS-09: the answer to an upload that the server does not want reaches the client.
func TestEarlyAnswerUPS09(t *testing.T) {
	peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	res, body := f.ask(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nbeginning")
	if res.StatusCode != 413 || body != "big" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// FRM-25 end to end.
func TestContinueFRM25(t *testing.T) {
	const ask = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	t.Run("asked for", func(t *testing.T) {
		peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			c.ReadUntil("\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			c.ReadUntil("hello")
			io.WriteString(c, reply("ok"))
			io.Copy(io.Discard, c)
		})
		f := newFront(t, config(peer.Addr), upstream.Defaults())
		c := testkit.Dial(t, f.addr)
		io.WriteString(c, ask)
		expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
		io.WriteString(c, "hello")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v, %v", res, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
			c.ReadUntil("\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, c)
		})
		f := newFront(t, config(peer.Addr), upstream.Defaults())
		if res, _ := f.ask(t, ask); res.StatusCode != 401 {
			t.Errorf("status %d", res.StatusCode)
		}
		if got := peer.Received(); strings.Contains(got, "hello") || !strings.Contains(got, "Expect: 100-continue\r\n") {
			t.Errorf("server was sent %q", got)
		}
	})
}

// UPG-01 to UPG-05 end to end.
func TestUpgrade(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	const ask = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
	const yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		head, _ := c.ReadUntil("\r\n\r\n")
		if !strings.Contains(head, "\r\nUpgrade: websocket\r\n") {
			io.WriteString(c, reply("plain"))
			io.Copy(io.Discard, c)
			return
		}
		io.WriteString(c, yes+"hello")
		io.Copy(c, c)
	})
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	t.Run("UPG-05 first frames with the 101, echo, half-close", func(t *testing.T) {
		c := testkit.Dial(t, f.addr)
		io.WriteString(c, ask+"early")
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-Websocket-Accept") == "" {
			t.Fatalf("%v, %v", res, err)
		}
		expect(t, r, "helloearly")
		io.WriteString(c, "more")
		expect(t, r, "more")
		c.CloseWrite()
		if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
			t.Errorf("after half-close: %q, %v", rest, err)
		}
		if facts := f.last(t); facts.OriginStatus != 101 || facts.Err != nil {
			t.Errorf("facts %+v", facts)
		}
	})
	t.Run("UPG-01 another protocol is a plain request", func(t *testing.T) {
		res, body := f.ask(t, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
		if res.StatusCode != 200 || body != "plain" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
}

// INV-10: a client that leaves takes its request with it.
func TestClientLeavesINV10(t *testing.T) {
	for name, raw := range map[string]string{
		"while waiting":     "",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
		"between the heads": "HTTP/1.1 103 Early Hints\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan bool, 1)
			peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
				c.ReadUntil("\r\n\r\n")
				io.WriteString(c, raw)
				io.Copy(io.Discard, c)
				ended <- true
			})
			f := newFront(t, config(peer.Addr), upstream.Defaults())
			c := testkit.Dial(t, f.addr)
			io.WriteString(c, get)
			for deadline := time.Now().Add(5 * time.Second); !strings.Contains(peer.Conn(t, 0).Received(), "\r\n\r\n"); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the request did not arrive")
				}
			}
			c.SetLinger(0)
			c.Close()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the server's connection stays open")
			}
			if g := fault.Of(f.last(t).Err); g == nil || g.Kind != fault.ClientGone {
				t.Errorf("recorded %v", g)
			}
		})
	}
}

// UPS-05: what a server says unasked reaches nobody.
func TestPoisonUPS05(t *testing.T) {
	peer := testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		for {
			if _, err := c.ReadUntil("\r\n\r\n"); err != nil {
				return
			}
			// In one write: what comes once the next request is under way cannot be told from its answer.
			io.WriteString(c, reply("ok")+reply("poison"))
		}
	})
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	var wg sync.WaitGroup
	var bad atomic.Int64
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if _, body := f.ask(t, get); body != "ok" {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := bad.Load(); n > 0 {
		t.Errorf("%d of 100 requests got something else", n)
	}
}

// UPS-14: a server killed under load costs only its own requests.
func TestServerKilledUPS14(t *testing.T) {
	good := testkit.Listen(t, testkit.Answer(reply("ok")))
	doomed := testkit.Listen(t, testkit.Answer(reply("ok")))
	f := newFront(t, config(good.Addr, doomed.Addr), upstream.Defaults())
	var wg sync.WaitGroup
	var failed, served atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				if i == 0 && j == 25 {
					doomed.Close()
				}
				if res, _ := f.ask(t, get); res.StatusCode == 200 {
					served.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// At most the requests in flight at that moment, and those only if they had been answered in part.
	if failed.Load() > 4 || served.Load() < 196 {
		t.Errorf("%d failed, %d served", failed.Load(), served.Load())
	}
}

// fickle is a server that closes kept connections at any moment it likes. It counts the requests whose head it saw whole, by
// their X-Id.
func fickle(t *testing.T) (p *testkit.Peer, seen func(id string) int) {
	var mu sync.Mutex
	ids := map[string]int{}
	note := func(head string) {
		_, after, _ := strings.Cut(head, "X-Id: ")
		id, _, _ := strings.Cut(after, "\r\n")
		mu.Lock()
		ids[id]++
		mu.Unlock()
	}
	p = testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		for {
			head, err := c.ReadUntil("\r\n\r\n")
			if err != nil {
				return
			}
			note(head)
			io.WriteString(c, reply("ok"))
			switch r.IntN(6) {
			case 0:
				return // while idle
			case 1:
				if head, err := c.ReadUntil("\r\n\r\n"); err == nil {
					note(head)
				}
				return // upon the next request
			case 2:
				c.ReadUntil("HTTP") // in the middle of it
				c.Conn.(*net.TCPConn).SetLinger(0)
				return
			}
		}
	})
	return p, func(id string) int {
		mu.Lock()
		defer mu.Unlock()
		return ids[id]
	}
}

// UPS-01: such a server costs no request that may be repeated, and gets the others at most once.
func TestRandomClosesUPS01(t *testing.T) {
	peer, seen := fickle(t)
	f := newFront(t, config(peer.Addr), upstream.Defaults())
	const clients, each = 4, 2500
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			for i := range each {
				id := fmt.Sprintf("%d-%d", client, i)
				method := "GET"
				if i%10 == 9 {
					method = "POST"
				}
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: a.test\r\nX-Id: %s\r\n\r\n", method, id)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || string(body) != "ok" && method == "GET" || res.StatusCode != 200 && (method == "GET" || res.StatusCode != 502) {
					t.Errorf("%s %s: %d %q %v", method, id, res.StatusCode, body, err)
					return
				}
				if n := seen(id); n > 1 && method == "POST" || n == 0 && res.StatusCode == 200 {
					t.Errorf("%s %s came %d times", method, id, n)
				}
			}
		})
	}
	wg.Wait()
}

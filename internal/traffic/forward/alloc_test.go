package forward

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/httpmsg"
)

// fast answers every read with a fixed response and allocates nothing.
func fast(t testing.TB, response string) *testkit.Peer {
	return testkit.Listen(t, func(c *testkit.PeerConn, _ int) {
		buf, out := make([]byte, 16<<10), []byte(response)
		for {
			if _, err := c.Conn.Read(buf); err != nil {
				return
			}
			if _, err := c.Conn.Write(out); err != nil {
				return
			}
		}
	})
}

const fullRequest = "GET /api/v1/items/42?page=2 HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip\r\nCookie: lb=x; session=0123456789abcdef\r\nX-Request-Id: 7f8e1a2b\r\n\r\n"

// A keep-alive request through server loop, service, pool and back allocates nothing, whatever the strategy.
func TestForwardAllocatesNothing(t *testing.T) {
	const n = 2000
	for _, strategy := range []string{"wrr", "p2c", "hrw", "leasttime"} {
		t.Run(strategy, func(t *testing.T) {
			res := "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
			a, b := fast(t, res), fast(t, res)
			lb := config(a.Addr, b.Addr)
			lb.Strategy = strategy
			f := newFront(t, lb, upstream.Defaults())
			c := testkit.Dial(t, f.addr)
			req, buf := []byte(fullRequest), make([]byte, 4096)
			// net/http is not used on this side: it would allocate too.
			round := func() {
				c.Write(req)
				if got := readResponse(t, c, buf); got < 1024 {
					t.Fatalf("response of %d bytes", got)
				}
				<-f.wait
			}
			for range 200 {
				round()
			}
			f.mu.Lock()
			f.ended = make([]httpmsg.Facts, 0, 2*n)
			f.mu.Unlock()
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				round()
			}
			runtime.ReadMemStats(&after)
			if per := float64(after.Mallocs-before.Mallocs) / n; per > 0.1 && !racing {
				t.Errorf("%.2f allocations per request", per)
			}
		})
	}
}

// readResponse reads until the end of a body of 1024 bytes and returns how many bytes there were in all.
func readResponse(t testing.TB, c net.Conn, buf []byte) int {
	n := 0
	for n < 1024 || buf[n-1] != 'x' || n < 1024+headLen(buf[:n]) {
		m, err := c.Read(buf[n:])
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return n
		}
		n += m
	}
	return n
}

func headLen(b []byte) int {
	for i := 3; i < len(b); i++ {
		if b[i] == '\n' && b[i-1] == '\r' && b[i-2] == '\n' {
			return i + 1
		}
	}
	return len(b)
}

// BenchmarkForward is one keep-alive request through everything, over loopback sockets, with both its neighbours in the
// same process.
func BenchmarkForward(b *testing.B) {
	peer := fast(b, "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1024))
	f := newFront(b, config(peer.Addr), upstream.Defaults())
	c := testkit.Dial(b, f.addr)
	c.SetDeadline(time.Time{})
	req, buf := []byte(fullRequest), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(req)
		readResponse(b, c, buf)
		<-f.wait
		f.mu.Lock()
		f.ended = f.ended[:0]
		f.mu.Unlock()
	}
}

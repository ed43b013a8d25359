package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

const smallRequest = "GET /api/v1/items/42?page=2 HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nReferer: http://www.example.test/start\r\n" +
	"Cache-Control: no-cache\r\nX-Request-Id: 7f8e1a2b3c4d\r\nOrigin: http://www.example.test\r\nDNT: 1\r\nConnection: keep-alive\r\n\r\n"

func BenchmarkParseRequest(b *testing.B) {
	var r requestHead
	var req httpmsg.Request
	var lim Limits
	lim.setDefaults()
	in := []byte(smallRequest)
	b.ReportAllocs()
	for b.Loop() {
		r.reset(0)
		req.Header.Reset()
		if done, f := r.parse(in, &req, &lim); !done {
			b.Fatal(f)
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var r responseHead
	var res httpmsg.Response
	var lim Limits
	lim.setDefaults()
	in := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1234\r\n" +
		"Last-Modified: Tue, 15 Nov 1994 08:12:31 GMT\r\nConnection: keep-alive\r\nETag: \"5f3-1234\"\r\nAccept-Ranges: bytes\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		r.reset(0)
		res.Header.Reset()
		if done, f := r.parse(in, &res, &lim); !done {
			b.Fatal(f)
		}
		if f := r.frame(res.Status, false); f != nil {
			b.Fatal(f)
		}
	}
}

func BenchmarkWriteFields(b *testing.B) {
	var r requestHead
	var req httpmsg.Request
	var lim Limits
	lim.setDefaults()
	if done, f := r.parse([]byte(smallRequest), &req, &lim); !done {
		b.Fatal(f)
	}
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = appendFields(appendStatus(out[:0], 200), &req.Header, httpmsg.HopByHop)
	}
}

func BenchmarkChunkReader(b *testing.B) {
	in := []byte("1000\r\n" + string(make([]byte, 4096)) + "\r\n0\r\n\r\n")
	var s stream
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		s.begin(chunked, 0, in)
		for {
			if _, what, _ := s.take(); what == pieceEnd {
				break
			}
		}
	}
}

// loopConn gives the same request n times and counts what is written.
type loopConn struct {
	net.Conn
	in      []byte
	at      int
	left    int
	written int
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.at == len(c.in) {
		c.at = 0
		if c.left--; c.left <= 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, c.in[c.at:])
	c.at += n
	return n, nil
}

func (c *loopConn) Write(p []byte) (int, error)      { c.written += len(p); return len(p), nil }
func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) CloseWrite() error                { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

func hello(x *httpmsg.Exchange) error {
	x.Respond(200, "text/plain", "hello, world\n")
	return nil
}

func loopServer(h httpmsg.HandlerFunc) *Server {
	return &Server{Handler: h, Watch: watch.New(), Timeouts: Timeouts{Read: time.Minute, Idle: time.Minute}}
}

// BenchmarkLoop is the whole of one keep-alive request but for the system calls.
func BenchmarkLoop(b *testing.B) {
	httpmsg.SetPoison(false) // tests want it, production has it off
	defer httpmsg.SetPoison(true)
	s := loopServer(hello)
	s.Watch.Start()
	defer s.Watch.Stop()
	b.ReportAllocs()
	b.ResetTimer()
	s.ServeConn(&loopConn{in: []byte(smallRequest), left: b.N}, Session{})
}

// TestLoopAllocates holds the ceiling: nothing per request on a connection that is kept.
func TestLoopAllocates(t *testing.T) {
	if racing {
		t.Skip("the race detector makes pools forget")
	}
	for _, c := range []struct{ name, in string }{
		{"GET", smallRequest},
		{"POST with length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"},
		{"POST chunked", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"REQ-08b", "GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := loopServer(func(x *httpmsg.Exchange) error {
				if x.Req.Body != nil {
					for {
						if _, err := x.Req.Body.Next(); err != nil {
							break
						}
					}
				}
				return hello(x)
			})
			s.Watch.Start()
			defer s.Watch.Stop()
			const n = 2000
			few := testing.AllocsPerRun(3, func() { s.ServeConn(&loopConn{in: []byte(c.in), left: 2}, Session{}) })
			many := testing.AllocsPerRun(3, func() { s.ServeConn(&loopConn{in: []byte(c.in), left: n}, Session{}) })
			if per := (many - few) / n; per > 0.02 {
				t.Errorf("%.3f allocations per request (%.0f for 2, %.0f for %d)", per, few, many, n)
			}
		})
	}
}

package http1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
)

// feed is a request body that a test sends piece by piece.
type feed struct {
	pieces chan string // closed at the end
	stop   chan struct{}
	once   sync.Once
	read   atomic.Int64 // bytes handed out
	asked  atomic.Bool
	err    error // at the end instead of io.EOF
}

func newFeed(pieces ...string) *feed {
	f := &feed{pieces: make(chan string, 1000), stop: make(chan struct{})}
	for _, p := range pieces {
		f.pieces <- p
	}
	return f
}

func (f *feed) Next() ([]byte, error) {
	f.asked.Store(true)
	select {
	case p, ok := <-f.pieces:
		if !ok {
			if f.err != nil {
				return nil, f.err
			}
			return nil, io.EOF
		}
		f.read.Add(int64(len(p)))
		return []byte(p), nil
	case <-f.stop:
		return nil, httpmsg.ErrInterrupted
	}
}
func (f *feed) Ready() bool              { return false }
func (f *feed) Trailer() *httpmsg.Header { return nil }
func (f *feed) Close()                   {}
func (f *feed) Interrupt()               { f.once.Do(func() { close(f.stop) }) }

func upload(line string, b httpmsg.Body, length int64) *httpmsg.Exchange {
	x := request(line)
	x.Req.Body, x.Req.ContentLength = b, length
	return x
}

const okReply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestClientUploads(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	closed := func(pieces ...string) *feed { f := newFeed(pieces...); close(f.pieces); return f }
	for _, c := range []struct {
		name string
		body httpmsg.Body
		n    int64
		want string // framing and body as sent
	}{
		{"ready, counted", &ready{data: "hello"}, 5, "Content-Length: 5\r\n\r\nhello"},
		{"ready, chunked", &ready{data: "hello"}, -1, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"ready, large", &ready{data: big}, int64(len(big)), "Content-Length: 1000000\r\n\r\n" + big},
		{"in memory, small", &httpmsg.Bytes{Data: []byte("hello")}, 5, "Content-Length: 5\r\n\r\nhello"},
		{"in memory, large", &httpmsg.Bytes{Data: []byte(big)}, int64(len(big)), "Content-Length: 1000000\r\n\r\n" + big},
		{"in memory, empty, chunked", &httpmsg.Bytes{}, -1, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"streamed, counted", closed("he", "llo"), 5, "Content-Length: 5\r\n\r\nhello"},
		{"streamed, chunked", closed("he", "", "llo"), -1, "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"},
		{"streamed, empty, chunked", closed(), -1, "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := "POST / HTTP/1.1\r\nHost: a.test\r\n" + c.want
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				for {
					got := make([]byte, len(want))
					if _, err := io.ReadFull(p, got); err != nil {
						return
					}
					io.WriteString(p, okReply)
				}
			})
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{ResponseHeaderTimeout: time.Minute})
			x := upload("POST /", c.body, c.n)
			if err := conn.RoundTrip(x, &Target{}); err != nil {
				t.Fatal(err)
			}
			if body, err := readBody(x); body != "ok" || err != nil {
				t.Errorf("answer %q, %v", body, err)
			}
			x.Finish()
			if got := peer.Received(); got != want {
				t.Errorf("sent %d bytes %.300q, want %d %.300q", len(got), got, len(want), want)
			}
			if keeper.state() != "idle" {
				t.Errorf("connection is %s", keeper.state())
			}
		})
	}
}

func TestClientUploadFaults(t *testing.T) {
	cut := fault.New(fault.BodyTooLarge, "too much", nil)
	broken := func(err error, pieces ...string) *feed {
		f := newFeed(pieces...)
		f.err = err
		close(f.pieces)
		return f
	}
	for _, c := range []struct {
		name string
		body httpmsg.Body
		n    int64
		kind fault.Kind
	}{
		{"FRM-20 shorter than its length", broken(nil, "hel"), 5, fault.BodyCut},
		{"FRM-20 ready, shorter than its length", &ready{data: "hel"}, 5, fault.BodyCut},
		{"longer than its length", broken(nil, "hello!"), 5, fault.Internal},
		{"ready, longer than its length", &ready{data: "hello!"}, 5, fault.Internal},
		{"client's fault", broken(cut, "hel"), -1, fault.BodyTooLarge},
		{"unnamed error", broken(errors.New("boom"), "hel"), -1, fault.BodyCut},
		{"panic", &panicking{}, -1, fault.Panic},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, nil)
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			x := upload("POST /", c.body, c.n)
			f := fault.Of(conn.RoundTrip(x, &Target{}))
			if f == nil || f.Kind != c.kind || f.Retry != fault.Never {
				t.Errorf("fault %v (%+v), want %s", f, f, c.kind.Code())
			}
			x.Finish()
			peer.Close()
			if strings.HasSuffix(peer.Received(), "0\r\n\r\n") {
				t.Error("the server could take the body for complete")
			}
			if keeper.state() != "closed" {
				t.Errorf("connection is %s", keeper.state())
			}
		})
	}
}

type panicking struct{ ready }

func (*panicking) Next() ([]byte, error) { panic("in a body") }
func (*panicking) Ready() bool           { return false }

// A server that does not read makes the client's side wait instead of filling memory.
func TestClientUploadBackPressure(t *testing.T) {
	goOn := make(chan bool)
	const piece, pieces = 64 << 10, 1000
	peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
		p.ReadUntil("\r\n\r\n")
		<-goOn
		io.CopyN(io.Discard, p.Conn, piece*pieces)
		io.WriteString(p, okReply)
		io.Copy(io.Discard, p)
	})
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	f := newFeed()
	for range pieces {
		f.pieces <- strings.Repeat("x", piece)
	}
	close(f.pieces)
	x := upload("POST /", f, piece*pieces)
	go func() {
		last := int64(-1)
		for n := f.read.Load(); n != last || n == 0; n = f.read.Load() {
			last = n
			time.Sleep(50 * time.Millisecond)
		}
		if last >= piece*pieces {
			t.Error("the whole body was taken although the server read nothing")
		}
		goOn <- true
	}()
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	if body, err := readBody(x); body != "ok" || err != nil {
		t.Errorf("answer %q, %v", body, err)
	}
	x.Finish()
	if keeper.state() != "idle" {
		t.Errorf("connection is %s", keeper.state())
	}
}

// UPS-09: an answer that comes before the upload is over is relayed, and the upload stopped.
func TestClientEarlyAnswerUPS09(t *testing.T) {
	for _, c := range []struct{ name, raw string }{
		{"and closes", "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"},
		{"and stays", "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"},
		{"until close", "HTTP/1.1 413 Content Too Large\r\n\r\nbig"},
		{"without a body", "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				p.ReadUntil("first")
				io.WriteString(p, c.raw)
				p.CloseWrite()
				io.Copy(io.Discard, p)
			})
			conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
			f := newFeed("first")
			x := upload("POST /", f, 1<<30)
			if err := conn.RoundTrip(x, &Target{}); err != nil {
				t.Fatal(err)
			}
			if x.Res.Status != 413 {
				t.Errorf("status %d", x.Res.Status)
			}
			if body, err := readBody(x); err != nil || body != "big" && x.Res.ContentLength != 0 {
				t.Errorf("answer %q, %v", body, err)
			}
			x.Finish()
			if keeper.state() != "closed" {
				t.Errorf("connection is %s", keeper.state())
			}
			select {
			case <-f.stop:
			default:
				t.Error("the upload was not stopped")
			}
		})
	}
}

// Request and response bodies move at the same time.
func TestClientFullDuplex(t *testing.T) {
	peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
		p.ReadUntil("\r\n\r\n")
		io.WriteString(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		io.Copy(p, p) // chunked in, the same chunked out
	})
	conn, _ := dialClient(t, peer.Addr, ClientOptions{})
	f := newFeed()
	x := upload("POST /", f, -1)
	if err := conn.RoundTrip(x, &Target{}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		f.pieces <- word
		if p, err := x.Res.Body.Next(); string(p) != word || err != nil {
			t.Fatalf("echo %q, %v; want %q", p, err, word)
		}
	}
	close(f.pieces)
	if _, err := x.Res.Body.Next(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	x.Finish()
}

func TestClientUploadCancel(t *testing.T) {
	peer := testkit.Listen(t, nil)
	conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
	f := newFeed("hello")
	x := upload("POST /", f, -1)
	go func() {
		for f.read.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		x.Cancel(errors.New("client has gone"))
	}()
	if f := fault.Of(conn.RoundTrip(x, &Target{})); f == nil || f.Kind != fault.ClientGone {
		t.Errorf("fault %v", f)
	}
	if keeper.state() != "closed" {
		t.Errorf("connection is %s", keeper.state())
	}
}

func TestClientContinueFRM25(t *testing.T) {
	ask := func(f httpmsg.Body) *httpmsg.Exchange {
		x := upload("POST /", f, 5)
		x.Req.Continue = true
		return x
	}
	t.Run("server asks for the body", func(t *testing.T) {
		f := newFeed("hello")
		early := false
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			early = f.asked.Load()
			io.WriteString(p, "HTTP/1.1 100 Continue\r\n\r\n")
			io.ReadFull(p, make([]byte, 5))
			io.WriteString(p, okReply)
			io.Copy(io.Discard, p)
		})
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{ContinueTimeout: time.Hour})
		x := ask(f)
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		if body, _ := readBody(x); body != "ok" || early {
			t.Errorf("answer %q, body asked for early: %v", body, early)
		}
		x.Finish()
		if keeper.state() != "idle" || !strings.Contains(peer.Received(), "\r\nExpect: 100-continue\r\n") {
			t.Errorf("connection is %s, sent %q", keeper.state(), peer.Received())
		}
	})
	t.Run("server says nothing", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("hello")
			io.WriteString(p, okReply)
			io.Copy(io.Discard, p)
		})
		conn, _ := dialClient(t, peer.Addr, ClientOptions{ContinueTimeout: time.Millisecond})
		x := ask(newFeed("hello"))
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		x.Finish()
	})
	t.Run("server refuses", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			io.WriteString(p, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, p)
		})
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{ContinueTimeout: time.Hour})
		f := newFeed("hello")
		x := ask(f)
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		x.Finish()
		if x.Facts.OriginStatus != 417 || f.asked.Load() || keeper.state() != "closed" {
			t.Errorf("status %d, body read: %v, connection %s", x.Facts.OriginStatus, f.asked.Load(), keeper.state())
		}
	})
	t.Run("body in memory needs no leave", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("hello")
			io.WriteString(p, okReply)
		})
		conn, _ := dialClient(t, peer.Addr, ClientOptions{})
		x := ask(&httpmsg.Bytes{Data: []byte("hello")})
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(peer.Received(), "Expect") {
			t.Errorf("sent %q", peer.Received())
		}
		x.Finish()
	})
}

// A response body of many megabytes passes through bounded memory, unchanged.
func TestClientLargeResponse(t *testing.T) {
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i * 7)
	}
	for _, c := range []struct{ name, head, tail string }{
		{"counted", "Content-Length: 8388608\r\n\r\n", ""},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n800000\r\n", "\r\n0\r\n\r\n"},
		{"until close", "\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
				p.ReadUntil("\r\n\r\n")
				io.WriteString(p, "HTTP/1.1 200 OK\r\n"+c.head)
				for range 8 {
					p.Write(piece)
				}
				io.WriteString(p, c.tail)
				if c.name != "until close" {
					io.Copy(io.Discard, p)
				}
			})
			conn, _ := dialClient(t, peer.Addr, ClientOptions{})
			x := request("GET /")
			if err := conn.RoundTrip(x, &Target{}); err != nil {
				t.Fatal(err)
			}
			n := 0
			for {
				p, err := x.Res.Body.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for len(p) > 0 {
					at := n % len(piece)
					m := min(len(p), len(piece)-at)
					if !bytes.Equal(p[:m], piece[at:at+m]) {
						t.Fatalf("bytes at %d differ", n)
					}
					n, p = n+m, p[m:]
				}
			}
			if n != 8<<20 {
				t.Errorf("%d bytes", n)
			}
			x.Finish()
		})
	}
	t.Run("given up", func(t *testing.T) {
		peer := testkit.Listen(t, func(p *testkit.PeerConn, _ int) {
			p.ReadUntil("\r\n\r\n")
			io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
			for range 8 {
				if _, err := p.Write(piece); err != nil {
					return
				}
			}
		})
		conn, keeper := dialClient(t, peer.Addr, ClientOptions{})
		x := request("GET /")
		if err := conn.RoundTrip(x, &Target{}); err != nil {
			t.Fatal(err)
		}
		x.Res.Body.Next()
		x.Finish()
		if keeper.state() != "closed" {
			t.Errorf("connection is %s", keeper.state())
		}
	})
}

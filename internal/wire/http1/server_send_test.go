package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// source is a body that gives its pieces as they come in, then its error (io.EOF by default) and its trailer.
type source struct {
	pieces  chan string
	waiting string // taken from pieces by Ready
	err     error
	trailer *httpmsg.Header
	closed  chan struct{}
}

func newSource(pieces ...string) *source {
	b := &source{pieces: make(chan string, 100), err: io.EOF, closed: make(chan struct{})}
	for _, p := range pieces {
		b.pieces <- p
	}
	return b
}

func (b *source) Next() ([]byte, error) {
	if p := b.waiting; p != "" {
		b.waiting = ""
		return []byte(p), nil
	}
	select {
	case p, ok := <-b.pieces:
		if ok {
			return []byte(p), nil
		}
		return nil, b.err
	case <-b.closed:
		return nil, errors.New("closed")
	}
}

func (b *source) Ready() bool {
	if b.waiting == "" {
		select {
		case p, ok := <-b.pieces:
			if !ok {
				return true
			}
			b.waiting = p
		default:
			return false
		}
	}
	return true
}

func (b *source) Trailer() *httpmsg.Header { return b.trailer }

func (b *source) Close() {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
}

// answering responds with a body source.
func answering(status int, length int64, b func() *source) httpmsg.HandlerFunc {
	return func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Res.ContentLength = status, length
		x.Res.Body = b()
		return nil
	}
}

func ended(pieces ...string) func() *source {
	return func() *source {
		b := newSource(pieces...)
		close(b.pieces)
		return b
	}
}

func TestSendForms(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	for _, c := range []struct {
		name, method, proto string
		h                   httpmsg.HandlerFunc
		status              int
		length              int64
		close               bool
		body                string
	}{
		{"counted", "GET", "1.1", answering(200, 6, ended("abc", "def")), 200, 6, false, "abcdef"},
		{"chunked", "GET", "1.1", answering(200, -1, ended("abc", "def")), 200, -1, false, "abcdef"},
		{"empty chunked", "GET", "1.1", answering(200, -1, ended()), 200, -1, false, ""},
		{"counted large", "GET", "1.1", answering(200, int64(len(big)), ended(big)), 200, int64(len(big)), false, big},
		{"chunked large", "GET", "1.1", answering(200, -1, ended("x", big, "y", big)), 200, -1, false, "x" + big + "y" + big},
		{"HTTP/1.0 counted", "GET", "1.0", answering(200, 3, ended("abc")), 200, 3, true, "abc"},
		{"HTTP/1.0 of unknown length", "GET", "1.0", answering(200, -1, ended("abc", big)), 200, -1, true, "abc" + big},
		{"no body", "GET", "1.1", answering(200, 0, func() *source { return nil }), 200, 0, false, ""},
		{"HEAD", "HEAD", "1.1", answering(200, 6, ended("abc", "def")), 200, 6, false, ""},
		{"HEAD of unknown length", "HEAD", "1.1", answering(200, -1, ended("abc", "def")), 200, -1, false, ""},
		{"204", "GET", "1.1", answering(204, 6, ended("abc", "def")), 204, 0, false, ""},
		{"304", "GET", "1.1", answering(304, 6, ended("abc", "def")), 304, 6, false, ""},
		{"304 without length", "GET", "1.1", answering(304, 0, ended()), 304, -1, false, ""},
		{"unknown status", "GET", "1.1", answering(799, 1, ended("x")), 799, 1, false, "x"},
		{"no answer", "GET", "1.1", func(*httpmsg.Exchange) error { return nil }, 500, 21, false, "Internal Server Error"},
		{"101 without streams", "GET", "1.1", answering(101, 0, ended()), 500, 21, false, "Internal Server Error"},
		{"longer than its length", "GET", "1.1", answering(200, 5, ended("abcdef")), 502, 11, true, "Bad Gateway"},
		{"shorter than its length", "GET", "1.1", answering(200, 7, ended("abcdef")), 502, 11, true, "Bad Gateway"},
		{"UPS-02 before anything left", "GET", "1.1", answering(200, 7, func() *source {
			b := ended("abc")()
			b.err = fault.New(fault.UpstreamCut, "cut", nil)
			return b
		}), 502, 11, true, "Bad Gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(x *httpmsg.Exchange) error {
				err := c.h(x)
				if b, ok := x.Res.Body.(*source); ok && b == nil {
					x.Res.Body = nil
				}
				return err
			})
			conn := s.dial()
			for range 2 {
				a := conn.send(c.method + " / HTTP/" + c.proto + "\r\nHost: a\r\n\r\n").receive(c.method)
				length := a.ContentLength
				if a.StatusCode == 304 {
					length = -1
					fmt.Sscan(a.Header.Get("Content-Length"), &length)
				}
				if a.StatusCode != c.status || length != c.length || a.body != c.body || a.Close != c.close || a.err != nil {
					t.Fatalf("got %+v, %d bytes, %v", a.Response, len(a.body), a.err)
				}
				if c.close {
					conn.closed()
					return
				}
			}
		})
	}
}

// What has begun and cannot be finished is cut so that nobody takes it for complete.
func TestSendCutUPS02(t *testing.T) {
	for _, c := range []struct {
		name, proto string
		length      int64
	}{{"counted", "1.1", 100}, {"chunked", "1.1", -1}, {"to the close", "1.0", -1}} {
		t.Run(c.name, func(t *testing.T) {
			b := newSource()
			b.err = fault.New(fault.UpstreamCut, "the server stopped", nil)
			s := serve(t, answering(200, c.length, func() *source { return b }))
			conn := s.dial().send("GET / HTTP/" + c.proto + "\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(conn.r, &http.Request{Method: "GET"})
			if err != nil {
				t.Fatal(err)
			}
			b.pieces <- "abc"
			var three [3]byte
			if _, err := io.ReadFull(res.Body, three[:]); err != nil || string(three[:]) != "abc" {
				t.Fatalf("got %q, %v", three, err)
			}
			close(b.pieces)
			if rest, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("the cut response looked complete, with %q", rest)
			}
			eventually(t, "the end is told", func() bool { return len(s.seen()) == 1 })
			if end := s.seen()[0]; !strings.Contains(end, "the server stopped") {
				t.Errorf("end: %q", end)
			}
		})
	}
}

// A stream reaches the client piece by piece, the head first.
func TestSendFlushes(t *testing.T) {
	b := newSource()
	s := serve(t, answering(200, -1, func() *source { return b }))
	conn := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(conn.r, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		event := fmt.Sprintf("event %d\n", i)
		b.pieces <- event
		got := make([]byte, len(event))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != event {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	close(b.pieces)
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
}

func TestSendFields(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		b := ended("x")()
		b.trailer = &httpmsg.Header{}
		b.trailer.Add("Grpc-Status", "0")
		b.trailer.Add("Content-Length", "99")
		x.Res = httpmsg.Response{Status: 200, ContentLength: -1, Body: b}
		h := &x.Res.Header
		for _, f := range [][2]string{{"sErVer", "x"}, {"Set-Cookie", "a"}, {"Set-Cookie", "b"}, {"Connection", "X-Hop"}, {"Keep-Alive", "5"}, {"Transfer-Encoding", "gzip"},
			{"Content-Length", "7"}, {"Trailer", "Grpc-Status"}, {"Upgrade", "h2c"}, {"Proxy-Authenticate", "x"}, {"Date", "then"}, {"X", "a\r\nY: b"}} {
			h.Add(f[0], f[1])
		}
		return nil
	})
	raw := testkit.Exchange(t, s.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	want := "HTTP/1.1 200 OK\r\nsErVer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: then\r\nX: a  Y: b\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n" +
		"Connection: close\r\n\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n"
	if raw != want {
		t.Errorf("got\n%s\nwant\n%s", raw, want)
	}
}

func TestSendKeepAliveOfHTTP10(t *testing.T) {
	s := serve(t, hello)
	c := s.dial()
	for range 2 {
		if a := c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").receive("GET"); a.Close || a.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("got %+v", a.Response)
		}
	}
	if a := c.send("GET / HTTP/1.0\r\n\r\n").receive("GET"); !a.Close {
		t.Fatalf("got %+v", a.Response)
	}
	c.closed()
}

func TestSendEndsConnection(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	t.Run("MaxRequests", func(t *testing.T) {
		c := serve(t, hello, func(s *Server) { s.MaxRequests = 3 }).dial()
		for i := range 3 {
			if a := c.send(get).receive("GET"); a.Close != (i == 2) {
				t.Fatalf("response %d: close=%v", i+1, a.Close)
			}
		}
		c.closed()
	})
	t.Run("MaxAge", func(t *testing.T) {
		s := serve(t, hello, func(s *Server) { s.MaxAge = 100 * time.Millisecond })
		c := s.dial()
		if a := c.send(get).receive("GET"); a.Close {
			t.Fatal("closed too early")
		}
		at := s.Watch.Now()
		eventually(t, "the connection is old", func() bool { return s.Watch.Now()-at > int64(120*time.Millisecond) })
		if a := c.send(get).receive("GET"); !a.Close {
			t.Fatal("not closed")
		}
		c.closed()
	})
	t.Run("CloseAfter", func(t *testing.T) {
		c := serve(t, func(x *httpmsg.Exchange) error { x.CloseAfter = true; return hello(x) }).dial()
		if a := c.send(get).receive("GET"); !a.Close {
			t.Fatal("not closed")
		}
		c.closed()
	})
	t.Run("Drain", func(t *testing.T) {
		in, out := make(chan bool), make(chan bool)
		s := serve(t, func(x *httpmsg.Exchange) error {
			if x.Req.Path.Is("/slow") {
				in <- true
				<-out
			}
			return hello(x)
		})
		idle, fresh, slow := s.dial(), s.dial(), s.dial()
		idle.send(get).receive("GET")
		slow.send(strings.Replace(get, "/", "/slow", 1))
		<-in
		eventually(t, "all are there", func() bool { return s.Open() == 3 })
		s.Drain()
		idle.closed()
		out <- true
		if a := slow.receive("GET"); !a.Close {
			t.Error("the busy one was not told")
		}
		slow.closed()
		if a := fresh.send(get).receive("GET"); a.StatusCode != 200 || !a.Close {
			t.Errorf("the fresh one got %+v", a.Response)
		}
		fresh.closed()
		eventually(t, "all are gone", func() bool { return s.Open() == 0 })
	})
	t.Run("Drain loses no request that was sent before it", func(t *testing.T) {
		s := serve(t, hello)
		var all []*client
		for range 100 {
			c := s.dial()
			c.send(get).receive("GET")
			all = append(all, c)
		}
		for _, c := range all {
			c.send(get)
		}
		s.Drain()
		for i, c := range all {
			if a := c.receive("GET"); a.StatusCode != 200 {
				t.Errorf("connection %d: got %+v", i, a.Response)
			}
		}
	})
	t.Run("Cut", func(t *testing.T) {
		b := newSource()
		s := serve(t, answering(200, -1, func() *source { return b }))
		c := s.dial().send(get)
		if _, err := http.ReadResponse(c.r, nil); err != nil {
			t.Fatal(err)
		}
		s.Cut()
		close(b.pieces)
		if _, err := io.ReadAll(c.r); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("got %v", err)
		}
	})
}

func TestServePanics(t *testing.T) {
	var mu sync.Mutex
	var told []string
	s := serve(t, func(x *httpmsg.Exchange) error {
		switch x.Req.Path.String() {
		case "/handler":
			x.Res.Header.Add("X", "y")
			panic("boom")
		case "/body":
			x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, -1, panickingBody{}
		case "/hook":
			x.OnFinish(hook(func() { panic("hook") }))
			x.Respond(200, "", "fine")
		default:
			return hello(x)
		}
		return nil
	}, func(s *Server) {
		s.Panicked = func(x *httpmsg.Exchange, v any, stack []byte) {
			mu.Lock()
			told = append(told, fmt.Sprint(v))
			mu.Unlock()
			if !bytes.Contains(stack, []byte("server_send_test.go")) {
				t.Errorf("stack without the place: %s", stack)
			}
		}
	})
	get := func(path string) *client { return s.dial().send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n") }
	c := get("/handler")
	if a := c.receive("GET"); a.StatusCode != 500 || a.Header.Get("Sluice-Error") != "PANIC" || a.Header.Get("X") != "" || !a.Close {
		t.Errorf("got %+v", a.Response)
	}
	c.closed()
	if b, err := io.ReadAll(get("/body").r); err == nil && len(b) > 0 && bytes.Contains(b, []byte("0\r\n\r\n")) {
		t.Errorf("got %q", b)
	}
	c = get("/hook")
	if a := c.receive("GET"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
	c.closed()
	eventually(t, "Done was called for all", func() bool { return len(s.seen()) == 3 })
	if a := get("/").receive("GET"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
	s.stop()
	if got := strings.Join(told, " "); got != "boom body hook" {
		t.Errorf("panics told: %s", got)
	}
}

type panickingBody struct{}

func (panickingBody) Next() ([]byte, error)    { panic("body") }
func (panickingBody) Ready() bool              { return true }
func (panickingBody) Trailer() *httpmsg.Header { return nil }
func (panickingBody) Close()                   {}

type hook func()

func (h hook) Finish(*httpmsg.Exchange) { h() }

// Whoever keeps a view past the end of its exchange sees garbage in tests.
func TestServePoisons(t *testing.T) {
	var kept httpmsg.View
	s := serve(t, func(x *httpmsg.Exchange) error {
		kept = x.Req.Path
		return hello(x)
	})
	c := s.dial()
	c.send("GET /secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").receive("GET")
	c.closed()
	s.stop()
	if bytes.Contains(kept, []byte("secret")) {
		t.Errorf("a view outlived its exchange: %q", kept)
	}
}

// On a connection that is not a *sock.Conn, as TLS ones are, everything works the same.
func TestServeOverTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	s := &Server{Handler: httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		if !x.Req.TLS || x.TLS == nil || x.TLSOptions != "fp" {
			return errors.New("TLS is not known")
		}
		return echo(x)
	}), Watch: watch.New(), Timeouts: Timeouts{Read: 5 * time.Second, Idle: 5 * time.Second}}
	s.Watch.Start()
	defer s.Watch.Stop()
	front, back := testkit.Pipe()
	done := make(chan bool)
	go func() {
		defer close(done)
		c := tls.Server(back, ca.Leaf(t, "a.test").ServerConfig())
		if err := c.Handshake(); err != nil {
			t.Error(err)
			return
		}
		state := c.ConnectionState()
		s.ServeConn(c, Session{TLS: &state, TLSOptions: "fp"})
	}()
	var conn net.Conn = tls.Client(front, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
	tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	for i := range 5 {
		res, err := (&http.Client{Transport: tr}).Post("https://a.test/x", "", strings.NewReader(strings.Repeat("y", 5000*i)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !strings.HasSuffix(string(b), strings.Repeat("y", 5000*i)) || err != nil {
			t.Fatalf("got %+v %q %v", res, b, err)
		}
	}
	tr.CloseIdleConnections()
	<-done
}

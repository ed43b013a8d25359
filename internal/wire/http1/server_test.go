package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// serving is a Server on a listener of its own.
type serving struct {
	*Server
	t    testing.TB
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu   sync.Mutex
	ends []string // what Done saw: method, path, status, fault
}

// serve starts a server; set up changes it before its first connection.
func serve(t testing.TB, h httpmsg.HandlerFunc, setUp ...func(*Server)) *serving {
	t.Helper()
	s := &serving{t: t, Server: &Server{Handler: h, Watch: watch.New(), Timeouts: Timeouts{Read: 5 * time.Second, Idle: 5 * time.Second}}}
	s.Server.Done = func(x *httpmsg.Exchange) {
		end := x.Req.Method.String() + " " + x.Req.Path.String() + " " + http.StatusText(x.Res.Status)
		if x.Facts.Err != nil {
			end += ": " + x.Facts.Err.Error()
		}
		s.mu.Lock()
		s.ends = append(s.ends, end)
		s.mu.Unlock()
	}
	for _, f := range setUp {
		f(s.Server)
	}
	s.Watch.Start()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ln, s.addr = ln, ln.Addr().String()
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.ServeConn(sock.New(c, nil), Session{}) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *serving) stop() {
	s.ln.Close()
	s.Cut()
	s.wg.Wait()
	s.Watch.Stop()
	if n := s.Open(); n != 0 {
		s.t.Errorf("%d connections left", n)
	}
	if n := s.Watch.Len(); n != 0 {
		s.t.Errorf("%d watch entries left", n)
	}
}

// eventually waits for something that another goroutine is about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func (s *serving) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ends...)
}

// client is a raw connection to the server with a reader.
type client struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

func (s *serving) dial() *client {
	s.t.Helper()
	c := testkit.Dial(s.t, s.addr)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, s.t, bufio.NewReader(c)}
}

func (c *client) send(raw string) *client {
	c.t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
	return c
}

// answer is a response as the client saw it.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (c *client) receive(method string) answer {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading a response: %v", err)
	}
	b, err := io.ReadAll(res.Body)
	return answer{res, string(b), err}
}

// closed fails the test unless the server ends the connection, without further bytes, by a FIN.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("connection was to end; got %q, %v", rest, err)
	}
}

// echo answers with what it saw of the request.
func echo(x *httpmsg.Exchange) error {
	var b strings.Builder
	b.WriteString(x.Req.Method.String() + " " + x.Req.Host.String() + " " + x.Req.Path.String())
	if x.Req.HasQuery {
		b.WriteString("?" + x.Req.Query.String())
	}
	b.WriteString("\n")
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		b.WriteString(f.Name.String() + "=" + f.Value.String() + "\n")
	}
	if x.Req.Body != nil {
		for {
			p, err := x.Req.Body.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			b.Write(p)
		}
	}
	x.Respond(200, "text/plain", b.String())
	return nil
}

func TestServeKeepAlive(t *testing.T) {
	s := serve(t, echo)
	c := s.dial()
	for range 3 {
		a := c.send("GET /a?b HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n").receive("GET")
		if want := "GET x /a?b\nA=b\n"; a.body != want || a.StatusCode != 200 || a.Close || a.Header.Get("Date") == "" {
			t.Fatalf("got %+v %q", a.Response, a.body)
		}
	}
	a := c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").receive("POST")
	if want := "POST x /\nContent-Length=3\nabc"; a.body != want {
		t.Fatalf("got %q", a.body)
	}
	a = c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n").receive("POST")
	if want := "abc"; !strings.HasSuffix(a.body, want) || !a.Close {
		t.Fatalf("got %q", a.body)
	}
	c.closed()
}

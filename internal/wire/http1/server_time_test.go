package http1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// TCP-01: who says nothing is sent away without an answer.
func TestTimeTCP01(t *testing.T) {
	s := serve(t, hello, func(s *Server) { s.Timeouts = Timeouts{Read: 100 * time.Millisecond, Idle: 100 * time.Millisecond} })
	s.dial().closed()
	c := s.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive("GET")
	c.closed() // by the idle timeout
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d ends", n)
	}
}

// TCP-02: the head as a whole has a deadline, however steadily it drips.
func TestTimeTCP02(t *testing.T) {
	s := serve(t, hello, func(s *Server) { s.Timeouts.Read = 200 * time.Millisecond })
	c := s.dial()
	var stop atomic.Bool
	dripped := make(chan bool)
	go func() {
		defer close(dripped)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX: ")
		for !stop.Load() {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	a := c.receive("GET")
	stop.Store(true)
	<-dripped
	if a.StatusCode != 408 || !a.Close || a.Header.Get("Sluice-Error") != "REQUEST-TIMEOUT" {
		t.Errorf("got %+v", a.Response)
	}
	eventually(t, "the connection is gone", func() bool { return s.Open() == 0 })
}

// TCP-03: a body that drips ends, too; one that keeps the rate does not.
func TestTimeTCP03(t *testing.T) {
	t.Parallel()
	s := serve(t, echo, func(s *Server) { s.Timeouts.Read = time.Second })
	drip := func(size, pieces int, pause time.Duration) (answer, *client) {
		c := s.dial().send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size*pieces))
		go func() {
			for range pieces {
				if _, err := io.WriteString(c, strings.Repeat("x", size)); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}()
		return c.receive("POST"), c
	}
	if a, c := drip(1, 500, 20*time.Millisecond); a.StatusCode != 408 || a.Header.Get("Sluice-Error") != "BODY-STALLED" {
		t.Errorf("slow: got %+v", a.Response)
	} else {
		c.Close()
	}
	if a, _ := drip(2048, 60, 25*time.Millisecond); a.StatusCode != 200 {
		t.Errorf("steady: got %+v", a.Response)
	}
}

// The time in which nobody asks for the body does not count against the client.
func TestTimeOfHandlerIsNotTheClients(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		time.Sleep(300 * time.Millisecond)
		return echo(x)
	}, func(s *Server) { s.Timeouts.Read = 100 * time.Millisecond })
	c := s.dial().send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
	time.Sleep(20 * time.Millisecond)
	if a := c.send("abc").receive("POST"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
}

// TCP-04: a reader that does not read is cut off, and the source is closed.
func TestTimeTCP04(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(s *Server)
	}{
		{"stall", func(s *Server) { s.Timeouts.Stall = 150 * time.Millisecond }},
		{"write timeout", func(s *Server) { s.Timeouts.Write = 150 * time.Millisecond }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var given atomic.Int64
			closed := make(chan bool)
			s := serve(t, func(x *httpmsg.Exchange) error {
				x.Res = httpmsg.Response{Status: 200, ContentLength: 1 << 40, Body: &endless{given: &given, closed: closed}}
				return nil
			}, c.set)
			s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-closed
			if n := given.Load(); n > 64<<20 {
				t.Errorf("%d bytes were taken for a reader that reads nothing", n)
			}
			eventually(t, "the connection is gone", func() bool { return s.Open() == 0 })
			if end := s.seen()[0]; !strings.Contains(end, "too slowly") {
				t.Errorf("end: %q", end)
			}
		})
	}
}

type endless struct {
	given  *atomic.Int64
	closed chan bool
	mem    [64 << 10]byte
}

func (b *endless) Next() ([]byte, error)    { b.given.Add(int64(len(b.mem))); return b.mem[:], nil }
func (b *endless) Ready() bool              { return true }
func (b *endless) Trailer() *httpmsg.Header { return nil }
func (b *endless) Close() {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
}

// TCP-05 and TCP-06: a client that goes away before the response has begun cancels the exchange.
func TestClientGone(t *testing.T) {
	for _, c := range []struct {
		id   string
		end  func(*client)
		body string
	}{
		{"TCP-05 FIN", func(c *client) { c.CloseWrite() }, ""},
		{"TCP-05 FIN behind unread bytes", func(c *client) { c.send("GET / HTTP/1.1\r\n"); c.CloseWrite() }, ""},
		{"TCP-06 RST", func(c *client) { c.SetLinger(0); c.Close() }, ""},
		{"TCP-06 RST behind unread bytes", func(c *client) { c.send("GET / HTTP/1.1\r\n"); c.SetLinger(0); c.Close() }, ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			cancelled := make(chan error, 1)
			in := make(chan bool, 1)
			s := serve(t, func(x *httpmsg.Exchange) error {
				f := func(err error) { cancelled <- err }
				x.OnCancel(&f)
				defer x.OnCancel(nil)
				in <- true
				err := <-cancelled
				if x.Cancelled() == nil {
					t.Error("called, but not cancelled")
				}
				return err
			})
			conn := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-in
			c.end(conn)
			eventually(t, "the exchange has ended", func() bool { return len(s.seen()) == 1 })
			eventually(t, "the connection is gone", func() bool { return s.Open() == 0 })
		})
	}
}

// TCP-05: a FIN behind the request does not end a response that has begun.
func TestClientFinishedTCP05(t *testing.T) {
	t.Parallel()
	b := newSource("abc")
	s := serve(t, answering(200, -1, func() *source { return b }))
	conn := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(conn.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.CloseWrite()
	time.Sleep(2200 * time.Millisecond) // two looks of the watch
	b.pieces <- "def"
	close(b.pieces)
	if got, err := io.ReadAll(res.Body); string(got) != "abcdef" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A pump that carries the body to a server can be called off and joined; the connection then goes on if it can.
func TestInterrupt(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		done := make(chan error)
		go func() {
			for {
				if _, err := x.Req.Body.Next(); err != nil {
					done <- err
					return
				}
			}
		}()
		time.Sleep(20 * time.Millisecond)
		x.Req.Body.(httpmsg.Interrupter).Interrupt()
		if err := <-done; !errors.Is(err, httpmsg.ErrInterrupted) && !x.Req.Path.Is("/whole") {
			t.Errorf("pump: %v", err)
		}
		return hello(x)
	})
	c := s.dial().send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
	if a := c.receive("POST"); a.StatusCode != 200 || a.Close {
		t.Errorf("got %+v", a.Response)
	}
	c.send("def")
	if a := c.send("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef").receive("POST"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
}

// The response may begin, and end, while the body is still being read.
func TestFullDuplex(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		b := newSource()
		joined := make(chan bool)
		go func() {
			defer close(joined)
			defer close(b.pieces)
			for {
				p, err := x.Req.Body.Next()
				if err != nil {
					if err != io.EOF {
						b.err = err
					}
					return
				}
				b.pieces <- string(p)
			}
		}()
		x.OnFinish(hook(func() { <-joined }))
		x.Res = httpmsg.Response{Status: 200, ContentLength: -1, Body: b}
		return nil
	})
	c := s.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		c.send("1\r\n" + string(rune('a'+i)) + "\r\n")
		var one [1]byte
		if _, err := io.ReadFull(res.Body, one[:]); err != nil || one[0] != byte('a'+i) {
			t.Fatalf("got %q, %v", one, err)
		}
	}
	c.send("0\r\n\r\n")
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Fatalf("got %q, %v", rest, err)
	}
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
	if a := c.receive("POST"); a.body != "x" {
		t.Errorf("got %q", a.body)
	}
	c.closed()
}

// ClientGone from a service means that nobody is left to be answered.
func TestServe499(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error { return fault.New(fault.ClientGone, "gone", nil) })
	c := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.closed()
	if end := s.seen()[0]; !strings.Contains(end, "gone") {
		t.Errorf("end: %q", end)
	}
}

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

// refusing answers without looking at the body.
func refusing(status int) httpmsg.HandlerFunc {
	return func(x *httpmsg.Exchange) error {
		x.Respond(status, "text/plain", "no\n")
		return nil
	}
}

// What follows a message that is refused is never parsed, and the handler never hears of either.
func TestServe400C(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct {
		id, in string
		status int
	}{
		{"FRM-01", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"FRM-02", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400},
		{"FRM-08", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		{"FRM-13", "GET / HTTP/1.1\nHost: a\n\n", 400},
		{"FRM-15", "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", 400},
		{"FRM-26", post + "Content-Length: 4\r\nExpect: x\r\n\r\nabcd", 417},
		{"REQ-04", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
		{"REQ-04 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"REQ-13", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501},
		{"REQ-17 line", "GET /" + strings.Repeat("a", 17000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"REQ-17 field", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 70000) + "\r\n\r\n", 431},
		{"HST-01", "GET / HTTP/1.1\r\n\r\n", 400},
		{"TLS-06", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	} {
		t.Run(c.id, func(t *testing.T) {
			var calls atomic.Int32
			s := serve(t, func(x *httpmsg.Exchange) error { calls.Add(1); return echo(x) })
			conn := s.dial().send(c.in + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			a := conn.receive("GET")
			if a.StatusCode != c.status || !a.Close || a.Header.Get("Sluice-Error") == "" || a.body != http.StatusText(c.status) {
				t.Errorf("got %+v %q", a.Response, a.body)
			}
			conn.closed()
			if n := calls.Load(); n != 0 {
				t.Errorf("the handler was called %d times", n)
			}
			if ends := s.seen(); len(ends) != 1 {
				t.Errorf("ends: %q", ends)
			}
		})
	}
}

// A body that turns out malformed while somebody reads it ends the connection, too.
func TestServeMalformedBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ id, body string }{
		{"FRM-16", "0x5\r\nabcde\r\n0\r\n\r\n"},
		{"FRM-16 late", "5\r\nabcde\r\n+5\r\nabcde\r\n0\r\n\r\n"},
		{"FRM-18", "5;\r\nabcde\r\n0\r\n\r\n"},
		{"FRM-19", "5\r\nabcdef\r\n0\r\n\r\n"},
		{"FRM-21", "0\r\nX Y: z\r\n\r\n"},
	} {
		for _, h := range []struct {
			name    string
			handler httpmsg.HandlerFunc
			status  int
		}{{"read", echo, 400}, {"not read", refusing(403), 403}} {
			t.Run(c.id+" "+h.name, func(t *testing.T) {
				s := serve(t, h.handler)
				conn := s.dial().send(head + c.body + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
				if a := conn.receive("POST"); a.StatusCode != h.status || h.status == 400 && !a.Close {
					t.Errorf("got %d %q, close %v", a.StatusCode, a.body, a.Close)
				}
				conn.closed()
				if ends := s.seen(); len(ends) != 1 {
					t.Errorf("ends: %q", ends)
				}
			})
		}
	}
}

func TestServeFRM20(t *testing.T) {
	for name, in := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
		"chunked": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Value
			s := serve(t, func(x *httpmsg.Exchange) error {
				err := echo(x)
				got.Store(fmt.Sprint(err))
				return err
			})
			c := s.dial().send(in)
			c.CloseWrite()
			a := c.receive("POST")
			if a.StatusCode != 400 || !a.Close || a.Header.Get("Sluice-Error") != "BODY-CUT" {
				t.Errorf("got %+v", a.Response)
			}
			c.closed()
		})
	}
}

func TestServeFRM21(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		err := echo(x)
		if err == nil && x.Req.Body != nil && x.Req.Body.Trailer() != nil {
			err = errors.New("trailers came through")
		}
		return err
	})
	c := s.dial().send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nHost: evil\r\nX: y\r\n\r\n" + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := c.receive("POST"); a.body != "POST a /\nTransfer-Encoding=chunked\nx" {
		t.Errorf("got %q", a.body)
	}
	if a := c.receive("GET"); a.body != "GET a /next\n" {
		t.Errorf("got %q", a.body)
	}
}

// The body of a request that we answer ourselves is read and forgotten, whatever it looks like.
func TestServeFRM22(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	s := serve(t, refusing(404))
	for _, form := range []struct{ name, head, body string }{
		{"length", fmt.Sprintf("Content-Length: %d\r\n\r\n", 5*len(smuggled)), strings.Repeat(smuggled, 5)},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)},
		{"200 KiB", fmt.Sprintf("Content-Length: %d\r\n\r\n", 200<<10), strings.Repeat("x", 200<<10)},
		{"200 KiB chunked", "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 200) + "0\r\n\r\n"},
	} {
		t.Run(form.name, func(t *testing.T) {
			c := s.dial().send("POST /a HTTP/1.1\r\nHost: a\r\n" + form.head)
			if a := c.receive("POST"); a.StatusCode != 404 || a.Close {
				t.Errorf("got %+v", a.Response)
			}
			c.send(form.body + "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if a := c.receive("GET"); a.StatusCode != 404 {
				t.Errorf("got %+v", a.Response)
			}
			c.closed()
		})
	}
	for _, end := range s.seen() {
		if strings.Contains(end, "smuggled") {
			t.Errorf("a body was taken for a request: %q", end)
		}
	}
	t.Run("1 MiB", func(t *testing.T) {
		c := s.dial().send(fmt.Sprintf("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nabc", 1<<20))
		if a := c.receive("POST"); a.StatusCode != 404 || !a.Close {
			t.Errorf("got %+v", a.Response)
		}
		c.closed()
	})
	t.Run("chunked without end", func(t *testing.T) {
		c := s.dial().send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		c.receive("POST")
		var err error
		for i := 0; i < 20_000 && err == nil; i++ {
			_, err = io.WriteString(c, "400\r\n"+strings.Repeat("x", 1024)+"\r\n")
		}
		if err == nil {
			t.Error("20 MB of an unwanted body were taken")
		}
	})
}

func TestServeFRM24(t *testing.T) {
	s := serve(t, echo, func(s *Server) { s.Timeouts.Read = 200 * time.Millisecond })
	if a := s.dial().send("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").receive("DELETE"); !strings.HasSuffix(a.body, "\nx") {
		t.Errorf("got %q", a.body)
	}
	c := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
	if a := c.receive("GET"); a.StatusCode != 408 || !a.Close || a.Header.Get("Sluice-Error") != "BODY-STALLED" {
		t.Errorf("got %+v", a.Response)
	}
	c.closed()
}

func TestServeFRM25(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
	t.Run("read", func(t *testing.T) {
		c := serve(t, echo).dial().send(head)
		if a := c.receive("POST"); a.StatusCode != 100 {
			t.Fatalf("got %+v", a.Response)
		}
		if a := c.send("abc").receive("POST"); a.StatusCode != 200 || !strings.HasSuffix(a.body, "\nabc") || a.Close {
			t.Errorf("got %+v %q", a.Response, a.body)
		}
		if a := c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").receive("GET"); a.StatusCode != 200 {
			t.Errorf("got %+v", a.Response)
		}
	})
	t.Run("body came at once", func(t *testing.T) {
		if a := serve(t, echo).dial().send(head + "abc").receive("POST"); a.StatusCode != 200 {
			t.Errorf("got %+v", a.Response)
		}
	})
	t.Run("not read", func(t *testing.T) {
		c := serve(t, refusing(413)).dial().send(head)
		if a := c.receive("POST"); a.StatusCode != 413 || !a.Close {
			t.Errorf("got %+v", a.Response)
		}
		c.closed()
	})
	t.Run("asked for by the service", func(t *testing.T) {
		c := serve(t, func(x *httpmsg.Exchange) error {
			x.Interim(100, nil)
			x.Interim(100, nil)
			return refusing(200)(x)
		}).dial().send(head)
		if a := c.receive("POST"); a.StatusCode != 100 {
			t.Fatalf("got %+v", a.Response)
		}
		if a := c.send("abcGET / HTTP/1.1\r\nHost: a\r\n\r\n").receive("POST"); a.StatusCode != 200 || a.Close {
			t.Errorf("got %+v", a.Response)
		}
		c.receive("GET")
	})
	t.Run("never", func(t *testing.T) {
		c := serve(t, echo, func(s *Server) { s.Timeouts.Read = 100 * time.Millisecond }).dial().send(head)
		c.receive("POST")
		if a := c.receive("POST"); a.StatusCode != 408 {
			t.Errorf("got %+v", a.Response)
		}
		c.closed()
	})
}

func TestServeInterim(t *testing.T) {
	hint := func(x *httpmsg.Exchange) error {
		var h httpmsg.Header
		h.Add("Link", "</a>")
		h.Add("Content-Length", "5")
		h.Add("Connection", "close")
		x.Interim(103, &h)
		x.Interim(101, &h)
		x.Interim(100, nil)
		release := x.HoldInterim()
		x.Interim(103, &h)
		release()
		return hello(x)
	}
	s := serve(t, hint)
	c := s.dial().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := c.receive("GET"); a.StatusCode != 103 || a.Header.Get("Link") != "</a>" || len(a.Header) != 1 {
		t.Errorf("got %+v", a.Response)
	}
	if a := c.receive("GET"); a.StatusCode != 200 {
		t.Errorf("got %+v", a.Response)
	}
	t.Run("FRM-27", func(t *testing.T) {
		c := s.dial().send("GET / HTTP/1.0\r\n\r\n")
		if a := c.receive("GET"); a.StatusCode != 200 || !a.Close {
			t.Errorf("got %+v", a.Response)
		}
		c.closed()
	})
}

func TestServeFRM28(t *testing.T) {
	s := serve(t, func(x *httpmsg.Exchange) error {
		switch x.Req.Path.String() {
		case "/slow":
			time.Sleep(20 * time.Millisecond)
		case "/fail":
			return fault.New(fault.NoServer, "none", nil)
		}
		return echo(x)
	})
	c := s.dial().send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /fail HTTP/1.1\r\nHost: a\r\n\r\n" +
		"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\n\r\n")
	for _, want := range []string{"GET a /slow\n", "POST a /b\nContent-Length=3\nabc", "Service Unavailable", "POST a /c\nTransfer-Encoding=chunked\nx", "GET a /d\n"} {
		if a := c.receive("GET"); a.body != want {
			t.Errorf("got %q, want %q", a.body, want)
		}
	}
	// More than one buffer of them, so that heads lie across its end.
	var in, want strings.Builder
	for i := range 300 {
		fmt.Fprintf(&in, "POST /%d HTTP/1.1\r\nHost: a\r\nX-Pad: %s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i, strings.Repeat("p", i%71))
		fmt.Fprintf(&want, "POST a /%d\nX-Pad=%s\nTransfer-Encoding=chunked\nabc", i, strings.Repeat("p", i%71))
	}
	c.send(in.String())
	var got strings.Builder
	for range 300 {
		got.WriteString(c.receive("POST").body)
	}
	if got.String() != want.String() {
		t.Error("pipelined requests were answered otherwise than they were asked")
	}
}

func TestServeFRM29(t *testing.T) {
	s := serve(t, echo)
	c := s.dial()
	c.SetNoDelay(true)
	in := "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nxy\r\n0\r\nA: b\r\n\r\n"
	for i := range in {
		c.send(in[i : i+1])
	}
	for _, want := range []string{"POST a /b\nContent-Length=3\nabc", "POST a /c\nTransfer-Encoding=chunked\nxy"} {
		if a := c.receive("POST"); a.body != want {
			t.Errorf("got %q, want %q", a.body, want)
		}
	}
}

func TestServeTargets(t *testing.T) {
	s := serve(t, echo)
	c := s.dial()
	for _, r := range []struct {
		id, line string
		status   int
		want     string
	}{
		{"REQ-08b", "GET /\xc3\xa4?\xff", 200, "GET a /%C3%A4?%FF\n"},
		{"REQ-08b absolute", "GET http://b?\xff", 200, "GET b /?%FF\n"},
		{"REQ-12", "GET http://b/x", 200, "GET b /x\n"},
		{"REQ-14", "OPTIONS *", 200, ""},
		{"REQ-15", "TRACE /", 405, "Method Not Allowed"},
	} {
		t.Run(r.id, func(t *testing.T) {
			a := c.send(r.line + " HTTP/1.1\r\nHost: a\r\n\r\n").receive("GET")
			if a.StatusCode != r.status || a.body != r.want || a.Close || (r.status == 405) != (a.Header.Get("Allow") != "") {
				t.Errorf("got %+v %q", a.Response, a.body)
			}
		})
	}
}

func TestServeHeadBudget(t *testing.T) {
	s := serve(t, echo, func(s *Server) { s.Budget = httpmsg.NewBudget(10 << 10) })
	big := func(n int) string {
		return "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", n) + "\r\n\r\n"
	}
	c := s.dial()
	for range 3 {
		if a := c.send(big(6000)).receive("GET"); a.StatusCode != 200 {
			t.Fatalf("got %+v", a.Response)
		}
	}
	c2 := s.dial()
	if a := c2.send(big(9000)).receive("GET"); a.StatusCode != 431 {
		t.Errorf("got %+v", a.Response)
	}
	c2.closed()
	c.Close()
	c2.Close()
	eventually(t, "the budget is whole again", func() bool { return s.Budget.Used() == 0 })
}

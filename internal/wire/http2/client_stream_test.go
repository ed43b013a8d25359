package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// source is a request body from a client, piece by piece.
type source struct {
	pieces  chan string
	end     error // instead of io.EOF
	trailer *httpmsg.Header
	halt    chan struct{}
	once    sync.Once
	ready   bool
}

func newSource() *source { return &source{pieces: make(chan string, 8), halt: make(chan struct{})} }

func (s *source) Next() ([]byte, error) {
	select {
	case p, ok := <-s.pieces:
		if ok {
			return []byte(p), nil
		}
		if s.end != nil {
			return nil, s.end
		}
		return nil, io.EOF
	case <-s.halt:
		return nil, httpmsg.ErrInterrupted
	}
}
func (s *source) Ready() bool              { return s.ready || len(s.pieces) > 0 }
func (s *source) Trailer() *httpmsg.Header { return s.trailer }
func (s *source) Close()                   {}
func (s *source) Interrupt()               { s.once.Do(func() { close(s.halt) }) }

func sending(s *source, length int64) *httpmsg.Exchange {
	x := request("POST")
	x.Req.Body, x.Req.ContentLength = s, length
	return x
}

// greetAfter greets, and returns when the client has taken the settings.
func (s *origin) greetAfter(settings ...frames.Setting) {
	s.t.Helper()
	s.greet(settings...)
	if f, ok := s.next().(*frames.SettingsFrame); !ok || !f.IsAck() {
		s.t.Fatal("no acknowledgement of SETTINGS")
	}
}

// The server's windows hold for uploads, whatever it does with them meanwhile.
func TestUpstreamUploadWindows(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 10})
	body := newSource()
	got := later(c, sending(body, -1))
	s.request()
	body.pieces <- strings.Repeat("a", 25)
	if d := find[*frames.DataFrame](s); len(d.Data()) != 10 {
		t.Fatalf("%d bytes in a window of 10", len(d.Data()))
	}
	// RFC 9113 section 6.9.2: the window becomes -5, then 1.
	s.fr.WriteSettings(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 5})
	s.fr.WriteWindowUpdate(1, 6)
	if d := find[*frames.DataFrame](s); len(d.Data()) != 1 {
		t.Fatalf("%d bytes in a window of 1", len(d.Data()))
	}
	s.fr.WriteWindowUpdate(1, 100_000)
	if d := find[*frames.DataFrame](s); len(d.Data()) != 14 {
		t.Fatalf("%d bytes, want the rest", len(d.Data()))
	}
	// The connection's own window: 65535 in all.
	body.pieces <- strings.Repeat("b", 65_535-25+1)
	for n := 0; n < 65_535-25; {
		n += len(find[*frames.DataFrame](s).Data())
	}
	s.fr.WriteWindowUpdate(0, 1)
	if d := find[*frames.DataFrame](s); len(d.Data()) != 1 || d.StreamEnded() {
		t.Fatalf("%d bytes behind the connection's window", len(d.Data()))
	}
	close(body.pieces)
	if d := find[*frames.DataFrame](s); len(d.Data()) != 0 || !d.StreamEnded() {
		t.Fatalf("%d bytes, want the end", len(d.Data()))
	}
	s.head(1, true, ":status", "200")
	if g := <-got; g != "200" {
		t.Error(g)
	}
}

// Our windows are given back as the client of the exchange takes bytes, and grow for a fast one.
func TestUpstreamDownloadWindows(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	const size = 8 << 20
	got := later(c, request("GET"))
	s.request()
	s.head(1, false, ":status", "200", "content-length", fmt.Sprint(size))
	window, all, largest := streamWindow, connWindow, 0
	for sent := 0; sent < size; {
		if n := min(window, all, 16384, size-sent); n > 0 {
			sent += n
			window -= n
			all -= n
			s.fr.WriteData(1, sent == size, bytes.Repeat([]byte("x"), n))
			continue
		}
		w := find[*frames.WindowUpdateFrame](s)
		if w.StreamID == 0 {
			all += int(w.Increment)
		} else {
			window += int(w.Increment)
		}
		largest = max(largest, window)
	}
	if g := <-got; len(g) != len("200 ")+size {
		t.Errorf("%d bytes", len(g))
	}
	if largest > maxStreamWindow {
		t.Errorf("the window grew to %d", largest)
	}
}

// A window grows for a client that has to wait for bytes, and only for that one.
func TestUpstreamWindowGrows(t *testing.T) {
	var k call
	k.size = streamWindow
	for i, row := range []struct {
		waited             bool
		n, credit, becomes int
	}{
		{true, streamWindow/2 - 1, 0, streamWindow},
		{true, 1, streamWindow/2 + streamWindow, 2 * streamWindow},
		{false, streamWindow, streamWindow, 2 * streamWindow},
		{true, streamWindow, 3 * streamWindow, 4 * streamWindow},
	} {
		k.waited = row.waited
		if got := k.consumed(row.n); got != row.credit || k.size != row.becomes {
			t.Errorf("step %d: credit %d, window %d", i, got, k.size)
		}
	}
	k.size, k.waited = maxStreamWindow, true
	if k.consumed(maxStreamWindow); k.size != maxStreamWindow {
		t.Errorf("beyond the largest: %d", k.size)
	}
}

// A client that takes nothing holds what its window holds, and nobody else up.
func TestUpstreamSlowReader(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	slow := request("GET")
	c.Reserve()
	began := make(chan error, 1)
	go func() { began <- c.RoundTrip(slow, &httpmsg.Target{}) }()
	s.request()
	s.head(1, false, ":status", "200")
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	for range streamWindow / 16384 {
		s.fr.WriteData(1, false, make([]byte, 16384))
	}
	got := later(c, request("GET"))
	s.request()
	s.head(3, false, ":status", "200")
	s.fr.WriteData(3, true, []byte("quick"))
	if g := <-got; g != "200 quick" {
		t.Error(g)
	}
	// One byte more is more than the window allows.
	s.fr.WriteData(1, false, make([]byte, 1))
	if r := find[*frames.RSTStreamFrame](s); r.ErrCode != frames.ErrCodeFlowControl {
		t.Errorf("reset with %v", r.ErrCode)
	}
	if out, err := read(slow); len(out) != len("200 ")+streamWindow || describe(err) != "UPSTREAM-PROTOCOL retry=0" {
		t.Errorf("%d bytes, then %v", len(out), err)
	}
	slow.Finish()
}

// The server's limit of streams holds; a lower one counts from when it comes.
func TestUpstreamStreamLimit(t *testing.T) {
	c, s, k := connect(t, ClientOptions{}, nil)
	s.greetAfter(frames.Setting{ID: frames.SettingMaxConcurrentStreams, Val: 2})
	one, two := later(c, request("GET")), later(c, request("GET"))
	s.request()
	s.request()
	if c.Reserve() {
		t.Error("a third stream on a connection for two")
	}
	s.head(3, true, ":status", "200")
	s.head(1, true, ":status", "200")
	if a, b := <-one, <-two; a != "200" || b != "200" {
		t.Errorf("%q, %q", a, b)
	}
	first, second, third := c.Reserve(), c.Reserve(), c.Reserve()
	if !first || !second || third {
		t.Error("streams that ended still count, or reservations do not")
	}
	c.release(0)
	c.release(0)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !c.Unused() || k.idle == 0 {
		t.Error("not told that the connection is unused")
	}
}

// GOAWAY: what the server will not process goes elsewhere whatever it is, the rest finishes, then the connection ends.
func TestUpstreamGoAway(t *testing.T) {
	c, s, k := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	first := later(c, request("GET"))
	s.request()
	second := later(c, request("POST"))
	s.request()
	s.fr.WriteGoAway(1, frames.ErrCodeNo, []byte("bye"))
	if g := <-second; g != "UPSTREAM-CLOSED retry=2" {
		t.Errorf("above the last stream: %s", g)
	}
	if c.Reserve() {
		t.Error("a stream after GOAWAY")
	}
	s.head(1, false, ":status", "200")
	s.fr.WriteData(1, true, []byte("still"))
	if g := <-first; g != "200 still" {
		t.Error(g)
	}
	<-k.over
}

// A graceful server first says that it will close, and only then what it has processed.
func TestUpstreamGoAwayTwice(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	first, second := later(c, request("GET")), later(c, request("GET"))
	s.request()
	s.request()
	s.fr.WriteGoAway(1<<31-1, frames.ErrCodeNo, nil)
	s.fr.WriteGoAway(1, frames.ErrCodeNo, nil)
	s.head(1, true, ":status", "200")
	got := map[string]bool{<-first: true, <-second: true}
	if !got["200"] || !got["UPSTREAM-CLOSED retry=2"] {
		t.Error(got)
	}
}

// A client that leaves resets its stream, and only that.
func TestUpstreamCancel(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	for i, stage := range []string{"before the head", "in the body"} {
		t.Run(stage, func(t *testing.T) {
			x := request("GET")
			got := later(c, x)
			id := s.request().StreamID
			if i > 0 {
				s.head(id, false, ":status", "200")
				s.fr.WriteData(id, false, []byte("part"))
			}
			x.Cancel(fault.New(fault.ClientGone, "left", nil))
			if g := <-got; g != "CLIENT-GONE retry=0" {
				t.Error(g)
			}
			if r := find[*frames.RSTStreamFrame](s); r.StreamID != id || r.ErrCode != frames.ErrCodeCancel {
				t.Errorf("%v", r)
			}
			// What was under way does no harm, however much it is.
			for range 2 * maxNoise {
				s.fr.WriteData(id, false, []byte("l"))
			}
			s.fr.WriteData(id, true, []byte("late"))
			got = later(c, request("GET"))
			s.head(s.request().StreamID, true, ":status", "200")
			if g := <-got; g != "200" {
				t.Error(g)
			}
		})
	}
}

// UPS-09: a response that comes before the upload has ended stops the upload; it is not lost when the server resets the rest.
func TestUpstreamEarlyResponse(t *testing.T) {
	for _, reset := range []bool{false, true} {
		c, s, _ := connect(t, ClientOptions{}, nil)
		s.greetAfter()
		body := newSource()
		got := later(c, sending(body, 1<<20))
		s.request()
		body.pieces <- "beginning"
		find[*frames.DataFrame](s)
		s.head(1, false, ":status", "413")
		s.fr.WriteData(1, true, []byte("big"))
		if reset {
			s.fr.WriteRSTStream(1, frames.ErrCodeNo)
		}
		if g := <-got; g != "413 big" {
			t.Errorf("reset %v: %s", reset, g)
		}
		if !reset {
			if r := find[*frames.RSTStreamFrame](s); r.ErrCode != frames.ErrCodeCancel {
				t.Errorf("%v", r)
			}
		}
	}
}

func TestUpstreamFullDuplex(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	body := newSource()
	x := sending(body, -1)
	c.Reserve()
	began := make(chan error, 1)
	go func() { began <- c.RoundTrip(x, &httpmsg.Target{}) }()
	s.request()
	s.head(1, false, ":status", "200")
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	if x.Res.Body.Ready() {
		t.Error("something is ready before it came")
	}
	for _, p := range []string{"one", "two"} {
		body.pieces <- p
		d := find[*frames.DataFrame](s)
		s.fr.WriteData(1, false, d.Data())
		if got, err := x.Res.Body.Next(); string(got) != p || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	close(body.pieces)
	for !find[*frames.DataFrame](s).StreamEnded() {
	}
	s.fr.WriteData(1, true, nil)
	if _, err := x.Res.Body.Next(); err != io.EOF {
		t.Error(err)
	}
	x.Finish()
	if !c.Unused() {
		t.Error("the stream is still open")
	}
}

// FRM-25 on HTTP/2: the body waits for leave, goes by itself after a while, and stays when the answer is final.
func TestUpstreamContinue(t *testing.T) {
	for _, answer := range []string{"100", "401", ""} {
		t.Run("answer "+answer, func(t *testing.T) {
			limit := time.Hour
			if answer == "" {
				limit = 20 * time.Millisecond
			}
			c, s, _ := connect(t, ClientOptions{ContinueTimeout: limit}, nil)
			s.greetAfter()
			body := newSource()
			x := sending(body, 4)
			x.Req.Continue = true
			body.pieces <- "body"
			got := later(c, x)
			req := s.request()
			if req.Fields[len(req.Fields)-1].Name != "expect" {
				t.Errorf("%v", req.Fields)
			}
			if answer == "401" {
				s.head(1, true, ":status", "401")
				if g := <-got; g != "401" {
					t.Error(g)
				}
				if len(body.pieces) != 1 {
					t.Error("the body was read")
				}
				select {
				case <-body.halt:
					t.Error("a body that nobody asked for was interrupted")
				default:
				}
				return
			}
			if answer == "100" {
				s.head(1, false, ":status", "100")
			}
			if d := find[*frames.DataFrame](s); string(d.Data()) != "body" || !d.StreamEnded() {
				t.Errorf("%q", d.Data())
			}
			s.head(1, true, ":status", "200")
			if g := <-got; g != "200" {
				t.Error(g)
			}
		})
	}
}

func TestUpstreamInterims(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	x := request("GET")
	var seen []string
	asked := x.Req
	x.Reset(func(status int, h *httpmsg.Header) error {
		seen = append(seen, fmt.Sprintf("%d %s", status, h.Lookup("link")))
		return nil
	})
	x.Req = asked
	got := later(c, x)
	s.request()
	for i := range 50 {
		s.head(1, false, ":status", "103", "link", fmt.Sprint(i))
	}
	s.head(1, true, ":status", "200", "x", "1")
	if g := <-got; g != "200" {
		t.Error(g)
	}
	if len(seen) != maxInterim || seen[0] != "103 0" || seen[19] != "103 19" {
		t.Errorf("%q", seen)
	}
}

// What is wrong with an upload is the client's fault, and the server learns that there is no more.
func TestUpstreamUploadBreaks(t *testing.T) {
	for name, row := range map[string]struct {
		length int64
		end    error
		want   string
	}{
		"short":   {100, nil, "BODY-CUT retry=0"},
		"broken":  {-1, errors.New("broke"), "BODY-CUT retry=0"},
		"stalled": {-1, fault.New(fault.BodyStalled, "", nil), "BODY-STALLED retry=0"},
		"long":    {3, nil, "INTERNAL retry=0"},
	} {
		for _, ready := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", ready), func(t *testing.T) {
				c, s, _ := connect(t, ClientOptions{}, nil)
				s.greetAfter()
				body := newSource()
				body.end, body.ready = row.end, ready
				if ready {
					body.pieces <- "some"
					close(body.pieces)
				}
				got := later(c, sending(body, row.length))
				if !ready {
					s.request()
					body.pieces <- "some"
					close(body.pieces)
					if r := find[*frames.RSTStreamFrame](s); r.ErrCode != frames.ErrCodeCancel {
						t.Errorf("%v", r)
					}
				}
				if g := <-got; g != row.want {
					t.Error(g)
				}
				if !c.Unused() {
					t.Error("the stream is still open")
				}
			})
		}
	}
}

// A request whose body has begun to move is not repeated, even if the server refused it.
func TestUpstreamTakenBody(t *testing.T) {
	for _, memory := range []bool{false, true} {
		c, s, _ := connect(t, ClientOptions{}, nil)
		s.greetAfter()
		body := newSource()
		body.pieces <- "some"
		x := sending(body, -1)
		want := "UPSTREAM-CLOSED retry=0"
		if memory {
			x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte("some")}, 4
			want = "UPSTREAM-CLOSED retry=2"
		}
		got := later(c, x)
		find[*frames.DataFrame](s)
		s.fr.WriteRSTStream(1, frames.ErrCodeRefusedStream)
		if g := <-got; g != want {
			t.Errorf("in memory %v: %s", memory, g)
		}
	}
}

// Trailers of a request pass for gRPC only (FRM-21).
func TestUpstreamRequestTrailers(t *testing.T) {
	for _, kind := range []string{"application/grpc", "application/grpc+proto", "text/plain"} {
		for _, ready := range []bool{false, true} {
			c, s, _ := connect(t, ClientOptions{}, nil)
			s.greetAfter()
			body := newSource()
			body.trailer = &httpmsg.Header{}
			body.trailer.Add("X-Sum", "1")
			body.trailer.Add("Content-Length", "1")
			body.trailer.Add("Host", "b.test")
			body.ready = ready
			x := sending(body, -1)
			x.Req.Header.AddID(httpmsg.HdrContentType, httpmsg.Text(kind))
			body.pieces <- "x"
			close(body.pieces)
			got := later(c, x)
			s.request()
			d := find[*frames.DataFrame](s)
			if kind == "text/plain" {
				for !d.StreamEnded() {
					d = find[*frames.DataFrame](s)
				}
			} else if f := s.request(); !f.StreamEnded() || fmt.Sprint(f.Fields) != `[header field "x-sum" = "1"]` {
				t.Errorf("%s: %v", kind, f.Fields)
			}
			s.head(1, true, ":status", "200")
			if g := <-got; g != "200" {
				t.Errorf("%s: %s", kind, g)
			}
		}
	}
}

func (c *ClientConn) pendingOut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out)
}

// A server that takes no bytes holds up uploads, and no exchange's end.
func TestUpstreamServerTakesNothing(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 1 << 30})
	s.fr.WriteWindowUpdate(0, 1<<30)
	body := newSource()
	x := sending(body, -1)
	stuck := later(c, x)
	s.request()
	body.pieces <- strings.Repeat("x", 8<<20)
	// What nobody reads fills the pipe, then our buffer.
	for deadline := time.Now().Add(10 * time.Second); c.pendingOut() <= outLimit; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing waits")
		}
	}
	s.head(1, false, ":status", "200")
	s.fr.WriteData(1, true, []byte("early"))
	if g := <-stuck; g != "200 early" {
		t.Error(g)
	}
	y := request("GET")
	other := later(c, y)
	y.Cancel(fault.New(fault.ClientGone, "left", nil))
	if g := <-other; g != "CLIENT-GONE retry=0" {
		t.Error(g)
	}
}

// Requests that are given up do not pile up for a server that takes no bytes: there is no room until it does.
func TestUpstreamFull(t *testing.T) {
	c, s, _ := connect(t, ClientOptions{}, nil)
	s.greetAfter()
	for n := 0; ; n++ {
		x := request("POST")
		x.Req.Header.Add("X-Large", strings.Repeat("x", 10_000))
		x.Cancel(fault.New(fault.ClientGone, "left", nil))
		_, err := ask(c, x)
		x.Finish()
		if err != nil && err.Error() == "no room" {
			break
		}
		if n == 1000 {
			t.Fatalf("%d bytes wait", c.pendingOut())
		}
	}
	if n := c.pendingOut(); n > outFull+20_000 {
		t.Errorf("%d bytes wait", n)
	}
	go io.Copy(io.Discard, s.c)
	for deadline := time.Now().Add(10 * time.Second); !c.Reserve(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no room although the server takes everything")
		}
	}
	c.Unreserve()
}

// A connection that ends loses its exchanges: those of which nothing was sent may go anywhere.
func TestUpstreamConnectionLost(t *testing.T) {
	for _, unsent := range []bool{false, true} {
		c, s, _ := connect(t, ClientOptions{}, nil)
		s.greetAfter()
		got := later(c, request("POST"))
		s.request()
		want := "UPSTREAM-CLOSED retry=1"
		if unsent {
			c.mu.Lock()
			c.streams[1].start = c.taken // as if it stood behind what the writer has taken
			c.mu.Unlock()
			want = "UPSTREAM-CLOSED retry=2"
		}
		s.c.Reset()
		if g := <-got; g != want {
			t.Errorf("unsent %v: %s", unsent, g)
		}
		if _, err := ask(c, request("GET")); err == nil {
			t.Error("a request on a lost connection")
		}
	}
}

// Whoever answers in HTTP/1 has not processed anything.
func TestUpstreamNotHTTP2(t *testing.T) {
	for _, answer := range []string{"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "\x00\x00\x00\x01\x04\x00\x00\x00\x01", strings.Repeat("\x00", 100)} {
		c, s, _ := connect(t, ClientOptions{}, nil)
		got := later(c, request("POST"))
		s.c.SetReadDeadline(time.Time{})
		preface := make([]byte, len(Preface))
		io.ReadFull(s.c, preface)
		s.request()
		go io.Copy(io.Discard, s.c)
		io.WriteString(s.c, answer)
		if g := <-got; g != "UPSTREAM-PROTOCOL retry=2" {
			t.Errorf("%q: %s", answer, g)
		}
	}
}

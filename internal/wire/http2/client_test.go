package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// bag is a Keeper that counts.
type bag struct {
	mu                  sync.Mutex
	idle, leaving, gone int
	expired             chan *ClientConn
	over                chan bool
}

func newBag() *bag { return &bag{expired: make(chan *ClientConn, 1), over: make(chan bool)} }

func (b *bag) Idle(*ClientConn)      { b.mu.Lock(); b.idle++; b.mu.Unlock() }
func (b *bag) Leaving(*ClientConn)   { b.mu.Lock(); b.leaving++; b.mu.Unlock() }
func (b *bag) Gone(*ClientConn)      { b.mu.Lock(); b.gone++; b.mu.Unlock(); close(b.over) }
func (b *bag) Expired(c *ClientConn) { b.expired <- c }

// origin is the server's side of a connection, played by the test.
type origin struct {
	t   testing.TB
	c   *testkit.PipeConn
	fr  *frames.Framer
	buf bytes.Buffer
	enc *hpack.Encoder
}

// connect returns a client connection and the server at its other end, which has said nothing yet.
func connect(t testing.TB, o ClientOptions, w *watch.Watch) (*ClientConn, *origin, *bag) {
	t.Helper()
	a, b := testkit.Pipe()
	b.SetDeadline(time.Now().Add(10 * time.Second))
	s := &origin{t: t, c: b, fr: frames.NewFramer(b, b)}
	s.fr.AllowIllegalWrites = true
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.enc = hpack.NewEncoder(&s.buf)
	k := newBag()
	c := NewClientConn(a, &o, w, k)
	t.Cleanup(func() {
		c.Close()
		b.Close()
		<-k.over
		if k.leaving != 1 || k.gone != 1 {
			t.Errorf("told %d times that the connection leaves, %d times that it is gone", k.leaving, k.gone)
		}
	})
	return c, s, k
}

// greet reads the client's preface and first frames, and answers with settings.
func (s *origin) greet(settings ...frames.Setting) {
	s.t.Helper()
	preface := make([]byte, len(Preface))
	if _, err := io.ReadFull(s.c, preface); err != nil || string(preface) != Preface {
		s.t.Fatalf("preface %q, %v", preface, err)
	}
	f, ok := s.next().(*frames.SettingsFrame)
	if !ok {
		s.t.Fatal("no SETTINGS behind the preface")
	}
	if v, ok := f.Value(frames.SettingEnablePush); !ok || v != 0 {
		s.t.Error("push is not switched off")
	}
	if f, ok := s.next().(*frames.WindowUpdateFrame); !ok || f.StreamID != 0 {
		s.t.Error("the connection's window was not opened")
	}
	s.fr.WriteSettings(settings...)
}

// next reads a frame.
func (s *origin) next() frames.Frame {
	s.t.Helper()
	f, err := s.fr.ReadFrame()
	if err != nil {
		s.t.Fatalf("reading a frame: %v", err)
	}
	return f
}

// find reads frames until one of type T comes.
func find[T frames.Frame](s *origin) T {
	s.t.Helper()
	for {
		if f, ok := s.next().(T); ok {
			return f
		}
	}
}

// request reads until the head of a request.
func (s *origin) request() *frames.MetaHeadersFrame {
	s.t.Helper()
	return find[*frames.MetaHeadersFrame](s)
}

// head sends a head of names and values in turn.
func (s *origin) head(id uint32, end bool, fields ...string) {
	s.fr.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: s.block(fields...), EndHeaders: true, EndStream: end})
}

func (s *origin) block(fields ...string) []byte {
	s.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		s.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(s.buf.Bytes())
}

func request(method string) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	x.Reset(nil)
	x.Req.Method, x.Req.Path, x.Req.Host, x.Req.Proto = httpmsg.Text(method), httpmsg.Text("/"), httpmsg.Text("a.test"), httpmsg.HTTP11
	return x
}

// ask sends x and returns status, body and trailer as text.
func ask(c *ClientConn, x *httpmsg.Exchange) (string, error) {
	if !c.Reserve() {
		return "", errors.New("no room")
	}
	if err := c.RoundTrip(x, &httpmsg.Target{}); err != nil {
		return "", err
	}
	return read(x)
}

func read(x *httpmsg.Exchange) (string, error) {
	out := fmt.Sprint(x.Res.Status)
	if x.Res.Body == nil {
		return out, nil
	}
	out += " "
	for {
		p, err := x.Res.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return out, err
		}
		out += string(p)
	}
	if h := x.Res.Body.Trailer(); h != nil {
		for i := range h.Len() {
			n, v := h.Field(i)
			out += " " + n + ":" + v
		}
	}
	return out, nil
}

// later runs ask on another goroutine.
func later(c *ClientConn, x *httpmsg.Exchange) (result chan string) {
	result = make(chan string, 1)
	go func() {
		got, err := ask(c, x)
		x.Finish()
		if err != nil {
			got = describe(err)
		}
		result <- got
	}()
	return result
}

func describe(err error) string {
	if f, ok := err.(*fault.Fault); ok {
		return fmt.Sprintf("%s retry=%d", f.Kind.Code(), f.Retry)
	}
	return err.Error()
}

func TestUpstreamRequest(t *testing.T) {
	c, s, k := connect(t, ClientOptions{}, nil)
	x := request("PUT")
	x.Peer = netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")
	x.Req.Path, x.Req.Query, x.Req.HasQuery = httpmsg.Text("/p"), httpmsg.Text("q=1"), true
	x.Req.Trailers = true
	h := &x.Req.Header
	h.Add("X-A", "1")
	h.Add("x-a", "2")
	h.Add("Cookie", "a=b")
	h.Add("Connection", "close")
	h.Add("Transfer-Encoding", "chunked")
	h.Add("X-Forwarded-For", "198.51.100.1")
	h.Add("X-Bad", "a\r\nb ")
	h.Add("Bad name", "1")
	h.Add("Expect", "100-continue")
	x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte("body")}, 4
	done := make(chan string)
	go func() {
		c.Reserve()
		if err := c.RoundTrip(x, &httpmsg.Target{Host: "b.test", Prefix: "/pre", ForwardPeer: true}); err != nil {
			done <- err.Error()
			return
		}
		got, _ := read(x)
		got += fmt.Sprint(" ", x.Res.ContentLength)
		for i := range x.Res.Header.Len() {
			n, v := x.Res.Header.Field(i)
			got += " " + n + "=" + v
		}
		x.Finish()
		done <- got
	}()
	s.greet()
	req := s.request()
	var got []string
	for _, f := range req.Fields {
		got = append(got, f.Name+"="+f.Value)
	}
	want := ":method=PUT :scheme=http :authority=b.test :path=/pre/p?q=1 x-a=1 x-a=2 cookie=a=b " +
		"x-forwarded-for=198.51.100.1, 192.0.2.1 x-bad=a  b te=trailers content-length=4"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
	if d := find[*frames.DataFrame](s); string(d.Data()) != "body" || !d.StreamEnded() {
		t.Errorf("body %q, end %v", d.Data(), d.StreamEnded())
	}
	s.head(1, false, ":status", "200", "content-length", "5", "x-request-id", "7", "content-type", "text/plain", "etag", "e")
	s.fr.WriteData(1, false, []byte("he"))
	s.fr.WriteDataPadded(1, true, []byte("llo"), make([]byte, 200))
	if got, want := <-done, "200 hello 5 X-Request-Id=7 Content-Type=text/plain ETag=e"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !c.Unused() || k.idle != 1 {
		t.Errorf("unused %v, idle %d times", c.Unused(), k.idle)
	}
}

func TestUpstreamResponses(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, row := range map[string]struct {
		method string
		script func(s *origin)
		want   string
	}{
		"no body":          {"GET", func(s *origin) { s.head(1, true, ":status", "200") }, "200"},
		"empty DATA":       {"GET", func(s *origin) { s.head(1, false, ":status", "200"); s.fr.WriteData(1, true, nil) }, "200|200 "},
		"no content":       {"GET", func(s *origin) { s.head(1, true, ":status", "204") }, "204"},
		"not modified":     {"GET", func(s *origin) { s.head(1, true, ":status", "304", "content-length", "9") }, "304"},
		"HEAD":             {"HEAD", func(s *origin) { s.head(1, true, ":status", "200", "content-length", "9") }, "200"},
		"HEAD with a body": {"HEAD", func(s *origin) { s.head(1, false, ":status", "200"); s.fr.WriteData(1, true, []byte("no")) }, "200"},
		"204 with a body":  {"GET", func(s *origin) { s.head(1, false, ":status", "204"); s.fr.WriteData(1, true, []byte("no")) }, "204"},
		"trailers": {"GET", func(s *origin) {
			s.head(1, false, ":status", "200")
			s.fr.WriteData(1, false, []byte("b"))
			s.head(1, true, "grpc-status", "0", "content-length", "7")
		}, "200 b Grpc-Status:0"},
		"trailers without body": {"GET", func(s *origin) { s.head(1, false, ":status", "200"); s.head(1, true, "x", "1") }, "200  X:1"},
		"interims":              {"GET", func(s *origin) { s.head(1, false, ":status", "103", "link", "a"); s.head(1, true, ":status", "200") }, "200"},
		"continuations": {"GET", func(s *origin) {
			s.pieces(1, 3, ":status", "200", "x", "1", "y", "2")
			s.fr.WriteData(1, true, []byte("b"))
		}, "200 b"},
		"large head":          {"GET", func(s *origin) { s.pieces(1, 16000, ":status", "200", "x", long); s.fr.WriteData(1, true, []byte("b")) }, "200 b"},
		"head too large":      {"GET", func(s *origin) { s.pieces(1, 16000, ":status", "200", "x", long, "y", long, "z", long) }, "UPSTREAM-TOO-LARGE retry=0"},
		"head bomb":           {"GET", func(s *origin) { s.bomb(1) }, "UPSTREAM-TOO-LARGE retry=0"},
		"head without end":    {"GET", func(s *origin) { s.endless(1, make([]byte, 1), 100_000) }, "UPSTREAM-PROTOCOL retry=0"},
		"empty continuations": {"GET", func(s *origin) { s.endless(1, nil, 100_000) }, "UPSTREAM-PROTOCOL retry=0"},
		"refused":             {"POST", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeRefusedStream) }, "UPSTREAM-CLOSED retry=2"},
		"cancelled":           {"GET", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeCancel) }, "UPSTREAM-CLOSED retry=1"},
		"reset":               {"GET", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeInternal) }, "UPSTREAM-CLOSED retry=1"},
		"calm":                {"GET", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeEnhanceYourCalm) }, "UPSTREAM-CLOSED retry=0"},
		"our fault":           {"GET", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeProtocol) }, "UPSTREAM-PROTOCOL retry=0"},
		"HTTP/1.1 required":   {"GET", func(s *origin) { s.fr.WriteRSTStream(1, frames.ErrCodeHTTP11Required) }, "server requires HTTP/1.1"},
		"goaway before":       {"POST", func(s *origin) { s.fr.WriteGoAway(0, frames.ErrCodeNo, nil) }, "UPSTREAM-CLOSED retry=2"},
		"goaway behind":       {"POST", func(s *origin) { s.fr.WriteGoAway(1, frames.ErrCodeNo, nil); s.head(1, true, ":status", "200") }, "200"},
		"closed":              {"GET", func(s *origin) { s.c.Close() }, "UPSTREAM-CLOSED retry=1"},
		"cut": {"GET", func(s *origin) {
			s.head(1, false, ":status", "200")
			s.fr.WriteData(1, false, []byte("b"))
			s.c.Close()
		}, "UPSTREAM-CUT retry=0"},
		"reset in the body":    {"GET", func(s *origin) { s.head(1, false, ":status", "200"); s.fr.WriteRSTStream(1, frames.ErrCodeInternal) }, "UPSTREAM-CUT retry=0"},
		"reset behind the end": {"GET", func(s *origin) { s.head(1, true, ":status", "200"); s.fr.WriteRSTStream(1, frames.ErrCodeNo) }, "200"},
		"too short": {"GET", func(s *origin) {
			s.head(1, false, ":status", "200", "content-length", "3")
			s.fr.WriteData(1, true, []byte("b"))
		}, "UPSTREAM-CUT retry=0"},
		"shorter than nothing": {"GET", func(s *origin) { s.head(1, true, ":status", "200", "content-length", "3") }, "UPSTREAM-PROTOCOL retry=0"},
		"too long": {"GET", func(s *origin) {
			s.head(1, false, ":status", "200", "content-length", "1")
			s.fr.WriteData(1, true, []byte("bb"))
		}, "UPSTREAM-PROTOCOL retry=0"},
		"two lengths":         {"GET", func(s *origin) { s.head(1, true, ":status", "200", "content-length", "0", "content-length", "0") }, "UPSTREAM-PROTOCOL retry=0"},
		"bad length":          {"GET", func(s *origin) { s.head(1, true, ":status", "200", "content-length", "-1") }, "UPSTREAM-PROTOCOL retry=0"},
		"no status":           {"GET", func(s *origin) { s.head(1, true, "x", "1") }, "UPSTREAM-PROTOCOL retry=0"},
		"status 99":           {"GET", func(s *origin) { s.head(1, true, ":status", "099") }, "UPSTREAM-PROTOCOL retry=0"},
		"status 1000":         {"GET", func(s *origin) { s.head(1, true, ":status", "1000") }, "UPSTREAM-PROTOCOL retry=0"},
		"two statuses":        {"GET", func(s *origin) { s.head(1, true, ":status", "200", ":status", "200") }, "UPSTREAM-PROTOCOL retry=0"},
		"late status":         {"GET", func(s *origin) { s.head(1, true, "x", "1", ":status", "200") }, "UPSTREAM-PROTOCOL retry=0"},
		"request field":       {"GET", func(s *origin) { s.head(1, true, ":status", "200", ":path", "/") }, "UPSTREAM-PROTOCOL retry=0"},
		"upper case":          {"GET", func(s *origin) { s.head(1, true, ":status", "200", "X-A", "1") }, "UPSTREAM-PROTOCOL retry=0"},
		"bad name":            {"GET", func(s *origin) { s.head(1, true, ":status", "200", "x a", "1") }, "UPSTREAM-PROTOCOL retry=0"},
		"bad value":           {"GET", func(s *origin) { s.head(1, true, ":status", "200", "x", "a\nb") }, "UPSTREAM-PROTOCOL retry=0"},
		"connection":          {"GET", func(s *origin) { s.head(1, true, ":status", "200", "connection", "close") }, "UPSTREAM-PROTOCOL retry=0"},
		"coding":              {"GET", func(s *origin) { s.head(1, true, ":status", "200", "transfer-encoding", "chunked") }, "UPSTREAM-PROTOCOL retry=0"},
		"101":                 {"GET", func(s *origin) { s.head(1, false, ":status", "101") }, "UPSTREAM-PROTOCOL retry=0"},
		"interim that ends":   {"GET", func(s *origin) { s.head(1, true, ":status", "103") }, "UPSTREAM-PROTOCOL retry=0"},
		"body before head":    {"GET", func(s *origin) { s.fr.WriteData(1, true, []byte("b")) }, "UPSTREAM-PROTOCOL retry=0"},
		"second head":         {"GET", func(s *origin) { s.head(1, false, ":status", "200"); s.head(1, false, ":status", "200") }, "UPSTREAM-PROTOCOL retry=0"},
		"trailer with status": {"GET", func(s *origin) { s.head(1, false, ":status", "200"); s.head(1, true, ":status", "200") }, "UPSTREAM-PROTOCOL retry=0"},
		"push": {"GET", func(s *origin) {
			s.fr.WritePushPromise(frames.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: s.block(":method", "GET"), EndHeaders: true})
		}, "UPSTREAM-PROTOCOL retry=0"},
		"stream never opened": {"GET", func(s *origin) { s.head(3, true, ":status", "200") }, "UPSTREAM-PROTOCOL retry=0"},
		"even stream":         {"GET", func(s *origin) { s.fr.WriteData(2, true, nil) }, "UPSTREAM-PROTOCOL retry=0"},
		"stream 0":            {"GET", func(s *origin) { s.fr.WriteData(0, true, []byte("b")) }, "UPSTREAM-PROTOCOL retry=0"},
		"bad table": {"GET", func(s *origin) {
			s.fr.WriteHeaders(frames.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0x7f}, EndHeaders: true})
		}, "UPSTREAM-PROTOCOL retry=0"},
		"settings: frame size":   {"GET", func(s *origin) { s.fr.WriteSettings(frames.Setting{ID: frames.SettingMaxFrameSize, Val: 0}) }, "UPSTREAM-PROTOCOL retry=0"},
		"settings: frame size +": {"GET", func(s *origin) { s.fr.WriteSettings(frames.Setting{ID: frames.SettingMaxFrameSize, Val: 1 << 24}) }, "UPSTREAM-PROTOCOL retry=0"},
		"settings: window":       {"GET", func(s *origin) { s.fr.WriteSettings(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 1 << 31}) }, "UPSTREAM-PROTOCOL retry=0"},
		"settings: push":         {"GET", func(s *origin) { s.fr.WriteSettings(frames.Setting{ID: frames.SettingEnablePush, Val: 1}) }, "UPSTREAM-PROTOCOL retry=0"},
		"settings: push 2":       {"GET", func(s *origin) { s.fr.WriteSettings(frames.Setting{ID: frames.SettingEnablePush, Val: 2}) }, "UPSTREAM-PROTOCOL retry=0"},
		"window: zero":           {"GET", func(s *origin) { s.fr.WriteWindowUpdate(1, 0) }, "UPSTREAM-PROTOCOL retry=0"},
		"window: zero for all":   {"GET", func(s *origin) { s.fr.WriteWindowUpdate(0, 0) }, "UPSTREAM-PROTOCOL retry=0"},
		"window: too large":      {"GET", func(s *origin) { s.fr.WriteWindowUpdate(1, 1<<31-1) }, "UPSTREAM-PROTOCOL retry=0"},
		"window: all too large":  {"GET", func(s *origin) { s.fr.WriteWindowUpdate(0, 1<<31-1) }, "UPSTREAM-PROTOCOL retry=0"},
		"frame too large":        {"GET", func(s *origin) { s.fr.WriteRawFrame(frames.FrameData, 0, 1, make([]byte, 16385)) }, "UPSTREAM-PROTOCOL retry=0"},
		"padding too long":       {"GET", func(s *origin) { s.fr.WriteRawFrame(frames.FrameData, frames.FlagDataPadded, 1, []byte{9, 0}) }, "UPSTREAM-PROTOCOL retry=0"},
		"growing goaway":         {"GET", func(s *origin) { s.fr.WriteGoAway(1, 0, nil); s.fr.WriteGoAway(3, 0, nil) }, "UPSTREAM-PROTOCOL retry=0"},
		"unknown frames":         {"GET", func(s *origin) { s.fr.WriteRawFrame(0xfa, 0xff, 1, []byte("what")); s.head(1, true, ":status", "200") }, "200"},
		"pings flood":            {"GET", func(s *origin) { s.flood(func() error { return s.fr.WritePing(false, [8]byte{}) }) }, "UPSTREAM-PROTOCOL retry=0"},
		"settings flood":         {"GET", func(s *origin) { s.flood(func() error { return s.fr.WriteSettings() }) }, "UPSTREAM-PROTOCOL retry=0"},
		"empty DATA flood": {"GET", func(s *origin) {
			s.head(1, false, ":status", "200")
			s.flood(func() error { return s.fr.WriteData(1, false, nil) })
		}, "UPSTREAM-PROTOCOL retry=0"},
		"window flood": {"GET", func(s *origin) { s.flood(func() error { return s.fr.WriteWindowUpdate(0, 1) }) }, "UPSTREAM-PROTOCOL retry=0"},
		"reset flood":  {"GET", func(s *origin) { s.flood(func() error { return s.fr.WriteRSTStream(1, frames.ErrCodeInternal) }) }, "UPSTREAM-CLOSED retry=1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s, _ := connect(t, ClientOptions{}, nil)
			x := request(row.method)
			got := later(c, x)
			s.greet()
			s.request()
			go func() { // whatever the client says meanwhile is taken
				io.Copy(io.Discard, s.c)
			}()
			row.script(s)
			if g := <-got; !slices.Contains(strings.Split(row.want, "|"), g) {
				t.Errorf("got %q, want %q", g, row.want)
			}
		})
	}
}

// pieces sends a head in frames of n bytes.
func (s *origin) pieces(id uint32, n int, fields ...string) {
	b := s.block(fields...)
	n = min(n, len(b))
	s.fr.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: b[:n], EndHeaders: n == len(b)})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(n, len(b))
		s.fr.WriteContinuation(id, n == len(b), b[:n])
	}
}

// bomb sends a small head that decodes to a large one.
func (s *origin) bomb(id uint32) {
	b := s.block(":status", "200", "x", strings.Repeat("y", 4000))
	one := s.block("x", strings.Repeat("y", 4000))
	b = append(b, bytes.Repeat(one, 4000)...)
	s.fr.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true, EndStream: true})
}

// endless sends pieces of a head without end.
func (s *origin) endless(id uint32, piece []byte, n int) {
	s.fr.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: s.block(":status", "200")})
	for range n {
		if s.fr.WriteContinuation(id, false, piece) != nil {
			return
		}
	}
}

func (s *origin) flood(frame func() error) {
	for range 100_000 {
		if frame() != nil {
			return
		}
	}
}

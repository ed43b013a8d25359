package compress

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/molecule-man/go-brrr"

	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// handler builds the middleware in front of origin, served by net/http.
func handler(t testing.TB, change func(*dynamic.Compress), origin http.HandlerFunc) http.Handler {
	t.Helper()
	c := &dynamic.Compress{}
	c.SetDefaults()
	if change != nil {
		change(c)
	}
	m := &dynamic.Middleware{Compress: c}
	if l := Kind().Check(m); len(l) > 0 {
		t.Fatal(l)
	}
	h, err := Kind().Build(m, middleware.Env{}, bridge.Wrap(origin))
	if err != nil {
		t.Fatal(err)
	}
	return bridge.NewServer(h, bridge.Options{})
}

func decode(t testing.TB, encoding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "br":
		r = brrr.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("decoding %s: %v", encoding, err)
	}
	return string(text)
}

// absent and empty tell a header that is missing from one without value.
const absent = "\x00absent"

func TestNegotiation(t *testing.T) {
	deflt := func(name string) func(*dynamic.Compress) {
		return func(c *dynamic.Compress) { c.DefaultEncoding = name }
	}
	order := func(names ...string) func(*dynamic.Compress) {
		return func(c *dynamic.Compress) { c.Encodings = names }
	}
	for _, c := range []struct {
		name, accept, want string
		config             func(*dynamic.Compress)
	}{
		{"no header", absent, "", nil},
		{"no header, default gzip", absent, "gzip", deflt("gzip")},
		{"no header, default zstd", absent, "zstd", deflt("zstd")},
		{"empty header", "", "", deflt("gzip")},
		{"all alike: our order", "zstd, br, gzip", "gzip", nil},
		{"all alike: configured order", "gzip, deflate, br, zstd", "zstd", order("zstd", "br", "gzip")},
		{"weights", "gzip;q=0.5, br;q=0.9, zstd;q=0.1", "br", nil},
		{"weights with space", "gzip ; q=0.5 , br ; q=0.9", "br", nil},
		{"refused", "gzip;q=0", "", nil},
		{"unknown only", "deflate, compress", "", nil},
		{"unknown and known", "deflate, br", "br", nil},
		{"not offered", "zstd", "", order("gzip")},
		{"asterisk", "*", "gzip", nil},
		{"asterisk and default", "*", "br", deflt("br")},
		{"asterisk and default that is refused", "br;q=0, *", "gzip", deflt("br")},
		{"asterisk never stands for what is refused", "gzip;q=0, *;q=0.1", "br", nil},
		{"asterisk refused", "*;q=0", "", nil},
		{"identity loses ties", "identity, gzip", "gzip", nil},
		{"identity preferred", "identity, gzip;q=0.9", "", nil},
		{"letter case", "GZIP", "gzip", nil},
		{"broken weight", "gzip;q=x, br", "br", nil},
		{"weight above one", "gzip;q=1.5, br", "br", nil},
		{"other parameters", "gzip;level=9;q=0.2, br;q=0.3", "br", nil},
		{"empty elements", ",, gzip,,", "gzip", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Repeat("sluice ", 1000)
			h := handler(t, c.config, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
			r := httptest.NewRequest("GET", "/", nil)
			if c.accept != absent {
				r.Header["Accept-Encoding"] = []string{c.accept}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("Content-Encoding"); got != c.want {
				t.Fatalf("got encoding %q, want %q", got, c.want)
			}
			if got := decode(t, c.want, w.Body.Bytes()); got != text {
				t.Errorf("body came as %.40q of %d bytes", got, len(got))
			}
			// Also where this client gets it plain: another one would not.
			if got := w.Header().Values("Vary"); len(got) != 1 || got[0] != "Accept-Encoding" {
				t.Errorf("Vary is %q", got)
			}
		})
	}
}

func TestSeveralLines(t *testing.T) {
	h := handler(t, nil, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2000)) })
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Accept-Encoding"] = []string{"gzip;q=0.1", "zstd"}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Encoding"); got != "zstd" {
		t.Errorf("got %q", got)
	}
}

func TestResponses(t *testing.T) {
	excluded := func(types ...string) func(*dynamic.Compress) {
		return func(c *dynamic.Compress) { c.ExcludedContentTypes = types }
	}
	included := func(types ...string) func(*dynamic.Compress) {
		return func(c *dynamic.Compress) { c.IncludedContentTypes = types }
	}
	big := strings.Repeat("x", 2000)
	type headers map[string]string
	for _, c := range []struct {
		name    string
		config  func(*dynamic.Compress)
		method  string
		request headers
		status  int
		answer  headers
		body    string
		encoded bool
		want    headers // of the response; "" is absent
	}{
		{name: "long", body: big, encoded: true, want: headers{"Content-Length": "", "Vary": "Accept-Encoding"}},
		{name: "one byte short", body: big[:1023], want: headers{"Content-Length": "1023", "Vary": "Accept-Encoding"}},
		{name: "just long enough", body: big[:1024], encoded: true},
		{name: "own minimum", config: func(c *dynamic.Compress) { c.MinResponseBodyBytes = 10 }, body: big[:10], encoded: true},
		{name: "minimum of zero is the default", config: func(c *dynamic.Compress) { c.MinResponseBodyBytes = 0 }, body: big[:1000]},
		{name: "negative minimum is the default", config: func(c *dynamic.Compress) { c.MinResponseBodyBytes = -5 }, body: big[:1000]},
		{name: "HEAD", method: "HEAD", answer: headers{"Content-Length": "2000"}, want: headers{"Content-Length": "2000", "Content-Encoding": "", "Vary": ""}},
		{name: "no content", status: 204, want: headers{"Content-Encoding": "", "Vary": "Accept-Encoding"}},
		{name: "error pages too", status: 500, body: big, encoded: true},
		{name: "encoded already", answer: headers{"Content-Encoding": "zstd"}, body: big, want: headers{"Content-Encoding": "zstd", "Vary": "Accept-Encoding"}},
		{name: "gRPC", answer: headers{"Content-Type": "application/grpc"}, body: big},
		{name: "gRPC of a kind", answer: headers{"Content-Type": "Application/grpc+proto; v=1"}, body: big},
		{name: "part", status: 206, answer: headers{"Content-Range": "bytes 0-1999/5000"}, body: big},
		{name: "unsatisfied range", status: 416, answer: headers{"Content-Range": "bytes */5000"}, body: big},
		{name: "several parts", status: 206, answer: headers{"Content-Type": "multipart/byteranges; boundary=x"}, body: big},
		{name: "server says no", answer: headers{"No-Gzip-Compression": "1"}, body: big},
		{name: "no-transform", answer: headers{"Cache-Control": "public, No-Transform"}, body: big},
		{name: "other cache control", answer: headers{"Cache-Control": "public, max-age=1"}, body: big, encoded: true},
		{name: "images are compressed", answer: headers{"Content-Type": "image/png"}, body: big, encoded: true},
		{name: "unreadable type", answer: headers{"Content-Type": "text"}, body: big},
		{name: "excluded", config: excluded("image/png", "text/event-stream"), answer: headers{"Content-Type": "Image/PNG; x=y"}, body: big},
		{name: "excluded by parameters too", config: excluded("text/html; charset=utf-8"), answer: headers{"Content-Type": "text/html"}, body: big},
		{name: "not excluded", config: excluded("image/png"), answer: headers{"Content-Type": "text/html"}, body: big, encoded: true},
		{name: "excluded by the request", config: excluded("text/event-stream"), request: headers{"Content-Type": "text/event-stream"}, body: big, want: headers{"Vary": ""}},
		{name: "included", config: included("text/html"), answer: headers{"Content-Type": "text/html; charset=utf-8"}, body: big, encoded: true},
		{name: "not included", config: included("text/html"), answer: headers{"Content-Type": "text/css"}, body: big},
		{name: "no type, nothing included", config: included("text/html"), body: big},
		{name: "included, request of another type", config: included("text/html"), request: headers{"Content-Type": "application/json"},
			answer: headers{"Content-Type": "text/html"}, body: big, encoded: true},
		{name: "strong tag becomes weak", answer: headers{"ETag": `"a"`}, body: big, encoded: true, want: headers{"ETag": `W/"a"`}},
		{name: "weak tag stays", answer: headers{"ETag": `W/"a"`}, body: big, encoded: true, want: headers{"ETag": `W/"a"`}},
		{name: "tag of a short body stays", answer: headers{"ETag": `"a"`}, body: "short", want: headers{"ETag": `"a"`}},
		{name: "ranges and digests go", answer: headers{"Accept-Ranges": "bytes", "Content-Md5": "x", "Repr-Digest": "y"}, body: big, encoded: true,
			want: headers{"Accept-Ranges": "", "Content-Md5": "", "Repr-Digest": ""}},
		{name: "ranges of a short body stay", answer: headers{"Accept-Ranges": "bytes"}, body: "short", want: headers{"Accept-Ranges": "bytes"}},
		{name: "Vary is not doubled", answer: headers{"Vary": "origin, accept-encoding"}, body: big, encoded: true, want: headers{"Vary": "origin, accept-encoding"}},
		{name: "Vary of all", answer: headers{"Vary": "*"}, body: big, encoded: true, want: headers{"Vary": "*"}},
		{name: "no type is guessed", body: big, encoded: true, want: headers{"Content-Type": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := handler(t, c.config, func(w http.ResponseWriter, _ *http.Request) {
				for name, v := range c.answer {
					w.Header().Set(name, v)
				}
				if c.status != 0 {
					w.WriteHeader(c.status)
				}
				io.WriteString(w, c.body)
			})
			if c.method == "" {
				c.method = "GET"
			}
			r := httptest.NewRequest(c.method, "/", nil)
			r.Header.Set("Accept-Encoding", "br")
			for name, v := range c.request {
				r.Header.Set(name, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			encoding := ""
			if c.encoded {
				encoding = "br"
			}
			if _, checked := c.want["Content-Encoding"]; !checked && w.Header().Get("Content-Encoding") != encoding {
				t.Fatalf("got encoding %q, want %q", w.Header().Get("Content-Encoding"), encoding)
			}
			if got := decode(t, encoding, w.Body.Bytes()); got != c.body && c.method != "HEAD" {
				t.Errorf("body came as %.40q of %d bytes", got, len(got))
			}
			for name, v := range c.want {
				if got := value(w.Header(), name); got != v {
					t.Errorf("%s is %q, want %q", name, got, v)
				}
			}
		})
	}
}

// value returns the values of name, whatever its spelling.
func value(h http.Header, name string) string {
	var all []string
	for n, v := range h {
		if strings.EqualFold(n, name) {
			all = append(all, v...)
		}
	}
	return strings.Join(all, " | ")
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		config dynamic.Compress
		keys   []string
	}{
		{"no encodings", dynamic.Compress{Encodings: []string{}}, []string{"compress.encodings"}},
		{"unknown encoding", dynamic.Compress{Encodings: []string{"gzip", "deflate"}}, []string{"compress.encodings[1]"}},
		{"default that is not offered", dynamic.Compress{Encodings: []string{"gzip"}, DefaultEncoding: "br"}, []string{"compress.defaultEncoding"}},
		{"both lists", dynamic.Compress{Encodings: []string{"gzip"}, IncludedContentTypes: []string{"a/b"}, ExcludedContentTypes: []string{"c/d"}},
			[]string{"compress.excludedContentTypes"}},
		{"no media type", dynamic.Compress{Encodings: []string{"gzip"}, IncludedContentTypes: []string{"text"}}, []string{"compress.includedContentTypes[0]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &dynamic.Middleware{Compress: &c.config}
			l := Kind().Check(m)
			var keys []string
			for _, f := range l {
				keys = append(keys, f.Key)
			}
			if strings.Join(keys, " ") != strings.Join(c.keys, " ") {
				t.Errorf("got %v", l)
			}
			if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
				t.Error("was built")
			}
		})
	}
}

// pieces is a body that comes in pieces, some of which are there at once.
type pieces struct {
	list    [][]byte
	ready   func() bool
	trailer *httpmsg.Header
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.list) == 0 {
		return nil, io.EOF
	}
	next := p.list[0]
	p.list = p.list[1:]
	return next, nil
}
func (p *pieces) Ready() bool              { return p.ready() }
func (p *pieces) Trailer() *httpmsg.Header { return p.trailer }
func (p *pieces) Close()                   {}

// wire records what a client would get.
type wire struct {
	length  int64
	body    bytes.Buffer
	flushed []int // bytes that had come by each flush
	trailer bool
}

func (w *wire) Head(x *httpmsg.Exchange, _ bool) error { w.length = x.Res.ContentLength; return nil }
func (w *wire) Body(p []byte) error                    { w.body.Write(p); return nil }
func (w *wire) Flush() error                           { w.flushed = append(w.flushed, w.body.Len()); return nil }
func (w *wire) End(t *httpmsg.Header) error            { w.trailer = t != nil; return nil }

func serve(t testing.TB, encoding string, length int64, body *pieces) (*wire, *httpmsg.Exchange) {
	t.Helper()
	c := &dynamic.Compress{}
	c.SetDefaults()
	h, err := build(&dynamic.Middleware{Compress: c}, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, length, body
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	x := &httpmsg.Exchange{}
	x.Req.Method = httpmsg.Text("GET")
	x.Req.Header.AddID(httpmsg.HdrAcceptEncoding, httpmsg.Text(encoding))
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	if err := x.Deliver(w); err != nil {
		t.Fatal(err)
	}
	return w, x
}

// TestAnyPieces holds that the client gets the bytes that the server sent, however these are cut and flushed.
func TestAnyPieces(t *testing.T) {
	httpmsg.SetPoison(true)
	defer httpmsg.SetPoison(false)
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		encoding := names[1+round%3]
		var text bytes.Buffer
		body := &pieces{ready: func() bool { return rnd.IntN(3) > 0 }}
		for range rnd.IntN(20) {
			piece := make([]byte, rnd.IntN(1+rnd.IntN(4000)))
			for i := range piece {
				piece[i] = "abcdefgh"[rnd.IntN(8)]
			}
			text.Write(piece)
			body.list = append(body.list, piece)
		}
		length := int64(-1)
		if rnd.IntN(2) == 0 {
			length = int64(text.Len())
		}
		w, x := serve(t, encoding, length, body)
		used := x.Res.Header.Get(httpmsg.HdrContentEncoding).String()
		if got := decode(t, used, w.body.Bytes()); got != text.String() {
			t.Fatalf("round %d, %q: %d bytes became %d", round, used, text.Len(), len(got))
		}
		if used != "" && w.length >= 0 || used == "" && w.length != int64(text.Len()) {
			t.Fatalf("round %d, %q: announced %d of %d bytes", round, used, w.length, text.Len())
		}
		x.Finish()
	}
}

// TestEventsLeaveAtOnce holds that whatever the server has sent can be decoded when it pauses.
func TestEventsLeaveAtOnce(t *testing.T) {
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		t.Run(encoding, func(t *testing.T) {
			events := &pieces{ready: func() bool { return false }}
			for range 5 {
				events.list = append(events.list, []byte("data: tick\n\n"))
			}
			w, x := serve(t, encoding, -1, events)
			defer x.Finish()
			if len(w.flushed) < 4 {
				t.Fatalf("%d flushes", len(w.flushed))
			}
			for i := 1; i < len(w.flushed); i++ {
				if w.flushed[i] <= w.flushed[i-1] {
					t.Fatalf("nothing left between pauses: %v", w.flushed)
				}
			}
			first := decodePart(t, encoding, w.body.Bytes()[:w.flushed[0]], len("data: tick\n\n"))
			if first != "data: tick\n\n" {
				t.Errorf("at the first pause the client had %q", first)
			}
		})
	}
}

// decodePart decodes n bytes of a stream that has not ended.
func decodePart(t testing.TB, encoding string, body []byte, n int) string {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() { w.Write(body); close(done) }() // no end follows
	defer func() { w.Close(); r.Close(); <-done }()
	var d io.Reader
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		d = z
	case "br":
		d = brrr.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		d = z
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(d, buf); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

func TestTrailersKeepTheirRoom(t *testing.T) {
	trailer := &httpmsg.Header{}
	trailer.Add("X-Sum", "1")
	w, x := serve(t, "gzip", -1, &pieces{list: [][]byte{[]byte("short")}, ready: func() bool { return true }, trailer: trailer})
	defer x.Finish()
	if w.length != -1 || !w.trailer || w.body.String() != "short" {
		t.Errorf("length %d, trailer %v, body %q", w.length, w.trailer, w.body.String())
	}
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"", "gzip", "gzip, deflate, br, zstd", "*;q=0.5, gzip;q=0", "identity;q=1.000,br;q=0.001", "gzip;q=", ";;q=1,,", "gzip;q=1.0000"} {
		f.Add(s)
	}
	k := &choice{order: []coding{zstandard, gzipped}, fallback: gzipped}
	f.Fuzz(func(t *testing.T, value string) {
		var h httpmsg.Header
		h.AddID(httpmsg.HdrAcceptEncoding, httpmsg.Text(value))
		switch c := k.of(&h); c {
		case none:
		case zstandard, gzipped:
			if !strings.Contains(strings.ToLower(value), names[c]) && !strings.Contains(value, "*") {
				t.Errorf("%q led to %s", value, names[c])
			}
		default:
			t.Errorf("%q led to %s, which is not offered", value, names[c])
		}
	})
}

func TestPassingCostsNothing(t *testing.T) {
	c := &dynamic.Compress{}
	c.SetDefaults()
	body := &httpmsg.Bytes{Data: []byte("short")}
	h, _ := build(&dynamic.Middleware{Compress: c}, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		body.Rewind()
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, 5, body
		return nil
	}))
	x, w := &httpmsg.Exchange{}, &wire{}
	if n := testing.AllocsPerRun(200, func() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("GET")
		x.Req.Header.AddID(httpmsg.HdrAcceptEncoding, httpmsg.Text("gzip, deflate, br"))
		w.body.Reset()
		if err := h.Serve(x); err != nil {
			t.Fatal(err)
		}
		x.Deliver(w)
		x.Finish()
	}); n > 0.1 {
		t.Errorf("%v allocations for a body that passes", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	text := []byte(strings.Repeat("{\"id\": 17, \"name\": \"sluice\", \"open\": true, \"width\": 3.5},\n", 300))
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		b.Run(encoding, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_, x := serve(b, encoding, int64(len(text)), &pieces{list: [][]byte{text}, ready: func() bool { return true }})
				x.Finish()
			}
		})
	}
}

package grpcweb

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func handler(t testing.TB, next httpmsg.Handler, origins ...string) httpmsg.Handler {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{GRPCWeb: &dynamic.GRPCWeb{AllowOrigins: origins}}, middleware.Env{}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// server is a gRPC server as far as HTTP goes: it echoes the call and ends with trailers.
var server = bridge.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/grpc+proto")
	w.Header().Set("X-Asked", fmt.Sprintf("%s %d", r.Header.Get("Content-Type"), r.ContentLength))
	if r.Header.Get("X-Fail") != "" { // all in the head
		w.Header().Set("Grpc-Status", "5")
		return
	}
	for len(body) > 0 {
		n := min(len(body), 10)
		w.Write(body[:n])
		w.(http.Flusher).Flush()
		body = body[n:]
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
}))

const lastFrame = "\x80\x00\x00\x00\x24grpc-message: fine\r\ngrpc-status: 0\r\n"

func TestCalls(t *testing.T) {
	trial.Each(t, handler(t, server, "https://app.test"), func(t *testing.T, f *trial.Front) {
		message := "\x00\x00\x00\x00\x21a message of thirty-three bytes.."
		for _, c := range []struct {
			name, kind, body, answered, want string
		}{
			{"binary", "application/grpc-web+proto", message, "application/grpc-web+proto", message + lastFrame},
			{"without suffix", "application/grpc-web", message, "application/grpc-web+proto", message + lastFrame},
			{"text", "application/grpc-web-text+proto", base64.StdEncoding.EncodeToString([]byte(message)), "application/grpc-web-text+proto", message + lastFrame},
			{"text in parts", "application/grpc-web-text", base64.StdEncoding.EncodeToString([]byte(message[:10])) + base64.StdEncoding.EncodeToString([]byte(message[10:])),
				"application/grpc-web-text+proto", message + lastFrame},
			{"letter case", "Application/GRPC-Web+proto", message, "application/grpc-web+proto", message + lastFrame},
			{"empty", "application/grpc-web", "", "application/grpc-web+proto", lastFrame},
		} {
			t.Run(c.name, func(t *testing.T) {
				r, _ := http.NewRequest("POST", f.URL+"/svc/Method", strings.NewReader(c.body))
				r.Header.Set("Content-Type", c.kind)
				r.Header.Set("Origin", "https://app.test")
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(c.kind, "text") {
					got = decodeParts(t, got)
				}
				if string(got) != c.want || res.Header.Get("Content-Type") != c.answered {
					t.Errorf("got %s %q, want %q", res.Header.Get("Content-Type"), got, c.want)
				}
				if len(res.Trailer) > 0 {
					t.Errorf("trailers as well: %v", res.Trailer)
				}
				asked := res.Header.Get("X-Asked")
				if want := "application/grpc" + strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(c.kind), webType), "-text"); !strings.HasPrefix(asked, want+" ") {
					t.Errorf("the server was asked for %q", asked)
				}
				if c.body != "" && !strings.HasSuffix(asked, " -1") {
					t.Errorf("the server was told a length: %q", asked)
				}
				if res.Header.Get("Access-Control-Allow-Origin") != "https://app.test" || res.Header.Get("Access-Control-Allow-Credentials") != "true" ||
					!strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "X-Asked, grpc-status, grpc-message") || res.Header.Get("Vary") != "Origin" {
					t.Errorf("got %v", res.Header)
				}
			})
		}
	})
}

// decodeParts decodes base64 whose parts are padded each by itself.
func decodeParts(t testing.TB, text []byte) []byte {
	t.Helper()
	var out []byte
	for len(text) > 0 {
		group, err := base64.StdEncoding.DecodeString(string(text[:min(4, len(text))]))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, group...)
		text = text[4:]
	}
	return out
}

func TestTrailersInTheHead(t *testing.T) {
	f := trial.HTTP1(t, handler(t, server, "*"))
	r, _ := http.NewRequest("POST", f.URL, strings.NewReader("x"))
	r.Header.Set("Content-Type", "application/grpc-web")
	r.Header.Set("X-Fail", "1")
	res, err := f.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); len(got) > 0 || res.Header.Get("Grpc-Status") != "5" {
		t.Errorf("got %q %v", got, res.Header)
	}
}

func TestBrokenText(t *testing.T) {
	for _, body := range []string{"AAA", "A===", "====", "AA=A", "A A=", "AAA\n", "AAAA*AAA", "AAAAA"} {
		d := &decoder{src: &httpmsg.Bytes{Data: []byte(body)}}
		var err error
		for err == nil {
			_, err = d.Next()
		}
		if fault.Status(err) != 400 {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestPassing(t *testing.T) {
	for _, c := range []struct{ method, kind string }{
		{"POST", "application/grpc"}, {"POST", "application/json"}, {"POST", ""}, {"GET", "application/grpc-web"}, {"OPTIONS", ""},
	} {
		called := false
		body := &httpmsg.Bytes{Data: []byte("text")}
		h := handler(t, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			called = x.Req.Body == body && x.Req.ContentLength == 4 && x.Req.Header.Get(httpmsg.HdrContentType).Is(c.kind)
			x.Respond(200, "application/grpc", "answer")
			return nil
		}), "*")
		x := &httpmsg.Exchange{}
		x.Req.Method, x.Req.Body, x.Req.ContentLength = httpmsg.Text(c.method), body, 4
		x.Req.Header.AddID(httpmsg.HdrContentType, httpmsg.Text(c.kind))
		x.Req.Header.AddID(httpmsg.HdrOrigin, httpmsg.Text("https://a"))
		h.Serve(x)
		if x.RunEdits(); !called || x.Res.Header.Len() != 1 || !x.Res.Header.Get(httpmsg.HdrContentType).Is("application/grpc") {
			t.Errorf("%v was changed", c)
		}
	}
}

func TestAnswersThatAreNotGRPC(t *testing.T) {
	h := handler(t, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(404, "text/html", "page"); return nil }), "*")
	x := &httpmsg.Exchange{}
	x.Req.Method = httpmsg.Text("POST")
	x.Req.Header.AddID(httpmsg.HdrContentType, httpmsg.Text("application/grpc-web-text"))
	if err := h.Serve(x); err != nil || x.Res.ContentLength != 4 || !x.Res.Header.Get(httpmsg.HdrContentType).Is("text/html") {
		t.Errorf("got %v %d", err, x.Res.ContentLength)
	}
}

func TestPreflights(t *testing.T) {
	for _, c := range []struct {
		name    string
		origins []string
		fields  string
		allowed string // the origin that is allowed; "pass" if the service answers
	}{
		{"exact origin", []string{"https://a.test", "https://b.test"}, "Origin: https://b.test|Access-Control-Request-Method: POST|Access-Control-Request-Headers: content-type, X-Grpc-Web", "https://b.test"},
		{"any origin", []string{"*"}, "Origin: https://c.test|Access-Control-Request-Method: POST|Access-Control-Request-Headers: x-grpc-web", "https://c.test"},
		{"other origin", []string{"https://a.test"}, "Origin: https://a.test.evil|Access-Control-Request-Method: POST|Access-Control-Request-Headers: x-grpc-web", ""},
		{"no origin is allowed", nil, "Origin: https://a.test|Access-Control-Request-Method: POST|Access-Control-Request-Headers: x-grpc-web", ""},
		{"no origin is sent", []string{"*"}, "Access-Control-Request-Method: POST|Access-Control-Request-Headers: x-grpc-web", ""},
		{"another method", []string{"*"}, "Origin: https://a.test|Access-Control-Request-Method: PUT|Access-Control-Request-Headers: x-grpc-web", ""},
		{"of something else", []string{"*"}, "Origin: https://a.test|Access-Control-Request-Method: POST|Access-Control-Request-Headers: content-type", "pass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			passed := false
			h := handler(t, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { passed = true; x.Respond(200, "", ""); return nil }), c.origins...)
			x := &httpmsg.Exchange{}
			x.Req.Method = httpmsg.Text("OPTIONS")
			for _, f := range strings.Split(c.fields, "|") {
				name, value, _ := strings.Cut(f, ": ")
				x.Req.Header.Add(name, value)
			}
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			if passed != (c.allowed == "pass") {
				t.Fatalf("passed is %v", passed)
			}
			if passed {
				return
			}
			res := &x.Res
			if got := res.Header.Lookup("Access-Control-Allow-Origin").String(); got != c.allowed || res.Status != 200 {
				t.Errorf("got %d, allowed %q", res.Status, got)
			}
			if c.allowed != "" && (!res.Header.Lookup("Access-Control-Allow-Credentials").Is("true") || !res.Header.Lookup("Access-Control-Allow-Methods").Is("POST") ||
				!res.Header.Lookup("Access-Control-Allow-Headers").Is(x.Req.Header.Lookup("Access-Control-Request-Headers").String())) {
				t.Error("headers are missing")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for origin, errors := range map[string]bool{"a b": true, "https://a\r\nb": true, "https://a": false, "a.test": false, "*": false} {
		m := &dynamic.Middleware{GRPCWeb: &dynamic.GRPCWeb{AllowOrigins: []string{origin}}}
		l := Kind().Check(m)
		_, err := Kind().Build(m, middleware.Env{}, nil)
		if (middleware.Refusal(l) != nil) != errors || (err != nil) != errors {
			t.Errorf("%q: %v, %v", origin, l, err)
		}
	}
}

// FuzzText holds that what is encoded is decoded to the same, however both are cut, and that junk is refused in peace.
func FuzzText(f *testing.F) {
	f.Add([]byte("some text"), uint64(1))
	f.Add([]byte("AAAA===="), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		d := &decoder{src: &cuts{data: data, rnd: rnd}}
		var got []byte
		var err error
		for err == nil {
			var p []byte
			p, err = d.Next()
			got = append(got, p...)
		}
		want, strict := base64.StdEncoding.DecodeString(string(data))
		if strict == nil && !bytes.ContainsAny(data, "\r\n") && (err != io.EOF || !bytes.Equal(got, want)) {
			t.Fatalf("%q became %q, %v", data, got, err)
		}
		e := &framer{src: &cuts{data: data, rnd: rnd}, text: true}
		d = &decoder{src: e}
		got, err = nil, nil
		for err == nil {
			var p []byte
			p, err = d.Next()
			got = append(got, p...)
		}
		if err != io.EOF || !bytes.Equal(got, data) {
			t.Fatalf("%q came back as %q, %v", data, got, err)
		}
	})
}

// cuts is a body in pieces of any length.
type cuts struct {
	data []byte
	rnd  *rand.Rand
}

func (c *cuts) Next() ([]byte, error) {
	if len(c.data) == 0 {
		return nil, io.EOF
	}
	n := c.rnd.IntN(min(len(c.data), 7) + 1)
	p := c.data[:n]
	c.data = c.data[n:]
	return p, nil
}
func (c *cuts) Ready() bool              { return c.rnd.IntN(2) == 0 }
func (c *cuts) Trailer() *httpmsg.Header { return nil }
func (c *cuts) Close()                   {}

func BenchmarkMiddlewaresPassing(b *testing.B) {
	h := handler(b, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }), "*")
	x := &httpmsg.Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("POST")
		x.Req.Header.AddID(httpmsg.HdrContentType, httpmsg.Text("application/json"))
		h.Serve(x)
		x.Finish()
	}
}

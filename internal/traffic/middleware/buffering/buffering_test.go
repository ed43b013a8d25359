package buffering

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func handler(t testing.TB, change func(*dynamic.Buffering), next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	c := &dynamic.Buffering{}
	c.SetDefaults()
	if change != nil {
		change(c)
	}
	h, err := Kind().Build(&dynamic.Middleware{Buffering: c}, middleware.Env{}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%d %s %s", r.ContentLength, r.Header.Get("Transfer-Encoding"), body)
}

func TestRequestSizes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	for _, c := range []struct {
		name    string
		config  func(*dynamic.Buffering)
		size    int
		chunked bool
		status  int
	}{
		{"nothing", nil, 0, false, 200},
		{"small", nil, 100, false, 200},
		{"small, length unknown", nil, 100, true, 200},
		{"as large as allowed", func(b *dynamic.Buffering) { b.MaxRequestBodyBytes = 100 }, 100, false, 200},
		{"as large as allowed, length unknown", func(b *dynamic.Buffering) { b.MaxRequestBodyBytes = 100 }, 100, true, 200},
		{"too large", func(b *dynamic.Buffering) { b.MaxRequestBodyBytes = 100 }, 101, false, 413},
		{"too large, length unknown", func(b *dynamic.Buffering) { b.MaxRequestBodyBytes = 100 }, 101, true, 413},
		{"beyond memory", func(b *dynamic.Buffering) { b.MemRequestBodyBytes, b.MemResponseBodyBytes = 10, 10 }, 300_000, false, 200},
		{"beyond memory, length unknown", func(b *dynamic.Buffering) { b.MemRequestBodyBytes, b.MemResponseBodyBytes = 10, 10 }, 300_000, true, 200},
		{"memory of zero is the default", func(b *dynamic.Buffering) { b.MemRequestBodyBytes = 0 }, 300_000, false, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			trial.Each(t, handler(t, c.config, trial.Service(t, server.URL)), func(t *testing.T, f *trial.Front) {
				text := strings.Repeat("x", c.size)
				var body io.Reader = strings.NewReader(text)
				if c.chunked {
					body = io.MultiReader(body)
				}
				res, err := f.Client.Post(f.URL, "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				got, _ := io.ReadAll(res.Body)
				want := fmt.Sprintf("%d  %s", c.size, text)
				if c.status == 413 {
					want = "Request Entity Too Large"
				}
				if res.StatusCode != c.status || string(got) != want {
					t.Fatalf("got %d %.60q of %d bytes", res.StatusCode, got, len(got))
				}
				if res.ContentLength != int64(len(want)) {
					t.Errorf("the response announces %d bytes", res.ContentLength)
				}
			})
		})
	}
}

func TestResponseSizes(t *testing.T) {
	small := func(b *dynamic.Buffering) { b.MaxResponseBodyBytes = 100 }
	for _, c := range []struct {
		name   string
		config func(*dynamic.Buffering)
		size   int
		flush  bool
		method string
		status int
	}{
		{"as large as allowed", small, 100, false, "GET", 200},
		{"too large", small, 101, false, "GET", 500},
		{"too large, length unknown", small, 101, true, "GET", 500},
		{"too large, but only asked for", small, 101, false, "HEAD", 200},
		{"flushed", nil, 5000, true, "GET", 200},
		{"beyond memory", func(b *dynamic.Buffering) { b.MemResponseBodyBytes = 10 }, 300_000, true, "GET", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				text := bytes.Repeat([]byte("y"), c.size)
				if c.flush {
					w.Write(text[:c.size/2])
					w.(http.Flusher).Flush()
					text = text[c.size/2:]
				} else {
					w.Header().Set("Content-Length", fmt.Sprint(c.size))
				}
				w.Write(text)
			}))
			defer server.Close()
			trial.Each(t, handler(t, c.config, trial.Service(t, server.URL)), func(t *testing.T, f *trial.Front) {
				r, _ := http.NewRequest(c.method, f.URL, nil)
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				got, _ := io.ReadAll(res.Body)
				if res.StatusCode != c.status {
					t.Fatalf("got %d", res.StatusCode)
				}
				switch {
				case c.status == 500 && string(got) != "Internal Server Error":
					t.Errorf("got %q", got)
				case c.status == 200 && (res.ContentLength != int64(c.size) || c.method == "GET" && len(got) != c.size):
					t.Errorf("announced %d, got %d of %d bytes", res.ContentLength, len(got), c.size)
				}
			})
		})
	}
}

func TestTrailersSurvive(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "text")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "17")
	}))
	defer server.Close()
	trial.Each(t, handler(t, nil, trial.Service(t, server.URL)), func(t *testing.T, f *trial.Front) {
		res, err := f.Client.Get(f.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if io.ReadAll(res.Body); res.Trailer.Get("X-Sum") != "17" {
			t.Errorf("trailers are %v", res.Trailer)
		}
	})
}

func TestRetryExpression(t *testing.T) {
	for _, c := range []struct {
		name, expression, method string
		answers                  []int // the last one stays
		status, calls            int
	}{
		{"never", "", "POST", []int{502}, 502, 1},
		{"until it works", "IsNetworkError() && Attempts() <= 3", "POST", []int{502, 504, 200}, 200, 3},
		{"attempts count from one", "IsNetworkError() && Attempts() < 2", "POST", []int{502}, 502, 2},
		{"by code", "ResponseCode() == 503 && Attempts() < 4", "POST", []int{503}, 503, 4},
		{"other code", "ResponseCode() == 503 && Attempts() < 4", "POST", []int{500}, 500, 1},
		{"by method", `RequestMethod() == "PUT" && Attempts() < 3`, "POST", []int{500}, 500, 1},
		{"never more than ten", "Attempts() > 0", "POST", []int{200}, 200, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := int(calls.Add(1))
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(c.answers[min(n, len(c.answers))-1])
				w.Write(body)
			}))
			defer server.Close()
			for _, memory := range []int64{1 << 20, 10} {
				calls.Store(0)
				h := handler(t, func(b *dynamic.Buffering) { b.RetryExpression, b.MemRequestBodyBytes = c.expression, memory }, trial.Service(t, server.URL))
				f := trial.HTTP1(t, h)
				text := strings.Repeat("again ", 10_000)
				r, _ := http.NewRequest(c.method, f.URL, strings.NewReader(text))
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != c.status || string(got) != text || int(calls.Load()) != c.calls {
					t.Errorf("got %d with %d bytes after %d calls", res.StatusCode, len(got), calls.Load())
				}
				if facts := f.Last(t); facts.Retries != c.calls-1 {
					t.Errorf("%d retries on record", facts.Retries)
				}
			}
		})
	}
}

// TestBrokenResponse holds that a response which breaks off is never sent, and counts as a network error.
func TestBrokenResponse(t *testing.T) {
	peer := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		c.ReadUntil("\r\n\r\n")
		if n == 0 {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
	})
	service := trial.Service(t, peer.Addr)
	f := trial.HTTP1(t, handler(t, func(b *dynamic.Buffering) { b.RetryExpression = "IsNetworkError() && Attempts() < 2" }, service))
	res, err := f.Client.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 || string(got) != "whole" {
		t.Errorf("got %d %q", res.StatusCode, got)
	}

	broken := testkit.Listen(t, func(c *testkit.PeerConn, n int) {
		c.ReadUntil("\r\n\r\n")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	})
	f = trial.HTTP1(t, handler(t, nil, trial.Service(t, broken.Addr)))
	if res, err = f.Client.Get(f.URL); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 502 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// TestCutRequest holds that nothing of a request that breaks off is forwarded.
func TestCutRequest(t *testing.T) {
	called := false
	h := handler(t, nil, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { called = true; x.Respond(200, "", ""); return nil }))
	f := trial.HTTP1(t, h)
	c := testkit.Dial(t, strings.TrimPrefix(f.URL, "http://"))
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
	c.CloseWrite()
	facts := f.Last(t)
	if called || facts.Err == nil || fault.Of(facts.Err).Kind.Side() != fault.Client {
		t.Errorf("called %v, ended with %v", called, facts.Err)
	}
}

// TestUpgradePasses holds that a protocol switch is not held up.
func TestUpgradePasses(t *testing.T) {
	_, server := net.Pipe()
	up := &httpmsg.Upgrade{Server: stream{server}}
	h := handler(t, nil, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Res.Status, x.Upgrade = 101, up
		return nil
	}))
	x := &httpmsg.Exchange{}
	x.Req.UpgradeTo = httpmsg.Text("websocket")
	if err := h.Serve(x); err != nil || x.Upgrade != up {
		t.Errorf("got %v, %v", err, x.Upgrade)
	}
	x.DropResponse()
}

type stream struct{ net.Conn }

func (s stream) CloseWrite() error { return nil }

func TestInterimIsSwallowed(t *testing.T) {
	h := handler(t, nil, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Interim(103, nil)
		x.Respond(200, "", "ok")
		return nil
	}))
	x := &httpmsg.Exchange{}
	x.Reset(func(int, *httpmsg.Header) error { t.Error("a 103 went out"); return nil })
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	for key, c := range map[string]dynamic.Buffering{
		"buffering.maxRequestBodyBytes":  {MaxRequestBodyBytes: -1},
		"buffering.memRequestBodyBytes":  {MemRequestBodyBytes: -1},
		"buffering.maxResponseBodyBytes": {MaxResponseBodyBytes: -1},
		"buffering.memResponseBodyBytes": {MemResponseBodyBytes: -1},
		"buffering.retryExpression":      {RetryExpression: "!IsNetworkError()"},
	} {
		m := &dynamic.Middleware{Buffering: &c}
		if l := Kind().Check(m); len(l) != 1 || l[0].Key != key {
			t.Errorf("%s: got %v", key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
	if l := Kind().Check(&dynamic.Middleware{Buffering: &dynamic.Buffering{}}); len(l) > 0 {
		t.Error(l)
	}
}

func FuzzRetryExpression(f *testing.F) {
	f.Add("IsNetworkError() && Attempts() < 3")
	f.Add(`ResponseCode() >= 500 || (RequestMethod() == "GET" && Attempts() != 1)`)
	f.Fuzz(func(t *testing.T, text string) {
		c := &dynamic.Middleware{Buffering: &dynamic.Buffering{RetryExpression: text}}
		l := Kind().Check(c)
		h, err := Kind().Build(c, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(502, "", ""); return nil }))
		if (len(l) > 0) != (err != nil) {
			t.Fatalf("%q: Check says %v, Build %v", text, l, err)
		}
		if err == nil {
			x := &httpmsg.Exchange{}
			x.Req.Method = httpmsg.Text("GET")
			h.Serve(x)
		}
	})
}

func BenchmarkMiddlewaresWhole(b *testing.B) {
	text := bytes.Repeat([]byte("x"), 4096)
	h := handler(b, nil, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	x := &httpmsg.Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		x.Req.Method, x.Req.Body, x.Req.ContentLength = httpmsg.Text("POST"), &httpmsg.Bytes{Data: text}, int64(len(text))
		h.Serve(x)
		x.Finish()
	}
}

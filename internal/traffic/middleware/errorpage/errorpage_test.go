package errorpage

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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

func handler(t testing.TB, change func(*dynamic.Errors), service, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	c := &dynamic.Errors{Status: []string{"400-599"}, Service: "pages", Query: "/{status}.html"}
	if change != nil {
		change(c)
	}
	h, err := Kind().Build(&dynamic.Middleware{Errors: c}, middleware.Env{Service: service}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// answers is a service that answers with one status and remembers nothing.
func answers(status int, fields ...string) httpmsg.Handler {
	return httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.Respond(status, "text/plain", "original")
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			x.Res.Header.Add(name, value)
		}
		return nil
	})
}

// pageService remembers what it was asked for.
type pageService struct {
	asked  string
	fields []string
	status int
	err    error
}

func (p *pageService) Serve(x *httpmsg.Exchange) error {
	p.asked = fmt.Sprintf("%s %s %s %v", x.Req.Method, x.Req.Host, x.Req.Path, x.Req.HasQuery)
	if x.Req.HasQuery {
		p.asked += " " + x.Req.Query.String()
	}
	if x.Req.Body != nil {
		p.asked += " with a body"
	}
	p.fields = nil
	for i := range x.Req.Header.Len() {
		p.fields = append(p.fields, x.Req.Header.At(i).Name.String())
	}
	if p.err != nil {
		return p.err
	}
	x.Respond(p.status, "text/html", "page")
	x.Res.Header.Add("X-Page", "1")
	return nil
}

func exchange(method, target string, fields ...string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Host = httpmsg.Text(method), httpmsg.Text("example.test:8080")
	if err := x.SetTarget(httpmsg.Text(target)); err != nil {
		panic(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	return x
}

func body(x *httpmsg.Exchange) string {
	if x.Res.Body == nil {
		return ""
	}
	p, _ := x.Res.Body.Next()
	return string(p)
}

func TestReplaced(t *testing.T) {
	fail := func(k fault.Kind) httpmsg.Handler {
		return httpmsg.HandlerFunc(func(*httpmsg.Exchange) error { return fault.New(k, "broken", nil) })
	}
	for _, c := range []struct {
		name   string
		config func(*dynamic.Errors)
		next   httpmsg.Handler
		page   pageService
		method string
		status int
		body   string
		asked  string
		fields []string // of the response, beside Content-Type and X-Page
	}{
		{name: "fine answers pass", next: answers(200), status: 200, body: "original"},
		{name: "other codes pass", config: func(c *dynamic.Errors) { c.Status = []string{"500", "502-504"} }, next: answers(501), status: 501, body: "original"},
		{name: "single code", config: func(c *dynamic.Errors) { c.Status = []string{"500", "502-504"} }, next: answers(500), status: 500, body: "page", asked: "GET example.test:8080 /500.html false"},
		{name: "range", config: func(c *dynamic.Errors) { c.Status = []string{"500", "502-504"} }, next: answers(504), status: 504, body: "page", asked: "GET example.test:8080 /504.html false"},
		{name: "the page's own status counts for nothing", next: answers(404), page: pageService{status: 200}, status: 404, body: "page", asked: "GET example.test:8080 /404.html false"},
		{name: "not even a bad one", next: answers(404), page: pageService{status: 500}, status: 404, body: "page", asked: "GET example.test:8080 /404.html false"},
		{name: "faults count", next: fail(fault.DialFailed), status: 502, body: "page", asked: "GET example.test:8080 /502.html false", fields: []string{"Sluice-Error: DIAL-FAILED"}},
		{name: "the page cannot be had", next: answers(500), page: pageService{err: errors.New("no")}, status: 500, body: "Internal Server Error", asked: "GET example.test:8080 /500.html false"},
		{name: "POST asks with GET", method: "POST", next: answers(500), status: 500, body: "page", asked: "GET example.test:8080 /500.html false"},
		{name: "query empty", config: func(c *dynamic.Errors) { c.Query = "" }, next: answers(500), status: 500, body: "page", asked: "GET example.test:8080 / false"},
		{name: "query without slash", config: func(c *dynamic.Errors) { c.Query = "e?c={status}" }, next: answers(500), status: 500, body: "page", asked: "GET example.test:8080 /e true c=500"},
		{name: "rewritten", config: func(c *dynamic.Errors) {
			c.StatusRewrites = map[string]int{"400-499": 404, "418": 503}
			c.Query = "/{status}/{originalStatus}"
		}, next: answers(418), status: 503, body: "page", asked: "GET example.test:8080 /503/418 false"},
		{name: "url", config: func(c *dynamic.Errors) { c.Query = "/?u={url}" }, next: answers(500), status: 500, body: "page",
			asked: "GET example.test:8080 / true u=http%3A%2F%2Fexample.test%3A8080%2Fa%2520b%3Fq%3D1%262"},
		{name: "login and coming back are kept", next: answers(401, "WWW-Authenticate: Basic realm=\"a\"", "WWW-Authenticate: Bearer", "Retry-After: 5", "allow: GET", "X-Secret: 1", "Set-Cookie: a=b"),
			status: 401, body: "page", asked: "GET example.test:8080 /401.html false",
			fields: []string{"WWW-Authenticate: Basic realm=\"a\"", "WWW-Authenticate: Bearer", "Retry-After: 5", "allow: GET"}},
		{name: "kept with plain text, too", next: answers(401, "WWW-Authenticate: Bearer"), page: pageService{err: errors.New("no")}, status: 401, body: "Unauthorized",
			asked: "GET example.test:8080 /401.html false", fields: []string{"WWW-Authenticate: Bearer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			page := c.page
			if page.status == 0 {
				page.status = 200
			}
			target := "/a%20b?q=1&2"
			if c.method == "" {
				c.method = "GET"
			}
			x := exchange(c.method, target, "Accept: */*")
			x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte("text")}, 4
			if err := handler(t, c.config, &page, c.next).Serve(x); err != nil {
				t.Fatal(err)
			}
			x.RunEdits()
			if got := body(x); x.Res.Status != c.status || got != c.body {
				t.Errorf("got %d %q, want %d %q", x.Res.Status, got, c.status, c.body)
			}
			if page.asked != c.asked {
				t.Errorf("the page was asked for with %q, want %q", page.asked, c.asked)
			}
			var fields []string
			for i := range x.Res.Header.Len() {
				if f := x.Res.Header.At(i); f.ID != httpmsg.HdrContentType && !f.Name.EqualFold("X-Page") {
					fields = append(fields, f.Name.String()+": "+f.Value.String())
				}
			}
			if !slices.Equal(fields, c.fields) {
				t.Errorf("the answer has %q, want %q", fields, c.fields)
			}
			if x.Req.Method.String() != c.method || x.Req.Path.String() != "/a%20b" || x.Req.Header.Len() != 1 || x.Req.Body == nil {
				t.Errorf("the request is now %s %s with %d fields", x.Req.Method, x.Req.Path, x.Req.Header.Len())
			}
		})
	}
}

func TestFaultIsRecorded(t *testing.T) {
	x := exchange("GET", "/")
	h := handler(t, nil, &pageService{status: 200}, httpmsg.HandlerFunc(func(*httpmsg.Exchange) error { return fault.New(fault.NoServer, "none", nil) }))
	if err := h.Serve(x); err != nil || x.Facts.Err == nil || fault.Of(x.Facts.Err).Kind != fault.NoServer {
		t.Errorf("got %v, on record %v", err, x.Facts.Err)
	}
}

func TestRequestHeaders(t *testing.T) {
	sent := []string{"Accept: */*", "Cookie: a", "X-Forwarded-For: 192.0.2.1", "Range: bytes=0-1", "If-None-Match: \"a\"", "Content-Type: text/plain", "Content-Length: 4"}
	for _, c := range []struct {
		name string
		list []string
		want []string
	}{
		{"all", nil, []string{"Accept", "Cookie", "X-Forwarded-For"}},
		{"none", []string{}, nil},
		{"listed", []string{"cookie", "Range"}, []string{"Cookie"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			page := pageService{status: 200}
			x := exchange("PUT", "/", sent...)
			if err := handler(t, func(o *dynamic.Errors) { o.ErrorRequestHeaders = c.list }, &page, answers(500)).Serve(x); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(page.fields, c.want) {
				t.Errorf("the service got %q", page.fields)
			}
			if x.Req.Header.Len() != len(sent) {
				t.Error("the request has lost fields")
			}
		})
	}
}

// TestEditsOfTheAnswerGo holds that what inner middlewares wanted of the original answer does not happen to the page.
func TestEditsOfTheAnswerGo(t *testing.T) {
	inner := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		x.OnCommit(edit{})
		x.Respond(500, "", "")
		return nil
	})
	x := exchange("GET", "/")
	handler(t, nil, &pageService{status: 200}, inner).Serve(x)
	if x.RunEdits(); x.Res.Header.Lookup("X-Edit") != nil {
		t.Error("the page was edited")
	}
}

type edit struct{}

func (edit) EditResponse(x *httpmsg.Exchange) { x.Res.Header.Add("X-Edit", "1") }

func TestRealServers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(401)
		io.WriteString(w, strings.Repeat("long answer that nobody reads ", 10_000))
	}))
	defer server.Close()
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf("%s %s %s", r.Method, r.Host, r.RequestURI)
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text)
	}))
	defer pages.Close()
	trial.Each(t, handler(t, nil, trial.Service(t, pages.URL), trial.Service(t, server.URL)), func(t *testing.T, f *trial.Front) {
		for _, method := range []string{"GET", "HEAD", "POST", "GET"} {
			r, _ := http.NewRequest(method, f.URL+"/a", nil)
			if method == "POST" {
				r, _ = http.NewRequest(method, f.URL+"/a", strings.NewReader(strings.Repeat("x", 300_000)))
			}
			r.Host = "example.test"
			res, err := f.Client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			res.Body.Close()
			want := "GET example.test /401.html"
			if res.ContentLength != int64(len(want)) {
				t.Errorf("%s: length %d", method, res.ContentLength)
			}
			if method == "HEAD" {
				want = ""
			}
			if res.StatusCode != 401 || string(got) != want || res.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: got %d %q %v", method, res.StatusCode, got, res.Header)
			}
			if facts := f.Last(t); facts.OriginStatus != 401 || "http://"+strings.TrimPrefix(facts.Server, "http://") != server.URL {
				t.Errorf("on record are %s and %d", facts.Server, facts.OriginStatus)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key    string
		config dynamic.Errors
	}{
		{"errors.status[1]", dynamic.Errors{Status: []string{"500", "501,502"}, Service: "s"}},
		{"errors.statusRewrites", dynamic.Errors{Status: []string{"500"}, StatusRewrites: map[string]int{"500": 99}, Service: "s"}},
		{"errors.statusRewrites", dynamic.Errors{Status: []string{"500"}, StatusRewrites: map[string]int{"5xx": 500}, Service: "s"}},
		{"errors.service", dynamic.Errors{Status: []string{"500"}}},
		{"errors.query", dynamic.Errors{Status: []string{"500"}, Service: "s", Query: "/a b\\c"}},
		{"errors.query", dynamic.Errors{Status: []string{"500"}, Service: "s", Query: "/a\r\nb"}},
		{"errors.errorRequestHeaders[0]", dynamic.Errors{Status: []string{"500"}, Service: "s", ErrorRequestHeaders: []string{"a b"}}},
	} {
		m := &dynamic.Middleware{Errors: &c.config}
		if l := Kind().Check(m); len(l) != 1 || l[0].Key != c.key {
			t.Errorf("%s: got %v", c.key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{Service: answers(200)}, nil); err == nil {
			t.Errorf("%s: was built", c.key)
		}
	}
	if _, err := Kind().Build(&dynamic.Middleware{Errors: &dynamic.Errors{Status: []string{"500"}, Service: "s"}}, middleware.Env{}, nil); err == nil {
		t.Error("was built without its service")
	}
}

func TestPassingCostsNothing(t *testing.T) {
	h := handler(t, nil, answers(200), answers(200))
	x := &httpmsg.Exchange{}
	if n := testing.AllocsPerRun(100, func() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("GET")
		x.Req.Header.AddID(httpmsg.HdrAccept, httpmsg.Text("*/*"))
		h.Serve(x)
		x.Finish()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMiddlewaresPassing(b *testing.B) {
	h := handler(b, nil, answers(200), answers(200))
	x := &httpmsg.Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("GET")
		h.Serve(x)
		x.Finish()
	}
}

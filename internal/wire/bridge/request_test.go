package bridge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// FuzzRequest holds what reaches a handler against what may: whatever net/http lets through, an exchange's fields are
// sound, its path begins with a slash and nothing of the head is lost.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "a.test", "X-A", "1", "", int64(-1))
	f.Add("OPTIONS", "*", "a.test:80", "Te", "trailers", "a.test:80", int64(0))
	f.Add("POST", "/\xff#", "[::1]", "Content-Length", "+3", "b.test", int64(3))
	f.Add("CONNECT", "a.test:443", "a.test:443", "Connection", "x", "", int64(0))
	f.Add("GET", `/\`, "u@a", "Expect", "100-continue", "", int64(0))
	s := NewServer(nil, Options{})
	f.Fuzz(func(t *testing.T, method, target, host, name, value, hostField string, length int64) {
		r := &http.Request{Method: method, RequestURI: target, Host: host, ProtoMajor: 2, Header: http.Header{name: {value}}, ContentLength: length,
			Body: http.NoBody, RemoteAddr: "192.0.2.1:1"}
		if hostField != "" {
			r.Header["Host"] = append(r.Header["Host"], hostField)
		}
		if length != 0 {
			r.Body = httptest.NewRequest("POST", "/", strings.NewReader("x")).Body
		}
		e := &exchange{s: s}
		e.out.start(e, httptest.NewRecorder())
		e.x.Reset(nil)
		defer e.finish()
		if e.read(httptest.NewRecorder(), r) != nil {
			return
		}
		q := &e.x.Req
		switch {
		case httpmsg.CheckMethod(q.Method) != nil || !httpmsg.IsHost(q.Host):
			t.Errorf("method %q, host %q", q.Method, q.Host)
		case len(q.Path) == 0 || q.Path[0] != '/' && !q.Path.Is("*"):
			t.Errorf("path %q", q.Path)
		case strings.ContainsAny(q.Path.String()+q.Query.String(), " #\r\n\x00"):
			t.Errorf("target %q %q", q.Path, q.Query)
		case q.Header.Has(httpmsg.HdrHost):
			t.Error("Host stands among the fields")
		case name != "Host" && (q.Header.Len() != 1 || !q.Header.At(0).Name.Is(name) || !q.Header.At(0).Value.Is(value)):
			t.Errorf("field %q: %q became %s", name, value, fields(&q.Header))
		}
		for i := range q.Header.Len() {
			if f := q.Header.At(i); httpmsg.HTTP1Only.Has(f.ID) || !httpmsg.IsFieldValue(f.Value) || !httpmsg.IsToken(f.Name) {
				t.Errorf("field %q: %q", f.Name, f.Value)
			}
		}
		if q.Body == nil && q.ContentLength != 0 {
			t.Errorf("length %d of no body", q.ContentLength)
		}
	})
}

func TestHTTP1ThroughNetHTTP(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(NewServer(httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		got <- x.Req.Proto.String() + " " + x.Req.Host.String() + " " + fields(&x.Req.Header)
		if x.Req.Path.Is("/no") {
			return fault.New(fault.Forbidden, "", nil)
		}
		x.Respond(200, "", "fine")
		return nil
	}), Options{}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	res, err := srv.Client().Get(srv.URL + "/no")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 || res.Header.Get("Sluice-Error") != "FORBIDDEN" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if g, want := <-got, "HTTP/1.1 "+addr+" [Accept-Encoding: gzip][User-Agent: Go-http-client/1.1]"; g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
	srv.Client().CloseIdleConnections()
}

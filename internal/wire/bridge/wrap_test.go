package bridge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// record is an outlet that remembers.
type record struct {
	log   []string
	stops int // after so many pieces the client is gone; 0 for never
}

func (o *record) Head(x *httpmsg.Exchange, bodiless bool) error {
	o.log = append(o.log, fmt.Sprintf("%d %d %v %s", x.Res.Status, x.Res.ContentLength, bodiless, fields(&x.Res.Header)))
	return nil
}
func (o *record) Body(p []byte) error {
	if o.stops > 0 {
		if o.stops--; o.stops == 0 {
			return errors.New("gone")
		}
	}
	if len(p) > 20 {
		p = fmt.Appendf(nil, "%d bytes", len(p))
	}
	o.log = append(o.log, string(p))
	return nil
}
func (o *record) Flush() error { o.log = append(o.log, "flush"); return nil }
func (o *record) End(trailer *httpmsg.Header) error {
	t := ""
	if trailer != nil {
		t = fields(trailer)
	}
	o.log = append(o.log, "end"+t)
	return nil
}

func fields(h *httpmsg.Header) string {
	var b strings.Builder
	for i := range h.Len() {
		fmt.Fprintf(&b, "[%s: %s]", h.At(i).Name, h.At(i).Value)
	}
	return b.String()
}

func exchangeFor(method, path string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{}
	x.Reset(nil)
	x.Req.Method, x.Req.Host, x.Req.Path, x.Req.Proto = httpmsg.Text(method), httpmsg.Text("a.test"), httpmsg.Text(path), httpmsg.HTTP11
	x.Peer = netip.MustParseAddrPort("192.0.2.1:1000")
	return x
}

func TestWrap(t *testing.T) {
	cases := []struct {
		name    string
		method  string
		handler http.HandlerFunc
		want    string
	}{
		{"whole", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header()["X-A"] = []string{"1", "2"}
			w.Header().Set("Connection", "close")
			w.WriteHeader(103)
			w.WriteHeader(201)
			w.WriteHeader(500)
			io.WriteString(w, "hel")
			w.Header().Set("X-Late", "1")
			io.WriteString(w, "lo")
		}, "201 5 false [Content-Type: text/plain][X-A: 1][X-A: 2]|hello|end"},
		{"nothing", "GET", func(http.ResponseWriter, *http.Request) {}, "200 0 false |end"},
		{"HEAD", "HEAD", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }, "200 5 true |end"},
		{"HEAD with length", "HEAD", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "99") }, "200 99 true |end"},
		{"no content", "GET", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, "204 0 true |end"},
		{"stream", "GET", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
			w.Write(nil)
			w.Header().Set(http.TrailerPrefix+"X-T", "1")
		}, "200 -1 false |a|flush|b|flush|end[X-T: 1]"},
		{"trailer of a whole one", "GET", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.Header().Set(http.TrailerPrefix+"X-T", "1")
		}, "200 -1 false |a|flush|end[X-T: 1]"},
		{"large", "GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "66000")
			for range 66 {
				w.Write(make([]byte, 1000))
			}
		}, "200 66000 false |65000 bytes|flush|1000 bytes|flush|end"},
		{"control characters", "GET", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-A", "a\r\nSet-Cookie: b") }, "200 0 false [X-A: a  Set-Cookie: b]|end"},
		{"bad name", "GET", func(w http.ResponseWriter, r *http.Request) { w.Header()["X A"] = []string{"1"} }, "200 0 false |end"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x, out := exchangeFor(c.method, "/"), &record{}
			if err := Wrap(c.handler).Serve(x); err != nil {
				t.Fatal(err)
			}
			if err := x.Deliver(out); err != nil {
				t.Fatal(err)
			}
			x.Finish()
			if got := strings.Join(out.log, "|"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWrapRequest(t *testing.T) {
	x := exchangeFor("POST", "/a%2fb")
	x.Req.Query, x.Req.HasQuery = httpmsg.Text("c=d"), true
	x.Req.Header.Add("X-A", "1")
	x.Req.Header.Add("x-a", "2")
	x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: []byte("body")}, 4
	err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, r.Host, r.URL.EscapedPath(), r.URL.Query(), r.RequestURI, r.RemoteAddr, r.Proto, r.ProtoMajor, r.Header, string(b), err, r.ContentLength)
	})).Serve(x)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := x.Res.Body.Next()
	if want := "POSTa.test/a%2fbmap[c:[d]]/a%2fb?c=d192.0.2.1:1000HTTP/1.11 map[X-A:[1 2]]body<nil> 4"; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f := fault.Of(Wrap(http.NotFoundHandler()).Serve(exchangeFor("GET", "/%zz"))); f == nil || f.Kind != fault.BadRequest {
		t.Errorf("bad escape: %v", f)
	}
}

func TestWrapPanics(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		kind  fault.Kind
	}{"panic": {"boom", fault.Panic}, "abort": {http.ErrAbortHandler, fault.Internal}} {
		x := exchangeFor("GET", "/")
		err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x"); panic(c.value) })).Serve(x)
		if f := fault.Of(err); f == nil || f.Kind != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		x = exchangeFor("GET", "/")
		err = Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); panic(c.value) })).Serve(x)
		if err != nil {
			t.Errorf("%s, streaming: %v", name, err)
		}
		if f := fault.Of(x.Deliver(&record{})); f == nil || f.Kind != c.kind {
			t.Errorf("%s, streaming: %v", name, f)
		}
		x.Finish()
	}
}

// The handler's context ends and the handler is waited for, however the exchange ends.
func TestWrapEnds(t *testing.T) {
	endless := func(ended *bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 10000)); err != nil {
					break
				}
			}
			<-r.Context().Done()
			*ended = true
		})
	}
	t.Run("client gone while writing", func(t *testing.T) {
		ended := false
		x := exchangeFor("GET", "/")
		if err := Wrap(endless(&ended)).Serve(x); err != nil {
			t.Fatal(err)
		}
		if err := x.Deliver(&record{stops: 3}); err == nil {
			t.Error("no error")
		}
		x.Finish()
		if !ended {
			t.Error("the handler still runs")
		}
	})
	t.Run("response dropped", func(t *testing.T) {
		ended := false
		x := exchangeFor("GET", "/")
		if err := Wrap(endless(&ended)).Serve(x); err != nil {
			t.Fatal(err)
		}
		x.DropResponse()
		if !ended {
			t.Error("the handler still runs")
		}
	})
	t.Run("cancelled before the head", func(t *testing.T) {
		x := exchangeFor("GET", "/")
		started := make(chan struct{})
		go func() { <-started; x.Cancel(errors.New("gone")) }()
		Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { close(started); <-r.Context().Done() })).Serve(x)
		x.Finish()
	})
}

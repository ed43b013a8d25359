// This file is long because the rules of RFC 9111 stand in it as tables over one harness, which is its first part.

package httpcache

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

// origin is a server that says what it is told to and remembers what it was asked. Its memory is poisoned when an
// exchange ends, as that of a connection would be used again.
type origin struct {
	mu    sync.Mutex
	calls int
	seen  []string // the request's fields of the last call
	// answer makes the response: fields as "Name: value", first the status where it is not 200.
	answer func(r *httpmsg.Request, call int) (fields []string, body string, err error)
	delay  time.Duration
}

func (o *origin) Serve(x *httpmsg.Exchange) error {
	o.mu.Lock()
	o.calls++
	call := o.calls
	o.seen = nil
	for i := range x.Req.Header.Len() {
		f := x.Req.Header.At(i)
		o.seen = append(o.seen, f.Name.String()+": "+f.Value.String())
	}
	fields, text, err := o.answer(&x.Req, call)
	o.mu.Unlock()
	if o.delay > 0 {
		if err := x.Sleep(o.delay); err != nil {
			return fault.New(fault.ClientGone, "origin", err)
		}
	}
	if err != nil {
		return err
	}
	x.DropResponse()
	x.Res.Status, x.Res.Origin = 200, true
	x.Res.ContentLength = int64(len(text))
	for _, f := range fields {
		if _, err := fmt.Sscanf(f, "%d", &x.Res.Status); err == nil && !strings.Contains(f, ":") {
			continue
		}
		name, value, _ := strings.Cut(f, ": ")
		n, v := []byte(name), []byte(value)
		x.OnRelease(poisoned(n))
		x.OnRelease(poisoned(v))
		x.Res.Header.Append(httpmsg.Field{ID: httpmsg.IDOf(name), Name: n, Value: v})
	}
	if x.Req.Method.Is("HEAD") || x.Res.Status == 304 || x.Res.Status == 204 {
		return nil
	}
	if text != "" {
		x.Res.Body = &stream{text: text}
	}
	if text == "chunked" {
		x.Res.ContentLength = -1
	}
	return nil
}

type poisoned []byte

func (p poisoned) Release() { httpmsg.Poison(p) }

// stream is a body that comes in small pieces, in memory that is used again.
type stream struct {
	text string
	buf  [7]byte
	err  error
}

func (s *stream) Next() ([]byte, error) {
	httpmsg.Poison(s.buf[:])
	if s.text == "" {
		if s.err != nil {
			return nil, s.err
		}
		return nil, io.EOF
	}
	n := copy(s.buf[:], s.text)
	s.text = s.text[n:]
	return s.buf[:n], nil
}
func (s *stream) Ready() bool              { return true }
func (s *stream) Trailer() *httpmsg.Header { return nil }
func (s *stream) Close()                   {}

// always is an answer that does not change.
func always(body string, fields ...string) func(*httpmsg.Request, int) ([]string, string, error) {
	return func(*httpmsg.Request, int) ([]string, string, error) { return fields, body, nil }
}

// counted says in its body how often it was asked.
func counted(fields ...string) func(*httpmsg.Request, int) ([]string, string, error) {
	return func(_ *httpmsg.Request, call int) ([]string, string, error) {
		return fields, fmt.Sprintf("answer %d", call), nil
	}
}

func cached(t testing.TB, o func(*dynamic.HTTPCache), env middleware.Env, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	c := &dynamic.HTTPCache{}
	c.SetDefaults()
	if o != nil {
		o(c)
	}
	h, err := Kind().Build(&dynamic.Middleware{HTTPCache: c}, env, next)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.(*handler).Close() })
	return h
}

// answer is what a client gets.
type answer struct {
	status int
	body   string
	bytes  []byte
	fields []string
	err    error
}

func (a *answer) get(name string) string {
	for _, f := range a.fields {
		if n, v, _ := strings.Cut(f, ": "); strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// Head, Body, Flush and End make it an outlet.
func (a *answer) Head(x *httpmsg.Exchange, _ bool) error {
	a.status = x.Res.Status
	for i := range x.Res.Header.Len() {
		f := x.Res.Header.At(i)
		a.fields = append(a.fields, f.Name.String()+": "+f.Value.String())
	}
	a.fields = append(a.fields, fmt.Sprintf("length: %d", x.Res.ContentLength))
	return nil
}
func (a *answer) Body(p []byte) error       { a.bytes = append(a.bytes, p...); return nil }
func (a *answer) Flush() error              { return nil }
func (a *answer) End(*httpmsg.Header) error { a.body = string(a.bytes); return nil }

// get sends a request like "GET /path" with fields, the way a connection's loop does.
func get(h httpmsg.Handler, line string, fields ...string) *answer {
	x := request(line, fields...)
	return run(h, x)
}

func run(h httpmsg.Handler, x *httpmsg.Exchange) *answer {
	a := &answer{}
	if err := h.Serve(x); err != nil {
		a.err = err
		x.Fail(err)
	}
	if err := x.Deliver(a); err != nil {
		a.err = err
	}
	x.Finish()
	x.Reset(nil)
	return a
}

func request(line string, fields ...string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort("192.0.2.1:1000")}
	x.Reset(nil)
	method, target, _ := strings.Cut(line, " ")
	x.Req.Method, x.Req.Host, x.Req.Proto = []byte(method), []byte("a.test"), httpmsg.HTTP11
	if rest, ok := strings.CutPrefix(target, "https://"); ok {
		x.Req.TLS = true
		target = "http://" + rest
	}
	if rest, ok := strings.CutPrefix(target, "http://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		x.Req.Host, target = []byte(host), "/"+path
	}
	if f := x.SetTarget([]byte(target)); f != nil {
		panic(f)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Append(httpmsg.Field{ID: httpmsg.IDOf(name), Name: []byte(name), Value: []byte(value)})
	}
	return x
}

// TestKept holds which responses are answered from the store when they are asked for again.
func TestKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string // of the response
		asks   []string // of both requests
		option func(*dynamic.HTTPCache)
		kept   bool
	}{
		{"max-age", []string{"Cache-Control: max-age=60"}, nil, nil, true},
		{"s-maxage beats max-age", []string{"Cache-Control: max-age=0, s-maxage=60"}, nil, nil, true},
		{"s-maxage of zero", []string{"Cache-Control: max-age=60, s-maxage=0"}, nil, nil, false},
		{"Expires", []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Sat, 01 Jan 2000 00:01:00 GMT"}, nil, nil, true},
		{"Expires has passed", []string{"Date: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Fri, 31 Dec 1999 00:00:00 GMT"}, nil, nil, false},
		{"Expires is 0", []string{"Expires: 0"}, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, false},
		{"max-age beats Expires", []string{"Cache-Control: max-age=60", "Expires: 0"}, nil, nil, true},
		{"nothing said", nil, nil, nil, false},
		{"nothing said, default", nil, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, true},
		{"default, 404", []string{"404"}, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, true},
		{"default, 405", []string{"405"}, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, false},
		{"default, 500", []string{"500"}, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, false},
		{"default, 302", []string{"302", "Location: /x"}, nil, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, false},
		{"302 that says so", []string{"302", "Location: /x", "Cache-Control: max-age=60"}, nil, nil, true},
		{"206", []string{"206", "Content-Range: bytes 0-1/9", "Cache-Control: max-age=60"}, nil, nil, false},
		{"no-store", []string{"Cache-Control: no-store, max-age=60"}, nil, nil, false},
		{"no-store in another field", []string{"Cache-Control: max-age=60", "Cache-Control: No-Store"}, nil, nil, false},
		{"no-store, must-understand", []string{"Cache-Control: no-store, must-understand, max-age=60"}, nil, nil, true},
		{"must-understand of what is not", []string{"299", "Cache-Control: must-understand, max-age=60"}, nil, nil, false},
		{"private", []string{"Cache-Control: private, max-age=60"}, nil, nil, false},
		{"no-cache, no validator", []string{"Cache-Control: no-cache, max-age=60"}, nil, nil, false},
		{"private fields", []string{`Cache-Control: private="X-User, X-B", max-age=60`, "X-User: ann"}, nil, nil, true},
		{"unreadable", []string{`Cache-Control: max-age=60, private="x`}, nil, nil, false},
		{"unreadable number", []string{"Cache-Control: max-age=1m"}, nil, nil, false},
		{"two numbers", []string{"Cache-Control: max-age=60, max-age=0"}, nil, nil, false},
		{"huge number", []string{"Cache-Control: max-age=99999999999999999999"}, nil, nil, true},
		{"quoted number", []string{`Cache-Control: max-age="60"`}, nil, nil, true},
		{"Set-Cookie", []string{"Cache-Control: max-age=60", "Set-Cookie: id=1"}, nil, nil, false},
		{"Set-Cookie, public", []string{"Cache-Control: max-age=60, public", "Set-Cookie: id=1"}, nil, nil, false},
		{"Set-Cookie, hidden", []string{`Cache-Control: max-age=60, no-cache="set-cookie"`, "Set-Cookie: id=1"}, nil, nil, true},
		{"Authorization", []string{"Cache-Control: max-age=60"}, []string{"Authorization: Basic x"}, nil, false},
		{"Authorization, public", []string{"Cache-Control: max-age=60, public"}, []string{"Authorization: Basic x"}, nil, true},
		{"Authorization, must-revalidate", []string{"Cache-Control: max-age=60, must-revalidate"}, []string{"Authorization: Basic x"}, nil, true},
		{"Authorization, s-maxage", []string{"Cache-Control: s-maxage=60"}, []string{"Authorization: Basic x"}, nil, true},
		{"Cookie", []string{"Cache-Control: max-age=60"}, []string{"Cookie: a=b"}, nil, false},
		{"Cookie, public", []string{"Cache-Control: max-age=60, public"}, []string{"Cookie: a=b"}, nil, true},
		{"Cookie, Vary", []string{"Cache-Control: max-age=60", "Vary: Cookie"}, []string{"Cookie: a=b"}, nil, true},
		{"Cookie in the key", []string{"Cache-Control: max-age=60"}, []string{"Cookie: a=b"}, func(o *dynamic.HTTPCache) { o.KeyHeaders = []string{"cookie"} }, true},
		{"Vary: *", []string{"Cache-Control: max-age=60", "Vary: Accept, *"}, nil, nil, false},
		{"Vary of many", []string{"Cache-Control: max-age=60", "Vary: a, b, c, d, e, f, g, h, i"}, nil, nil, false},
		{"request no-store", []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-store"}, nil, false},
		{"request no-cache", []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-cache"}, nil, false},
		{"request Pragma", []string{"Cache-Control: max-age=60"}, []string{"Pragma: no-cache"}, nil, false},
		{"Pragma beside Cache-Control", []string{"Cache-Control: max-age=60"}, []string{"Pragma: no-cache", "Cache-Control: max-age=9"}, nil, true},
		{"If-Match", []string{"Cache-Control: max-age=60", `ETag: "a"`}, []string{`If-Match: "a"`}, nil, false},
		{"old already", []string{"Cache-Control: max-age=60", "Age: 60"}, nil, nil, false},
		{"old, not too old", []string{"Cache-Control: max-age=60", "Age: 58"}, nil, nil, true},
		{"maxTTL", []string{"Cache-Control: max-age=60", "Age: 30"}, nil, func(o *dynamic.HTTPCache) { o.MaxTTL = dynamic.Seconds(20) }, false},
		{"too large", []string{"Cache-Control: max-age=60"}, nil, func(o *dynamic.HTTPCache) { o.MaxEntryBytes = 7 }, false},
		{"just not too large", []string{"Cache-Control: max-age=60"}, nil, func(o *dynamic.HTTPCache) { o.MaxEntryBytes = 8 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: counted(c.fields...)}
				h := cached(t, c.option, middleware.Env{}, o)
				first, second := get(h, "GET /x", c.asks...), get(h, "GET /x", c.asks...)
				want := map[bool]string{true: "answer 1", false: "answer 2"}[c.kept]
				if first.body != "answer 1" || second.body != want {
					t.Errorf("got %q, then %q; %v", first.body, second.body, second.fields)
				}
				if hit := strings.HasPrefix(second.get("Cache-Status"), "Sluice; hit"); hit != c.kept {
					t.Errorf("Cache-Status: %s", second.get("Cache-Status"))
				}
				if c.kept && (second.get("Age") == "" || first.status != second.status) {
					t.Errorf("from the store: %d %v", second.status, second.fields)
				}
				if v := second.get("Set-Cookie") + second.get("X-User"); c.kept && v != "" {
					t.Errorf("a hidden field was given away: %s", v)
				}
			})
		})
	}
}

// TestKeys holds which requests share a response, and which do not.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		name            string
		vary            string
		first, second   string
		fields, fields2 []string
		same            bool
	}{
		{"the same", "", "GET /x", "GET /x", nil, nil, true},
		{"host in capitals has its own", "", "GET /x", "GET http://A.TEST/x", nil, nil, false},
		{"other host", "", "GET /x", "GET http://b.test/x", nil, nil, false},
		{"other port", "", "GET /x", "GET http://a.test:8080/x", nil, nil, false},
		{"scheme", "", "GET /x", "GET https://a.test/x", nil, nil, false},
		{"query", "", "GET /x?a", "GET /x?b", nil, nil, false},
		{"order of the query", "", "GET /x?a&b", "GET /x?b&a", nil, nil, false},
		{"empty query", "", "GET /x", "GET /x?", nil, nil, false},
		{"encoded", "", "GET /%61", "GET /a", nil, nil, false},
		{"slash", "", "GET /x", "GET /x/", nil, nil, false},
		{"semicolon", "", "GET /x", "GET /x;y", nil, nil, false},
		{"another agent", "", "GET /x", "GET /x", []string{"User-Agent: a"}, []string{"User-Agent: b"}, true},
		{"Vary, equal", "User-Agent", "GET /x", "GET /x", []string{"User-Agent: a"}, []string{"User-Agent: a"}, true},
		{"Vary, other", "User-Agent", "GET /x", "GET /x", []string{"User-Agent: a"}, []string{"User-Agent: b"}, false},
		{"Vary, absent", "User-Agent", "GET /x", "GET /x", []string{"User-Agent: a"}, nil, false},
		{"Vary, space", "Accept", "GET /x", "GET /x", []string{"Accept: a, b"}, []string{"Accept: a,b"}, true},
		{"Vary, two fields", "Accept", "GET /x", "GET /x", []string{"Accept: a", "Accept: b"}, []string{"Accept: a,b"}, true},
		{"Vary, any case", "accept-ENCODING", "GET /x", "GET /x", []string{"Accept-Encoding: br"}, []string{"Accept-Encoding: gzip"}, false},
		// Poisoning: what a server may look at without saying so is part of the key.
		{"X-Forwarded-Host", "", "GET /x", "GET /x", []string{"X-Forwarded-Host: evil"}, nil, false},
		{"X-Forwarded-Proto", "", "GET /x", "GET /x", []string{"X-Forwarded-Proto: http"}, []string{"X-Forwarded-Proto: https"}, false},
		{"X-Original-Url", "", "GET /x", "GET /x", []string{"X-Original-Url: /admin"}, nil, false},
		{"X-Http-Method-Override", "", "GET /x", "GET /x", []string{"X-HTTP-Method-Override: DELETE"}, nil, false},
		{"Forwarded", "", "GET /x", "GET /x", []string{"Forwarded: host=evil"}, nil, false},
		{"Origin", "", "GET /x", "GET /x", []string{"Origin: https://a"}, []string{"Origin: https://b"}, false},
		{"underscores", "", "GET /x", "GET /x", []string{"X_Forwarded_Host: evil"}, nil, false},
		{"a user of ours", "", "GET /x", "GET /x", []string{"X-Auth-User: ann"}, []string{"X-Auth-User: bob"}, false},
		{"client certificate", "", "GET /x", "GET /x", []string{"X-Forwarded-Tls-Client-Cert: a"}, nil, false},
		{"two of one name", "", "GET /x", "GET /x", []string{"X-A: 1", "X-A: 2"}, []string{"X-A: 12"}, false},
		{"names and values do not run together", "", "GET /x", "GET /x", []string{"X-A: b"}, []string{"X-Ab: "}, false},
		{"tracing does not matter", "", "GET /x", "GET /x", []string{"X-Request-Id: 1", "Traceparent: a"}, []string{"x-request-id: 2"}, true},
		{"browsers' fields do not matter", "", "GET /x", "GET /x", []string{"Sec-Ch-Ua: a", "Upgrade-Insecure-Requests: 1"}, nil, true},
		{"client address does not matter", "", "GET /x", "GET /x", []string{"X-Forwarded-For: 1.1.1.1", "X-Real-Ip: 1.1.1.1"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := []string{"Cache-Control: public, max-age=60"}
			if c.vary != "" {
				fields = append(fields, "Vary: "+c.vary)
			}
			h := cached(t, nil, middleware.Env{}, &origin{answer: counted(fields...)})
			get(h, c.first, c.fields...)
			if second := get(h, c.second, c.fields2...); (second.body == "answer 1") != c.same {
				t.Errorf("got %q", second.body)
			}
			if first := get(h, c.first, c.fields...); first.body != "answer 1" {
				t.Errorf("the first is %q now", first.body)
			}
		})
	}
}

func TestRoutersDoNotShareResponses(t *testing.T) {
	var state middleware.State
	var hs []httpmsg.Handler
	for _, name := range []string{"a@file", "b@file"} {
		o := &origin{answer: always(name, "Cache-Control: max-age=60")}
		h, err := Kind().Build(&dynamic.Middleware{HTTPCache: &dynamic.HTTPCache{}}, middleware.Env{Name: "c@file", Router: name, State: &state}, o)
		if err != nil {
			t.Fatal(err)
		}
		hs = append(hs, h)
	}
	defer func() { state.Begin(); state.Sweep() }()
	if hs[0].(*handler).cache != hs[1].(*handler).cache {
		t.Error("two routers have two stores")
	}
	for range 2 {
		for i, h := range hs {
			if got := get(h, "GET /x").body; got != string("ab"[i])+"@file" {
				t.Errorf("router %d: %q", i, got)
			}
		}
	}
	// A change through one is seen by all.
	get(hs[0], "POST /x")
	if got := get(hs[1], "GET /x").get("Cache-Status"); !strings.Contains(got, "fwd=") {
		t.Errorf("after a change: %s", got)
	}
}

// TestValidation holds how a stale response is asked about, and what becomes of the answers.
func TestValidation(t *testing.T) {
	const stale = "Cache-Control: max-age=10"
	for _, c := range []struct {
		name        string
		first, then []string // fields of the responses
		then500     bool
		fields      []string // of the second request
		asked       string   // what the server must have been asked with
		status      int
		body        string
		cacheStatus string
		third       string // body of a third request at once
	}{
		{"ETag, still good", []string{stale, `ETag: "a"`}, []string{"304", stale, `ETag: "a"`}, false, nil, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"weak ETag", []string{stale, `ETag: W/"a"`}, []string{"304", stale}, false, nil, `If-None-Match: W/"a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"Last-Modified", []string{stale, "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT"}, []string{"304", stale}, false, nil, "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"changed", []string{stale, `ETag: "a"`}, []string{stale, `ETag: "b"`}, false, nil, `If-None-Match: "a"`, 200, "answer 2", "Sluice; fwd=stale; stored", "answer 2"},
		{"the client's condition gives way", []string{stale, `ETag: "a"`}, []string{"304", stale}, false, []string{`If-None-Match: "z"`}, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"the client has it", []string{stale, `ETag: "a"`}, []string{"304", stale}, false, []string{`If-None-Match: "z", W/"a"`}, `If-None-Match: "a"`, 304, "", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"304 about another", []string{stale, `ETag: "a"`}, []string{"304", stale, `ETag: "b"`}, false, nil, "", 200, "answer 3", "Sluice; fwd=stale; stored", "answer 3"},
		{"304 forbids to keep it", []string{stale, `ETag: "a"`}, []string{"304", "Cache-Control: no-store"}, false, nil, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304", ""},
		{"no longer kept", []string{stale, `ETag: "a"`}, []string{"Cache-Control: private"}, false, nil, `If-None-Match: "a"`, 200, "answer 2", "Sluice; fwd=stale", "answer 3"},
		{"error", []string{stale, `ETag: "a"`}, []string{"503"}, false, nil, `If-None-Match: "a"`, 503, "answer 2", "Sluice; fwd=stale", ""},
		{"stale-if-error", []string{stale + ", stale-if-error=60", `ETag: "a"`}, []string{"503"}, false, nil, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=503", "answer 1"},
		{"stale-if-error, no answer", []string{stale + ", stale-if-error=60"}, nil, true, nil, "", 200, "answer 1", "Sluice; fwd=stale; fwd-status=502", "answer 1"},
		{"stale-if-error of the request", []string{stale}, nil, true, []string{"Cache-Control: stale-if-error=60"}, "", 200, "answer 1", "Sluice; fwd=stale; fwd-status=502", ""},
		{"stale-if-error is over", []string{stale + ", stale-if-error=4"}, []string{"503"}, false, nil, "", 503, "answer 2", "Sluice; fwd=stale", ""},
		{"stale-if-error, must-revalidate", []string{stale + ", stale-if-error=60, must-revalidate"}, nil, true, nil, "", 502, "Bad Gateway", "", ""},
		{"stale-if-error, 404 is no error", []string{stale + ", stale-if-error=60"}, []string{"404"}, false, nil, "", 404, "answer 2", "Sluice; fwd=stale", ""},
		{"max-stale", []string{stale}, nil, true, []string{"Cache-Control: max-stale=60"}, "", 200, "answer 1", "Sluice; hit; ttl=-5", ""},
		{"max-stale without end", []string{stale}, nil, true, []string{"Cache-Control: max-stale"}, "", 200, "answer 1", "Sluice; hit; ttl=-5", ""},
		{"max-stale, not that stale", []string{stale}, []string{stale}, false, []string{"Cache-Control: max-stale=4"}, "", 200, "answer 2", "Sluice; fwd=stale; stored", ""},
		{"max-stale, must-revalidate", []string{stale + ", must-revalidate"}, []string{stale}, false, []string{"Cache-Control: max-stale"}, "", 200, "answer 2", "Sluice; fwd=stale; stored", ""},
		{"max-stale, s-maxage", []string{"Cache-Control: s-maxage=10"}, []string{stale}, false, []string{"Cache-Control: max-stale"}, "", 200, "answer 2", "Sluice; fwd=stale; stored", ""},
		{"only-if-cached", []string{stale}, []string{stale}, false, []string{"Cache-Control: only-if-cached"}, "", 504, "Gateway Timeout", "", ""},
		{"no-cache with a validator", []string{"Cache-Control: no-cache", `ETag: "a"`}, []string{"304"}, false, nil, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
		{"max-age=0 with a validator", []string{"Cache-Control: max-age=0", `ETag: "a"`}, []string{"304"}, false, nil, `If-None-Match: "a"`, 200, "answer 1", "Sluice; fwd=stale; fwd-status=304; stored", "answer 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: func(r *httpmsg.Request, call int) ([]string, string, error) {
					switch {
					case call == 1:
						return c.first, "answer 1", nil
					case c.then500:
						return nil, "", fault.New(fault.UpstreamClosed, "test", nil)
					}
					if len(c.then) > 0 && c.then[0] == "304" && r.Header.Lookup("If-None-Match") == nil && r.Header.Lookup("If-Modified-Since") == nil {
						return c.then[1:], fmt.Sprintf("answer %d", call), nil
					}
					return c.then, fmt.Sprintf("answer %d", call), nil
				}}
				h := cached(t, nil, middleware.Env{}, o)
				get(h, "GET /x")
				time.Sleep(15 * time.Second)
				got := get(h, "GET /x", c.fields...)
				if got.status != c.status || got.body != c.body || got.get("Cache-Status") != c.cacheStatus {
					t.Errorf("got %d %q %v", got.status, got.body, got.fields)
				}
				if c.asked != "" && !contains(o.seen, c.asked) {
					t.Errorf("the server was asked with %q", o.seen)
				}
				if c.third != "" {
					if third := get(h, "GET /x"); third.body != c.third {
						t.Errorf("then %q %v", third.body, third.fields)
					}
				}
			})
		})
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}

// TestFreshened holds that a 304 brings the head up to date.
func TestFreshened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: func(_ *httpmsg.Request, call int) ([]string, string, error) {
			if call == 1 {
				return []string{"Cache-Control: max-age=10", `ETag: "a"`, "X-A: old", "X-B: stays", "Content-Type: text/plain"}, "body", nil
			}
			return []string{"304", "Cache-Control: max-age=100", "X-A: new", "X-A: newer", "Content-Type: text/wrong"}, "", nil
		}}
		h := cached(t, nil, middleware.Env{}, o)
		get(h, "GET /x")
		time.Sleep(11 * time.Second)
		get(h, "GET /x")
		time.Sleep(50 * time.Second)
		got := get(h, "GET /x")
		for _, f := range []string{"X-A: new", "X-A: newer", "X-B: stays", "Content-Type: text/plain", "Cache-Control: max-age=100", "Age: 50", "Cache-Status: Sluice; hit; ttl=50"} {
			if !contains(got.fields, f) {
				t.Errorf("%s is missing: %v", f, got.fields)
			}
		}
		if contains(got.fields, "X-A: old") || got.body != "body" || o.calls != 2 {
			t.Errorf("got %q %v after %d calls", got.body, got.fields, o.calls)
		}
	})
}

func TestConditionsAndParts(t *testing.T) {
	date := "Sat, 01 Jan 2000 00:00:00 GMT"
	h := cached(t, nil, middleware.Env{}, &origin{answer: always("0123456789", "Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: "+date, "Content-Type: text/plain", "X-A: b")})
	get(h, "GET /x")
	for _, c := range []struct {
		name   string
		line   string
		fields []string
		status int
		body   string
		want   string
	}{
		{"whole", "GET /x", nil, 200, "0123456789", "length: 10"},
		{"HEAD", "HEAD /x", nil, 200, "", "length: 10"},
		{"same tag", "GET /x", []string{`If-None-Match: "a"`}, 304, "", `ETag: "a"`},
		{"any tag", "GET /x", []string{"If-None-Match: *"}, 304, "", ""},
		{"tag with a comma", "GET /x", []string{`If-None-Match: "x,", "a"`}, 304, "", ""},
		{"other tag wins over the time", "GET /x", []string{`If-None-Match: "b"`, "If-Modified-Since: " + date}, 200, "0123456789", ""},
		{"same time", "GET /x", []string{"If-Modified-Since: " + date}, 304, "", "X-A: b"},
		{"earlier", "GET /x", []string{"If-Modified-Since: Fri, 31 Dec 1999 23:59:59 GMT"}, 200, "0123456789", ""},
		{"no time", "GET /x", []string{"If-Modified-Since: yesterday"}, 200, "0123456789", ""},
		{"HEAD, same tag", "HEAD /x", []string{`If-None-Match: "a"`}, 304, "", ""},
		{"part", "GET /x", []string{"Range: bytes=2-4"}, 206, "234", "Content-Range: bytes 2-4/10"},
		{"rest", "GET /x", []string{"Range: bytes=7-"}, 206, "789", "Content-Range: bytes 7-9/10"},
		{"last", "GET /x", []string{"Range: bytes=-3"}, 206, "789", "Content-Range: bytes 7-9/10"},
		{"more than there is", "GET /x", []string{"Range: bytes=-30"}, 206, "0123456789", "Content-Range: bytes 0-9/10"},
		{"beyond", "GET /x", []string{"Range: bytes=5-99999999999999999999"}, 206, "56789", "Content-Range: bytes 5-9/10"},
		{"outside", "GET /x", []string{"Range: bytes=10-"}, 416, "Requested Range Not Satisfiable", "Content-Range: bytes */10"},
		{"nothing", "GET /x", []string{"Range: bytes=-0"}, 416, "Requested Range Not Satisfiable", "Content-Range: bytes */10"},
		{"backwards", "GET /x", []string{"Range: bytes=4-2"}, 200, "0123456789", ""},
		{"several", "GET /x", []string{"Range: bytes=0-1,3-4"}, 200, "0123456789", ""},
		{"other unit", "GET /x", []string{"Range: lines=0-1"}, 200, "0123456789", ""},
		{"junk", "GET /x", []string{"Range: bytes=a-b"}, 200, "0123456789", ""},
		{"HEAD of a part", "HEAD /x", []string{"Range: bytes=2-4"}, 200, "", "length: 10"},
		{"If-Range, same", "GET /x", []string{"Range: bytes=2-4", `If-Range: "a"`}, 206, "234", ""},
		{"If-Range, other", "GET /x", []string{"Range: bytes=2-4", `If-Range: "b"`}, 200, "0123456789", ""},
		{"If-Range, weak", "GET /x", []string{"Range: bytes=2-4", `If-Range: W/"a"`}, 200, "0123456789", ""},
		{"If-Range, time", "GET /x", []string{"Range: bytes=2-4", "If-Range: " + date}, 206, "234", ""},
		{"condition before part", "GET /x", []string{"Range: bytes=2-4", `If-None-Match: "a"`}, 304, "", ""},
	} {
		got := get(h, c.line, c.fields...)
		if got.status != c.status || got.body != c.body || c.want != "" && !contains(got.fields, c.want) {
			t.Errorf("%s: got %d %q %v", c.name, got.status, got.body, got.fields)
		}
		if !strings.HasPrefix(got.get("Cache-Status"), "Sluice; hit") {
			t.Errorf("%s: %v", c.name, got.fields)
		}
		if got.status == 304 && got.get("Content-Type") != "" {
			t.Errorf("%s: a 304 has %v", c.name, got.fields)
		}
	}
}

func TestPartsOfWhatIsNotKept(t *testing.T) {
	o := &origin{answer: func(r *httpmsg.Request, call int) ([]string, string, error) {
		if r.Header.Has(httpmsg.HdrRange) {
			return []string{"206", "Cache-Control: max-age=60", "Content-Range: bytes 0-0/9"}, "0", nil
		}
		return []string{"Cache-Control: max-age=60"}, "012345678", nil
	}}
	h := cached(t, nil, middleware.Env{}, o)
	for range 2 {
		if got := get(h, "GET /x", "Range: bytes=0-0"); got.status != 206 || got.get("Cache-Status") != "Sluice; fwd=partial" {
			t.Errorf("got %d %v", got.status, got.fields)
		}
	}
	get(h, "GET /x")
	if got := get(h, "GET /x", "Range: bytes=8-"); got.body != "8" || o.calls != 3 {
		t.Errorf("got %q after %d calls", got.body, o.calls)
	}
}

func TestHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tag := `"a"`
		o := &origin{answer: func(*httpmsg.Request, int) ([]string, string, error) {
			return []string{"Cache-Control: max-age=10", "ETag: " + tag}, "body", nil
		}}
		h := cached(t, nil, middleware.Env{}, o)
		if got := get(h, "HEAD /x"); got.get("Cache-Status") != "Sluice; fwd=miss" || got.get("length") != "4" {
			t.Errorf("first: %v", got.fields)
		}
		get(h, "GET /x")
		time.Sleep(11 * time.Second)
		get(h, "HEAD /x") // the same: fresh again
		if got := get(h, "GET /x"); got.get("Cache-Status") != "Sluice; hit; ttl=10" {
			t.Errorf("after a HEAD that confirms: %v", got.fields)
		}
		time.Sleep(11 * time.Second)
		tag = `"b"`
		get(h, "HEAD /x")
		if got := get(h, "GET /x", "Cache-Control: only-if-cached, max-stale"); got.status != 504 {
			t.Errorf("after a HEAD that contradicts: %d %v", got.status, got.fields)
		}
	})
}

func TestChangesInvalidate(t *testing.T) {
	const kept = "Cache-Control: max-age=60"
	for _, c := range []struct {
		name, line string
		answer     []string
		gone       []string
	}{
		{"POST", "POST /x", nil, []string{"/x"}},
		{"unknown method", "CHANGE /x", nil, []string{"/x"}},
		{"redirection", "POST /x", []string{"303", "Location: /y"}, []string{"/x", "/y"}},
		{"absolute", "PUT /x", []string{"201", "Location: http://a.test/y"}, []string{"/x", "/y"}},
		{"absolute, with port and capitals", "PUT /x", []string{"201", "Content-Location: HTTP://A.test:80/y#f"}, []string{"/x", "/y"}},
		{"another host's", "PUT /x", []string{"201", "Location: http://b.test/y"}, []string{"/x"}},
		{"a longer host's", "PUT /x", []string{"201", "Location: http://a.test.evil/y"}, []string{"/x"}},
		{"another scheme's", "PUT /x", []string{"201", "Location: https://a.test/y"}, []string{"/x"}},
		{"scheme-relative", "PUT /x", []string{"201", "Location: //b.test/y"}, []string{"/x"}},
		{"failed", "POST /x", []string{"404"}, nil},
		{"OPTIONS", "OPTIONS /x", nil, nil},
		{"other query", "POST /x?q", nil, nil},
		{"PURGE is a method like others", "PURGE /x", nil, []string{"/x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			h := cached(t, nil, middleware.Env{}, o)
			o.answer = always("body", kept)
			for _, p := range []string{"/x", "/y"} {
				get(h, "GET "+p)
			}
			o.answer = always("", append([]string{kept}, c.answer...)...)
			get(h, c.line)
			for _, p := range []string{"/x", "/y"} {
				hit := strings.Contains(get(h, "GET "+p, "Cache-Control: only-if-cached").get("Cache-Status"), "hit")
				if gone := !hit; gone != strings.Contains(strings.Join(c.gone, " "), p) {
					t.Errorf("%s: gone is %v", p, gone)
				}
			}
		})
	}
}

// TestChangeDuringAnAnswer holds that what was asked for before a change is not kept after it.
func TestChangeDuringAnAnswer(t *testing.T) {
	for _, known := range []bool{false, true} {
		o := &origin{answer: counted("Cache-Control: max-age=60")}
		h := cached(t, nil, middleware.Env{}, o)
		if known {
			get(h, "GET /x")
		}
		h.(*handler).next = httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			if x.Req.Method.Is("GET") {
				get(h, "POST /x")
			}
			return o.Serve(x)
		})
		get(h, "GET /x", "Cache-Control: no-cache")
		h.(*handler).next = o
		if got := get(h, "GET /x"); strings.Contains(got.get("Cache-Status"), "hit") {
			t.Errorf("known %v: %v", known, got.fields)
		}
	}
}

func TestPurge(t *testing.T) {
	o := &origin{answer: counted("Cache-Control: max-age=60")}
	h := cached(t, func(c *dynamic.HTTPCache) { c.PurgeRange = []string{"192.0.2.0/28", "2001:db8::/32"} }, middleware.Env{}, o)
	fill := func() {
		for _, target := range []string{"/a", "/a?q", "/b/1", "/b/2", "https://a.test/b/3", "http://b.test/b/1"} {
			get(h, "GET "+target)
		}
	}
	left := func() (n int) {
		for _, target := range []string{"/a", "/a?q", "/b/1", "/b/2", "https://a.test/b/3", "http://b.test/b/1"} {
			if get(h, "GET "+target, "Cache-Control: only-if-cached").status == 200 {
				n++
			}
		}
		return n
	}
	fill()
	for _, c := range []struct {
		line, peer string
		status     int
		body       string
		left       int
	}{
		{"PURGE /a", "192.0.2.99:1", 403, "Forbidden", 6},
		{"PURGE /a", "192.0.2.1:1", 200, "1 forgotten\n", 5},
		{"PURGE /a", "192.0.2.1:1", 200, "0 forgotten\n", 5},
		{"PURGE /b/*", "[2001:db8::1]:1", 200, "3 forgotten\n", 2},
		{"PURGE http://b.test/*", "[::ffff:192.0.2.1]:1", 200, "1 forgotten\n", 1},
	} {
		x := request(c.line, "X-Forwarded-For: 192.0.2.1")
		x.Peer = netip.MustParseAddrPort(c.peer)
		if got := run(h, x); got.status != c.status || got.body != c.body {
			t.Errorf("%s from %s: got %d %q", c.line, c.peer, got.status, got.body)
		}
		if n := left(); n != c.left {
			t.Errorf("%s from %s: %d are left", c.line, c.peer, n)
		}
	}
}

// TestWhatIsNotKeptWhole holds that a body which broke, was cut or has trailers is not answered with again.
func TestWhatIsNotKeptWhole(t *testing.T) {
	trailer := &httpmsg.Header{}
	trailer.Add("A", "b")
	for name, body := range map[string]func() (httpmsg.Body, int64){
		"broke":    func() (httpmsg.Body, int64) { return &stream{text: "half", err: errors.New("broke")}, -1 },
		"short":    func() (httpmsg.Body, int64) { return &stream{text: "half"}, 8 },
		"trailers": func() (httpmsg.Body, int64) { return &withTrailer{stream{text: "half"}, trailer}, -1 },
		"large":    func() (httpmsg.Body, int64) { return &stream{text: strings.Repeat("x", 2<<20)}, -1 },
	} {
		calls := 0
		h := cached(t, nil, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			calls++
			x.DropResponse()
			x.Res.Status, x.Res.Origin = 200, true
			x.Res.Header.Add("Cache-Control", "max-age=60")
			x.Res.Body, x.Res.ContentLength = body()
			return nil
		}))
		get(h, "GET /x")
		get(h, "GET /x")
		if calls != 2 {
			t.Errorf("%s: %d calls", name, calls)
		}
	}
}

type withTrailer struct {
	stream
	trailer *httpmsg.Header
}

func (w *withTrailer) Trailer() *httpmsg.Header { return w.trailer }

// TestLocalAnswersAreNotKept: what we say ourselves costs nothing, and may depend on who asks.
func TestLocalAnswersAreNotKept(t *testing.T) {
	calls := 0
	h := cached(t, func(o *dynamic.HTTPCache) { o.DefaultTTL = dynamic.Seconds(60) }, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		calls++
		x.Respond(200, "text/plain", "ours")
		x.Res.Header.Add("Cache-Control", "max-age=60")
		return nil
	}))
	get(h, "GET /x")
	get(h, "GET /x")
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestUnbuildable(t *testing.T) {
	for key, o := range map[string]dynamic.HTTPCache{
		"httpCache.maxBytes":           {MaxBytes: -1},
		"httpCache.maxEntryBytes":      {MaxEntryBytes: 1 << 40},
		"httpCache.maxDirectoryBytes":  {MaxDirectoryBytes: -1},
		"httpCache.defaultTTL":         {DefaultTTL: -1},
		"httpCache.maxTTL":             {MaxTTL: -1},
		"httpCache.keyHeaders[1]":      {KeyHeaders: []string{"A", "b c"}},
		"httpCache.purgeRange":         {PurgeRange: []string{"10.0.0.0/33"}},
		"httpCache.maxBytes: 100 byte": {MaxBytes: 100},
	} {
		m := &dynamic.Middleware{HTTPCache: &o}
		if err := middleware.Refusal(Kind().Check(m)); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s was built", key)
		}
	}
}

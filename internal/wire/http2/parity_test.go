package http2_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// TestVerdictsAreThoseOfHTTP1 sends the same request in both versions (INV-3): what reaches the handler, and what is
// refused with which status, must be the same. A stream error on HTTP/2 stands for 400. Broken percent codes are left out:
// net/http refuses them, while behind HTTP/1 the entry point does when it normalises the path.
func TestVerdictsAreThoseOfHTTP1(t *testing.T) {
	w := watch.New()
	w.Start()
	defer w.Stop()
	handler := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		q := &x.Req
		x.Respond(200, "", "")
		x.Res.Header.Add("Saw", fmt.Sprintf("%s|%s|%s|%v|%s|%s", q.Method, q.Host, q.Path, q.HasQuery, q.Query, q.Header.Lookup("x-a")))
		return nil
	})
	h1 := &http1.Server{Handler: handler, Watch: w, Timeouts: http1.Timeouts{Read: 5 * time.Second, Idle: 5 * time.Second}}
	old := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { h1.ServeConn(c.Conn.(*net.TCPConn), http1.Session{}) })
	addr := serveClear(t, http2.Options{Handler: handler, Watch: w})

	type request struct{ method, host, target, name, value string }
	var requests []request
	add := func(change func(r *request)) {
		r := request{"GET", "a.test", "/", "x-a", "1"}
		change(&r)
		requests = append(requests, r)
	}
	for _, h := range []string{"a.test", "A.Test:443", "a.test.", "a.test:", "a.test:0", "a.test:65535", "a.test:65536", "a.test:000080", "a..test", ".a.test", "a,b", "a b",
		"u@a.test", "a.test/x", "a.test?x", "a.test#x", "a%41.test", "b\xc3\xbccher.test", "xn--bcher-kva.test", "[::1]", "[::1]:80", "[::1", "[fe80::1%25e]", "[::1]x", "1.2.3.4", "1.2.3", "0x7f000001",
		"a_b.test", "a\\b", "a\"b", "a;b", strings.Repeat("a", 255), strings.Repeat("a", 256), ""} {
		add(func(r *request) { r.host = h })
	}
	for _, p := range []string{"/", "/a?b", "/a?", "/?a?b", "*", "a", "/a#b", "/a?b#c", `/a\b`, `/a?b\c`, "/a\x7f", "/\xc3\xbc?\xff", `/"<>^{}[]|` + "`", "/%2f%41", "/a//../b", "//a",
		"/" + strings.Repeat("a", 20000)} {
		add(func(r *request) { r.target = p })
		add(func(r *request) { r.method, r.target = "OPTIONS", p })
	}
	for _, m := range []string{"get", "M-SEARCH", "G(T", "TRACE", "CONNECT", strings.Repeat("A", 64), strings.Repeat("A", 65)} {
		add(func(r *request) { r.method = m })
	}
	for _, v := range []string{"", "a b", "\xff\xfe", "a\x01b", "a\x7fb", "a\tb"} {
		add(func(r *request) { r.value = v })
	}
	add(func(r *request) { r.name, r.value = "expect", "miracles" })
	add(func(r *request) { r.name, r.value = "content-length", "+0" })
	add(func(r *request) { r.name, r.value = "content-length", "0, 0" })
	add(func(r *request) { r.name, r.value = "content-length", "003x" })
	add(func(r *request) { r.name, r.value = "content-length", "0" })

	for _, r := range requests {
		answer := testkit.Exchange(t, old.Addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s: %s\r\n\r\n", r.method, r.target, r.host, r.name, r.value))
		var one string
		if len(answer) > 12 {
			one = answer[9:12]
		}
		if one == "200" && strings.Contains(answer, "Saw: ") {
			one, _, _ = strings.Cut(answer[strings.Index(answer, "Saw: ")+5:], "\r\n")
		}
		c := dialRaw(t, addr)
		if r.method == "CONNECT" {
			c.request(t, ":method", r.method, ":authority", r.host, r.name, r.value)
		} else {
			c.request(t, ":method", r.method, ":path", r.target, ":scheme", "http", ":authority", r.host, r.name, r.value)
		}
		two := c.saw(t)
		if one != two {
			t.Errorf("%.100q\n HTTP/1 %.100q\n HTTP/2 %.100q", r, one, two)
		}
	}
}

// saw returns what the handler saw, or the status with which the request was refused.
func (c *raw) saw(t *testing.T) string {
	t.Helper()
	c.note = ""
	switch out := c.outcome(t); {
	case out == "200" && c.note != "":
		return c.note
	case out == "RST_STREAM PROTOCOL_ERROR":
		return "400"
	default:
		return out[:min(3, len(out))]
	}
}

package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Sections 1 to 4, as bytes on HTTP/1, in the clear and over TLS: what is refused reaches no server, ends the connection,
// and nothing behind it is parsed.
func TestSecurityHTTP1Refused(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	const post = "POST / HTTP/1.1\r\nHost: a.test\r\n"
	const get = "GET / HTTP/1.1\r\n"
	type row struct {
		id, in string
		status int // 400 when 0
	}
	rows := []row{
		{id: "FRM-01 length first", in: post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{id: "FRM-01 coding first", in: post + "transfer-ENCODING: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"},
		{id: "FRM-02", in: post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"},
		{id: "FRM-02 list", in: post + "Content-Length: 5, 10\r\n\r\nabcde"},
		{id: "FRM-03", in: post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
		{id: "FRM-03 list", in: post + "Content-Length: 3, 3\r\n\r\nabc"},
		{id: "FRM-08 unknown before chunked", in: post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status: 501},
		{id: "FRM-07", in: "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{id: "FRM-09", in: post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{id: "FRM-09 identity", in: post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{id: "FRM-12 head", in: get + "Host: a.test\r\nX: a\rb\r\n\r\n"},
		{id: "FRM-12 line", in: "GET / HTTP/1.1\rHost: a.test\r\n\r\n"},
		{id: "FRM-13 head", in: "GET / HTTP/1.1\nHost: a.test\n\n"},
		{id: "FRM-13 field", in: get + "Host: a.test\r\nX: a\nY: b\r\n\r\n"},
		{id: "FRM-13 end", in: get + "Host: a.test\r\n\n"},
		{id: "FRM-14", in: get + "Host: a.test\r\nX: a\r\n b\r\n\r\n"},
		{id: "FRM-14 coding", in: post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
		{id: "FRM-14 host", in: get + "Host:\r\n a.test\r\n\r\n"},
		{id: "FRM-15 blank", in: get + " \r\nHost: a.test\r\n\r\n"},
		{id: "FRM-15 indented", in: get + "\tHost: a.test\r\n\r\n"},
		{id: "FRM-26", in: post + "Content-Length: 4\r\nExpect: x\r\n\r\nabcd", status: 417},
		{id: "REQ-01", in: "G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 0.9", in: "GET /\r\n\r\n"},
		{id: "REQ-03 two spaces", in: "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 two spaces late", in: "GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 tab", in: "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 trailing space", in: "GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 case", in: "GET / http/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 1.10", in: "GET / HTTP/1.10\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-03 01.1", in: "GET / HTTP/01.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-04 2.0", in: "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", status: 505},
		{id: "REQ-04 0.1", in: "GET / HTTP/0.1\r\nHost: a.test\r\n\r\n", status: 505},
		{id: "REQ-06", in: "\r\n\r\n\r\n" + get + "Host: a.test\r\n\r\n"},
		{id: "REQ-12 scheme", in: "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-13", in: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", status: 501},
		{id: "REQ-13 body", in: "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 5\r\n\r\nabcde", status: 501},
		{id: "REQ-16", in: "GET index.html HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{id: "REQ-17 line", in: "GET /" + strings.Repeat("a", 17000) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", status: 414},
		{id: "REQ-17 field", in: get + "Host: a.test\r\nX: " + strings.Repeat("a", 70000) + "\r\n\r\n", status: 431},
		{id: "REQ-17 head", in: get + "Host: a.test\r\n" + strings.Repeat("X: "+strings.Repeat("a", 60000)+"\r\n", 19) + "\r\n", status: 431},
		{id: "REQ-17 fields", in: get + "Host: a.test\r\n" + strings.Repeat("X: a\r\n", 1001) + "\r\n", status: 431},
		{id: "HST-01", in: get + "\r\n"},
		{id: "HST-02 equal", in: get + "Host: a.test\r\nHost: a.test\r\n\r\n"},
		{id: "HST-02 different", in: get + "Host: a.test\r\nhost: b.test\r\n\r\n"},
		{id: "HST-02 list", in: get + "Host: a.test, b.test\r\n\r\n"},
		{id: "HST-04", in: get + "Host:\r\n\r\n"},
		{id: "FLD-04 no colon", in: get + "Host: a.test\r\nfoo\r\n\r\n"},
		{id: "FLD-04 empty name", in: get + "Host: a.test\r\n: x\r\n\r\n"},
	}
	for _, v := range []string{"+3", "-1", "0x3", "0o3", "3_0", "1 0", "3.0", "3a", "\xd9\xa3", "", "00000000000000000003", "9223372036854775808", "99999999999999999999"} {
		rows = append(rows, row{id: "FRM-04 " + v, in: post + "Content-Length: " + v + "\r\n\r\nabc"})
	}
	for _, v := range []string{"identity", "chunked, chunked", "chunked, gzip", "xchunked", "chunk", `"chunked"`, "chunked;q=1", ", chunked", "chunked,", ""} {
		rows = append(rows, row{id: "FRM-08 " + v, in: post + "Transfer-Encoding: " + v + "\r\n\r\n0\r\n\r\n"})
	}
	for _, n := range []string{"Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding", "Transfer Encoding", "Transfer-Encoding\x0b", "\x01Transfer-Encoding", "Transfer-Encoding\x85", "Content-Length ", "X[a]", "X{", "X@a", "\xc3\xa4"} {
		rows = append(rows, row{id: fmt.Sprintf("FRM-10 %q", n), in: post + n + ": chunked\r\n\r\n0\r\n\r\n"})
	}
	for b := range byte(0x20) {
		if b != '\t' && b != '\r' && b != '\n' {
			rows = append(rows, row{id: fmt.Sprintf("FRM-11 %02x", b), in: get + "Host: a.test\r\nX: a" + string(rune(b)) + "Transfer-Encoding: chunked\r\n\r\n"})
		}
	}
	rows = append(rows, row{id: "FRM-11 7f", in: get + "Host: a.test\r\nX: a\x7fb\r\n\r\n"})
	const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []string{"0x5", "+5", "-1", "5_0", " 5", "5 ", "", "00000000000000005", "fffffffffffffffff", "ffffffffffffffff", "+0"} {
		rows = append(rows, row{id: "FRM-16 " + c, in: chunked + c + "\r\nabcde\r\n0\r\n\r\n"})
	}
	rows = append(rows,
		row{id: "FRM-17 long line", in: chunked + "5;a=" + strings.Repeat("x", 300) + "\r\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-18 bare", in: chunked + "5;\r\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-18 NUL", in: chunked + "5;a\x00\r\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-18 LF", in: chunked + "5;a\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-18 CR", in: chunked + "5;a\rb\r\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-18 quote", in: chunked + "5;a=\"b\r\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-13 chunk size", in: chunked + "5\nabcde\r\n0\r\n\r\n"},
		row{id: "FRM-13 chunk data", in: chunked + "5\r\nabcde\n0\r\n\r\n"},
		row{id: "FRM-13 trailer", in: chunked + "0\r\nX: y\n\r\n"},
		row{id: "FRM-19 long", in: chunked + "5\r\nabcdef\r\n0\r\n\r\n"},
		row{id: "FRM-19 short", in: chunked + "5\r\nabc\r\n0\r\n\r\n"},
		row{id: "FRM-19 no CRLF", in: chunked + "5\r\nabcde0\r\n\r\n"},
		row{id: "FRM-21 bad name", in: chunked + "0\r\nX Y: z\r\n\r\n"},
	)
	for _, transport := range []string{"h1", "h1s"} {
		for _, row := range rows {
			t.Run(transport+" "+row.id, func(t *testing.T) {
				before := w.count()
				c := r.dial(transport)
				defer c.Close()
				got := exchange(t, c, row.in+smuggled, "POST", true)
				want := row.status
				if want == 0 {
					want = 400
				}
				if got.status != want || got.code == "" || !got.closed || got.extra != "" {
					t.Errorf("got %+v, want %d and the end", got, want)
				}
				if len(got.body) > 64 {
					t.Errorf("the answer says too much: %q", got.body)
				}
				if m := w.messages(before); len(m) > 0 {
					t.Errorf("the server got %q", m)
				}
			})
		}
	}
	w.noLeak(t)
}

// Sections 1 to 4: what is accepted, and what of it a server gets to see.
func TestSecurityHTTP1Accepted(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	const post = "POST / HTTP/1.1\r\nHost: a.test\r\n"
	const get = "GET / HTTP/1.1\r\nHost: a.test\r\n"
	for _, row := range []struct {
		id, in string
		check  func(m message) bool
	}{
		{"FRM-05", post + "Content-Length: 003\r\n\r\nabc", func(m message) bool { return m.value("Content-Length") == "3" && m.body == "abc" }},
		{"FRM-06", post + "Content-Length: \t 3 \t\r\n\r\nabc", func(m message) bool { return m.value("Content-Length") == "3" && m.body == "abc" }},
		{"FRM-06 coding", post + "Transfer-Encoding:\t chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n", func(m message) bool { return m.value("Transfer-Encoding") == "chunked" && m.body == "abc" }},
		{"FRM-08 case", post + "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", func(m message) bool { return m.value("Transfer-Encoding") == "chunked" && m.body == "abc" }},
		{"FRM-17", post + "Transfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n", func(m message) bool { return m.body == "abc" }},
		{"FRM-21", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: evil\r\nContent-Length: 5\r\nX-Forwarded-For: 1.1.1.1\r\nX-A: b\r\n\r\n",
			func(m message) bool { return m.body == "abc" && m.value("Host") == "a.test" }},
		{"FRM-23", "POST / HTTP/1.0\r\nHost: a.test\r\n\r\n" + smuggled, func(m message) bool { return m.body == "" }},
		{"REQ-05", "GET / HTTP/1.7\r\nHost: a.test\r\n\r\n", func(m message) bool { return m.line == "GET / HTTP/1.1" }},
		{"REQ-06", "\r\n\r\n" + get + "\r\n", func(m message) bool { return m.line == "GET / HTTP/1.1" }},
		{"REQ-08b", "GET /\xc3\xa4?\xc3\xb6 HTTP/1.1\r\nHost: a.test\r\n\r\n", func(m message) bool { return m.line == "GET /%C3%A4?%C3%B6 HTTP/1.1" }},
		{"REQ-12", "GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", func(m message) bool { return m.line == "GET /x HTTP/1.1" && m.value("Host") == "b.test" }},
		{"HST-04 1.0", "GET / HTTP/1.0\r\n\r\n", func(m message) bool { return len(m.values("Host")) == 0 || m.value("Host") == "" }},
		{"FLD-06", get + "X-B: 1\r\nX-A: 2\r\nX-B: 3\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n", func(m message) bool {
			return strings.Contains(m.head, "X-B: 1\r\nX-A: 2\r\nX-B: 3\r\n") && len(m.values("Cookie")) == 2
		}},
		{"FLD-07", get + "x-lower: 1\r\nX-UPPER: 2\r\n\r\n", func(m message) bool {
			return strings.Contains(m.head, "x-lower: 1\r\n") && strings.Contains(m.head, "X-UPPER: 2\r\n")
		}},
		{"FLD-01", get + "Connection: close, X-A\r\nX-A: 1\r\nX-Kept: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: foo\r\n\r\n", func(m message) bool {
			for _, n := range []string{"X-A", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Upgrade", "Connection"} {
				if len(m.values(n)) > 0 {
					return false
				}
			}
			return m.value("X-Kept") == "1"
		}},
		{"FLD-02", get + "Connection: Host, Authorization, Cookie, X-Forwarded-For, X-Real-Ip\r\nAuthorization: x\r\nCookie: a=1\r\n\r\n", func(m message) bool {
			return m.value("Host") == "a.test" && m.value("Authorization") == "x" && m.value("Cookie") == "a=1" && m.value("X-Forwarded-For") == "127.0.0.1" && m.value("X-Real-Ip") == "127.0.0.1"
		}},
		{"FLD-02 framing", post + "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc", func(m message) bool { return m.value("Content-Length") == "3" && m.body == "abc" }},
		{"UPG-01 h2c", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", func(m message) bool {
			return len(m.values("Upgrade"))+len(m.values("HTTP2-Settings"))+len(m.values("Connection")) == 0
		}},
		{"UPG-01 TLS", get + "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", func(m message) bool { return len(m.values("Upgrade")) == 0 }},
		{"UPG-01 list", get + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", func(m message) bool { return !strings.Contains(strings.ToLower(m.head), "h2c") }},
	} {
		for _, transport := range []string{"h1", "h1s"} {
			t.Run(transport+" "+row.id, func(t *testing.T) {
				before := w.count()
				c := r.dial(transport)
				defer c.Close()
				in := row.in
				if transport == "h1s" {
					in = strings.Replace(in, "GET http:", "GET https:", 1)
				}
				if got := exchange(t, c, in, "POST", row.id == "FRM-23"); got.status != 200 || strings.Contains(got.extra, "HTTP/1") {
					t.Errorf("got %+v", got)
				}
				if m := w.messages(before); len(m) != 1 || !row.check(m[0]) {
					t.Errorf("the server got %q", m)
				}
			})
		}
	}
	w.noLeak(t)
}

// FRM-20: a body that ends early is never a complete message for a server.
func TestSecurityFRM20(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	for name, in := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc",
		"chunked": "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := r.dial("h1").(interface {
				Write([]byte) (int, error)
				Read([]byte) (int, error)
				CloseWrite() error
			})
			c.Write([]byte(in))
			c.CloseWrite()
			var answer [4096]byte
			n, _ := c.Read(answer[:])
			if got := string(answer[:n]); n > 0 && !strings.HasPrefix(got, "HTTP/1.1 400") {
				t.Errorf("got %q", got)
			}
			if m := w.messages(0); len(m) > 0 {
				t.Errorf("the server got %q", m)
			}
		})
	}
}

// FRM-22: the body of a request that we answer ourselves is not parsed, on a connection that goes on.
func TestSecurityFRM22(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, strings.ReplaceAll(everything(w.Addr), "PathPrefix(`/`)", "Path(`/here`)"))
	for _, transport := range []string{"h1", "h1s"} {
		c := r.dial(transport)
		defer c.Close()
		for range 3 {
			in := fmt.Sprintf("POST /nowhere HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled)
			if got := exchange(t, c, in, "POST", false); got.status != 404 {
				t.Fatalf("%s: got %+v", transport, got)
			}
		}
		if got := exchange(t, c, "GET /here HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET", false); got.status != 200 {
			t.Errorf("%s: got %+v", transport, got)
		}
	}
	if n := w.count(); n != 2 {
		t.Errorf("the server got %d requests", n)
	}
	w.noLeak(t)
}

// FRM-24: a request that announces a body and sends none does not hang past the read timeout.
func TestSecurityFRM24(t *testing.T) {
	w := newWitness(t)
	r := start(t, shortTimeouts, everything(w.Addr))
	began := time.Now()
	c := r.dial("h1")
	got := exchange(t, c, "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n", "GET", true)
	if got.status != http.StatusRequestTimeout || !got.closed || time.Since(began) > 5*time.Second {
		t.Errorf("got %+v after %v", got, time.Since(began))
	}
	if m := w.messages(0); len(m) > 0 {
		t.Errorf("the server got %q", m)
	}
}

// FRM-28 and FRM-29: however the bytes are cut, the same requests reach the server in their order.
func TestSecurityFRM29(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	const in = "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n" +
		"GET /3 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
	for _, transport := range []string{"h1", "h1s"} {
		for cut := 1; cut < len(in); cut++ {
			before := w.count()
			c := r.dial(transport)
			c.Write([]byte(in[:cut]))
			go c.Write([]byte(in[cut:]))
			var all strings.Builder
			var b [4096]byte
			for {
				n, err := c.Read(b[:])
				all.Write(b[:n])
				if err != nil {
					break
				}
			}
			c.Close()
			m := w.messages(before)
			if n := strings.Count(all.String(), "HTTP/1.1 200"); n != 3 || len(m) != 3 || m[0].line != "POST /1 HTTP/1.1" || m[0].body != "abc" || m[1].line != "POST /2 HTTP/1.1" || m[1].body != "abc" || m[2].line != "GET /3 HTTP/1.1" {
				t.Fatalf("%s cut at %d: answers %q, server got %q", transport, cut, all.String(), m)
			}
		}
	}
}

// shortTimeouts has entry points that wait for a quarter of a second.
const shortTimeouts = `
entryPoints:
  web: {address: "127.0.0.1:0", transport: {respondingTimeouts: {readTimeout: 250ms, writeTimeout: 1s}}}
  secure: {address: "127.0.0.1:0", transport: {respondingTimeouts: {readTimeout: 250ms, writeTimeout: 1s}}}
`

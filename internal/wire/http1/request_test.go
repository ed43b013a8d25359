package http1

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// parseRequest feeds in to the parser in pieces that end at the given offsets, and describes the outcome: the status and
// reason of the refusal, or everything that was understood.
func parseRequest(in string, tls bool, lim Limits, ends ...int) (string, *httpmsg.Request, *requestHead) {
	lim.setDefaults()
	var r requestHead
	req := &httpmsg.Request{TLS: tls}
	r.reset(0)
	buf := []byte(in)
	for _, end := range append(ends, len(in)) {
		done, f := r.parse(buf[:end], req, &lim)
		if f != nil {
			return fmt.Sprintf("%d %s", f.Status(), f.Reason), nil, nil
		}
		if done {
			return describeRequest(req, &r), req, &r
		}
	}
	return "incomplete", nil, nil
}

func describeRequest(req *httpmsg.Request, r *requestHead) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s host=%s path=%s", req.Proto, req.Method, req.Host, req.Path)
	if req.HasQuery {
		fmt.Fprintf(&b, " query=%s", req.Query)
	}
	fmt.Fprintf(&b, " framing=%d size=%d length=%d persist=%v continue=%v upgrade=%s refuse=%s trailers=%v rest@%d", r.framing, r.size, req.ContentLength,
		r.persist, req.Continue, req.UpgradeTo, r.refuse.Code(), req.Trailers, r.pos)
	for i := range req.Header.Len() {
		f := req.Header.At(i)
		fmt.Fprintf(&b, "\n%s: %q (%s)", f.Name, f.Value, f.ID)
	}
	return b.String()
}

// everySplit checks that the outcome is the same however the head arrives, and returns it.
func everySplit(t *testing.T, in string, tls bool, lim Limits) (string, *httpmsg.Request, *requestHead) {
	t.Helper()
	want, req, r := parseRequest(in, tls, lim)
	step := 1
	if len(in) > 4000 {
		step = len(in)/97 + 1
	}
	var all []int
	for i := 0; i < len(in); i += step {
		if got, _, _ := parseRequest(in, tls, lim, i); got != want {
			t.Fatalf("split at %d: got %q, in one piece %q", i, got, want)
		}
		all = append(all, i)
	}
	if got, _, _ := parseRequest(in, tls, lim, all...); got != want {
		t.Fatalf("byte by byte: got %q, in one piece %q", got, want)
	}
	return want, req, r
}

const hostLine = "Host: a.test\r\n"

func TestRequestHeadRefused(t *testing.T) {
	get := "GET / HTTP/1.1\r\n" + hostLine
	post := "POST / HTTP/1.1\r\n" + hostLine
	type row struct {
		id, in string
		status int
	}
	rows := []row{
		{"FRM-01 length first", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"FRM-01 coding first", post + "transfer-encoding: Chunked\r\nCONTENT-LENGTH: 3\r\n\r\n", 400},
		{"FRM-02 two lengths", post + "Content-Length: 5\r\nContent-Length: 10\r\n\r\n", 400},
		{"FRM-02 list", post + "Content-Length: 5, 10\r\n\r\n", 400},
		{"FRM-03 equal lines", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400},
		{"FRM-03 equal list", post + "Content-Length: 3, 3\r\n\r\n", 400},
		{"FRM-07", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"FRM-08 unknown before chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"FRM-08 three", post + "Transfer-Encoding: gzip, deflate, chunked\r\n\r\n", 501},
		{"FRM-09 same", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"FRM-09 identity", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		{"FRM-09 empty", post + "Transfer-Encoding: \r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"FRM-11 smuggled", get + "X: a\x01Transfer-Encoding: chunked\r\n\r\n", 400},
		{"FRM-12 in the request line", "GET /\r HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"FRM-12 in a name", get + "X\rY: a\r\n\r\n", 400},
		{"FRM-12 in a value", get + "X: a\rb\r\n\r\n", 400},
		{"FRM-12 at the end", get + "X: a\r\n\rX", 400},
		{"FRM-13 request line", "GET / HTTP/1.1\n" + hostLine + "\r\n", 400},
		{"FRM-13 field", "GET / HTTP/1.1\r\nHost: a.test\n\r\n", 400},
		{"FRM-13 end", "GET / HTTP/1.1\r\nHost: a.test\r\n\n", 400},
		{"FRM-13 all", "GET / HTTP/1.1\nHost: a.test\n\n", 400},
		{"FRM-14", get + "X: a\r\n b\r\n\r\n", 400},
		{"FRM-14 tab", get + "X: a\r\n\tb\r\n\r\n", 400},
		{"FRM-14 coding", post + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
		{"FRM-14 length", post + "Content-Length:\r\n 3\r\n\r\n", 400},
		{"FRM-14 host", "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n", 400},
		{"FRM-15 space line", "GET / HTTP/1.1\r\n \r\n" + hostLine + "\r\n", 400},
		{"FRM-15 indented", "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", 400},

		{"REQ-01 no token", "G(T / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-01 empty", " / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-01 long", strings.Repeat("A", 65) + " / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-01 endless", strings.Repeat("A", 70), 400},
		{"REQ-01 TLS record", "\x16\x03\x01\x02\x00", 400},
		{"REQ-03 no version", "GET /\r\n", 400},
		{"REQ-03 no version but space", "GET / \r\n" + hostLine + "\r\n", 400},
		{"REQ-03 two spaces", "GET  / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 two spaces behind", "GET /  HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 tab", "GET\t/ HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 tab behind", "GET /\tHTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 trailing space", "GET / HTTP/1.1 \r\n" + hostLine + "\r\n", 400},
		{"REQ-03 lower case", "GET / http/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 two digits", "GET / HTTP/1.10\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 leading zero", "GET / HTTP/01.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 no minor", "GET / HTTP/1\r\n" + hostLine + "\r\n", 400},
		{"REQ-03 other protocol", "GET / ICAP/1.0\r\n" + hostLine + "\r\n", 400},
		{"REQ-04 two", "GET / HTTP/2.0\r\n" + hostLine + "\r\n", 505},
		{"REQ-04 zero", "GET / HTTP/0.9\r\n" + hostLine + "\r\n", 505},
		{"REQ-04 nine", "GET / HTTP/9.9\r\n" + hostLine + "\r\n", 505},
		{"REQ-04 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"REQ-06 three", "\r\n\r\n\r\nGET / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-06 bare LF", "\nGET / HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-07 fragment", "GET /a#b HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-07 in the query", "GET /a?b#c HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-07 absolute", "GET http://a.test/#c HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-09", "GET /a\\b HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-12 scheme of the other kind", "GET https://a.test/ HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-12 other scheme", "GET ftp://a.test/ HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-12 userinfo", "GET http://u@a.test/ HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-12 bad host", "GET http://a%2etest/ HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-12 without Host", "GET http://a.test/ HTTP/1.1\r\n\r\n", 400},
		{"REQ-13", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 501},
		{"REQ-13 with a path", "CONNECT /a HTTP/1.1\r\n" + hostLine + "Content-Length: 3\r\n\r\nabc", 501},
		{"REQ-14 GET", "GET * HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-14 query", "OPTIONS *?a HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-16", "GET a HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-16 authority", "GET a.test:80 HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-16 query", "GET ?a HTTP/1.1\r\n" + hostLine + "\r\n", 400},
		{"REQ-17 line", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\n" + hostLine + "\r\n", 414},
		{"REQ-17 endless line", "GET /" + strings.Repeat("a", 17<<10), 414},
		{"REQ-17 field", get + "X: " + strings.Repeat("a", 65<<10) + "\r\n\r\n", 431},
		{"REQ-17 name", get + strings.Repeat("a", 65<<10), 431},
		{"REQ-17 fields", get + strings.Repeat("A: b\r\n", 1001) + "\r\n", 431},
		{"REQ-17 hidden fields", get + strings.Repeat("A: b\r\n", 1001), 431},

		{"HST-01", "GET / HTTP/1.1\r\n\r\n", 400},
		{"HST-02 equal", get + hostLine + "\r\n", 400},
		{"HST-02 other", get + "Host: b.test\r\n\r\n", 400},
		{"HST-02 in HTTP/1.0", "GET / HTTP/1.0\r\n" + hostLine + hostLine + "\r\n", 400},
		{"HST-04", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		{"HST-04 spaces", "GET / HTTP/1.1\r\nHost: \t \r\n\r\n", 400},

		{"FLD-04 empty name", get + ": a\r\n\r\n", 400},
		{"FLD-04 no colon", get + "abc\r\n\r\n", 400},
		{"FLD-04 non-ASCII", get + "X-\xc3\xa4: a\r\n\r\n", 400},
	}
	for _, v := range []string{"+3", "-1", "0x3", "0o3", "3_0", `"1 0"`, "1 0", "3.0", "3a", "\xd9\xa3", "", "00000000000000000003",
		"12345678901234567890", "9223372036854775808", ",", "3,", "3;"} {
		rows = append(rows, row{"FRM-04 " + v, post + "Content-Length: " + v + "\r\n\r\n", 400})
	}
	for _, v := range []string{"identity", "chunked, chunked", "chunked, gzip", "xchunked", "chunk", `"chunked"`, "chunked;q=1", ", chunked", "chunked,",
		"", "identity, chunked", "gzip, chunked, chunked", "gzip,, chunked", "gz ip, chunked", "chunked\xa0", "\x85chunked", "gzip;a=b, chunked", "chunked chunked"} {
		rows = append(rows, row{"FRM-08 " + v, post + "Transfer-Encoding: " + v + "\r\n\r\n", 400})
	}
	for _, name := range []string{"Transfer-Encoding", "Content-Length"} {
		for _, c := range []string{" ", "\t", "\x00", "\x0b", "\x7f", "\x80", "\xa0", "\xff", "\xc2\xa0"} {
			for place, n := range map[string]string{"before": c + name, "inside": name[:8] + c + name[8:], "behind": name + c} {
				rows = append(rows, row{fmt.Sprintf("FRM-10 %s %s %x", name, place, c), post + n + ": 1\r\n\r\n", 400})
			}
		}
	}
	for c := range 0x80 {
		switch {
		case c == '\t' || c == '\r' || c == '\n' || c >= 0x20 && c != 0x7f:
			continue
		}
		rows = append(rows, row{fmt.Sprintf("FRM-11 %02x", c), get + "X: a" + string(rune(c)) + "b\r\n\r\n", 400},
			row{fmt.Sprintf("REQ-08 path %02x", c), "GET /a" + string(rune(c)) + " HTTP/1.1\r\n" + hostLine + "\r\n", 400},
			row{fmt.Sprintf("REQ-08 query %02x", c), "GET /a?" + string(rune(c)) + " HTTP/1.1\r\n" + hostLine + "\r\n", 400})
	}
	for _, h := range []string{"u@a.test", "a.test/x", "a.test?x", "a.test#x", "a test", "a\ttest", "a%2etest", "b\xc3\xbccher.test", "a..test", ".a.test", ".",
		strings.Repeat("a", 256), "a, b", "a,b", "a\\b"} {
		rows = append(rows, row{"HST-03 " + h, "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n", 400})
	}
	for _, h := range []string{"a.test:0", "a.test:65536", "a.test:99999999999999999999", "a.test:x", "a.test:80:80", "a.test:-1", ":80", ":"} {
		rows = append(rows, row{"HST-05 " + h, "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n", 400})
	}
	for _, h := range []string{"[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1", "::1", "[]", "[::1]x", "[v1.a]", "[1.2.3.4]", "[::1]]", "0x7f000001", "a.0x7f"} {
		rows = append(rows, row{"HST-06 " + h, "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n", 400})
	}
	for _, c := range []string{"[", "]", "{", "}", "@", " ", "(", ")", "<", ">", ",", ";", "\\", "\"", "/", "?", "="} {
		rows = append(rows, row{"FLD-04 " + c, get + "X" + c + "Y: a\r\n\r\n", 400})
	}
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			got, _, _ := everySplit(t, r.in, false, Limits{})
			if !strings.HasPrefix(got, fmt.Sprint(r.status, " ")) {
				t.Errorf("got %q, want %d", got, r.status)
			}
		})
	}
}

func TestRequestHeadAccepted(t *testing.T) {
	for _, c := range []struct {
		id, in string
		tls    bool
		want   string // must be found in the description
	}{
		{"FRM-05", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\n", false, "framing=1 size=3 length=3"},
		{"FRM-05 zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n", false, "framing=0 size=0 length=0"},
		{"FRM-05 largest", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n", false, "size=9223372036854775807"},
		{"FRM-06 length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t 3 \t\r\n\r\n", false, "size=3"},
		{"FRM-06 none", "POST / HTTP/1.1\r\nHost:a\r\nContent-Length:3\r\n\r\n", false, "size=3"},
		{"FRM-06 coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked\t \r\n\r\n", false, "framing=2"},
		{"FRM-08 case", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n", false, "framing=2 size=0 length=-1"},
		{"FRM-23", "POST / HTTP/1.0\r\n\r\nabc", false, "framing=0"},
		{"FRM-24", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", false, "framing=1 size=3"},
		{"FRM-25", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n", false, "continue=true"},
		{"FRM-25 without a body", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", false, "continue=false upgrade= refuse=INTERNAL"},
		{"FRM-25 in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", false, "continue=false upgrade= refuse=INTERNAL"},
		{"FRM-26", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 200-maybe\r\n\r\n", false, "refuse=EXPECTATION-FAILED"},
		{"FRM-26 two lines", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: x\r\nExpect: 100-continue\r\n\r\n", false, "refuse=EXPECTATION-FAILED"},
		{"REQ-01 longest", strings.Repeat("A", 64) + " / HTTP/1.1\r\nHost: a\r\n\r\n", false, "HTTP/1.1 AAAA"},
		{"REQ-02 lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", false, "HTTP/1.1 get "},
		{"REQ-02 unknown", "M-SEARCH!~ / HTTP/1.1\r\nHost: a\r\n\r\n", false, "HTTP/1.1 M-SEARCH!~ "},
		{"REQ-05", "GET / HTTP/1.7\r\nHost: a\r\n\r\n", false, "HTTP/1.1 GET "},
		{"REQ-06 one", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false, "host=a path=/ framing"},
		{"REQ-06 two", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false, "host=a path=/ framing"},
		{"REQ-08b", "GET /\xc3\xa4?\xff HTTP/1.1\r\nHost: a\r\n\r\n", false, "path=/\xc3\xa4 query=\xff"},
		{"REQ-09 query", "GET /?a\\b HTTP/1.1\r\nHost: a\r\n\r\n", false, `query=a\b`},
		{"REQ-10", "GET /\"<>^{}[]|`?\"<>^{}[]|`? HTTP/1.1\r\nHost: a\r\n\r\n", false, "path=/\"<>^{}[]|` query=\"<>^{}[]|`?"},
		{"REQ-11", "GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n", false, "host=a.test path=/x query=y"},
		{"REQ-11 upper case", "GET HTTP://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", false, "host=a.test path=/ framing"},
		{"REQ-11 TLS", "GET https://a.test?q HTTP/1.1\r\nHost: a.test\r\n\r\n", true, "host=a.test path=/ query=q"},
		{"REQ-12", "GET http://b.test:81/x HTTP/1.1\r\nHost: a.test\r\n\r\n", false, "host=b.test:81 path=/x"},
		{"REQ-12 empty", "GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", false, "host=a.test path=/x"},
		{"REQ-12 empty Host", "GET http://b.test/x HTTP/1.1\r\nHost:\r\n\r\n", false, "host=b.test path=/x"},
		{"REQ-12 slash in the query", "GET http://b.test?a/b HTTP/1.1\r\nHost: a.test\r\n\r\n", false, "host=b.test path=/ query=a/b"},
		{"REQ-14", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false, "path=* framing"},
		{"REQ-14 absolute", "OPTIONS http://b.test HTTP/1.1\r\nHost: a\r\n\r\n", false, "host=b.test path=* framing"},
		{"REQ-15", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", false, "refuse=METHOD-NOT-ALLOWED"},
		{"REQ-17 longest line", "GET /" + strings.Repeat("a", 16<<10-16) + " HTTP/1.1\r\nHost: a\r\n\r\n", false, "HTTP/1.1 GET"},
		{"REQ-17 fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n", false, "HTTP/1.1 GET"},
		{"REQ-18", "GET /?" + strings.Repeat("a[][]=1&", 2000) + " HTTP/1.1\r\nHost: a\r\n\r\n", false, "query=a[][]=1&"},
		{"HST-04", "GET / HTTP/1.0\r\n\r\n", false, "HTTP/1.0 GET host= path=/"},
		{"HST-05", "GET / HTTP/1.1\r\nHost: A.Test:443\r\n\r\n", false, "host=A.Test:443 "},
		{"HST-05 dot", "GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n", false, "host=a.test. "},
		{"HST-05 empty port", "GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", false, "host=a.test: "},
		{"HST-06", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", false, "host=[::1]:8080 "},
		{"HST-12", "GET / HTTP/1.1\r\nHost: xn--bcher-kva.test\r\n\r\n", false, "host=xn--bcher-kva.test "},
		{"FLD-05", "GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\xc3\xa4\xff\r\n\r\n", false, `X: "\xe4ä\xff"`},
		{"FLD-06", "GET / HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\nCookie: a\r\nCookie: b\r\n\r\n", false,
			"X-B: \"1\" ()\nX-A: \"2\" ()\nX-B: \"3\" ()\nCookie: \"a\" (Cookie)\nCookie: \"b\" (Cookie)"},
		{"FLD-07", "GET / HTTP/1.1\r\nhost: a\r\nuSER-aGENT: b\r\n\r\n", false, "uSER-aGENT: \"b\" (User-Agent)"},
		{"FLD-05 tab inside", "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\r\nY:\r\nZ: \t\r\n\r\n", false, "X: \"a\\tb\" ()\nY: \"\" ()\nZ: \"\" ()"},
		{"UPG-01 h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n", false,
			"upgrade= refuse=INTERNAL trailers=false rest@99\nConnection: \"Upgrade, HTTP2-Settings\" (Connection)"},
		{"UPG-01 websocket", upgradeRequest, false, "upgrade=websocket "},
		{"UPG-01 among others", strings.Replace(upgradeRequest, "websocket", "h2c, WebSocket", 1), false, "upgrade=websocket "},
		{"UPG-04 version", strings.Replace(upgradeRequest, "13", "8", 1), false, "upgrade= "},
		{"UPG-04 POST", strings.Replace(upgradeRequest, "GET", "POST", 1), false, "upgrade= "},
		{"UPG-04 HTTP/1.0", strings.Replace(upgradeRequest, "1.1", "1.0", 1), false, "upgrade= "},
		{"UPG-04 no key", strings.Replace(upgradeRequest, "-Key", "-Kex", 1), false, "upgrade= "},
		{"UPG-04 body", strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n", 1), false, "upgrade= "},
		{"UPG-04 no Connection", strings.Replace(upgradeRequest, "keep-alive, Upgrade", "keep-alive", 1), false, "upgrade= "},
		{"persistence close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false, "persist=false"},
		{"persistence of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", false, "persist=false"},
		{"persistence of HTTP/1.0 asked for", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false, "persist=true"},
		{"persistence in two lines", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false, "persist=false"},
		{"TE trailers", "GET / HTTP/1.1\r\nHost: a\r\nTE: deflate;q=0.5, trailers\r\n\r\n", false, "trailers=true"},
	} {
		t.Run(c.id, func(t *testing.T) {
			got, _, _ := everySplit(t, c.in, c.tls, Limits{})
			if !strings.Contains(got, c.want) {
				t.Errorf("got %.300q, want %q in it", got, c.want)
			}
		})
	}
}

const upgradeRequest = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// Limits that are smaller than what is sent say the same at every split, too.
func TestRequestHeadLimits(t *testing.T) {
	in := "GET /abc HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 40) + "\r\nZ: \x01\r\n\r\n"
	for head := 1; head < len(in)+3; head++ {
		everySplit(t, in, false, Limits{Head: head})
		everySplit(t, in, false, Limits{Line: head})
		everySplit(t, in, false, Limits{Field: head})
	}
	if got, _, _ := parseRequest(in, false, Limits{Head: 30}); !strings.HasPrefix(got, "431") {
		t.Errorf("head of 30: %s", got)
	}
	if got, _, _ := parseRequest(in, false, Limits{Line: 10}); !strings.HasPrefix(got, "414") {
		t.Errorf("line of 10: %s", got)
	}
}

// FRM-30: every disguise of Transfer-Encoding next to a Content-Length is refused, or is a field of another name whose value
// frames nothing, and that no fold turns into Transfer-Encoding.
func TestRequestHeadFRM30(t *testing.T) {
	var disguises []string
	for c := 1; c < 256; c++ {
		if c > 0x20 && c < 0x7f {
			continue
		}
		b := string([]byte{byte(c)})
		disguises = append(disguises,
			b+"Transfer-Encoding: chunked", "Transfer-Encoding"+b+": chunked", "Transfer"+b+"Encoding: chunked", "Transfer-Encoding:"+b+"chunked",
			"Transfer-Encoding: "+b+"chunked", "Transfer-Encoding: chunked"+b, "X: y"+b+"Transfer-Encoding: chunked")
	}
	disguises = append(disguises, "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
		"Transfer_Encoding: chunked", "TRANSFER-ENCODING: chunked", "transfer-encoding: CHUNKED", "Transfer-Encoding:chunked", "Transfer-Encoding :chunked",
		"Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: 'chunked'",
		"Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding\r\n: chunked", "X: y\rTransfer-Encoding: chunked",
		"X: y\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked;a=b", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer.Encoding: chunked",
		"Transfer-Encodin: chunked", "Transfer-Encoding: ch\x00unked", "Transfer-Encoding: \x00chunked", "Transfer-Encoding;: chunked", "Transfer Encoding: chunked")
	for _, d := range disguises {
		got, req, r := parseRequest("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"+d+"\r\n\r\n", false, Limits{})
		switch {
		case req == nil && strings.HasPrefix(got, "400"):
		case req == nil:
			t.Errorf("%q: got %s", d, got)
		case r.framing != counted || req.Header.Has(httpmsg.HdrTransferEncoding):
			t.Errorf("%q: accepted as %s", d, got)
		}
	}
}

package app

import (
	"fmt"
	"strings"
	"testing"
)

// INV-3: the same request has the same verdict whichever way it comes, and a server gets to see the same.
func TestSecurityParity(t *testing.T) {
	w := newWitness(t)
	r := start(t, twoEntryPoints, everything(w.Addr))
	type row struct {
		id    string
		ask   ask
		want  int                  // 200 when 0
		keep  bool                 // refused for its meaning, so that HTTP/1 may go on behind it
		check func(m message) bool // of what the server got
	}
	line := func(want string) func(message) bool {
		return func(m message) bool { return m.line == want+" HTTP/1.1" }
	}
	host := func(want string) func(message) bool { return func(m message) bool { return m.value("Host") == want } }
	fields := func(list ...string) []string { return list }
	rows := []row{
		{id: "REQ-01", ask: ask{method: "G(T"}, want: 400},
		{id: "REQ-01 long", ask: ask{method: strings.Repeat("A", 65)}, want: 400},
		{id: "REQ-02", ask: ask{method: "m-search"}, check: line("m-search /")},
		{id: "REQ-07", ask: ask{target: "/a#b"}, want: 400},
		{id: "REQ-07 query", ask: ask{target: "/a?b#c"}, want: 400},
		{id: "REQ-08", ask: ask{target: "/a b"}, want: 400},
		{id: "REQ-08 query", ask: ask{target: "/a?b c"}, want: 400},
		{id: "REQ-08 DEL", ask: ask{target: "/a\x7f"}, want: 400},
		{id: "REQ-08 CTL", ask: ask{target: "/a\x01"}, want: 400},
		{id: "REQ-08b", ask: ask{target: "/\xc3\xa4?\xc3\xb6"}, check: line("GET /%C3%A4?%C3%B6")},
		{id: "REQ-09", ask: ask{target: `/a\b`}, want: 400},
		{id: "REQ-10", ask: ask{target: "/\"<>^{}[]|`?\"<>^{}[]|`"}, check: line("GET /\"<>^{}[]|`?\"<>^{}[]|`")},
		{id: "REQ-13", ask: ask{method: "CONNECT", target: "a.test:443", host: "a.test:443"}, want: 501},
		{id: "REQ-14", ask: ask{method: "OPTIONS", target: "*"}},
		{id: "REQ-14 GET", ask: ask{target: "*"}, want: 400},
		{id: "REQ-15", ask: ask{method: "TRACE"}, want: 405},
		{id: "REQ-16", ask: ask{target: "index.html"}, want: 400},
		{id: "REQ-17 line", ask: ask{target: "/" + strings.Repeat("a", 17000)}, want: 414},
		{id: "REQ-17 field", ask: ask{fields: fields("x", strings.Repeat("a", 70000))}, want: 431},
		{id: "REQ-17 fields", ask: ask{fields: strings.Split(strings.Repeat("x,a,", 1001)+"x,a", ",")}, want: 431},
		{id: "REQ-18", ask: ask{target: "/?" + strings.Repeat("a[]&", 3000)}, check: line("GET /?" + strings.Repeat("a[]&", 3000))},
		{id: "HST-01", ask: ask{noHost: true}, want: 400},
		{id: "HST-05", ask: ask{host: "A.Test:443"}, check: host("A.Test:443")},
		{id: "HST-05 dot", ask: ask{host: "a.test."}, check: host("a.test.")},
		{id: "HST-05 port 0", ask: ask{host: "a.test:0"}, want: 400},
		{id: "HST-05 port 65536", ask: ask{host: "a.test:65536"}, want: 400},
		{id: "HST-05 port x", ask: ask{host: "a.test:x"}, want: 400},
		{id: "HST-06", ask: ask{host: "[::1]:80"}, check: host("[::1]:80")},
		{id: "HST-06 zone", ask: ask{host: "[fe80::1%25eth0]"}, want: 400},
		{id: "HST-06 open", ask: ask{host: "[::1"}, want: 400},
		{id: "HST-08", ask: ask{fields: fields("host", "b.test")}, want: 400},
		{id: "FLD-04 brackets", ask: ask{fields: fields("x[a]", "1")}, want: 400},
		{id: "FLD-04 non-ASCII", ask: ask{fields: fields("x\xc3\xa4", "1")}, want: 400},
		{id: "FLD-05", ask: ask{fields: fields("x-a", "caf\xe9 \xc3\xa9")}, check: func(m message) bool { return m.value("x-a") == "caf\xe9 \xc3\xa9" }},
		{id: "FLD-11 CR", ask: ask{fields: fields("x-a", "a\rb")}, want: 400},
		{id: "FRM-11", ask: ask{fields: fields("x-a", "a\x01b")}, want: 400},
		{id: "FRM-11 NUL", ask: ask{fields: fields("x-a", "a\x00b")}, want: 400},
		{id: "FRM-04", ask: ask{method: "POST", fields: fields("content-length", "+3")}, want: 400},
		{id: "FRM-03", ask: ask{method: "POST", fields: fields("content-length", "0", "content-length", "0")}, want: 400},
		{id: "FRM-01", ask: ask{method: "POST", fields: fields("transfer-encoding", "chunked", "content-length", "0")}, want: 400},
		{id: "FRM-24", ask: ask{method: "GET", body: "abc"}, check: func(m message) bool { return m.line == "GET / HTTP/1.1" && m.body == "abc" }},
		{id: "FRM-24 DELETE", ask: ask{method: "DELETE", body: "abc"}, check: func(m message) bool { return m.line == "DELETE / HTTP/1.1" && m.body == "abc" }},
		{id: "FRM-26", ask: ask{fields: fields("expect", "miracles")}, want: 417},
		{id: "FRM-21", ask: ask{method: "POST", body: "abc", trailers: fields("host", "evil", "x-forwarded-for", "1.1.1.1", "authorization", "x", "x-a", "b")},
			check: func(m message) bool {
				return m.body == "abc" && m.value("Host") == "a.test" && m.value("X-Forwarded-For") == "127.0.0.1" && len(m.values("X-A")) == 0
			}},
		{id: "FLD-03", ask: ask{fields: fields("Content_Length", "5", "Transfer_Encoding", "chunked", "X_Forwarded_For", "1.1.1.1", "X_Real_Ip", "1.1.1.1", "x_custom", "1")}, check: func(m message) bool {
			return len(m.values("content_length"))+len(m.values("transfer_encoding"))+len(m.values("x_forwarded_for"))+len(m.values("x_real_ip")) == 0 && m.value("x_custom") == "1"
		}},
		{id: "FLD-06", ask: ask{fields: fields("x-b", "1", "x-a", "2", "x-b", "3")}, check: func(m message) bool {
			return fmt.Sprint(m.values("x-b")) == "[1 3]" && m.value("x-a") == "2"
		}},
		{id: "FLD-01 TE", ask: ask{fields: fields("te", "trailers", "proxy-authorization", "Basic eA==")}, check: func(m message) bool { return len(m.values("Proxy-Authorization")) == 0 }},
		{id: "XFF-01", ask: ask{fields: fields("X-Forwarded-For", "1.1.1.1", "x-forwarded-proto", "evil", "X-FORWARDED-HOST", "evil", "X-Forwarded-Port", "1", "X-Forwarded-Server", "evil",
			"X-Forwarded-Uri", "/evil", "X-Forwarded-Method", "EVIL", "X-Forwarded-Prefix", "/evil", "X-Forwarded-Tls-Client-Cert", "evil", "X-Forwarded-Tls-Client-Cert-Info", "evil",
			"X-Real-Ip", "1.1.1.1", "Forwarded", "for=1.1.1.1", "X_Forwarded_Proto", "evil", "x-Forwarded_host", "evil")},
			check: func(m message) bool {
				return !strings.Contains(m.head, "evil") && !strings.Contains(m.head, "1.1.1.1") && !strings.Contains(m.head, "EVIL") && m.value("X-Forwarded-For") == "127.0.0.1" &&
					m.value("X-Real-Ip") == "127.0.0.1" && m.value("X-Forwarded-Host") == "a.test" && m.value("X-Forwarded-Server") == "edge" && strings.HasPrefix(m.value("X-Forwarded-Proto"), "http")
			}},
		{id: "PTH-01", ask: ask{target: "/a/../b/./c//d/%2e%2E/e"}, check: line("GET /b/c/e")},
		{id: "PTH-01 trailing", ask: ask{target: "/a/.."}, check: line("GET /")},
		{id: "PTH-02", ask: ask{target: "/../../etc"}, check: line("GET /etc")},
		{id: "PTH-03", ask: ask{target: "/a%2f%5c%00%3b%25%3f%23"}, check: line("GET /a%2F%5C%00%3B%25%3F%23")},
		{id: "PTH-04", ask: ask{target: "/%zz"}, want: 400, keep: true},
		{id: "PTH-04 short", ask: ask{target: "/%2"}, want: 400, keep: true},
		{id: "PTH-04 alone", ask: ask{target: "/%"}, want: 400, keep: true},
		{id: "PTH-04 u", ask: ask{target: "/%u002e"}, want: 400, keep: true},
		{id: "PTH-05", ask: ask{target: "/a/%252e%252e/%252F"}, check: line("GET /a/%252e%252e/%252F")},
		{id: "PTH-06", ask: ask{target: "/%c0%af%ff"}, check: line("GET /%C0%AF%FF")},
		{id: "PTH-08", ask: ask{target: "/?a=1;b=2?c&%0d%0a"}, check: line("GET /?a=1&b=2?c&%0d%0a")},
		{id: "PTH-09", ask: ask{target: "/a%0d%0aX:y"}, check: line("GET /a%0D%0AX:y")},
		{id: "sound", ask: ask{}, check: line("GET /")},
	}
	for _, h := range []string{"u@a.test", "a.test/x", "a.test?x", "a.test#x", "a test", "a%41.test", "b\xc3\xbccher.test", "a..test", strings.Repeat("a", 256), "a,b", "a\\b", `a"b`} {
		rows = append(rows, row{id: fmt.Sprintf("HST-03 %.20q", h), ask: ask{host: h}, want: 400})
	}
	for _, row := range rows {
		for _, transport := range transports {
			t.Run(row.id+" "+transport, func(t *testing.T) {
				before := w.count()
				want := row.want
				if want == 0 {
					want = 200
				}
				got := r.tell(transport, row.ask, want != 200 && want != 405 && !row.keep)
				if got.status != want {
					t.Errorf("got %+v, want %d", got, want)
				}
				m := w.messages(before)
				if row.check == nil {
					if len(m) > 0 {
						t.Errorf("the server got %q", m)
					}
				} else if len(m) != 1 || !row.check(m[0]) {
					t.Errorf("the server got %q", m)
				}
			})
		}
	}
	w.noLeak(t)
	if s := w.Received(); strings.Contains(s, "evil") {
		t.Error("trailers reached the server")
	}
}

// Section 6 where the entry point keeps dots and denies percent codes.
func TestSecurityPathPolicies(t *testing.T) {
	w := newWitness(t)
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", http: {sanitizePath: false, encodeQuerySemicolons: true, underscoreHeadersStrategy: reject, encodedCharacters: {allowEncodedSlash: false, allowEncodedNullCharacter: false}}}
  secure: {address: "127.0.0.1:0", http: {sanitizePath: false, encodeQuerySemicolons: true, underscoreHeadersStrategy: reject, encodedCharacters: {allowEncodedSlash: false, allowEncodedNullCharacter: false}}}
`, everything(w.Addr))
	for _, row := range []struct {
		id, target string
		want       string // the line that the server got, or a status
		fields     []string
	}{
		{"PTH-01", "/a/../b/./c//d", "GET /a/../b/./c//d", nil},
		{"PTH-01 encoded", "/a/%2e%2e/b", "GET /a/../b", nil},
		{"PTH-03 slash", "/a%2fb", "400", nil},
		{"PTH-03 NUL", "/a%00b", "400", nil},
		{"PTH-03 query", "/a?b%2fc", "GET /a?b%2fc", nil},
		{"PTH-08", "/?a=1;b", "GET /?a=1%3Bb", nil},
		{"FLD-03 reject", "/", "400", []string{"x_custom", "1"}},
	} {
		for _, transport := range transports {
			t.Run(row.id+" "+transport, func(t *testing.T) {
				before := w.count()
				got := r.tell(transport, ask{target: row.target, fields: row.fields}, false)
				saw := fmt.Sprint(got.status)
				if m := w.messages(before); len(m) == 1 && got.status == 200 {
					saw = strings.TrimSuffix(m[0].line, " HTTP/1.1")
				}
				if saw != row.want {
					t.Errorf("got %q (%+v), want %q", saw, got, row.want)
				}
			})
		}
	}
}

// PTH-03 and PTH-07: no spelling of a path misses the router that protects it and reaches the server as that path.
func TestSecurityProtectedPath(t *testing.T) {
	open, guarded := newWitness(t), newWitness(t)
	r := start(t, twoEntryPoints, `
http:
  routers:
    open: {rule: "PathPrefix(`+"`/`"+`)", service: open, entryPoints: [web]}
    opens: {rule: "PathPrefix(`+"`/`"+`)", service: open, entryPoints: [secure], tls: {}}
    guarded: {rule: "PathPrefix(`+"`/admin`"+`)", service: guarded, entryPoints: [web]}
    guardeds: {rule: "PathPrefix(`+"`/admin`"+`)", service: guarded, entryPoints: [secure], tls: {}}
  services:
    open: {loadBalancer: {servers: [{url: "http://`+open.Addr+`"}]}}
    guarded: {loadBalancer: {servers: [{url: "http://`+guarded.Addr+`"}]}}
`)
	for target, want := range map[string]bool{
		"/admin": true, "/admin/": true, "/%61dmin": true, "/%61%64%6d%69%6e/x": true, "//admin": true, "/./admin": true, "/x/../admin": true, "/x/%2e%2e/admin": true,
		"/admin;x=1": true, "/admin%20": true, "/admin%2fx": true, "/administrator": true, "/admin.": true, "/x/%2E%2E//./admin": true,
		"/ADMIN": false, "/%2561dmin": false, "/x%2f..%2fadmin": false, "/%2fadmin": false, "/;/admin": false,
	} {
		for _, transport := range transports {
			before, beforeOpen := guarded.count(), open.count()
			got := r.tell(transport, ask{target: target}, false)
			m, o := guarded.messages(before), open.messages(beforeOpen)
			if got.status != 200 || (len(m) == 1) != want || (len(o) == 1) == want {
				t.Errorf("%s %s: got %+v, guarded %q, open %q", transport, target, got, m, o)
			}
			for _, m := range o {
				if strings.HasPrefix(m.line, "GET /admin") {
					t.Errorf("%s %s: the open server got %q", transport, target, m.line)
				}
			}
		}
	}
}

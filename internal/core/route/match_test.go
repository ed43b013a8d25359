package route

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/core/rule"
)

// fields is a header for tests.
type fields [][2]string

func (f fields) HeaderValue(name string, i int) ([]byte, bool) {
	for _, p := range f {
		if strings.EqualFold(p[0], name) {
			if i == 0 {
				return []byte(p[1]), true
			}
			i--
		}
	}
	return nil, false
}

func parse(t testing.TB, text string, syntax rule.Syntax, layer rule.Layer) *rule.Rule {
	t.Helper()
	r, problems := rule.Parse(text, syntax, layer)
	if r == nil {
		t.Fatalf("%s: %v", text, problems)
	}
	return r
}

func TestHTTPMatchers(t *testing.T) {
	type req struct {
		host, cname, path, method, query, client string
		header                                   fields
	}
	const v3, v2 = rule.V3, rule.V2
	for _, c := range []struct {
		syntax rule.Syntax
		text   string
		req    req
		want   bool
	}{
		{v3, "Host(`A.Test.`)", req{host: "a.test"}, true},
		{v3, "Host(`a.test`)", req{host: "b.test"}, false},
		{v3, "Host(`a.test`)", req{}, false},
		{v3, "Host(`a.test:80`)", req{host: "a.test"}, false},
		{v3, "Host(`a.test`)", req{host: "x", cname: "a.test"}, true},
		{v3, "Host(`::1`)", req{host: "::1"}, true},
		{v3, "Host(`*.d.test`)", req{host: "a.d.test"}, true},
		{v3, "Host(`*.d.test`)", req{host: "d.test"}, false},
		{v3, "Host(`*.d.test`)", req{host: "a.b.d.test"}, false},
		{v3, "Host(`*.d.test`)", req{host: "b", cname: "a.d.test"}, true},
		{v3, "Host(`a*.d.test`)", req{host: "ab.d.test"}, false},
		{v3, "Host(`*.*.test`)", req{host: "a.b.test"}, false},
		{v3, "Host(`*`)", req{}, true},
		{v3, "Host(`*`)", req{host: "a"}, true},
		{v2, "Host(`*`)", req{host: "a"}, false},
		{v2, "Host(`*.d`)", req{host: "a.d"}, false},
		{v2, "Host(`a`,`b`)", req{host: "b"}, true},
		{v2, "HostHeader(`a`)", req{host: "a"}, true},
		{v3, "HostRegexp(`a`)", req{host: "bab"}, true},
		{v3, "HostRegexp(`[A-Z]`)", req{host: "a"}, false},
		{v3, "HostRegexp(`^.+$`)", req{}, false},
		{v3, "HostRegexp(`^a$`)", req{host: "b", cname: "a"}, true},
		{v2, "HostRegexp(`{s}.Test`)", req{host: "a.test"}, true},
		{v2, "HostRegexp(`{s}.test`)", req{host: "a.b.test"}, false},
		{v2, "HostRegexp(`{s:a|b}.test`,`c`)", req{host: "xb.test"}, false},
		{v2, "HostRegexp(`{s:a|b}.test`,`c`)", req{host: "c"}, true},
		{v3, "Path(`/a`)", req{path: "/a"}, true},
		{v3, "Path(`/a`)", req{path: "/a/"}, false},
		{v3, "PathPrefix(`/a`)", req{path: "/abc"}, true},
		{v3, "PathPrefix(`/a/`)", req{path: "/a"}, false},
		{v3, "PathRegexp(`b/$`)", req{path: "/ab/"}, true},
		{v2, "Path(`/a/{id}`)", req{path: "/a/7"}, true},
		{v2, "Path(`/a/{id}`)", req{path: "/a/7/"}, false},
		{v2, "Path(`/a/{id:[0-9]+}`)", req{path: "/a/x"}, false},
		{v2, "PathPrefix(`/a/{id}`)", req{path: "/a/7/b"}, true},
		{v2, "PathPrefix(`/x`,`/a`)", req{path: "/ab"}, true},
		{v3, "Method(`get`)", req{method: "GET"}, true},
		{v3, "Method(`GET`)", req{method: "get"}, false},
		{v3, "Header(`x-a`,`1`)", req{header: fields{{"X-A", "0"}, {"x-a", "1"}}}, true},
		{v3, "Header(`x-a`,`1`)", req{header: fields{{"X-A", "1, 2"}}}, false},
		{v3, "HeaderRegexp(`x-a`,`.*`)", req{}, false},
		{v3, "HeaderRegexp(`x-a`,`^.$`)", req{header: fields{{"X-A", "00"}, {"x-a", "1"}}}, true},
		{v2, "Headers(`a`,`1`,`b`,`2`)", req{header: fields{{"A", "1"}, {"B", "2"}}}, true},
		{v2, "Headers(`a`,`1`,`b`,`2`)", req{header: fields{{"A", "1"}}}, false},
		{v2, "!Headers(`a`,`1`,`b`,`2`)", req{header: fields{{"A", "1"}}}, true},
		{v2, "HeadersRegexp(`a`,`1`,`b`,`2`)", req{header: fields{{"A", "01"}, {"B", "20"}}}, true},
		{v3, "Query(`a`,`b c`)", req{query: "a=x&a=b+c"}, true},
		{v3, "Query(`a`,`b c`)", req{query: "z;a=b%20c"}, true},
		{v3, "Query(`a b`,`c`)", req{query: "a%20b=c"}, true},
		{v3, "Query(`a`,`b`)", req{query: "a=b%zz"}, false},
		{v3, "Query(`a`)", req{query: "a"}, true},
		{v3, "Query(`a`)", req{query: "a="}, true},
		{v3, "Query(`a`)", req{query: "a=1"}, false},
		{v3, "Query(`a`)", req{query: ""}, false},
		{v3, "QueryRegexp(`a`,`^\\d$`)", req{query: "a=10&a=1"}, true},
		{v3, "QueryRegexp(`a`)", req{query: "a=1"}, false},
		{v2, "Query(`a=1`)", req{query: "a=1&a=2"}, true},
		{v2, "Query(`a=2`)", req{query: "a=1&a=2"}, false},
		{v2, "Query(`a=`)", req{query: "a=9"}, true},
		{v2, "Query(`a=`)", req{query: "b=9"}, false},
		{v2, "Query(`a`,`1`)", req{query: "a=1"}, true},
		{v2, "Query(`a={x:[0-9]+}`,`b=1`)", req{query: "a=77&b=1"}, true},
		{v2, "Query(`a={x:[0-9]+}`,`b=1`)", req{query: "a=77"}, false},
		{v3, "ClientIP(`10.0.0.0/8`)", req{client: "10.9.9.9"}, true},
		{v3, "ClientIP(`10.0.0.0/8`)", req{client: "::ffff:10.9.9.9"}, true},
		{v3, "ClientIP(`::ffff:10.0.0.0/104`)", req{client: "10.9.9.9"}, true},
		{v3, "ClientIP(`fe80::1`)", req{client: "fe80::1%eth0"}, true},
		{v3, "ClientIP(`::/0`)", req{client: "10.9.9.9"}, false},
		{v3, "ClientIP(`0.0.0.0/0`)", req{}, false},
		{v3, "!ClientIP(`0.0.0.0/0`)", req{}, true},
		{v3, "!(Host(`a`) && Path(`/`)) || Method(`GET`)", req{host: "a", path: "/"}, false},
		{v3, "!(Host(`a`) && Path(`/`)) || Method(`GET`)", req{host: "a", path: "/x"}, true},
		{v3, "Host(`a`) || Host(`b`) && Path(`/`)", req{host: "a", path: "/x"}, true},
		{v3, "(Host(`a`) || Host(`b`)) && Path(`/`)", req{host: "a", path: "/x"}, false},
		{v3, "Host(`a`) && Host(`b`)", req{host: "a", cname: "b"}, true},
	} {
		r := &Request{
			Host: []byte(c.req.host), CNAME: []byte(c.req.cname), Path: []byte(c.req.path),
			Method: []byte(c.req.method), Query: []byte(c.req.query), Header: c.req.header,
		}
		if c.req.client != "" {
			r.Client = netip.MustParseAddr(c.req.client)
		}
		table := CompileHTTP(nil, []Entry{{Rule: parse(t, c.text, c.syntax, rule.HTTP)}})
		if _, got := table.Scan(r); got != c.want {
			t.Errorf("%s with %+v: scan %v, want %v", c.text, c.req, got, c.want)
		}
		if _, got := table.Lookup(r); got != c.want {
			t.Errorf("%s with %+v: lookup %v, want %v", c.text, c.req, got, c.want)
		}
		if got := table.Explain(r)[0]; got.Matches != c.want || (len(got.Misses) == 0) != c.want {
			t.Errorf("%s with %+v: explained as %+v, want %v", c.text, c.req, got, c.want)
		}
	}
}

func TestTCPMatchers(t *testing.T) {
	for _, c := range []struct {
		syntax rule.Syntax
		text   string
		conn   Conn
		want   bool
	}{
		{rule.V3, "HostSNI(`A.test.`)", Conn{SNI: "a.test"}, true},
		{rule.V3, "HostSNI(`a.test`)", Conn{SNI: "A.TEST."}, true},
		{rule.V3, "HostSNI(`a.test`)", Conn{}, false},
		{rule.V3, "HostSNI(`*.test`)", Conn{SNI: "a.test"}, true},
		{rule.V3, "HostSNI(`*.test`)", Conn{SNI: "a.b.test"}, false},
		{rule.V3, "HostSNI(`*`)", Conn{}, true},
		{rule.V3, "!HostSNI(`*`)", Conn{SNI: "a"}, false},
		{rule.V2, "HostSNI(`a`,`*`)", Conn{SNI: "b"}, true},
		{rule.V3, "HostSNIRegexp(`^a`)", Conn{SNI: "Abc"}, true},
		{rule.V3, "HostSNIRegexp(`^$`)", Conn{}, true},
		{rule.V2, "HostSNIRegexp(`{s}.test`)", Conn{SNI: "a.test"}, true},
		{rule.V3, "ALPN(`h2`)", Conn{ALPN: []string{"http/1.1", "h2"}}, true},
		{rule.V3, "ALPN(`H2`)", Conn{ALPN: []string{"h2"}}, false},
		{rule.V2, "ALPN(`a`,`b`)", Conn{ALPN: []string{"b"}}, true},
		{rule.V3, "ClientIP(`1.2.3.0/24`) && !ALPN(`h2`)", Conn{Client: netip.MustParseAddr("1.2.3.4")}, true},
	} {
		table := CompileTCP(nil, []Entry{{Rule: parse(t, c.text, c.syntax, rule.TCP)}})
		if _, got := table.Scan(&c.conn); got != c.want {
			t.Errorf("%s with %+v: scan %v, want %v", c.text, c.conn, got, c.want)
		}
		if _, got := table.Lookup(&c.conn); got != c.want {
			t.Errorf("%s with %+v: lookup %v, want %v", c.text, c.conn, got, c.want)
		}
	}
}

func TestExplainNamesTheMatcher(t *testing.T) {
	entries := []Entry{
		{Rule: parse(t, "Host(`a.test`) && (PathPrefix(`/x`) || Path(`/y`))", rule.V3, rule.HTTP), Priority: 3},
		{Rule: parse(t, "Host(`a.test`) && !Method(`GET`) && Host(`b`)", rule.V3, rule.HTTP), Priority: 4},
		{Rule: parse(t, "!(Header(`A`, `1`) || Query(`q`, `2`))", rule.V3, rule.HTTP), Priority: 2},
		{Rule: parse(t, "PathPrefix(`/`)", rule.V3, rule.HTTP), Priority: 1},
	}
	r := &Request{Host: []byte("a.test"), Path: []byte("/z"), Method: []byte("GET"), Query: []byte("q=2"), Header: fields{{"A", "0"}}}
	var got []string
	for _, v := range CompileHTTP(nil, entries).Explain(r) {
		s := []string{entries[v.Entry].Rule.Text}
		for _, m := range v.Misses {
			n := ""
			if m.Negated {
				n = "!"
			}
			s = append(s, n+m.Matcher.String()+" saw "+m.Saw)
		}
		got = append(got, strings.Join(s, "; "))
	}
	want := []string{
		"Host(`a.test`) && !Method(`GET`) && Host(`b`); !Method(`GET`) saw GET",
		"Host(`a.test`) && (PathPrefix(`/x`) || Path(`/y`)); PathPrefix(`/x`) saw /z; Path(`/y`) saw /z",
		"!(Header(`A`, `1`) || Query(`q`, `2`)); !Query(`q`, `2`) saw q=2",
		"PathPrefix(`/`)",
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestCanonicalHost(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"", "", nil},
		{"a.test", "a.test", nil},
		{"A.Test:443", "a.test", nil},
		{"a.test.", "a.test", nil},
		{"a.test.:80", "a.test", nil},
		{"a.test:", "a.test", nil},
		{"a_b-c.test", "a_b-c.test", nil},
		{"[2001:DB8::1]:443", "2001:db8::1", nil},
		{"[::1]", "::1", nil},
		{"[::ffff:1.2.3.4]", "::ffff:1.2.3.4", nil},
		{"0x7f000001", "0x7f000001", nil},
		{"a.test:0", "", ErrHostPort},
		{"a.test:65536", "", ErrHostPort},
		{"a.test:8o", "", ErrHostPort},
		{"a:b:c", "", ErrHostPort},
		{"::1", "", ErrHostPort},
		{":80", "", ErrHostLabel},
		{".", "", ErrHostLabel},
		{"a..b", "", ErrHostLabel},
		{".a", "", ErrHostLabel},
		{"a..", "", ErrHostLabel},
		{"u@a", "", ErrHostSyntax},
		{"a/b", "", ErrHostSyntax},
		{"a?b", "", ErrHostSyntax},
		{"a#b", "", ErrHostSyntax},
		{"a b", "", ErrHostSyntax},
		{"a,b", "", ErrHostSyntax},
		{"a%41", "", ErrHostSyntax},
		{"b\xc3\xbccher", "", ErrHostSyntax},
		{"a\x00", "", ErrHostSyntax},
		{"[fe80::1%eth0]", "", ErrHostIPv6},
		{"[fe80::1%25eth0]", "", ErrHostIPv6},
		{"[1.2.3.4]", "", ErrHostIPv6},
		{"[::1", "", ErrHostIPv6},
		{"[::1]x", "", ErrHostIPv6},
		{"[v1.a]", "", ErrHostIPv6},
		{strings.Repeat("a", 256), "", ErrHostLong},
	} {
		got, err := CanonicalHost(nil, []byte(c.in))
		if string(got) != c.want || err != c.err {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestRoutingPath(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"/a", "/a", nil},
		{"/foo%20bar", "/foo bar", nil},
		{"/a%2Fb", "/a%2Fb", nil},
		{"/a%2fb%20", "/a%2Fb ", nil},
		{"/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25", "/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25", nil},
		{"/%5c%00", "/%5C%00", nil},
		{"/%C3%BC%ff", "/\xc3\xbc\xff", nil},
		{"/%252e", "/%252e", nil},
		{"/%zz", "", ErrBadEscape},
		{"/%", "", ErrBadEscape},
		{"/%2", "", ErrBadEscape},
		{"/%u002e", "", ErrBadEscape},
	} {
		got, err := RoutingPath(nil, []byte(c.in))
		if string(got) != c.want || err != c.err {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestHelpersDoNotAllocate(t *testing.T) {
	host, mixed, path, dst := []byte("www.example.com:443"), []byte("WWW.example.com"), []byte("/a/b%2Fc%20d"), make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		if _, err := CanonicalHost(nil, host); err != nil {
			t.Fatal(err)
		}
		if _, err := CanonicalHost(dst, mixed); err != nil {
			t.Fatal(err)
		}
		if _, err := RoutingPath(dst, path); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestQueryCap(t *testing.T) {
	table := CompileHTTP(nil, []Entry{{Rule: parse(t, "Query(`last`, `1`)", rule.V3, rule.HTTP)}})
	for _, c := range []struct {
		before int
		want   bool
	}{{maxPairs - 1, true}, {maxPairs, false}} {
		r := &Request{Query: []byte(strings.Repeat("a=b&", c.before) + "last=1")}
		if _, got := table.Lookup(r); got != c.want {
			t.Errorf("behind %d parameters: %v, want %v", c.before, got, c.want)
		}
	}
}

func TestResetKeepsOnlySmallMemory(t *testing.T) {
	table := CompileHTTP(nil, []Entry{{Rule: parse(t, "Query(`k`, `v w`)", rule.V3, rule.HTTP)}})
	small, large := []byte("k=v%20w"), []byte(strings.Repeat("a=b&", 1000)+"k=v+w")
	r := &Request{Header: fields{}, Query: small, Host: []byte("a")}
	table.Lookup(r)
	n := testing.AllocsPerRun(100, func() {
		r.Reset()
		if r.Header == nil || r.Host != nil || r.Query != nil || len(r.query.pairs) != 0 {
			t.Fatalf("reset to %+v", r)
		}
		r.Query = small
		if _, ok := table.Lookup(r); !ok {
			t.Fatal("no match")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.Query = large
	if _, ok := table.Lookup(r); !ok {
		t.Fatal("no match behind many parameters")
	}
	if r.Reset(); cap(r.query.pairs) != 0 {
		t.Errorf("memory for %d parameters kept", cap(r.query.pairs))
	}
}

// CleanPath gives the same with and without memory, and nothing is left to do afterwards.
func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{"": "/", "/a": "/a", "/%61/../b//c/": "/b/c/", "/%2e%2E/x": "/x", "/a%2f..": "/a%2F..", "/../..": "/"} {
		for _, room := range []int{0, 3, 64} {
			got, err := CleanPath(make([]byte, 0, room), []byte(in), true)
			if err != nil || string(got) != want {
				t.Errorf("%q with room for %d: got %q, %v, want %q", in, room, got, err, want)
			}
			if again, err := CleanPath(nil, got, true); err != nil || string(again) != want {
				t.Errorf("%q becomes %q, then %q", in, got, again)
			}
		}
	}
	if _, err := CleanPath(nil, []byte("/%zz"), true); err != ErrBadEscape {
		t.Error(err)
	}
}

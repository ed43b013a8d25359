package httpmsg

import (
	"strings"
	"testing"

	"sluice/internal/core/fault"
)

func TestIsHost(t *testing.T) {
	good := []string{
		"a", "a.test", "A.Test:443", "a.test.", "a.test:", "a.test.:80", "a_b.test", "xn--bcher-kva.test", "1.2.3.4", "1.2.3.4:80",
		"[::1]", "[::1]:443", "[2001:db8::1]:", "[::ffff:1.2.3.4]", "a:1", "a:65535", "1a.2b", "0xg", "0x", "3com.test", "1.2.3", "0x7f.a", strings.Repeat("a", 255),
	}
	bad := []string{
		"", ".", "..", ".a", "a..b", "a..", "a,b", "a, b", "a b", " a", "a ", "u@a", "u:p@a", "a/b", "a?b", "a#b", "a%41", "a\\b", "b\xc3\xbccher", "a\x00b", "a\rb",
		"a:0", "a:00", "a:65536", "a:99999999999999999999", "a:-1", "a:+1", "a:8o", "a:80:80", "a:80.", "::1", "[::1", "[::1]x", "[::1]80", "[::1%25eth0]", "[::1%eth0]",
		"[]", "[1.2.3.4]", "[0x1::]", "[g::1]", "0x7f000001", "1.0X7f", "1.2.3.0x4", "a:000080", ":80", "http://a", "a\"b", "a<b",
		strings.Repeat("a", 256),
	}
	for _, s := range good {
		if !IsHost(View(s)) {
			t.Errorf("%q refused", s)
		}
	}
	for _, s := range bad {
		if IsHost(View(s)) {
			t.Errorf("%q accepted", s)
		}
	}
}

func TestSetTarget(t *testing.T) {
	cases := []struct {
		method, target string
		path, query    string
		has            bool
		kind           fault.Kind
	}{
		{"GET", "/", "/", "", false, 0},
		{"GET", "/a?b=c", "/a", "b=c", true, 0},
		{"GET", "/a?", "/a", "", true, 0},
		{"GET", "/a?b?c", "/a", "b?c", true, 0},
		{"GET", `/a"<>^{}[]|` + "`", `/a"<>^{}[]|` + "`", "", false, 0},
		{"GET", "/b\xc3\xbc?\xff", "/b%C3%BC", "%FF", true, 0},
		{"GET", "/a%2fb%", "/a%2fb%", "", false, 0},
		{"GET", `/a?b=\`, "/a", `b=\`, true, 0},
		{"OPTIONS", "*", "*", "", false, 0},
		{"GET", "*", "", "", false, fault.BadRequest},
		{"OPTIONS", "**", "", "", false, fault.BadRequest},
		{"GET", "", "", "", false, fault.BadRequest},
		{"GET", "a", "", "", false, fault.BadRequest},
		{"GET", "http://a/", "", "", false, fault.BadRequest},
		{"GET", "/a#b", "", "", false, fault.BadRequest},
		{"GET", "/a?b#c", "", "", false, fault.BadRequest},
		{"GET", "/a b", "", "", false, fault.BadRequest},
		{"GET", "/a\tb", "", "", false, fault.BadRequest},
		{"GET", "/a\x00", "", "", false, fault.BadRequest},
		{"GET", "/a\x7f", "", "", false, fault.BadRequest},
		{"GET", `/a\b`, "", "", false, fault.BadRequest},
		{"GET", "/\xff" + `\`, "", "", false, fault.BadRequest},
		{"GET", "/" + strings.Repeat("a", MaxTarget), "", "", false, fault.URITooLong},
	}
	for _, c := range cases {
		var x Exchange
		x.Req.Method = View(c.method)
		f := x.SetTarget(View(c.target))
		if c.kind != 0 {
			if f == nil || f.Kind != c.kind {
				t.Errorf("%s %.40q: fault %v, want %s", c.method, c.target, f, c.kind.Code())
			}
			continue
		}
		if f != nil || !x.Req.Path.Is(c.path) || !x.Req.Query.Is(c.query) || x.Req.HasQuery != c.has {
			t.Errorf("%s %q: path %q query %q %v, fault %v", c.method, c.target, x.Req.Path, x.Req.Query, x.Req.HasQuery, f)
		}
	}
}

func TestCheckMethod(t *testing.T) {
	for m, kind := range map[string]fault.Kind{
		"GET": 0, "get": 0, "M-SEARCH": 0, "!#$%&'*+-.^_`|~": 0, strings.Repeat("A", 64): 0,
		"": fault.BadRequest, "G ET": fault.BadRequest, "GET\x00": fault.BadRequest, "G(T": fault.BadRequest, "G\xc3T": fault.BadRequest,
		strings.Repeat("A", 65): fault.BadRequest, "CONNECT": fault.MethodNotImplemented, "TRACE": fault.MethodNotAllowed, "trace": 0,
	} {
		var got fault.Kind
		if f := CheckMethod(View(m)); f != nil {
			got = f.Kind
		}
		if got != kind {
			t.Errorf("%q: %s, want %s", m, got.Code(), kind.Code())
		}
	}
}

func TestParseLength(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "3": 3, "003": 3, "9223372036854775807": 1<<63 - 1,
		"": -1, "+3": -1, "-1": -1, "0x3": -1, "0o3": -1, "3_0": -1, "1 0": -1, "3.0": -1, "3a": -1, "\u0663": -1, " 3": -1, "3,3": -1,
		"9223372036854775808": -1, "00000000000000000003": -1,
	} {
		n, ok := ParseLength(View(s))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %v", s, n, ok)
		}
	}
}

func TestIsFieldValue(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "a": true, "a b": true, "a\tb": true, "\xff\xc3": true,
		" a": false, "a ": false, "\ta": false, "a\x00": false, "a\rb": false, "a\nb": false, "a\x1b": false, "a\x7f": false,
	} {
		if IsFieldValue(View(s)) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}

func TestVerdictsDoNotAllocate(t *testing.T) {
	x := &Exchange{}
	method, host, target := View("GET"), View("10.0.0.1:8080"), View("/a/b?c")
	if n := testing.AllocsPerRun(100, func() {
		x.Req.Method = method
		if CheckMethod(method) != nil || !IsHost(host) || x.SetTarget(target) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzIsHost(f *testing.F) {
	for _, s := range []string{"a.test:80", "[::1]:443", "1.2.3.4", "0x7f.1", "a..", "[::1%25e]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if IsHost(View(s)) && strings.ContainsAny(s, " \t\r\n\x00/\\?#@%,\"<>") {
			t.Errorf("%q accepted", s)
		}
	})
}

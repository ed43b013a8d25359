package middleware

import (
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
)

func TestPaths(t *testing.T) {
	strip := func(p ...string) *dynamic.Middleware {
		return &dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{Prefixes: p}}
	}
	stripRegex := func(p ...string) *dynamic.Middleware {
		return &dynamic.Middleware{StripPrefixRegex: &dynamic.StripPrefixRegex{Regex: p}}
	}
	add := func(p string) *dynamic.Middleware {
		return &dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{Prefix: p}}
	}
	replace := func(p string) *dynamic.Middleware {
		return &dynamic.Middleware{ReplacePath: &dynamic.ReplacePath{Path: p}}
	}
	regex := func(re, with string) *dynamic.Middleware {
		return &dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: re, Replacement: with}}
	}
	for _, c := range []struct {
		name   string
		m      *dynamic.Middleware
		target string
		path   string // "" is 400
		fields []string
	}{
		{"addPrefix", add("/app"), "/x", "/app/x", nil},
		{"addPrefix root", add("/app"), "/", "/app/", nil},
		{"addPrefix without slash", add("app"), "/x", "/app/x", nil},
		{"addPrefix slash at the end is not doubled", add("/app/"), "/x", "/app/x", nil},
		{"addPrefix is literal", add("/a b%20?#"), "/x", "/a%20b%2520%3F%23/x", nil},
		{"addPrefix keeps codes", add("/app"), "/a%2Fb%20c", "/app/a%2Fb%20c", nil},
		{"addPrefix slash alone", add("/"), "/x", "/x", nil},
		{"addPrefix PTH-02 climbing", add("/app"), "/../x", "", nil},
		{"addPrefix OPTIONS *", add("/app"), "*", "*", nil},
		{"stripPrefix", strip("/api"), "/api/x", "/x", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefix whole", strip("/api"), "/api", "/", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefix slash at the end", strip("/api/"), "/api/x", "/x", []string{"X-Forwarded-Prefix: /api/"}},
		{"stripPrefix no segment boundary", strip("/api"), "/apifoo", "/foo", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefix no match", strip("/api"), "/other", "/other", nil},
		{"stripPrefix list order", strip("/stat", "/stat/foo"), "/stat/foo/x", "/foo/x", []string{"X-Forwarded-Prefix: /stat"}},
		{"stripPrefix decoded", strip("/a b"), "/a%20b/x", "/x", []string{"X-Forwarded-Prefix: /a%20b"}},
		{"stripPrefix utf-8", strip("/ä"), "/%C3%A4/x", "/x", []string{"X-Forwarded-Prefix: /%C3%A4"}},
		{"stripPrefix keeps codes behind", strip("/a b"), "/a%20b/x%20y%2Fz", "/x%20y%2Fz", []string{"X-Forwarded-Prefix: /a%20b"}},
		{"stripPrefix PTH-03 encoded slash is none", strip("/api/"), "/api%2Fx", "/api%2Fx", nil},
		{"stripPrefix PTH-03 encoded slash stays", strip("/api"), "/api%2Fx", "/%2Fx", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefix PTH-03 written like a rule", strip("/a%2Fb"), "/a%2Fb/x", "/x", []string{"X-Forwarded-Prefix: /a%2Fb"}},
		{"stripPrefix inside a code", strip("/a%2"), "/a%2Fb", "/a%2Fb", nil},
		{"stripPrefix PTH-11 double slash", strip("/api"), "/api//evil.test", "", nil},
		{"stripPrefix PTH-02 dots left over", strip("/api"), "/api../x", "", nil},
		{"stripPrefix OPTIONS *", strip("*"), "*", "*", nil},
		{"stripPrefixRegex", stripRegex("^/[a-z]+"), "/api/x", "/x", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefixRegex unanchored at the start", stripRegex("/[a-z]+"), "/api/x", "/x", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefixRegex match elsewhere", stripRegex("/[0-9]+"), "/api/12", "/api/12", nil},
		{"stripPrefixRegex second", stripRegex("/[0-9]+", "/api"), "/api/12", "/12", []string{"X-Forwarded-Prefix: /api"}},
		{"stripPrefixRegex decoded", stripRegex("/a b"), "/a%20b/c", "/c", []string{"X-Forwarded-Prefix: /a%20b"}},
		{"stripPrefixRegex PTH-09 line end stays encoded", stripRegex("/[^/]+"), "/a%0D%0AX:1/c", "/c", []string{"X-Forwarded-Prefix: /a%0D%0AX:1"}},
		{"stripPrefixRegex empty match", stripRegex("^"), "/a", "/a", nil},
		{"stripPrefixRegex PTH-06", stripRegex("/[^/]+"), "/%C0%AF/c", "/c", []string{"X-Forwarded-Prefix: /%C0%AF"}},
		{"replacePath", replace("/new"), "/old%20x", "/new", []string{"X-Replaced-Path: /old%20x"}},
		{"replacePath codes", replace("/n%c3%a4%41 x"), "/old", "/n%C3%A4A%20x", []string{"X-Replaced-Path: /old"}},
		{"replacePath without slash", replace("new"), "/old", "/new", []string{"X-Replaced-Path: /old"}},
		{"replacePath empty", replace(""), "/old", "/", []string{"X-Replaced-Path: /old"}},
		{"replacePathRegex", regex("^/foo/(.*)", "/bar/$1"), "/foo/x%20y", "/bar/x%20y", []string{"X-Replaced-Path: /foo/x%20y"}},
		{"replacePathRegex trimmed", regex(" ^/foo/(.*) ", " /bar/$1 "), "/foo/x", "/bar/x", []string{"X-Replaced-Path: /foo/x"}},
		{"replacePathRegex all matches", regex("a", "b"), "/aXa", "/bXb", []string{"X-Replaced-Path: /aXa"}},
		{"replacePathRegex no match", regex("^/foo", "/bar"), "/x", "/x", nil},
		{"replacePathRegex empty", regex("^/foo", ""), "/foo", "/", []string{"X-Replaced-Path: /foo"}},
		{"replacePathRegex without slash", regex("^/foo/", ""), "/foo/x", "/x", []string{"X-Replaced-Path: /foo/x"}},
		{"replacePathRegex question mark", regex("^/foo", "/bar?x"), "/foo", "/bar%3Fx", []string{"X-Replaced-Path: /foo"}},
		{"replacePathRegex PTH-11", regex("^/foo", "/"), "/foo/evil.test", "", nil},
		{"replacePathRegex PTH-02", regex("^/foo", "/bar/.."), "/foo/x", "", nil},
		{"replacePathRegex PTH-04 broken code", regex("^/foo", "/%zz"), "/foo", "", nil},
		{"replacePathRegex PTH-05 decoded code makes no dots", regex("^/foo/(.*)", "/%2e$1"), "/foo/%2E/x", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			a := ask{target: c.target}
			if c.target == "*" {
				a.method = "OPTIONS"
			}
			x := serve(t, build(t, Env{}, o, c.m), a)
			if c.path == "" {
				if x.Res.Status != 400 || o.calls > 0 {
					t.Errorf("got %d with path %q, want 400", x.Res.Status, o.path)
				}
				return
			}
			if o.path != c.path || !slices.Equal(o.fields, c.fields) {
				t.Errorf("got %q %q, want %q %q", o.path, o.fields, c.path, c.fields)
			}
			if c.path != "*" && !isNormal([]byte(o.path)) {
				t.Errorf("%q is not normal", o.path)
			}
		})
	}
}

func TestPathsRefuse(t *testing.T) {
	for _, c := range []struct {
		key string
		m   dynamic.Middleware
	}{
		{"addPrefix.prefix", dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{}}},
		{"addPrefix.prefix", dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{Prefix: "/a/../.."}}},
		{"addPrefix.prefix", dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{Prefix: "//a"}}},
		{"stripPrefixRegex.regex[1]", dynamic.Middleware{StripPrefixRegex: &dynamic.StripPrefixRegex{Regex: []string{"a", "("}}}},
		{"replacePath.path", dynamic.Middleware{ReplacePath: &dynamic.ReplacePath{Path: "/a%zz"}}},
		{"replacePath.path", dynamic.Middleware{ReplacePath: &dynamic.ReplacePath{Path: "/a//b"}}},
		{"replacePath.path", dynamic.Middleware{ReplacePath: &dynamic.ReplacePath{Path: "/a/%2e%2e/b"}}},
		{"replacePathRegex.regex", dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "["}}},
		{"replacePathRegex.regex", dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "((a{100}){100}){100}"}}},
		{"replacePathRegex.regex", dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: strings.Repeat("a", 20000)}}},
		{"redirectRegex.regex", dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Replacement: "x"}}},
		{"redirectRegex.regex", dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: "(", Replacement: "x"}}},
		{"redirectRegex.replacement", dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: "a"}}},
		{"redirectRegex.replacement", dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: "a", Replacement: "a\r\nb"}}},
		{"redirectScheme.scheme", dynamic.Middleware{RedirectScheme: &dynamic.RedirectScheme{Scheme: "a\nb"}}},
	} {
		refuses(t, &c.m, c.key)
	}
}

func TestPathsWarn(t *testing.T) {
	for _, c := range []struct {
		key string
		m   dynamic.Middleware
	}{
		{"addPrefix.prefix", dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{Prefix: "/a/"}}},
		{"stripPrefix.prefixes", dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{}}},
		{"stripPrefix.prefixes[1]", dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{Prefixes: []string{"/a", "/a/b"}}}},
		{"stripPrefix.prefixes[0]", dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{Prefixes: []string{"a"}}}},
		{"replacePathRegex.replacement", dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "(a)", Replacement: "$1x"}}},
		{"redirectRegex.replacement", dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: "(a)", Replacement: "$2"}}},
	} {
		l := Light().Validate(c.m.Kinds()[0], &c.m)
		if len(l) != 1 || l[0].Key != c.key || Refusal(l) != nil {
			t.Errorf("%s: got %v", c.key, l)
		}
	}
	sound := dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: "(?P<one>a)(b)", Replacement: "$one ${2}x $$3"}}
	if l := Light().Validate("redirectRegex", &sound); len(l) > 0 {
		t.Error(l)
	}
}

func TestReplacedPathIsOurs(t *testing.T) {
	regex := func(re string) *dynamic.Middleware {
		return &dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: re, Replacement: "/new"}}
	}
	for _, c := range []struct {
		name, target string
		want         []string
	}{
		{"match", "/old", []string{"X-Replaced-Path: /old"}},
		{"FLD-08 no match", "/other", nil},
	} {
		o := &origin{}
		a := ask{target: c.target, fields: []string{"x-replaced-path: /evil", "X_Replaced_Path: /evil", "X-REPLACED-PATH: /evil"}}
		serve(t, build(t, Env{}, o, regex("^/old"), regex("^/nothing")), a)
		if !slices.Equal(o.fields, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, o.fields, c.want)
		}
	}
}

func TestRedirectRegex(t *testing.T) {
	for _, c := range []struct {
		name, re, with string
		a              ask
		permanent      bool
		status         int
		location       string
	}{
		{"host", `^http://(.*)/(.*)`, "https://www.${1}/$2", ask{target: "/a?b=c"}, false, 302, "https://www.example.test/a?b=c"},
		{"permanent", `^http://(.*)`, "https://$1", ask{}, true, 301, "https://example.test/"},
		{"HEAD", `^http://(.*)`, "https://$1", ask{method: "HEAD"}, false, 307, "https://example.test/"},
		{"permanent POST", `^http://(.*)`, "https://$1", ask{method: "POST"}, true, 308, "https://example.test/"},
		{"scheme is the connection's", `^https://(.*)`, "http://$1", ask{fields: []string{"X-Forwarded-Proto: https"}}, false, 200, ""},
		{"TLS and port", `^https://([^:]+):8443/(.*)`, "https://$1/$2", ask{tls: true, host: "a.test:8443", target: "/x"}, false, 302, "https://a.test/x"},
		{"no match", `nothing`, "https://x/", ask{}, false, 200, ""},
		{"same", `^http://(.*)`, "http://$1", ask{}, false, 200, ""},
		{"no URL", `.*`, "http://[", ask{}, false, 500, ""},
		{"PTH-09 FLD-10 line end stays encoded", `^http://[^/]*/(.*)`, "https://x.test/$1", ask{target: "/a%0D%0Ab"}, false, 302, "https://x.test/a%0D%0Ab"},
		{"PTH-11 two slashes", `^http://[^/]*/go/(.*)`, "/$1", ask{target: "/go//evil.test/"}, false, 302, "/evil.test/"},
		{"two slashes on purpose", `^http://[^/]*/go/(.*)`, "//$1", ask{target: "/go/b.test/"}, false, 302, "//b.test/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: c.re, Replacement: c.with, Permanent: c.permanent}}
			x := serve(t, build(t, Env{}, &origin{}, m), c.a)
			if got := x.Res.Header.Lookup("Location").String(); x.Res.Status != c.status || got != c.location {
				t.Errorf("got %d %q, want %d %q", x.Res.Status, got, c.status, c.location)
			}
		})
	}
}

func FuzzPathRewrites(f *testing.F) {
	for _, s := range []string{"/api/x", "/api//x", "/api../x", "/api%2F..", "/a b", "/%C0%AF", "/api%2", "//evil.test", "/api/%2e%2e/x", "/api;x"} {
		f.Add(s, "/api", `^/a(.*)`, "/$1")
	}
	f.Fuzz(func(t *testing.T, target, prefix, re, with string) {
		for _, m := range []*dynamic.Middleware{
			{AddPrefix: &dynamic.AddPrefix{Prefix: prefix}},
			{StripPrefix: &dynamic.StripPrefix{Prefixes: []string{prefix}}},
			{StripPrefixRegex: &dynamic.StripPrefixRegex{Regex: []string{re}}},
			{ReplacePath: &dynamic.ReplacePath{Path: prefix}},
			{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: re, Replacement: with}},
		} {
			o := &origin{}
			kind, _ := Light().Lookup(m.Kinds()[0])
			h, err := kind.Build(m, Env{}, o)
			if err != nil {
				continue
			}
			x := ask{}.exchange(t)
			if x.SetTarget([]byte(target)) != nil || len(target) > 200 || len(with) > 100 {
				continue
			}
			before := x.Req.Path.String()
			finish(x, h)
			if o.calls > 0 && o.path != before && !isNormal([]byte(o.path)) {
				t.Errorf("%s made %q of %q", m.Kinds()[0], o.path, before)
			}
		}
	})
}

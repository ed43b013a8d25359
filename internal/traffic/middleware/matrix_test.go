package middleware

import (
	"crypto/md5"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/entrypoint"
)

// rewriters are the middlewares that change paths, each with a setting under which the rows below meet it.
func rewriters() map[string]*dynamic.Middleware {
	return map[string]*dynamic.Middleware{
		"addPrefix":        {AddPrefix: &dynamic.AddPrefix{Prefix: "/app"}},
		"stripPrefix":      {StripPrefix: &dynamic.StripPrefix{Prefixes: []string{"/api", "/a b"}}},
		"stripPrefixRegex": {StripPrefixRegex: &dynamic.StripPrefixRegex{Regex: []string{"^/[^/]+"}}},
		"replacePath":      {ReplacePath: &dynamic.ReplacePath{Path: "/new"}},
		"replacePathRegex": {ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "^/api/?(.*)", Replacement: "/v2/$1"}},
	}
}

// chains returns every middleware alone and every two of them, by name.
func chains(kinds map[string]*dynamic.Middleware) map[string][]*dynamic.Middleware {
	out := map[string][]*dynamic.Middleware{}
	for a, first := range kinds {
		out[a] = []*dynamic.Middleware{first}
		for b, second := range kinds {
			out[a+"+"+b] = []*dynamic.Middleware{first, second}
		}
	}
	return out
}

// TestMatrixPaths sends every path of the security cases through every rewriting chain: what reaches the server is in its
// normal form, or is what the client sent where nothing was rewritten, or the answer is 400.
func TestMatrixPaths(t *testing.T) {
	rows := []struct{ id, target string }{
		{"PTH-01", "/api/x/../b"}, {"PTH-01 dot", "/api/./b"}, {"PTH-01 slashes", "/api//b"}, {"PTH-01 encoded", "/api/%2e%2e/b"},
		{"PTH-01 half encoded", "/api/.%2E/"}, {"PTH-01 end", "/api/.."}, {"PTH-01 behind the prefix", "/api../b"}, {"PTH-01 dot behind the prefix", "/api./b"},
		{"PTH-02", "/../../etc"}, {"PTH-02 below", "/api/../../etc"}, {"PTH-02 encoded", "/api/%2e%2e/%2e%2e/etc"},
		{"PTH-03 slash", "/api%2Fx"}, {"PTH-03 dots", "/api/..%2f..%2fetc"}, {"PTH-03 backslash", "/api/..%5c..%5Cetc"}, {"PTH-03 NUL", "/api/x%00"},
		{"PTH-03 others", "/api/%3b%25%3F%23"}, {"PTH-04", "/api/%zz"}, {"PTH-04 short", "/api/%2"}, {"PTH-04 alone", "/api%"}, {"PTH-04 unicode", "/api/%u002e"},
		{"PTH-05", "/api/%252e%252e/x"}, {"PTH-05 slash", "/api/%252F%252e"}, {"PTH-06", "/api/%c0%af"}, {"PTH-06 ff", "/%ff/api"},
		{"PTH-07 parameter", "/api;x=1/y"}, {"PTH-07 space", "/a%20b/x"}, {"PTH-07 dot", "/api./x"}, {"PTH-09", "/api/%0d%0aX:%201"},
		{"PTH-10", "/api/" + strings.Repeat("a/", 3000)}, {"PTH-11", "/api//evil.test/"}, {"PTH-11 whole", "/api"}, {"PTH-11 regex", "/x//evil.test"},
		{"REQ-08 backslash", `/api\..\x`}, {"PTH-08", "/api/x?a;b=%0d%0a&c=?"},
	}
	for _, keepDots := range []bool{false, true} {
		e := newEdge(t, entrypoint.HTTPOptions{KeepDots: keepDots})
		for name, chain := range chains(rewriters()) {
			var s seen
			e.use(build(t, Env{}, &s, chain...))
			for proto, send := range protocols {
				for _, row := range rows {
					status, _ := send(t, e, ask{target: row.target})
					got := s.take()
					at := fmt.Sprintf("%s %s %s keepDots=%v %s", row.id, proto, name, keepDots, row.target)
					if status != 200 && status != 400 || (got.calls == 1) != (status == 200) {
						t.Errorf("%s: got %d and %d calls", at, status, got.calls)
						continue
					}
					if status == 400 {
						continue
					}
					rewritten := slices.ContainsFunc(got.fields, func(f string) bool {
						return strings.HasPrefix(f, "X-Forwarded-Prefix: ") || strings.HasPrefix(f, "X-Replaced-Path: ")
					}) || strings.Contains(name, "addPrefix")
					if (rewritten || !keepDots) && !normalByOracle(got.path) {
						t.Errorf("%s: the server gets %q", at, got.path)
					}
					if strings.HasSuffix(name, "addPrefix") && !strings.HasPrefix(got.path, "/app/") {
						t.Errorf("%s: %q is not below the prefix", at, got.path)
					}
					for _, f := range got.fields {
						if strings.ContainsAny(f, "\r\n\x00") {
							t.Errorf("%s: field %q", at, f)
						}
					}
				}
			}
		}
	}
}

// normalByOracle judges a path by the standard library's cleaning instead of our own.
func normalByOracle(p string) bool {
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return strings.HasPrefix(p, "/") && p == clean && !strings.ContainsAny(p, "?#\\ \r\n")
}

// identities are the middlewares that tell servers who somebody is, with the header they tell it in, credentials that
// they accept, and what the server must then get ("" for no field).
func identities() map[string]struct {
	m             *dynamic.Middleware
	header, value string
	credentials   string
} {
	type row = struct {
		m             *dynamic.Middleware
		header, value string
		credentials   string
	}
	return map[string]row{
		"apiKey":            {apiKeyOf(func(o *dynamic.APIKey) { o.ForwardHeaders = map[string]string{"X-Team": "team"} }), "X-Team", "blue", "X-Api-Key: c2VjcmV0"},
		"basicAuth":         {&dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + shaSecret), HeaderField: "X-Auth-User"}}, "X-Auth-User", "ann", basic("ann", "secret")},
		"headers":           {headersOf(dynamic.Headers{CustomRequestHeaders: map[string]string{"X-Tenant": "blue"}}), "X-Tenant", "blue", ""},
		"headers delete":    {headersOf(dynamic.Headers{CustomRequestHeaders: map[string]string{"X-Secret": ""}}), "X-Secret", "", ""},
		"passTLSClientCert": {&dynamic.Middleware{PassTLSClientCert: &dynamic.PassTLSClientCert{PEM: true}}, "X-Forwarded-Tls-Client-Cert", "", ""},
		"replacePath":       {&dynamic.Middleware{ReplacePath: &dynamic.ReplacePath{Path: "/new"}}, "X-Replaced-Path", "/", ""},
		"replacePathRegex":  {&dynamic.Middleware{ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "^/none", Replacement: "/new"}}, "X-Replaced-Path", "", ""},
	}
}

// spellings are the ways in which a client may try to pass for somebody else.
func spellings(header string) map[string][]string {
	under := strings.ReplaceAll(header, "-", "_")
	return map[string][]string{
		"FLD-08 plain":            {header + ": forged"},
		"FLD-08 case":             {strings.ToUpper(header) + ": forged", strings.ToLower(header) + ": forged"},
		"FLD-03 underscores":      {under + ": forged"},
		"FLD-03 mixed":            {strings.Replace(header, "-", "_", 1) + ": forged", strings.ToUpper(under) + ": forged"},
		"FLD-06 duplicates":       {header + ": forged", "B: 1", header + ": forged", under + ": forged"},
		"FLD-02 Connection token": {"Connection: " + header, header + ": forged"},
		"FLD-02 tokens of others": {"Connection: close, " + header + ", Authorization, X-Forwarded-For", "Connection: " + under},
	}
}

// TestMatrixIdentity forges identity headers before every chain of one and two middlewares that set some.
func TestMatrixIdentity(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := entrypoint.HTTPOptions{}
		if trusted {
			o = trusting()
		}
		e := newEdge(t, o)
		all := identities()
		for a, first := range all {
			for b, second := range all {
				var s seen
				chain := []*dynamic.Middleware{first.m, second.m}
				if a == b {
					chain = chain[:1]
				}
				e.use(build(t, Env{}, &s, chain...))
				for id, forged := range spellings(second.header) {
					for proto, send := range protocols {
						if proto == "h2c" && strings.HasPrefix(id, "FLD-02") {
							continue // no Connection field exists there
						}
						fields := slices.Clone(forged)
						for _, c := range []string{first.credentials, second.credentials} {
							if c != "" && !slices.Contains(fields, c) {
								fields = append(fields, c)
							}
						}
						status, _ := send(t, e, ask{fields: fields})
						got := s.take()
						at := fmt.Sprintf("%s %s %s+%s trusted=%v", id, proto, a, b, trusted)
						if status != 200 {
							t.Errorf("%s: got %d", at, status)
							continue
						}
						checkIdentity(t, at, got.fields, second.header, second.value, first.header == second.header && first.value != second.value)
					}
				}
			}
		}
	}
}

// checkIdentity fails the test unless the header stands once, with the value, in no other spelling.
func checkIdentity(t *testing.T, at string, fields []string, header, value string, either bool) {
	t.Helper()
	var found []string
	for _, f := range fields {
		name, v, _ := strings.Cut(f, ": ")
		if (Names{header}).Has([]byte(name)) {
			found = append(found, v)
		}
		if strings.Contains(v, "forged") {
			t.Errorf("%s: the server gets %q", at, f)
		}
	}
	if either {
		return // both middlewares speak of it: that nothing is forged was checked
	}
	if value == "" && len(found) > 0 || value != "" && (len(found) != 1 || found[0] != value) {
		t.Errorf("%s: got %q, want %q", at, found, value)
	}
}

// TestMatrixAuthRefuses checks that what guards does so on every protocol, before a switch of protocols (UPG-07), and in
// either place of a chain, whatever the client says about who it is.
func TestMatrixAuthRefuses(t *testing.T) {
	digest := fmt.Sprintf("%x", md5.Sum([]byte("ann:traefik:secret")))
	guards := map[string]struct {
		m      *dynamic.Middleware
		status int
	}{
		"apiKey":      {apiKeyOf(nil), 401},
		"basicAuth":   {&dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + shaSecret), HeaderField: "X-Auth-User"}}, 401},
		"digestAuth":  {&dynamic.Middleware{DigestAuth: &dynamic.DigestAuth{Users: secrets("ann:traefik:" + digest), HeaderField: "X-Auth-User"}}, 401},
		"ipAllowList": {&dynamic.Middleware{IPAllowList: &dynamic.IPAllowList{SourceRange: []string{"10.0.0.0/8"}}}, 403},
		"ipAllowList by depth": {&dynamic.Middleware{IPAllowList: &dynamic.IPAllowList{SourceRange: []string{"10.0.0.0/8"},
			IPStrategy: &dynamic.IPStrategy{Depth: 1}}}, 403},
		"ipAllowList by exclusion": {&dynamic.Middleware{IPAllowList: &dynamic.IPAllowList{SourceRange: []string{"10.0.0.0/8", "127.0.0.0/8"},
			IPStrategy: &dynamic.IPStrategy{ExcludedIPs: []string{"127.0.0.0/8"}}}}, 403},
		"inFlightReq":  {inFlight(0, nil), 429},
		"maintenance":  {maintained(func(m *dynamic.Maintenance) { m.ExemptRange = []string{"10.0.0.0/8"} }), 503},
		"allowedHosts": {headersOf(dynamic.Headers{AllowedHosts: []string{"other.test"}}), 500},
	}
	claims := map[string][]string{
		"nothing":             nil,
		"XFF-01 plain":        {"X-Forwarded-For: 10.0.0.1", "X-Real-Ip: 10.0.0.1", "Forwarded: for=10.0.0.1;host=other.test", "X-Forwarded-Host: other.test"},
		"XFF-01 underscores":  {"X_Forwarded_For: 10.0.0.1", "x_real_ip: 10.0.0.1", "x_forwarded-host: other.test"},
		"XFF-01 odd case":     {"x-FORWARDED-for: 10.0.0.1", "X-REAL-IP: 10.0.0.1"},
		"XFF-03 lines":        {"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"},
		"XFF-05 mapped":       {"X-Forwarded-For: ::ffff:10.0.0.1"},
		"FLD-08 user":         {"X-Auth-User: ann", "X_Auth_User: ann"},
		"wrong password":      {basic("ann", "wrong")},
		"FLD-06 two accounts": {basic("ann", "secret"), basic("ann", "wrong")},
		"wrong key":           {"X-Api-Key: d3Jvbmc="},
		"FLD-06 two keys":     {"X-Api-Key: c2VjcmV0", "X-Api-Key: c2VjcmV0"},
		"FLD-03 key":          {"X_Api_Key: c2VjcmV0"},
		"UPG-07":              {"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"},
	}
	e := newEdge(t, entrypoint.HTTPOptions{})
	others := rewriters()
	others["headers"] = headersOf(dynamic.Headers{FrameDeny: true})
	for name, g := range guards {
		for other, second := range others {
			for _, chain := range [][]*dynamic.Middleware{{g.m, second}, {second, g.m}} {
				var s seen
				e.use(build(t, Env{}, &s, chain...))
				for id, fields := range claims {
					for proto, send := range protocols {
						if proto == "h2c" && id == "UPG-07" {
							continue
						}
						if status, _ := send(t, e, ask{target: "/api/x", fields: fields}); status != g.status || s.take().calls > 0 {
							t.Errorf("%s %s %s with %s: got %d", id, proto, name, other, status)
						}
					}
				}
			}
		}
	}
}

// TestMatrixForwardedFor checks how an allow-list reads what a trusted peer says.
func TestMatrixForwardedFor(t *testing.T) {
	e := newEdge(t, trusting())
	list := func(s *dynamic.IPStrategy) *dynamic.Middleware {
		return &dynamic.Middleware{IPAllowList: &dynamic.IPAllowList{SourceRange: []string{"10.0.0.0/8", "192.0.2.0/24"}, IPStrategy: s}}
	}
	depth, exclusion := list(&dynamic.IPStrategy{Depth: 1}), list(&dynamic.IPStrategy{ExcludedIPs: []string{"127.0.0.0/8", "192.0.2.0/24"}})
	for _, c := range []struct {
		id     string
		m      *dynamic.Middleware
		fields []string
		status int
	}{
		{"XFF-02 depth", depth, []string{"X-Forwarded-For: 1.1.1.1, 10.0.0.1"}, 200},
		{"XFF-02 the client's part does not count", depth, []string{"X-Forwarded-For: 10.0.0.1, 1.1.1.1"}, 403},
		{"XFF-02 exclusion", exclusion, []string{"X-Forwarded-For: 1.1.1.1, 10.0.0.1, 192.0.2.1"}, 200},
		{"XFF-02 exclusion, the client's part", exclusion, []string{"X-Forwarded-For: 10.0.0.1, 1.1.1.1, 192.0.2.1"}, 403},
		{"XFF-03 lines are one list", depth, []string{"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 1.1.1.1"}, 403},
		{"XFF-03 lines are one list, last good", depth, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 10.0.0.1"}, 200},
		{"XFF-03 junk", exclusion, []string{"X-Forwarded-For: 10.0.0.1, junk, 192.0.2.1"}, 403},
		{"XFF-03 empty", depth, []string{"X-Forwarded-For: "}, 403},
		{"XFF-03 many", exclusion, []string{"X-Forwarded-For: 10.0.0.1" + strings.Repeat(", 192.0.2.1", 1000)}, 200},
		{"XFF-05 mapped", depth, []string{"X-Forwarded-For: ::ffff:10.0.0.1"}, 200},
		{"XFF-01 underscores are dropped all the same", depth, []string{"X_Forwarded_For: 10.0.0.1"}, 403},
		{"XFF-06 the peer counts without a strategy", list(nil), []string{"X-Forwarded-For: 10.0.0.1"}, 403},
	} {
		e.use(build(t, Env{}, silent, c.m))
		for proto, send := range protocols {
			if status, _ := send(t, e, ask{fields: c.fields}); status != c.status {
				t.Errorf("%s %s: got %d, want %d", c.id, proto, status, c.status)
			}
		}
	}
}

// TestMatrixHosts sends odd hosts through what redirects and what checks hosts.
func TestMatrixHosts(t *testing.T) {
	e := newEdge(t, entrypoint.HTTPOptions{})
	chain := map[string]*dynamic.Middleware{
		"redirectScheme": {RedirectScheme: &dynamic.RedirectScheme{Scheme: "https"}},
		"redirectRegex":  {RedirectRegex: &dynamic.RedirectRegex{Regex: "^http://(.*)", Replacement: "https://$1"}},
		"allowedHosts":   headersOf(dynamic.Headers{AllowedHosts: []string{"A.test", "[::1]"}}),
	}
	for _, c := range []struct {
		id, host, location string // "" is 400
		allowed            bool
	}{
		{"HST-05 case", "a.TEST", "https://a.TEST/", true},
		{"HST-05 dot", "a.test.", "https://a.test./", false},
		{"HST-06", "[::1]", "https://[::1]/", true},
		{"HST-02", "a.test, b.test", "", false},
		{"HST-03 userinfo", "evil@a.test", "", false},
		{"HST-03 path", "a.test/evil", "", false},
		{"HST-03 percent", "a%2etest", "", false},
		{"HST-06 zone", "[fe80::1%25eth0]", "", false},
		{"HST-12", "b\xc3\xbccher", "", false},
	} {
		for name, m := range chain {
			var s seen
			e.use(build(t, Env{}, &s, m))
			for proto, send := range protocols {
				status, fields := send(t, e, ask{host: c.host})
				location := ""
				for _, f := range fields {
					if n, v, _ := strings.Cut(f, ": "); strings.EqualFold(n, "location") {
						location = v
					}
				}
				want := map[bool]int{true: 302, false: 400}[c.location != ""]
				wantLocation := c.location
				if name == "allowedHosts" && want == 302 {
					want, wantLocation = map[bool]int{true: 200, false: 500}[c.allowed], ""
				}
				if status != want || location != wantLocation {
					t.Errorf("%s %s %s: got %d %q, want %d %q", c.id, proto, name, status, location, want, wantLocation)
				}
			}
		}
	}
}

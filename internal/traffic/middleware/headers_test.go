package middleware

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

func headersOf(h dynamic.Headers) *dynamic.Middleware { return &dynamic.Middleware{Headers: &h} }

func TestCustomRequestHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    map[string]string
		fields []string
		want   []string
		host   string
	}{
		{"set", map[string]string{"X-A": "1"}, []string{"B: 2"}, []string{"B: 2", "X-A: 1"}, "example.test"},
		{"replace", map[string]string{"X-A": "1"}, []string{"x-a: 0", "X-A: 3"}, []string{"X-A: 1"}, "example.test"},
		{"delete", map[string]string{"X-A": ""}, []string{"x-a: 0", "B: 2"}, []string{"B: 2"}, "example.test"},
		{"FLD-03 every spelling", map[string]string{"X-Auth-User": "me"}, []string{"X_Auth_User: you", "x-auth_user: you", "X-AUTH-USER: you"},
			[]string{"X-Auth-User: me"}, "example.test"},
		{"FLD-03 deleted in every spelling", map[string]string{"X-Auth-User": ""}, []string{"X_Auth_User: you"}, nil, "example.test"},
		{"spelling as written", map[string]string{"x-odd-NAME": "1"}, nil, []string{"x-odd-NAME: 1"}, "example.test"},
		{"value is trimmed", map[string]string{"X-A": " 1 "}, nil, []string{"X-A: 1"}, "example.test"},
		{"host", map[string]string{"host": "other.test"}, nil, nil, "other.test"},
		{"host is not deleted", map[string]string{"Host": "", "X-A": "1"}, nil, []string{"X-A: 1"}, "example.test"},
		{"INV-1 framing stays", map[string]string{"Content-Length": "5", "Transfer-Encoding": "chunked", "X-A": "1"}, nil, []string{"X-A: 1"}, "example.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{}
			serve(t, build(t, Env{}, o, headersOf(dynamic.Headers{CustomRequestHeaders: c.set})), ask{fields: c.fields})
			if !slices.Equal(o.fields, c.want) || o.host != c.host {
				t.Errorf("got %q %q, want %q %q", o.fields, o.host, c.want, c.host)
			}
		})
	}
}

func TestForwardedForCanBeKeptOut(t *testing.T) {
	for value, keep := range map[string]bool{"": true, "1.1.1.1": false} {
		kept := false
		end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { kept = x.Req.KeepForwardedFor; x.Respond(200, "", ""); return nil })
		m := headersOf(dynamic.Headers{CustomRequestHeaders: map[string]string{"x-forwarded-for": value}})
		serve(t, build(t, Env{}, end, m), ask{fields: []string{"X-Forwarded-For: 9.9.9.9"}})
		if kept != keep {
			t.Errorf("%q: got %v", value, kept)
		}
	}
}

func TestResponseHeaders(t *testing.T) {
	everything := dynamic.Headers{
		STSSeconds: 31536000, STSIncludeSubdomains: true, STSPreload: true, FrameDeny: true, ContentTypeNosniff: true, BrowserXSSFilter: true,
		ContentSecurityPolicy: "default-src 'self'", ContentSecurityPolicyReportOnly: "img-src *", PublicKey: `pin-sha256="x"`,
		ReferrerPolicy: "no-referrer", PermissionsPolicy: "geolocation=()",
	}
	clear := []string{"X-Frame-Options: DENY", "X-Content-Type-Options: nosniff", "X-XSS-Protection: 1; mode=block",
		"Content-Security-Policy: default-src 'self'", "Content-Security-Policy-Report-Only: img-src *", "Referrer-Policy: no-referrer",
		"Permissions-Policy: geolocation=()"}
	secure := slices.Insert(slices.Clone(clear), 0, "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload")
	secure = slices.Insert(secure, 4, `Public-Key-Pins: pin-sha256="x"`)
	with := func(change func(*dynamic.Headers)) dynamic.Headers { h := everything; change(&h); return h }
	for _, c := range []struct {
		name string
		h    dynamic.Headers
		a    ask
		from []string // what the server sends
		want []string
	}{
		{"all in the clear", everything, ask{}, nil, clear},
		{"all over TLS", everything, ask{tls: true}, nil, secure},
		{"TLS by field", with(func(h *dynamic.Headers) { h.SSLProxyHeaders = map[string]string{"X-Forwarded-Proto": "https"} }),
			ask{fields: []string{"X-Forwarded-Proto: https"}}, nil, secure},
		{"another value is no TLS", with(func(h *dynamic.Headers) { h.SSLProxyHeaders = map[string]string{"X-Forwarded-Proto": "https"} }),
			ask{fields: []string{"X-Forwarded-Proto: http"}}, nil, clear},
		{"forced STS", dynamic.Headers{STSSeconds: 5, ForceSTSHeader: true}, ask{}, nil, []string{"Strict-Transport-Security: max-age=5"}},
		{"development", with(func(h *dynamic.Headers) { h.IsDevelopment = true; h.ForceSTSHeader = true }), ask{tls: true}, nil, clear},
		{"custom values", dynamic.Headers{FrameDeny: true, CustomFrameOptionsValue: "SAMEORIGIN", BrowserXSSFilter: true, CustomBrowserXSSValue: "0"}, ask{}, nil,
			[]string{"X-Frame-Options: SAMEORIGIN", "X-XSS-Protection: 0"}},
		{"the server's is replaced", dynamic.Headers{FrameDeny: true}, ask{}, []string{"x-frame-options: SAMEORIGIN", "x-frame-options: X"}, []string{"X-Frame-Options: DENY"}},
		{"custom wins", dynamic.Headers{FrameDeny: true, CustomResponseHeaders: map[string]string{"X-Frame-Options": "mine", "Server": "", "X-A": "1"}}, ask{},
			[]string{"Server: x", "X-A: 0"}, []string{"X-A: 1", "X-Frame-Options: mine"}},
		{"INV-1 framing stays", dynamic.Headers{CustomResponseHeaders: map[string]string{"Content-Length": "7", "X-A": "1"}}, ask{}, nil, []string{"X-A: 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{answer: func(x *httpmsg.Exchange) {
				for _, f := range c.from {
					name, value, _ := strings.Cut(f, ": ")
					x.Res.Header.Add(name, value)
				}
			}}
			x := serve(t, build(t, Env{}, o, headersOf(c.h)), c.a)
			if got := list(&x.Res.Header); !slices.Equal(got, c.want) {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
}

func TestHeadersOnFaults(t *testing.T) {
	m := headersOf(dynamic.Headers{FrameDeny: true, CustomResponseHeaders: map[string]string{"X-A": "1"}})
	end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { return fault.New(fault.DialFailed, "test", nil) })
	x := serve(t, build(t, Env{}, end, m), ask{})
	if x.Res.Status != 502 || x.Res.Header.Lookup("X-Frame-Options") == nil || x.Res.Header.Lookup("X-A") == nil {
		t.Errorf("got %d %q", x.Res.Status, list(&x.Res.Header))
	}
	end = func(x *httpmsg.Exchange) error { x.Respond(101, "", ""); return nil }
	if x = serve(t, build(t, Env{}, end, m), ask{}); x.Res.Header.Len() > 0 {
		t.Errorf("101 was edited: %q", list(&x.Res.Header))
	}
}

func TestNonce(t *testing.T) {
	h := build(t, Env{}, silent, headersOf(dynamic.Headers{ContentSecurityPolicy: "script-src 'nonce-$NONCE' 'nonce-$NONCE'", ContentSecurityPolicyReportOnly: "x $NONCE"}))
	form := regexp.MustCompile(`^script-src 'nonce-([A-Za-z0-9+/]{22}==)' 'nonce-([A-Za-z0-9+/]{22}==)'$`)
	seen := map[string]bool{}
	for range 2 {
		x := serve(t, h, ask{})
		m := form.FindStringSubmatch(x.Res.Header.Lookup("Content-Security-Policy").String())
		if m == nil || m[1] != m[2] || x.Res.Header.Lookup("Content-Security-Policy-Report-Only").String() != "x "+m[1] {
			t.Fatalf("got %q", list(&x.Res.Header))
		}
		seen[m[1]] = true
	}
	if len(seen) != 2 {
		t.Error("the nonce stays the same")
	}
}

func TestAllowedHosts(t *testing.T) {
	allowed := dynamic.Headers{AllowedHosts: []string{"a.test", "B.test:8080"}, HostsProxyHeaders: []string{"X-Forwarded-Host"}, FrameDeny: true}
	for _, c := range []struct {
		name   string
		a      ask
		status int
	}{
		{"exact", ask{host: "a.test"}, 200},
		{"HST-05 case", ask{host: "A.TEST"}, 200},
		{"with port", ask{host: "b.test:8080"}, 200},
		{"port counts", ask{host: "a.test:8080"}, 500},
		{"other", ask{host: "evil.test"}, 500},
		{"proxy header", ask{host: "evil.test", fields: []string{"X-Forwarded-Host: a.test"}}, 200},
		{"proxy header wins", ask{host: "a.test", fields: []string{"X-Forwarded-Host: evil.test"}}, 500},
	} {
		o := &origin{}
		x := serve(t, build(t, Env{}, o, headersOf(allowed)), c.a)
		if x.Res.Status != c.status || (o.calls == 1) != (c.status == 200) {
			t.Errorf("%s: got %d", c.name, x.Res.Status)
		}
		if c.status == 500 && (body(x) != "Bad Host" || x.Res.Header.Lookup("X-Frame-Options") == nil) {
			t.Errorf("%s: got %q", c.name, list(&x.Res.Header))
		}
	}
	allowed.IsDevelopment = true
	if x := serve(t, build(t, Env{}, &origin{}, headersOf(allowed)), ask{host: "evil.test"}); x.Res.Status != 200 {
		t.Error("development checks hosts")
	}
}

func TestCORS(t *testing.T) {
	page := []string{"Origin: https://a.test"}
	preflight := append(slices.Clone(page), "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-one,x-two")
	for _, c := range []struct {
		name   string
		h      dynamic.Headers
		method string
		fields []string
		from   []string
		local  bool
		want   []string
	}{
		{"preflight", dynamic.Headers{AccessControlAllowMethods: []string{"GET", "PUT"}, AccessControlAllowHeaders: []string{"X-One", "X-Two"},
			AccessControlAllowOriginList: []string{"https://a.test"}, AccessControlMaxAge: new(int64(100)), FrameDeny: true,
			CustomResponseHeaders: map[string]string{"X-A": "1"}}, "OPTIONS", preflight, nil, true,
			[]string{"Access-Control-Allow-Headers: X-One,X-Two", "Access-Control-Allow-Methods: GET,PUT", "Access-Control-Allow-Origin: https://a.test",
				"Access-Control-Max-Age: 100"}},
		{"preflight of another origin", dynamic.Headers{AccessControlAllowMethods: []string{"GET"}, AccessControlAllowOriginList: []string{"https://b.test"},
			AccessControlMaxAge: new(int64(0))}, "OPTIONS", preflight, nil, true, []string{"Access-Control-Allow-Methods: GET", "Access-Control-Max-Age: 0"}},
		{"preflight for all", dynamic.Headers{AccessControlAllowMethods: []string{"*"}, AccessControlAllowHeaders: []string{"*"},
			AccessControlAllowOriginList: []string{"*"}}, "OPTIONS", preflight, nil, true,
			[]string{"Access-Control-Allow-Headers: *", "Access-Control-Allow-Methods: *", "Access-Control-Allow-Origin: *"}},
		{"preflight for all with credentials", dynamic.Headers{AccessControlAllowMethods: []string{"*"}, AccessControlAllowHeaders: []string{"*"},
			AccessControlAllowOriginList: []string{"*"}, AccessControlAllowCredentials: true}, "OPTIONS", preflight, nil, true,
			[]string{"Access-Control-Allow-Credentials: true", "Access-Control-Allow-Headers: x-one,x-two", "Access-Control-Allow-Methods: PUT",
				"Access-Control-Allow-Origin: https://a.test"}},
		{"OPTIONS without method is none", dynamic.Headers{AccessControlAllowOriginList: []string{"*"}}, "OPTIONS", page, nil, false,
			[]string{"Access-Control-Allow-Origin: *"}},
		{"no CORS options, no preflight", dynamic.Headers{FrameDeny: true}, "OPTIONS", preflight, nil, false, []string{"X-Frame-Options: DENY"}},
		{"actual", dynamic.Headers{AccessControlAllowOriginList: []string{"https://a.test"}, AccessControlExposeHeaders: []string{"X-A", "X-B"},
			AccessControlMaxAge: new(int64(100))}, "GET", page, []string{"Access-Control-Allow-Origin: *"}, false,
			[]string{"Access-Control-Allow-Origin: https://a.test", "Access-Control-Expose-Headers: X-A,X-B"}},
		{"actual of another origin keeps the server's", dynamic.Headers{AccessControlAllowOriginList: []string{"https://b.test"}, AccessControlAllowCredentials: true},
			"GET", page, []string{"Access-Control-Allow-Origin: *"}, false, []string{"Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true"}},
		{"actual for all with credentials", dynamic.Headers{AccessControlAllowOriginList: []string{"*"}, AccessControlAllowCredentials: true,
			AccessControlExposeHeaders: []string{"*"}}, "GET", page, nil, false,
			[]string{"Access-Control-Allow-Origin: https://a.test", "Access-Control-Allow-Credentials: true"}},
		{"no origin with credentials", dynamic.Headers{AccessControlAllowOriginList: []string{"*"}, AccessControlAllowCredentials: true}, "GET", nil, nil, false,
			[]string{"Access-Control-Allow-Credentials: true"}},
		{"regex", dynamic.Headers{AccessControlAllowOriginListRegex: []string{`^https://[a-z]\.test$`}}, "GET", page, nil, false,
			[]string{"Access-Control-Allow-Origin: https://a.test"}},
		{"vary", dynamic.Headers{AddVaryHeader: true}, "GET", nil, []string{"Vary: Accept-Encoding"}, false, []string{"Vary: Accept-Encoding", "Vary: Origin"}},
		{"vary is there", dynamic.Headers{AddVaryHeader: true}, "GET", nil, []string{"Vary: Accept-Encoding, origin"}, false, []string{"Vary: Accept-Encoding, origin"}},
		{"CORS wins over custom", dynamic.Headers{AccessControlAllowOriginList: []string{"*"}, CustomResponseHeaders: map[string]string{"Access-Control-Allow-Origin": "x"}},
			"GET", nil, nil, false, []string{"Access-Control-Allow-Origin: *"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &origin{answer: func(x *httpmsg.Exchange) {
				for _, f := range c.from {
					name, value, _ := strings.Cut(f, ": ")
					x.Res.Header.Add(name, value)
				}
			}}
			x := serve(t, build(t, Env{}, o, headersOf(c.h)), ask{method: c.method, fields: c.fields})
			if got := list(&x.Res.Header); x.Res.Status != 200 || !slices.Equal(got, c.want) || (o.calls == 0) != c.local {
				t.Errorf("got %d\n%q, want\n%q", x.Res.Status, got, c.want)
			}
			if c.local && (x.Res.ContentLength != 0 || x.Res.Body != nil) {
				t.Error("the preflight's answer has a body")
			}
		})
	}
}

func TestHeadersRefuse(t *testing.T) {
	refuses(t, headersOf(dynamic.Headers{}), "headers")
	for key, h := range map[string]dynamic.Headers{
		"headers.customRequestHeaders.X A":             {CustomRequestHeaders: map[string]string{"X A": "1"}},
		"headers.customRequestHeaders.X-A":             {CustomRequestHeaders: map[string]string{"X-A": "1\r\nX-B: 2"}},
		"headers.customRequestHeaders.Host":            {CustomRequestHeaders: map[string]string{"Host": "a/b"}},
		"headers.customRequestHeaders.x-a":             {CustomRequestHeaders: map[string]string{"X-A": "1", "x-a": "2"}},
		"headers.customResponseHeaders.X-A":            {CustomResponseHeaders: map[string]string{"X-A": "1\n" + "2"}},
		"headers.accessControlAllowOriginListRegex[0]": {AccessControlAllowOriginListRegex: []string{"("}},
		"headers.accessControlAllowHeaders[1]":         {AccessControlAllowHeaders: []string{"a", "b\nc"}},
		"headers.contentSecurityPolicy":                {ContentSecurityPolicy: "a\nb"},
		"headers.stsSeconds":                           {STSSeconds: -1},
		"headers.hostsProxyHeaders[0]":                 {HostsProxyHeaders: []string{""}},
		"headers.sslProxyHeaders.X-A":                  {SSLProxyHeaders: map[string]string{"X-A": "\x00"}},
	} {
		refuses(t, headersOf(h), key)
	}
	for key, h := range map[string]dynamic.Headers{
		"headers.customRequestHeaders.Connection": {CustomRequestHeaders: map[string]string{"Connection": "upgrade"}},
		"headers.sslRedirect":                     {SSLRedirect: new(true)},
		"headers.featurePolicy":                   {FeaturePolicy: new("x")},
		"headers.accessControlAllowOriginList":    {AccessControlAllowOriginList: []string{"*"}, AccessControlAllowCredentials: true},
	} {
		if l := checkHeaders(headersOf(h)); len(l) != 1 || l[0].Key != key || Refusal(l) != nil {
			t.Errorf("%s: got %v", key, l)
		}
	}
}

func TestHeadersAllocations(t *testing.T) {
	h := build(t, Env{}, silent, headersOf(dynamic.Headers{
		CustomRequestHeaders: map[string]string{"X-A": "1", "X-B": ""}, CustomResponseHeaders: map[string]string{"Server": "", "X-C": "2"},
		AccessControlAllowOriginList: []string{"https://a.test"}, STSSeconds: 1, FrameDeny: true, AllowedHosts: []string{"example.test"}, AddVaryHeader: true,
	}))
	allocations(t, h, ask{tls: true, fields: []string{"Origin: https://a.test", "X-B: 1", "X_A: 2"}})
}

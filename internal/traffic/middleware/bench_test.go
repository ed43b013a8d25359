package middleware

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/httpmsg"
)

// usual is a setting of each row under which an ordinary request passes.
func usual(t testing.TB) map[string]*dynamic.Middleware {
	return map[string]*dynamic.Middleware{
		"addPrefix":         {AddPrefix: &dynamic.AddPrefix{Prefix: "/app"}},
		"apiKey":            apiKeyOf(func(o *dynamic.APIKey) { o.ForwardHeaders = map[string]string{"X-Team": "team"} }),
		"basicAuth":         {BasicAuth: &dynamic.BasicAuth{Users: secrets("ann:" + bcryptOf(t, "secret", "$2y$")), HeaderField: "X-User"}},
		"bodyLimit":         {BodyLimit: &dynamic.BodyLimit{MaxBytes: 1 << 20}},
		"contentType":       {ContentType: &dynamic.ContentType{}},
		"digestAuth":        digestOf(nil),
		"encodedCharacters": {EncodedCharacters: &dynamic.EncodedCharacters{}},
		"headers": headersOf(dynamic.Headers{CustomRequestHeaders: map[string]string{"X-A": "1"}, CustomResponseHeaders: map[string]string{"Server": ""},
			AccessControlAllowOriginList: []string{"*"}, STSSeconds: 1, FrameDeny: true, ContentTypeNosniff: true}),
		"inFlightReq":       inFlight(10, nil),
		"ipAllowList":       {IPAllowList: &dynamic.IPAllowList{SourceRange: []string{"10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"}}},
		"ipBan":             ban(nil),
		"ipWhiteList":       {IPWhiteList: &dynamic.IPWhiteList{SourceRange: []string{"192.0.2.0/24"}}},
		"maintenance":       maintained(func(m *dynamic.Maintenance) { m.ExemptRange = []string{"192.0.2.0/24"} }),
		"passTLSClientCert": {PassTLSClientCert: &dynamic.PassTLSClientCert{PEM: true}},
		"redirectRegex":     {RedirectRegex: &dynamic.RedirectRegex{Regex: "^http://other/(.*)", Replacement: "https://other/$1"}},
		"redirectScheme":    {RedirectScheme: &dynamic.RedirectScheme{Scheme: "https"}},
		"replacePath":       {ReplacePath: &dynamic.ReplacePath{Path: "/new"}},
		"replacePathRegex":  {ReplacePathRegex: &dynamic.ReplacePathRegex{Regex: "^/other/(.*)", Replacement: "/$1"}},
		"stripPrefix":       {StripPrefix: &dynamic.StripPrefix{Prefixes: []string{"/other", "/api"}}},
		"stripPrefixRegex":  {StripPrefixRegex: &dynamic.StripPrefixRegex{Regex: []string{"^/other/[0-9]+"}}},
	}
}

var ordinary = ask{target: "/api/things?a=b", peer: "192.0.2.7:1000", tls: true, fields: []string{
	"User-Agent: test/1.0", "Accept: */*", "Accept-Language: en", "Cookie: a=b; c=d", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.test",
	"X-Real-Ip: 192.0.2.7", basic("ann", "secret"), "X-Api-Key: c2VjcmV0",
}}

// TestUsualCostsNoAllocation holds every row to no allocation for an ordinary request that passes.
func TestUsualCostsNoAllocation(t *testing.T) {
	settings := usual(t)
	for _, kind := range Light() {
		m := settings[kind.Name]
		if m == nil {
			t.Errorf("%s has no setting here", kind.Name)
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			if kind.Name == "digestAuth" {
				t.Skip("refuses this request, with a new nonce")
			}
			allocations(t, build(t, Env{}, silent, m), ordinary)
		})
	}
}

// BenchmarkMiddlewares is the cost of each middleware for an ordinary request that passes. "none" is that of the harness.
func BenchmarkMiddlewares(b *testing.B) {
	settings := usual(b)
	run := func(name string, h httpmsg.Handler) {
		b.Run(name, func(b *testing.B) {
			x := ordinary.exchange(b)
			fields, req := fieldsOf(&x.Req.Header), x.Req
			b.ReportAllocs()
			for b.Loop() {
				x.Reset(nil)
				head := x.Req.Header
				x.Req = req
				x.Req.Header = head
				for _, f := range fields {
					x.Req.Header.Append(f)
				}
				if err := h.Serve(x); err != nil {
					x.Fail(err)
				}
				x.RunEdits()
				x.Finish()
			}
		})
	}
	run("none", silent)
	for _, kind := range Light() {
		run(kind.Name, build(b, Env{}, silent, settings[kind.Name]))
	}
}

// TestBodyLimitOnTheWire sends bodies of unknown length over a real connection.
func TestBodyLimitOnTheWire(t *testing.T) {
	e := newEdge(t, entrypoint.HTTPOptions{})
	end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		for {
			if _, err := x.Req.Body.Next(); err == io.EOF {
				x.Respond(200, "", "ok")
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	e.use(build(t, Env{}, end, &dynamic.Middleware{BodyLimit: &dynamic.BodyLimit{MaxBytes: 100_000}}))
	for size, want := range map[int]string{100_000: "200", 100_001: "413", 5_000_000: "413"} {
		for _, framing := range []string{"chunked", "counted"} {
			c := e.dial(t)
			body := strings.Repeat("x", size)
			head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
			if framing == "chunked" {
				head = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
				body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
			}
			go func() { _, _ = io.WriteString(c, head+body) }() // it breaks when the answer comes before the end
			answer := make([]byte, 12)
			if _, err := io.ReadFull(c, answer); err != nil || string(answer[9:]) != want {
				t.Errorf("%s %d: got %q %v, want %s", framing, size, answer, err, want)
			}
			c.Close()
		}
	}
}

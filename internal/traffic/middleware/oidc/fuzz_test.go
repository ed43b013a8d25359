package oidc

import (
	"net/url"
	"strings"
	"testing"

	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// FuzzCookies reads what a browser may send: nothing in it is a session, and what is not ours reaches the server.
func FuzzCookies(f *testing.F) {
	j := &jar{name: "s", path: "/"}
	g := &guard{session: j, state: &jar{name: "st"}}
	seal, _ := newSealer([]byte("secret"), "test")
	good, _ := seal.seal("s", &session{Key: "k", ID: "a.e30.c"})
	for _, s := range []string{"s=1." + good, "s=2.a; s-1=b; other=c", "a=b;; s =1.x;st-12345678=y", "s=\"1.x\"", "s=99999999999999999999.", "=;=", "s-1", ";"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !httpmsg.IsFieldValue(httpmsg.Text(line)) {
			return
		}
		x := &httpmsg.Exchange{}
		x.Req.Header.AddID(httpmsg.HdrCookie, httpmsg.Text(line))
		text, ok := j.read(x)
		s := &session{}
		if ok && seal.open("s", text, s) == nil && s.Key != "k" {
			t.Errorf("%q opened", line)
		}
		if lines, err := j.write(x, text); err == nil && len(lines) > 2*maxChunks {
			t.Errorf("%d lines", len(lines))
		}
		withhold(x, g.ours)
		for i := range x.Req.Header.Len() {
			rest := x.Req.Header.At(i).Value
			if !httpmsg.IsFieldValue(rest) {
				t.Errorf("%q became %q", line, rest)
			}
			for pair := range strings.SplitSeq(string(rest), ";") {
				if name, _, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && g.ours(httpmsg.View(name)) {
					t.Errorf("%q reaches the server in %q", name, rest)
				}
			}
		}
	})
}

// FuzzDiscovery reads what a provider may say about itself.
func FuzzDiscovery(f *testing.F) {
	f.Add(`{"issuer":"https://a.test","authorization_endpoint":"https://a.test/auth","token_endpoint":"https://a.test/token","jwks_uri":"https://a.test/keys"}`)
	f.Add(`{"issuer":"https://a.test","authorization_endpoint":"http://a.test/auth?x=y#z","token_endpoint":"//a","jwks_uri":"javascript:1","id_token_signing_alg_values_supported":[null,"none"]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		u, _ := url.Parse("https://a.test")
		c := &client{id: "c", issuer: "https://a.test", discovery: u}
		p, err := c.parse(&outgoing.Answer{Status: 200, Body: []byte(text)})
		c.close()
		if err != nil {
			return
		}
		for _, e := range []*url.URL{p.authorize, p.token} {
			if e == nil || e.Scheme != "https" || e.Host == "" {
				t.Errorf("%q: endpoint %v", text, e)
			}
		}
	})
}

// FuzzPlace reads options that are places, and requests against them.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"/callback", "a.test/x?y=z", "https://[::1]:8443/%2f", "//evil", "http://a@b/", "a", "/\\evil", "?x"} {
		f.Add(s, "/callback")
	}
	f.Fuzz(func(t *testing.T, option, target string) {
		p, err := parsePlace(option)
		if err != nil || p == nil {
			return
		}
		x := &httpmsg.Exchange{}
		x.Req.Method, x.Req.Host = httpmsg.Text("GET"), httpmsg.Text("app.test")
		if bad := x.SetTarget(httpmsg.Text(target)); bad != nil {
			return
		}
		p.is(x)
		to := p.of(x)
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !httpmsg.IsFieldValue(httpmsg.Text(to)) {
			t.Errorf("%q leads to %q", option, to)
		}
		if strings.HasPrefix(option, "/") && u.Host != "app.test" {
			t.Errorf("%q leads to %q", option, to)
		}
	})
}

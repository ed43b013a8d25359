package middleware

import (
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

func TestRedirectScheme(t *testing.T) {
	for _, c := range []struct {
		name, method, host, target, proto string
		config                            dynamic.RedirectScheme
		status                            int
		location                          string
	}{
		{"port dropped", "GET", "foo:8080", "/a?b=c", "http", dynamic.RedirectScheme{Scheme: "https"}, 302, "https://foo/a?b=c"},
		{"permanent", "GET", "foo", "/", "http", dynamic.RedirectScheme{Scheme: "https", Permanent: true}, 301, "https://foo/"},
		{"POST keeps its method", "POST", "foo", "/", "http", dynamic.RedirectScheme{Scheme: "https"}, 307, "https://foo/"},
		{"permanent HEAD", "HEAD", "foo", "/", "http", dynamic.RedirectScheme{Scheme: "https", Permanent: true}, 308, "https://foo/"},
		{"other port", "GET", "foo", "/", "https", dynamic.RedirectScheme{Scheme: "https", Port: "8443"}, 302, "https://foo:8443/"},
		{"default port left out", "GET", "foo:80", "/", "http", dynamic.RedirectScheme{Scheme: "https", Port: "443"}, 302, "https://foo/"},
		{"IPv6", "GET", "[::1]:8000", "/", "ws", dynamic.RedirectScheme{Scheme: "https"}, 302, "https://[::1]/"},
		{"already there", "GET", "foo", "/", "https", dynamic.RedirectScheme{Scheme: "https", Port: "443"}, 200, ""},
		{"already there by port", "GET", "foo:443", "/", "wss", dynamic.RedirectScheme{Scheme: "https"}, 200, ""},
		{"PTH-09 encoded line end stays", "GET", "foo", "/%0D%0Ax", "http", dynamic.RedirectScheme{Scheme: "https"}, 302, "https://foo/%0D%0Ax"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &dynamic.Middleware{RedirectScheme: &c.config}
			if l := Light().Validate("redirectScheme", m); len(l) > 0 {
				t.Fatal(l)
			}
			kind, _ := Light().Lookup("redirectScheme")
			h, err := kind.Build(m, Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
			if err != nil {
				t.Fatal(err)
			}
			x := &httpmsg.Exchange{}
			x.Req.Method, x.Req.Host = httpmsg.Text(c.method), httpmsg.Text(c.host)
			if err := x.SetTarget(httpmsg.Text(c.target)); err != nil {
				t.Fatal(err)
			}
			x.Req.Header.AddID(httpmsg.HdrXForwardedProto, httpmsg.Text(c.proto))
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			if got := x.Res.Header.Get(httpmsg.HdrLocation).String(); x.Res.Status != c.status || got != c.location {
				t.Errorf("got %d %q, want %d %q", x.Res.Status, got, c.status, c.location)
			}
		})
	}
	for _, broken := range []dynamic.RedirectScheme{{}, {Scheme: "https", Port: "web"}, {Scheme: "https", Port: "70000"}} {
		if len(Light().Validate("redirectScheme", &dynamic.Middleware{RedirectScheme: &broken})) == 0 {
			t.Errorf("%+v was accepted", broken)
		}
	}
}

func TestUnknownKindIsRefused(t *testing.T) {
	if l := Light().Validate("oidc", &dynamic.Middleware{}); len(l) != 1 || l[0].Code != "NOT-SUPPORTED" {
		t.Errorf("got %v", l)
	}
}

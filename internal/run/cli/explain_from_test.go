package cli

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/run/admin"
	"sluice/internal/run/engine"
	"sluice/internal/testkit"
	"sluice/internal/wire/bridge"
)

// instance is what the API of a running router tells about.
type instance struct{ p *plan.Plan }

func (i instance) InForce() (*plan.Plan, diag.List)    { return i.p, nil }
func (i instance) ServerStatus(string) map[string]bool { return nil }

func (i instance) TCPServerStatus(string) map[string]bool { return nil }
func (i instance) Certificate(name string, strict bool) (string, bool) {
	return engine.Certificate(i.p)(name, strict)
}

// The same question gets the same answer from files and from a running instance, the certificate included.
func TestExplainFrom(t *testing.T) {
	ca := testkit.NewCA(t)
	cert, key := ca.Leaf(t, "a.test").Files(t, t.TempDir())
	file := write(t, "dynamic.yml", `
http:
  routers:
    app: {rule: "Host(`+"`a.test`"+`) || Host(`+"`b.test`"+`)", service: app, tls: {options: strict}}
  services: {app: {loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}}
tls:
  options: {strict: {sniStrict: true}}
  certificates: [{certFile: "`+cert+`", keyFile: "`+key+`"}]
`)
	c := &configuration{static: static.Effective(static.New()), snapshots: nil}
	if err := c.read(&Process{}, []string{"--entryPoints.web.address=:443"}, []string{file}); err != nil {
		t.Fatal(err)
	}
	p, refused := c.plan()
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	api := (&admin.API{State: instance{p}}).Handler()
	server := httptest.NewServer(bridge.NewServer(api, bridge.Options{}))
	defer server.Close()

	for _, q := range []struct{ url, want string }{
		{"https://a.test/", "certificate: a.test, issued by "},
		{"https://b.test/", `the handshake is refused: no certificate covers "b.test", and the TLS options "strict" have sniStrict`},
		{"https://c.test/", "self-signed default certificate"},
		{"http://c.test/", "404"},
	} {
		code, fromFiles, stderr := run(t, nil, "explain", "--entryPoints.web.address=:443", "--entrypoint=web", q.url, file)
		if code != 0 || !strings.Contains(fromFiles, q.want) {
			t.Errorf("%s: %d %q %q, want %q", q.url, code, fromFiles, stderr, q.want)
		}
		for _, path := range []string{"", "/", "/api", "/api/"} {
			code, answer, stderr := run(t, nil, "explain", "--from="+server.URL+path, "--entrypoint=web", q.url)
			if code != 0 || answer != fromFiles {
				t.Errorf("%s from %s: %d %q %q, want %q", q.url, path, code, answer, stderr, fromFiles)
			}
		}
	}

	for _, bad := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no URL of an API", []string{"--from=nowhere", "http://a.test/"}, 1, "http://host:port"},
		{"refused", []string{"--from=http://127.0.0.1:1", "http://a.test/"}, 1, "refused"},
		{"files as well", []string{"--from=" + server.URL, "http://a.test/", file}, 2, "has no effect"},
		{"an unknown entry point", []string{"--from=" + server.URL, "--client-ip=1.2.3.4", "--header=X: y", "--entrypoint=nope", "http://a.test/"}, 0, ""},
	} {
		if code, _, stderr := run(t, nil, append([]string{"explain"}, bad.args...)...); code != bad.code || !strings.Contains(stderr, bad.want) {
			t.Errorf("%s: %d %q", bad.name, code, stderr)
		}
	}
	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	u, _ := url.Parse(foreign.URL)
	u.User = url.UserPassword("me", "verysecret")
	if code, _, stderr := run(t, nil, "explain", "--from="+u.String(), "http://a.test/"); code != 1 || !strings.Contains(stderr, "is this the API") || strings.Contains(stderr, "verysecret") {
		t.Errorf("a foreign server: %d %q", code, stderr)
	}
}

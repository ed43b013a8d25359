package app

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Every page of the dashboard is complete without scripts, asks nobody else for anything, and leads only to pages that
// exist; under a path prefix as well.
func TestDashboard(t *testing.T) {
	good := backend(t, "good")
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true, dashboardName: "<edge>"}
`, `
http:
  routers:
    app: {rule: "Host(`+"`a.test`"+`)", service: tree, middlewares: [auth, strip], entryPoints: [web]}
    broken: {rule: "Host(`+"`b.test`"+`)", service: nowhere, entryPoints: [web]}
    own: {rule: "Host(`+"`own.test`"+`)", service: api@internal, entryPoints: [web]}
    prefixed: {rule: "Host(`+"`prefixed.test`"+`) && PathPrefix(`+"`/admin`"+`)", service: api@internal, middlewares: [unadmin], entryPoints: [web]}
  middlewares:
    auth: {basicAuth: {users: ["me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]}}
    strip: {stripPrefix: {prefixes: ["/x"]}}
    unadmin: {stripPrefix: {prefixes: ["/admin"]}}
  services:
    tree: {weighted: {services: [{name: app, weight: 1}]}}
    app: {loadBalancer: {servers: [{url: "`+good.URL+`"}, {url: "http://127.0.0.1:1"}]}}
tcp:
  routers: {vm: {rule: "HostSNI(`+"`vm.test`"+`)", service: vm, entryPoints: [web], tls: {passthrough: true}}}
  services: {vm: {loadBalancer: {servers: [{address: "127.0.0.1:2"}]}}}
`)
	link := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	seen := map[string]bool{}
	var visit func(entryPoint, at string)
	visit = func(entryPoint, at string) {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if key := u.Host + u.Path; seen[key] {
			return
		} else {
			seen[key] = true
		}
		resp, body := r.get(entryPoint, at)
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", at, resp.StatusCode)
			return
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", at, csp)
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			return
		}
		for _, bad := range []string{"<script>", " style=", " onclick=", "<edge>", "W6ph5Mm5Pz8GgiULbPgzG37mj9g"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s holds %s", at, bad)
			}
		}
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			to, err := u.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
			if err != nil || strings.Contains(m[1], "//") || strings.HasPrefix(m[1], "/") {
				t.Errorf("%s: the link %q is not relative (%v)", at, m[1], err)
				continue
			}
			if !strings.HasPrefix(m[1], "#") {
				visit(entryPoint, to.String())
			}
		}
	}
	visit("traefik", "http://x/dashboard/")
	visit("web", "http://own.test/dashboard/")
	visit("web", "http://prefixed.test/admin/dashboard/")
	for _, want := range []string{"x/dashboard/http/routers/app@file", "x/dashboard/map", "x/dashboard/certificates", "own.test/dashboard/tcp/routers/vm@file",
		"prefixed.test/admin/dashboard/http/middlewares/auth@file", "prefixed.test/admin/dashboard/static/style.css"} {
		if !seen[want] {
			t.Errorf("nothing leads to %s", want)
		}
	}

	for _, c := range []struct {
		name, path string
		want       []string
	}{
		{"state and reason", "/dashboard/http/routers/broken@file", []string{"disabled", "nowhere"}},
		{"spelled", "/dashboard/http/routers/app@file", []string{"rule: &#34;Host(`a.test`)&#34;", "[http.routers.app]", "traefik.http.routers.app.rule=Host(`a.test`)"}},
		{"servers", "/dashboard/http/services/app@file", []string{good.URL, "up"}},
		{"map", "/dashboard/map?search=vm", []string{"edge passthrough", "vm@file", "127.0.0.1:2"}},
		{"search", "/dashboard/http/routers?search=b.test", []string{"broken@file"}},
		{"explain", "/dashboard/explain?url=http://a.test/x/y&entryPoint=web", []string{"app@file", "strip@file", "tree@file"}},
		{"explain, badly asked", "/dashboard/explain?url=nonsense", []string{`role="alert"`}},
		{"the name", "/dashboard/", []string{"&lt;edge&gt;"}},
	} {
		_, body := r.get("traefik", "http://x"+c.path)
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q", c.name, want)
			}
		}
	}
	for path, want := range map[string]int{"/dashboard/http/nothing": 404, "/dashboard/http/routers/none@file": 404, "/dashboard/udp/middlewares": 404, "/dashboard/static/../dashboard.go": 404} {
		if resp, _ := r.get("traefik", "http://x"+path); resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}

	for _, c := range []struct{ as, text, want string }{
		{"yaml", "http: {routers: {r: {rule: \"Hos(`a.test`)\", service: s}}}", "Host"},
		{"yaml", "http: [", "SYNTAX"},
		{"toml", "[http.services.s.loadBalancer]\n[[http.services.s.loadBalancer.servers]]\nurl = \"http://127.0.0.1:1\"\n", "UNUSED-SERVICE"},
		{"labels", "traefik.http.routers.r.rul=x\n", "rule"},
		{"labels", "  - \"traefik.http.routers.r.rule=Host(`a.test`)\"\n", "service"},
	} {
		resp, err := http.PostForm("http://"+r.addr("traefik")+"/dashboard/check", url.Values{"as": {c.as}, "text": {c.text}})
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		_ = resp.Write(&body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(body.String(), c.want) {
			t.Errorf("check of %q: %d %s", c.text, resp.StatusCode, body.String())
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

package admin

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/run/engine"
)

var update = flag.Bool("update", false, "write the golden files anew")

const staticText = `
entryPoints:
  web: {address: ":80"}
  dns: {address: ":53/udp"}
  websecure: {address: ":443", http: {tls: {}, middlewares: ["slash@file"]}}
api: {dashboard: false, insecure: true}
ping: {}
accessLog: {}
metrics: {prometheus: {}}
providers: {file: {filename: d.yml}, docker: {}}
`

const dynamicText = `
http:
  routers:
    good: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/x`" + `)", service: app, middlewares: [users], entryPoints: [web, websecure]}
    half: {rule: "Host(` + "`b.test`" + `)", service: app@file, entryPoints: [web, wbe], priority: 7}
    lost: {rule: "Host(` + "`c.test`" + `)", service: ap, entryPoints: [web]}
    refused: {rule: "Host(` + "`d.test`" + `)", service: app, middlewares: [limits], entryPoints: [web]}
    tree: {rule: "Host(` + "`e.test`" + `)", service: strange, entryPoints: [web], tls: {}}
    site: {rule: "Host(` + "`f.test`" + `)", entryPoints: [web, websecure]}
    page: {rule: "Path(` + "`/page`" + `)", service: app, parentRefs: [site]}
    stray: {rule: "Path(` + "`/stray`" + `)", service: app, parentRefs: [sight]}
  middlewares:
    users: {basicAuth: {users: ["ann:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"], realm: r}}
    digest: {digestAuth: {users: ["bob:r:0123456789abcdef0123456789abcdef"]}}
    slash: {addPrefix: {prefix: /s}}
    keys: {headers: {customRequestHeaders: {Authorization: "Basic verysecret", X-Plain: shown}}}
    limits: {ipAllowList: {sourceRange: ["10.0.0.0/99"]}}
    foreign: {plugin: {thing: {token: verysecret, deep: [{n: 12345}]}}}
  services:
    app: {loadBalancer: {servers: [{url: "http://10.0.0.1"}, {url: "http://me:verysecret@10.0.0.2"}]}}
    strange: {loadBalancer: {serversTransport: odd, servers: [{url: "http://10.0.0.4"}]}}
    idle: {loadBalancer: {servers: [{url: "http://10.0.0.3"}]}}
  serversTransports:
    odd: {minVersion: VersionTLS99}
tcp:
  routers:
    t: {rule: "HostSNI(` + "`t.test`" + `)", service: db, entryPoints: [websecure], middlewares: [few], tls: {passthrough: true}}
    u: {rule: "HostSNI(` + "`u.test`" + `)", service: none, entryPoints: [websecure], tls: {}}
  middlewares:
    few: {inFlightConn: {amount: 3}}
  services:
    db: {loadBalancer: {servers: [{address: "10.0.0.9:5432"}]}}
udp:
  routers:
    d: {service: names}
    e: {service: none, entryPoints: [dns]}
  services:
    names: {weighted: {services: [{name: one, weight: 2}]}}
    one: {loadBalancer: {servers: [{address: "10.0.0.9:53"}]}}
`

// fixed is a State that does not change.
type fixed struct {
	p       *plan.Plan
	refused diag.List
}

func (f fixed) InForce() (*plan.Plan, diag.List) { return f.p, f.refused }

func (f fixed) ServerStatus(service string) map[string]bool {
	if service == "app@file" {
		return map[string]bool{"http://10.0.0.1": false, "http://me:verysecret@10.0.0.2": true}
	}
	return nil
}

func (f fixed) TCPServerStatus(service string) map[string]bool {
	return map[string]bool{"10.0.0.9:5432": service != "db@file"}
}

func (f fixed) Certificate(name string, _ bool) (string, bool) { return "that of " + name, true }

func state(t *testing.T, staticText, dynamicText string) fixed {
	t.Helper()
	doc, err := decode.File("static.yml", []byte(staticText), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := doc.Static(nil)
	if doc, err = decode.File("d.yml", []byte(dynamicText), decode.YAML); err != nil {
		t.Fatal(err)
	}
	p := plan.Build(nil, static.Effective(st), []dynamic.Snapshot{{Provider: "file", Fragments: []*dynamic.Fragment{doc.Dynamic(&decode.Files{})}}})
	return fixed{p, engine.Validate(p)}
}

func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func example(t *testing.T) http.Handler {
	api := &API{State: state(t, staticText, dynamicText), Version: "1.2", Codename: "weir", Started: time.Unix(1e9, 0).UTC()}
	return api.mux()
}

// The shapes are those that clients know, nothing in them is a secret, and the text is compact.
func TestAPIShapes(t *testing.T) {
	h := example(t)
	var out strings.Builder
	for _, path := range []string{"/api/version", "/api/overview", "/api/rawdata", "/api/entrypoints", "/api/entrypoints/web",
		"/api/http/routers", "/api/http/services", "/api/http/middlewares", "/api/tcp/routers", "/api/tcp/services", "/api/tcp/middlewares",
		"/api/udp/routers", "/api/udp/services", "/api/http/routers/lost@file", "/api/http/services/app@file", "/api/http/middlewares/users@file",
		"/api/explain?url=http://a.test/x/y&entryPoint=web&header=X-A:%20b&method=POST&clientIP=192.0.2.1"} {
		w := ask(h, "GET", path)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if strings.Count(w.Body.String(), "\n") != 1 || strings.Contains(w.Body.String(), `": `) {
			t.Errorf("%s is not compact", path)
		}
		for _, hidden := range []string{"verysecret", "12345", "IgXLP6ewTrSuBkTrqE8wj"} {
			if strings.Contains(w.Body.String(), hidden) {
				t.Errorf("%s shows a secret", path)
			}
		}
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		out.WriteString(path + "\n")
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		d := json.NewDecoder(w.Body)
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if list, ok := v.([]any); ok {
			for _, element := range list {
				_ = e.Encode(element)
			}
		} else {
			_ = e.Encode(v)
		}
	}
	golden := filepath.Join("testdata", "api.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Fatalf("line %d of %s differs:\n%s", i+1, golden, got[min(i, len(got)-1)])
		}
	}
}

func TestAPILists(t *testing.T) {
	h := example(t)
	for _, c := range []struct{ name, query, names, next string }{
		{"all", "", "api@internal good@file half@file lost@file page@file ping@internal prometheus@internal refused@file site@file stray@file tree@file websecure-good@file websecure-site@file", "1"},
		{"first page", "per_page=3", "api@internal good@file half@file", "2"},
		{"middle page", "per_page=3&page=2", "lost@file page@file ping@internal", "3"},
		{"last page", "per_page=3&page=5", "websecure-site@file", "1"},
		{"one page exactly", "per_page=13", "api@internal good@file half@file lost@file page@file ping@internal prometheus@internal refused@file site@file stray@file tree@file websecure-good@file websecure-site@file", "1"},
		{"search in names", "search=LOST", "lost@file", "1"},
		{"search in rules", "search=B.Test", "half@file", "1"},
		{"nothing found", "search=nowhere", "", "1"},
		{"status", "status=Disabled", "lost@file refused@file stray@file tree@file", "1"},
		{"service, unqualified", "serviceName=app@file", "good@file half@file page@file refused@file stray@file websecure-good@file", "1"},
		{"middleware", "middlewareName=slash@file", "websecure-good@file websecure-site@file", "1"},
		{"part of a middleware", "middlewareName=slash", "", "1"},
		{"descending", "direction=desc&search=good", "websecure-good@file good@file", "1"},
		{"by priority", "sortBy=priority&status=warning", "half@file", "1"},
		{"by priority, all", "sortBy=priority&per_page=1", "half@file", "2"},
		{"by provider", "sortBy=provider&direction=x&per_page=2", "prometheus@internal ping@internal", "2"},
	} {
		w := ask(h, "GET", "/api/http/routers?"+c.query)
		var list []struct{ Name string }
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); got != c.names || w.Header().Get("X-Next-Page") != c.next {
			t.Errorf("%s: got %s, next %s", c.name, got, w.Header().Get("X-Next-Page"))
		}
	}
	for by, first := range map[string]string{"servers": "api@internal", "type": "api@internal", "status": "strange@file"} {
		var list []struct{ Name string }
		if err := json.Unmarshal(ask(h, "GET", "/api/http/services?sortBy="+by).Body.Bytes(), &list); err != nil || list[0].Name != first {
			t.Errorf("services by %s: %v %v", by, list, err)
		}
	}
}

func TestAPIErrors(t *testing.T) {
	h := example(t)
	text := func(s string) string { return `{"message":"` + s + `"}` + "\n" }
	for _, c := range []struct {
		name, method, target string
		header               []string
		status               int
		body                 string
	}{
		{"unknown router", "GET", "/api/http/routers/x@file", nil, 404, text("router not found: x@file")},
		{"escaped name", "GET", "/api/http/routers/a%2Fb@file", nil, 404, text("router not found: a/b@file")},
		{"unknown service", "GET", "/api/tcp/services/x", nil, 404, text("service not found: x")},
		{"unknown middleware", "GET", "/api/http/middlewares/x", nil, 404, text("middleware not found: x")},
		{"unknown entry point", "GET", "/api/entrypoints/x", nil, 404, text("entry point not found: x")},
		{"unknown UDP router", "GET", "/api/udp/routers/x", nil, 404, text("router not found: x")},
		{"page too far", "GET", "/api/http/routers?page=99", nil, 400, text("invalid request: page: 99, per_page: 100")},
		{"page beyond numbers", "GET", "/api/http/routers?page=9223372036854775807&per_page=9223372036854775807", nil, 400,
			text("invalid request: page: 9223372036854775807, per_page: 9223372036854775807")},
		{"second page of nothing", "GET", "/api/udp/routers?page=2&per_page=1&search=nothing", nil, 400, text("invalid request: page: 2, per_page: 1")},
		{"empty page", "GET", "/api/http/routers?per_page=0", nil, 400, text("invalid request: per_page: 0")},
		{"page that is no number", "GET", "/api/http/routers?page=x", nil, 400, text("invalid request: page: x")},
		{"explain without URL", "GET", "/api/explain", nil, 400, ""},
		{"explain with a bad address", "GET", "/api/explain?url=http://a/&clientIP=x", nil, 400, text("invalid request: clientIP: x")},
		{"explain with a bad field", "GET", "/api/explain?url=http://a/&header=x", nil, 400, text("invalid request: header: x")},
		{"other method", "POST", "/api/http/routers", nil, 405, ""},
		{"bare path", "GET", "/api", nil, 404, ""},
		{"HEAD", "HEAD", "/api/overview", nil, 200, ""},
		{"same origin", "GET", "/api/udp/routers?search=nothing", []string{"Origin", "http://example.com"}, 200, "[]\n"},
		{"same origin, other case", "GET", "/api/udp/routers?search=nothing", []string{"Origin", "http://EXAMPLE.com"}, 200, "[]\n"},
		{"other origin", "GET", "/api/udp/routers", []string{"Origin", "http://evil.test"}, 403, text("the Origin is not this host")},
		{"no origin to speak of", "GET", "/api/udp/routers", []string{"Origin", "null"}, 403, text("the Origin is not this host")},
	} {
		w := ask(h, c.method, c.target, c.header...)
		if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s: got %d %q", c.name, w.Code, w.Body)
		}
		if c.status == 404 && c.body != "" && (w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: header %v", c.name, w.Header())
		}
	}
}

func TestAPIBasePath(t *testing.T) {
	h := (&API{State: state(t, staticText, dynamicText), BasePath: "/edge/"}).mux()
	if w := ask(h, "GET", "/edge/api/http/services/app@file"); w.Code != 200 {
		t.Errorf("below the base path: %d", w.Code)
	}
	if w := ask(h, "GET", "/api/version"); w.Code != 404 {
		t.Errorf("beside the base path: %d", w.Code)
	}
}

// An errors middleware on the very service that gives the pages is no endless way.
func TestAPICircle(t *testing.T) {
	h := (&API{State: state(t, staticText, `
http:
  routers: {r: {rule: "Path(`+"`/`"+`)", service: s, middlewares: [m]}}
  middlewares: {m: {errors: {service: s, status: ["500"], query: /}}}
  services: {s: {middlewares: [m], loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}}
`)}).mux()
	for _, path := range []string{"/api/rawdata", "/api/overview", "/api/http/services"} {
		if w := ask(h, "GET", path); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"http://a.test:80/x@y":                       "http://a.test:80/x@y",
		"redis://u:p@h:1":                            "redis://u:REDACTED@h:1",
		"cannot dial http://u:p:q@h, nor ws://v:w@h": "cannot dial http://u:REDACTED@h, nor ws://v:REDACTED@h",
		"ann@example.com":                            "ann@example.com",
		"http://:p@h":                                "http://:REDACTED@h",
	} {
		if got := redactText(text); got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
	if got, _ := json.Marshal(object(&dynamic.Middleware{ForwardAuth: &dynamic.ForwardAuth{Address: "http://me:p@auth.test/"}})); string(got) != `{"forwardAuth":{"address":"http://me:REDACTED@auth.test/"}}` {
		t.Errorf("forwardAuth: %s", got)
	}
	if got := providersOf(&static.Providers{Plugin: map[string]map[string]any{"b": nil, "a": nil}, Redis: &static.Redis{}, Docker: &static.Docker{}}); !slices.Equal(got, []string{"Docker", "Redis", "plugin-a", "plugin-b"}) {
		t.Errorf("providers %v", got)
	}
}

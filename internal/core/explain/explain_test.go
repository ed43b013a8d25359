package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/explain"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

const staticSide = `
entryPoints:
  web: {address: ":80"}
  websecure: {address: ":443"}
  admin: {address: "127.0.0.1:9000"}
`

const dynamicSide = `
http:
  routers:
    app: {rule: "Host(` + "`a.test`" + `) && !Path(` + "`/no`" + `)", service: app, entryPoints: [web], middlewares: [strip, office]}
    app-secure: {rule: "Host(` + "`a.test`" + `)", service: app, entryPoints: [websecure], tls: {}}
    strict: {rule: "Host(` + "`strict.test`" + `)", service: app, entryPoints: [websecure], tls: {options: strict}}
    header: {rule: "Host(` + "`h.test`" + `) && Header(` + "`X-Version`, `2`" + `)", service: app, entryPoints: [web]}
    query: {rule: "Host(` + "`q.test`" + `) && Query(` + "`a`, `b`" + `)", service: app, entryPoints: [web]}
    method: {rule: "Host(` + "`m.test`" + `) && Method(` + "`PUT`" + `)", service: app, entryPoints: [web]}
    old: {rule: "Host(` + "`old.test`" + `)", service: app, entryPoints: [web], middlewares: [move]}
    admin: {rule: "Host(` + "`admin.test`" + `)", service: app, entryPoints: [admin]}
    all: {rule: "PathPrefix(` + "`/all`" + `)", service: app, entryPoints: [websecure], tls: {}, priority: 1}
    root: {rule: "Host(` + "`l.test`" + `)", middlewares: [strip, mark], entryPoints: [web]}
    child: {rule: "PathPrefix(` + "`/users/`" + `)", service: app, parentRefs: [root]}
    marked: {rule: "Header(` + "`X-Mark`, `yes`" + `) && Path(` + "`/m`" + `)", service: app, parentRefs: [root]}
    shut: {rule: "Path(` + "`/shut`" + `)", service: app, middlewares: [nobody], parentRefs: [root]}
  services:
    app: {loadBalancer: {servers: [{url: "http://10.0.0.1"}, {url: "http://10.0.0.2"}]}}
  middlewares:
    strip: {stripPrefix: {prefixes: ["/api"]}}
    mark: {headers: {customRequestHeaders: {X-Mark: "yes"}}}
    office: {ipAllowList: {sourceRange: ["192.0.2.0/24"]}}
    move: {redirectRegex: {regex: "^http://old.test/(.*)", replacement: "https://new.test/$1", permanent: true}}
tcp:
  routers:
    vm: {rule: "HostSNI(` + "`vm.test`" + `)", service: vm, entryPoints: [websecure], tls: {passthrough: true}}
    db: {rule: "HostSNI(` + "`db.test`" + `) && ALPN(` + "`postgresql`" + `)", service: vm, entryPoints: [websecure], tls: {}}
  services:
    vm: {loadBalancer: {servers: [{address: "10.0.0.9:443"}]}}
tls:
  options:
    strict: {minVersion: VersionTLS13}
`

func build(t *testing.T, staticText, dynamicText string) *plan.Plan {
	t.Helper()
	doc := func(name, text string) *decode.Document {
		d, err := decode.File(name, []byte(text), decode.YAML)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	st, l := doc("static.yml", staticText).Static(nil)
	if l.Has(diag.Error) {
		t.Fatal(l)
	}
	return plan.Build(nil, static.Effective(st), []dynamic.Snapshot{{Provider: "file", Fragments: []*dynamic.Fragment{doc("dynamic.yml", dynamicText).Dynamic(nil)}}})
}

func TestAsk(t *testing.T) {
	p := build(t, staticSide, dynamicSide)
	for _, c := range []struct {
		name, url  string
		set        func(q *explain.Question)
		status     int
		challenge  bool
		cause      string // a part of it
		entryPoint string
	}{
		{"served", "http://a.test/", nil, 0, false, `the router "app@file" takes the request, and the service "app@file" sends it to http://10.0.0.1 or http://10.0.0.2`, "web"},
		{"path changed", "http://A.test:80/api/x", nil, 0, false, "as /x", "web"},
		{"path in another spelling", "http://a.test//x/%2e%2e/api/y", nil, 0, false, "as /y", "web"},
		{"negated", "http://a.test/no", nil, 404, false, "\"app@file\" comes nearest: it excludes Path(`/no`), and saw \"/no\"", "web"},
		{"client refused", "http://a.test/", func(q *explain.Question) { q.Client = netip.MustParseAddr("198.51.100.1") }, 403, false, `the middleware "office@file" refuses the client 198.51.100.1`, "web"},
		{"client let in", "http://a.test/", func(q *explain.Question) { q.Client = netip.MustParseAddr("::ffff:192.0.2.7") }, 0, false, "takes the request", "web"},
		{"header missing", "http://h.test/", nil, 404, false, "it wants Header(`X-Version`, `2`), and saw nothing", "web"},
		{"header", "http://h.test/", func(q *explain.Question) { q.SetHeader("x-version", "2") }, 0, false, `"header@file" takes`, "web"},
		{"query", "http://q.test/?x=y;a=b", nil, 0, false, `"query@file" takes`, "web"},
		{"method", "http://m.test/", nil, 404, false, "wants Method(`PUT`), and saw \"GET\"", "web"},
		{"redirected", "http://old.test/x?y", nil, 301, false, `301 to https://new.test/x?y: the middleware "move@file" redirects`, "web"},
		{"other entry point", "http://admin.test/", nil, 404, false, `"admin@file" would match, but listens on entry point "admin", not on "web"`, "web"},
		{"entry point by name", "http://admin.test/", func(q *explain.Question) { q.EntryPoint = "admin" }, 0, false, `"admin@file" takes`, "admin"},
		{"unknown entry point", "http://admin.test/", func(q *explain.Question) { q.EntryPoint = "wbe" }, 0, false, `the entry point "wbe" does not exist (did you mean "web"?)`, ""},
		{"host misspelt", "http://admim.test/", nil, 404, false, `no router matches the host "admim.test"`, "web"},
		{"challenge of a router", "http://a.test/.well-known/acme-challenge/abc", nil, 0, true, `"app@file" takes the request`, "web"},
		{"challenge of a machine", "http://vm.test/.well-known/acme-challenge/abc", nil, 0, true, `machine behind the passthrough router "vm@file"`, "web"},
		{"challenge of nobody", "http://x.test/.well-known/acme-challenge/abc", nil, 404, true, "no router", "web"},
		{"no challenge", "http://vm.test/.well-known/acme-challenge/a/b", nil, 404, false, "no router", "web"},
		{"below another router", "http://l.test/api/users/7", nil, 0, false, `the router "child@file" takes the request, and the service "app@file" sends it to http://10.0.0.1 or http://10.0.0.2 as /users/7`, "web"},
		{"below another router, by a header that it sets", "http://l.test/m", nil, 0, false, `the router "marked@file" takes`, "web"},
		{"below another router, disabled", "http://l.test/shut", nil, 503, false, `the router "shut@file" is disabled: the middleware "nobody@file" does not exist`, "web"},
		{"none below matches", "http://l.test/x", nil, 404, false, "404: the router \"root@file\" takes the request, and none of the routers below it matches; \"marked@file\" comes nearest: it wants Path(`/m`), and saw \"/x\"", "web"},
		{"secure", "https://a.test/", nil, 0, false, `"app-secure@file" takes`, "websecure"},
		{"passthrough", "https://vm.test/", nil, 0, false, `the TCP router "vm@file" hands the TLS connection undecrypted to 10.0.0.9:443`, "websecure"},
		{"other options than the connection's", "https://a.test/", func(q *explain.Question) { q.SetHeader("Host", "strict.test") }, 421, false, `TLS options differ from those of "strict.test"`, "websecure"},
		{"a machine's host on our connection", "https://a.test/all", func(q *explain.Question) { q.SetHeader("Host", "vm.test") }, 421, false, `belongs to the passthrough router "vm@file"`, "websecure"},
		{"tcp", "tcp://any:443?sni=vm.test", nil, 0, false, `"vm@file" hands`, "websecure"},
		{"tcp with a protocol", "tcp://any:443?sni=db.test&alpn=h2,postgresql", nil, 0, false, `"db@file" hands the connection to`, "websecure"},
		{"tcp nobody", "tcp://any:443?sni=nobody.test", nil, 0, false, "no TCP router takes the connection", "websecure"},
		{"tcp elsewhere", "tcp://any:80?sni=vm.test", nil, 0, false, `"vm@file" would match, but listens on entry point "websecure", not on "web"`, "web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := explain.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if c.set != nil {
				c.set(q)
			}
			a := explain.Ask(p, q, explain.Facts{})
			if !strings.Contains(a.Cause, c.cause) {
				t.Errorf("cause %q, want %q in it", a.Cause, c.cause)
			}
			if c.entryPoint == "" {
				return
			}
			if len(a.Ways) != 1 || a.Ways[0].EntryPoint != c.entryPoint || a.Ways[0].Status != c.status || (a.Ways[0].Challenge != "") != c.challenge {
				t.Errorf("ways %+v, want one on %s with status %d, challenge %v", a.Ways[0], c.entryPoint, c.status, c.challenge)
			}
		})
	}
}

// TestRefused: what the engine would not build refuses here as well, and never answers for the middleware before it.
func TestRefused(t *testing.T) {
	p := build(t, staticSide, dynamicSide)
	q, err := explain.Parse("http://old.test/")
	if err != nil {
		t.Fatal(err)
	}
	m := p.HTTP.Middlewares.Get(plan.Name{Local: "move", Provider: "file"})
	a := explain.Ask(p, q, explain.Facts{Refused: diag.List{{Place: m.Place(), Severity: diag.Error, Key: m.Key() + ".redirectRegex.regex", Message: "it is broken"}}})
	if a.Ways[0].Status != 503 || !strings.Contains(a.Cause, `"move@file" cannot be used: it is broken`) {
		t.Errorf("status %d, cause %q", a.Ways[0].Status, a.Cause)
	}
}

// TestEverywhere: without a port that anybody listens on, all entry points are looked at and the best one speaks.
func TestEverywhere(t *testing.T) {
	p := build(t, staticSide, dynamicSide)
	q, err := explain.Parse("http://admin.test:1234/")
	if err != nil {
		t.Fatal(err)
	}
	a := explain.Ask(p, q, explain.Facts{})
	if len(a.Ways) != 3 || !strings.HasPrefix(a.Cause, "on entry point admin: ") || !strings.Contains(a.Assumed, "no entry point listens on port 1234") {
		t.Errorf("%d ways, assumed %q, cause %q", len(a.Ways), a.Assumed, a.Cause)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"http://a.test/", "https://[::1]:443/%zz", "tcp://x:1?sni=a&alpn=b,c", "ftp://x", "//", "http://a:99999"} {
		f.Add(s)
	}
	st := &static.Config{}
	p := plan.Build(nil, static.Effective(st), nil)
	f.Fuzz(func(t *testing.T, text string) {
		if q, err := explain.Parse(text); err == nil {
			if explain.Ask(p, q, explain.Facts{}).Cause == "" {
				t.Error("no cause")
			}
		}
	})
}

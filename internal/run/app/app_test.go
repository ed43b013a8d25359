package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/observe/record"
	"sluice/internal/testkit"
)

// scripted is a provider that says what the test says.
type scripted struct{ say chan *dynamic.Fragment }

func (s scripted) Name() string { return "file" }

func (s scripted) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	for {
		select {
		case f := <-s.say:
			publish(dynamic.Snapshot{Fragments: []*dynamic.Fragment{f}})
		case <-ctx.Done():
			return nil
		}
	}
}

// router is a running App under test.
type router struct {
	t   *testing.T
	app *App
	say chan *dynamic.Fragment

	// stop begins the shutdown and waits for its end; the test's end does so too.
	stop func()

	quiet   atomic.Bool // nothing is recorded any more
	mu      sync.Mutex
	records []record.Record
}

// Record implements record.Sink.
func (r *router) Record(rec *record.Record) {
	if r.quiet.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, *rec.Clone())
}

// start runs a router with entry points web and secure, and a dynamic configuration in YAML, until the test ends.
func start(t *testing.T, staticYAML, dynamicYAML string) *router {
	t.Helper()
	return startLogging(t, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})), staticYAML, dynamicYAML)
}

// startLogging is start with another log than that of the test.
func startLogging(t *testing.T, log *slog.Logger, staticYAML, dynamicYAML string) *router {
	t.Helper()
	testkit.LeakCheck(t)
	doc, err := decode.File("static.yml", []byte(staticYAML), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	st, findings := doc.Static(nil)
	if findings.Has(diag.Error) {
		t.Fatal(findings)
	}
	st.Providers.ProvidersThrottleDuration = 0
	r := &router{t: t, say: make(chan *dynamic.Fragment, 16)}
	r.app, err = New(Options{Static: static.Effective(st), Log: log,
		Hostname: "edge", Sink: r})
	if err != nil {
		t.Fatal(err)
	}
	r.app.providers = append(r.app.providers, scripted{r.say})
	r.say <- fragment(t, dynamicYAML)
	stop, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.app.Run(stop, context.Background()) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	<-r.app.Applied()
	return r
}

func fragment(t *testing.T, yaml string) *dynamic.Fragment {
	t.Helper()
	doc, err := decode.File("dynamic.yml", []byte(yaml), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Dynamic(&decode.Files{Read: decode.ReadMaterial})
}

// reload puts another dynamic configuration in force.
func (r *router) reload(yaml string) {
	r.t.Helper()
	before := r.app.Plan()
	r.say <- fragment(r.t, yaml)
	for deadline := time.Now().Add(10 * time.Second); r.app.Plan() == before; {
		if time.Now().After(deadline) {
			r.t.Fatal("the configuration was not applied")
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *router) addr(entryPoint string) string { return r.app.Addr(entryPoint).String() }

// get asks an entry point for a URL, whatever its host resolves to.
func (r *router) get(entryPoint, url string) (*http.Response, string) {
	r.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, r.addr(entryPoint))
		}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(request(r.t, url))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(body)
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if u := req.URL.User; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	return req
}

// backend is a server that says its name and the path it was asked for.
func backend(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/unknown") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "%s %s", name, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s
}

const twoEntryPoints = `
entryPoints:
  web: {address: "127.0.0.1:0"}
  secure: {address: "127.0.0.1:0"}
`

// A router of which a part is broken refuses; its requests never fall to a wider router.
func TestBrokenRouterRefuses(t *testing.T) {
	b := backend(t, "wide")
	r := start(t, twoEntryPoints, `
http:
  routers:
    wide: {rule: "Host(`+"`a.test`"+`)", service: s}
    admin: {rule: "Host(`+"`a.test`"+`) && PathPrefix(`+"`/admin`"+`)", service: s, middlewares: [auth]}
    missing: {rule: "Host(`+"`a.test`"+`) && PathPrefix(`+"`/missing`"+`)", service: gone}
    unsupported: {rule: "Host(`+"`a.test`"+`) && PathPrefix(`+"`/oidc`"+`)", service: s, middlewares: [oidc]}
  middlewares:
    auth: {basicAth: {users: ["a:b"]}}
    oidc: {oidc: {issuer: "https://issuer.test"}}
  services:
    s: {loadBalancer: {servers: [{url: "`+b.URL+`"}]}}
`)
	for path, want := range map[string]int{"/": 200, "/admin": 503, "/missing/x": 503, "/oidc": 503} {
		resp, body := r.get("web", "http://a.test"+path)
		if resp.StatusCode != want {
			t.Errorf("%s: got %d %q, want %d", path, resp.StatusCode, body, want)
		}
		if want == 503 && resp.Header.Get("Sluice-Error") != "ROUTER-REFUSED" {
			t.Errorf("%s: refused without saying so: %v", path, resp.Header)
		}
	}
}

// A challenge belongs to the owner of its host, also behind a redirection of everything.
func TestChallengeOwner(t *testing.T) {
	vm, other := backend(t, "vm"), backend(t, "other")
	r := start(t, `
entryPoints:
  web: {address: "127.0.0.1:0", http: {redirections: {entryPoint: {to: ":8443"}}}}
  secure: {address: "127.0.0.1:0"}
`, `
http:
  routers:
    vm: {rule: "Host(`+"`www.vm.test`"+`)", service: vm, entryPoints: [web]}
    all: {rule: "PathPrefix(`+"`/`"+`)", service: other, entryPoints: [web]}
  services:
    vm: {loadBalancer: {servers: [{url: "`+vm.URL+`"}]}}
    other: {loadBalancer: {servers: [{url: "`+other.URL+`"}]}}
`)
	const token = "/.well-known/acme-challenge/yK1iwHnN-_RFgGed5cyyHfi2IjCx7Xbi"
	for url, want := range map[string]struct {
		status int
		body   string
	}{
		"http://www.vm.test" + token:                     {200, "vm " + token},
		"http://www.vm.test/":                            {301, ""},
		"http://www.vm.test" + token + "/more":           {301, ""},
		"http://elsewhere.test" + token:                  {301, ""},
		"http://www.vm.test/.well-known/acme-challenge/": {301, ""},
	} {
		resp, body := r.get("web", url)
		if resp.StatusCode != want.status || want.body != "" && body != want.body {
			t.Errorf("%s: got %d %q, want %d %q", url, resp.StatusCode, body, want.status, want.body)
		}
	}
}

// A connection lives through reloads, and each of its requests sees the configuration in force.
func TestReloadKeepsConnections(t *testing.T) {
	one, two := backend(t, "one"), backend(t, "two")
	config := func(url, more string) string {
		return `
http:
  routers:
    r: {rule: "Host(` + "`a.test`" + `)", service: s}` + more + `
  services:
    s: {loadBalancer: {servers: [{url: "` + url + `"}]}}
`
	}
	r := start(t, twoEntryPoints, config(one.URL, ""))
	c, err := net.Dial("tcp", r.addr("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	ask := func() string {
		t.Helper()
		fmt.Fprintf(c, "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	if got := ask(); got != "200 one /x" {
		t.Fatal(got)
	}
	for i := range 20 {
		r.reload(config(one.URL, fmt.Sprintf("\n    other%d: {rule: \"Host(`b.test`)\", service: s}", i)))
		if got := ask(); got != "200 one /x" {
			t.Fatal(got)
		}
	}
	r.reload(config(two.URL, ""))
	if got := ask(); got != "200 two /x" {
		t.Fatal(got)
	}
	r.reload("http: {}")
	if got := ask(); !strings.HasPrefix(got, "404") {
		t.Fatal(got)
	}
}

// HST-09: a request over a connection that was made with other TLS options than its host asks for is refused, on every
// version of HTTP.
func TestMisdirected(t *testing.T) {
	b := backend(t, "b")
	r := start(t, twoEntryPoints, `
http:
  routers:
    open: {rule: "Host(`+"`open.test`"+`)", service: s, tls: {}, entryPoints: [secure]}
    strict: {rule: "Host(`+"`strict.test`"+`)", service: s, tls: {options: strict}, entryPoints: [secure]}
    twin: {rule: "Host(`+"`twin.test`"+`)", service: s, tls: {}, entryPoints: [secure]}
  services:
    s: {loadBalancer: {servers: [{url: "`+b.URL+`"}]}}
tls:
  options:
    strict: {minVersion: VersionTLS13}
`)
	for _, proto := range []string{"h2", "http/1.1"} {
		for host, want := range map[string]int{"open.test": 200, "OPEN.test.": 200, "twin.test": 200, "strict.test": 421, "STRICT.test": 421} {
			t.Run(proto+" "+host, func(t *testing.T) {
				c, err := tls.Dial("tcp", r.addr("secure"), &tls.Config{InsecureSkipVerify: true, ServerName: "open.test", NextProtos: []string{proto}})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{NextProtos: []string{proto}},
					DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
				defer transport.CloseIdleConnections()
				resp, err := transport.RoundTrip(request(t, "https://"+host+"/"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("got %s %d, want %d", resp.Proto, resp.StatusCode, want)
				}
				if want == 421 && proto == "http/1.1" && !resp.Close {
					t.Error("421 without Connection: close")
				}
			})
		}
	}
}

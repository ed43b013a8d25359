//go:build unix

package e2e

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/testkit"
)

// appHost is a name that Sluice terminates and serves itself, beside the machine's.
const appHost = "app.mydomain.com"

// edge is a running Sluice with the two entry points of the seed story.
type edge struct {
	*daemon
	web, secure string // addresses
	dir         string // static.toml and the directory dynamic/
	appRoots    *x509.CertPool
	appCAFile   string
}

// plan is what an edge runs.
type plan struct {
	machine  *vm    // nil: nothing is passed through
	redirect bool   // web sends everything to secure
	static   string // further static configuration; WEB, SECURE and DIR stand for addresses and directory
	dynamic  string // further dynamic configuration
	ports    []int  // of web and secure; nil for free ones
}

const passthroughConf = `
[tcp.routers.secure-tcp]
  rule = "HostSNI(` + "`VMHOST`" + `)"
  service = "vm-secure"
  entryPoints = ["secure"]
  [tcp.routers.secure-tcp.tls]
    passthrough = true
[[tcp.services.vm-secure.loadBalancer.servers]]
  address = "VMSECURE"
[http.routers.vm]
  rule = "Host(` + "`VMHOST`" + `)"
  service = "vm"
  entryPoints = ["web"]
[[http.services.vm.loadBalancer.servers]]
  url = "http://VMPLAIN"
`

const appConf = `
[http.routers.app]
  rule = "Host(` + "`APPHOST`" + `)"
  service = "app"
  entryPoints = ["secure"]
  [http.routers.app.tls]
[[http.services.app.loadBalancer.servers]]
  url = "APPURL"
[[tls.certificates]]
  certFile = "DIR/cert.pem"
  keyFile = "DIR/key.pem"
`

func startEdge(t *testing.T, p plan) *edge {
	t.Helper()
	dir := directory(t)
	ps := p.ports
	if ps == nil {
		ps = ports(t, 2)
	}
	e := &edge{web: loopback(ps[0]), secure: loopback(ps[1]), dir: dir}

	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := r.URL.Query().Get("bytes"); n != "" {
			fmt.Fprint(w, strings.Repeat("x", len(n)))
			return
		}
		fmt.Fprintf(w, "app, host %s, for %s, proto %s\n", r.Host, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(app.Close)
	ca := testkit.NewCA(t)
	e.appRoots, e.appCAFile = ca.Pool(), filepath.Join(dir, "ca.pem")
	write(t, e.appCAFile, string(ca.PEM))
	ca.Leaf(t, appHost).Files(t, dir)

	static := `
[log]
  level = "DEBUG"
[entryPoints.web]
  address = "WEB"
[entryPoints.secure]
  address = "SECURE"
[providers.file]
  directory = "DIR/dynamic"
`
	if p.redirect {
		static += "[entryPoints.web.http.redirections.entryPoint]\n  to = \"secure\"\n"
	}
	dynamic := appConf
	replace := []string{"WEB", e.web, "SECURE", e.secure, "DIR", dir, "APPHOST", appHost, "APPURL", app.URL}
	if p.machine != nil {
		dynamic += passthroughConf
		replace = append([]string{"VMHOST", vmHost, "VMSECURE", p.machine.secure, "VMPLAIN", p.machine.plain}, replace...)
	}
	fill := strings.NewReplacer(replace...)
	write(t, filepath.Join(dir, "static.toml"), fill.Replace(static+p.static))
	write(t, filepath.Join(dir, "dynamic/base.toml"), fill.Replace(dynamic))
	if p.dynamic != "" {
		write(t, filepath.Join(dir, "dynamic/more.toml"), fill.Replace(p.dynamic))
	}
	e.daemon = start(t, nil, sluice, "--configFile="+filepath.Join(dir, "static.toml"))
	e.listening(t, e.web, e.secure)
	e.servesApp(t)
	return e
}

// servesApp waits until the terminated host is served under its certificate, as it is once the configuration is in place.
func (e *edge) servesApp(t *testing.T) {
	t.Helper()
	eventually(t, "Sluice serves "+appHost, func() error {
		if err := e.alive(); err != nil {
			return deadError{err}
		}
		_, err := served(e.secure, appHost, e.appRoots)
		return err
	})
}

// url is an address of the secure side under a name; resolve is curl's argument that makes the name this machine.
func (e *edge) url(name string) string { return fmt.Sprintf("https://%s:%s/", name, portOf(e.secure)) }

func (e *edge) webURL(name, path string) string {
	return fmt.Sprintf("http://%s:%s%s", name, portOf(e.web), path)
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// curl asks for a URL with all names being this machine.
func curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path := need(t, "curl")[0]
	// Of several --connect-to curl takes the first that fits: a test's own goes before the general one.
	return run(t, nil, path, append(args, "--silent", "--show-error", "--max-time", "10", "--connect-to", "::127.0.0.1:")...)
}

func mustCurl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := curl(t, args...)
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func mustHave(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got %q, want it to hold %q", what, got, w)
		}
	}
}

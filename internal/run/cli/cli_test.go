package cli

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command line and returns what it printed.
func run(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(&Process{Args: args, Environ: environ, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"help", []string{"--help"}, 0, "Usage: sluice", ""},
		{"help anywhere", []string{"check", "-h"}, 0, "Usage: sluice", ""},
		{"version", []string{"version"}, 0, "Version:      ", ""},
		{"version after the program's name", []string{"traefik", "version"}, 0, "Version:      ", ""},
		{"version as JSON", []string{"version", "--json"}, 0, `"codename":`, ""},
		{"version with a stray word", []string{"version", "please"}, 2, "", "unknown argument"},
		{"unknown command", []string{"chekc"}, 2, "", `did you mean "check"?`},
		{"unknown flag", []string{"--entrypoint.web.address=:80"}, 1, "", "did you mean"},
		{"missing file", []string{"--configFile=/nowhere/sluice.yml"}, 1, "", "/nowhere/sluice.yml"},
		{"bad address", []string{"--entryPoints.web.address=:99999"}, 1, "", "entryPoints.web.address"},
		{"healthcheck without ping", []string{"healthcheck", "--entryPoints.web.address=127.0.0.1:0"}, 1, "", "enable `ping`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("got exit code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}
}

func TestAddressInUseNamesTheEntryPoint(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := run(t, nil, "--entryPoints.web.address="+l.Addr().String())
	if code != 1 || !strings.Contains(stderr, "entry point web") {
		t.Errorf("PRC-03: got exit code %d, %q", code, stderr)
	}
}

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.URL.Path != "/ping" {
			t.Errorf("asked by %s %s", r.Method, r.URL.Path)
		}
		w.WriteHeader(status)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	args := []string{"healthcheck", "--ping", "--entryPoints.traefik.address=" + l.Addr().String()}
	if code, stdout, stderr := run(t, nil, args...); code != 0 || stdout != "OK: http://"+l.Addr().String()+"/ping\n" {
		t.Errorf("got exit code %d, %q, %q", code, stdout, stderr)
	}
	status = http.StatusServiceUnavailable
	if code, _, stderr := run(t, nil, args...); code != 1 || !strings.Contains(stderr, "Bad healthcheck status: 503") {
		t.Errorf("got exit code %d, %q", code, stderr)
	}
}

func TestCheckTellsSidesApart(t *testing.T) {
	both := write(t, "both.yml", `
entryPoints: {web: {address: ":80"}}
http:
  routers: {r: {rule: "Host(`+"`a.test`"+`)", service: s, entryPoints: [wbe]}}
  services: {s: {loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}}
`)
	if code, stdout, _ := run(t, nil, "check", both); code != 3 || !strings.Contains(stdout, `"wbe" does not exist (did you mean "web"?) [UNKNOWN-ENTRYPOINT]`) {
		t.Errorf("one file for both sides: exit code %d\n%s", code, stdout)
	}
	alone := write(t, "dynamic.yml", `
http:
  routers: {r: {rule: "Host(`+"`a.test`"+`)", service: s, entryPoints: [anything], tls: {certResolver: le}}}
  services: {s: {loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}}
`)
	if code, stdout, stderr := run(t, nil, "check", alone); code != 0 {
		t.Errorf("without a static side entry points and resolvers are not known: exit code %d\n%s%s", code, stdout, stderr)
	}
	broken := write(t, "broken.toml", "[http.routers]\nfoo bar = 1\n")
	if code, stdout, _ := run(t, nil, "check", broken); code != 3 || !strings.Contains(stdout, "expected '.' or '=', but got 'b' instead") {
		t.Errorf("syntax error: exit code %d\n%s", code, stdout)
	}
	if code, stdout, _ := run(t, nil, "check", "--json", alone); code != 0 || !strings.Contains(stdout, `"findings": []`) {
		t.Errorf("JSON: exit code %d\n%s", code, stdout)
	}
	if code, _, stderr := run(t, nil, "check", "/nowhere.yml"); code != 2 || !strings.Contains(stderr, "/nowhere.yml") {
		t.Errorf("missing file: exit code %d, %q", code, stderr)
	}
}

//go:build unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/testkit"
)

const passthroughExample = "../../examples/passthrough"

// findingLine is the form in which findings print.
var findingLine = regexp.MustCompile(`^(\S+):(\d+):\d+: (error|warning|info): (\S+): .* \[[A-Za-z0-9-]+\]$`)

// check runs `sluice check` in a directory and gives its findings and its exit code.
func check(t *testing.T, dir string, args ...string) (findings []string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sluice, append([]string{"check"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); findingLine.MatchString(line) {
			findings = append(findings, line)
		}
	}
	if len(findings) == 0 && len(out) > 0 {
		t.Logf("check said:\n%s", out)
	}
	return findings, cmd.ProcessState.ExitCode()
}

// TestArticleAsPrinted holds the seed article's own text to the findings that it deserves, and to no others.
func TestArticleAsPrinted(t *testing.T) {
	// Words that one finding each must hold.
	want := [][]string{
		{"192.168.x.x:4443"},
		{"PathPrefix"},
		{"http.services.vm.loadBalancer:", `"vm" has no servers`, `"apache-vm" has some and nobody uses it`},
		{"192.169.x.x:8080"},
	}
	got, code := check(t, passthroughExample, "--configFile=article.static.toml")
	if code != 3 {
		t.Errorf("exit code %d, want 3: there are errors among the findings", code)
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			ok := true
			for _, word := range w {
				ok = ok && strings.Contains(g, word)
			}
			found = found || ok
		}
		if !found {
			t.Errorf("no finding about %v", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d findings, want %d", len(got), len(want))
	}
	if t.Failed() {
		t.Logf("findings:\n%s", strings.Join(got, "\n"))
	}

	got, code = check(t, passthroughExample, "--entryPoints.secure.address=127.0.0.1:0", "--providers.file.filename=article.toml")
	if code != 3 || !strings.Contains(strings.Join(got, "\n"), `"web"`) {
		t.Errorf("without an entry point web: exit code %d and findings\n%s\nwant one about that entry point", code, strings.Join(got, "\n"))
	}
}

// TestExampleIsSound: the corrected example has nothing that check would say.
func TestExampleIsSound(t *testing.T) {
	if got, code := check(t, passthroughExample, "--configFile=static.toml"); code != 0 || len(got) > 0 {
		t.Errorf("exit code %d, findings:\n%s", code, strings.Join(got, "\n"))
	}
	out, err := run(t, nil, sluice, "check", "--json", "--configFile="+filepath.Join(passthroughExample, "static.toml"), "--providers.file.filename=/nowhere")
	if !json.Valid([]byte(out)) {
		t.Errorf("check --json printed no JSON: %v\n%s", err, out)
	}
}

// example starts Sluice in a copy of the example directory with its ports and machines replaced by those of the test.
func example(t *testing.T, static string, m *vm) (d *daemon, web, secure string) {
	t.Helper()
	dir := directory(t)
	ps := ports(t, 2)
	web, secure = loopback(ps[0]), loopback(ps[1])
	fill := strings.NewReplacer(`":80"`, `"`+web+`"`, `":443"`, `"`+secure+`"`,
		"192.168.1.20:4443", m.secure, "http://192.168.1.20:8080", "http://"+m.plain)
	files, err := filepath.Glob(filepath.Join(passthroughExample, "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(f)), fill.Replace(string(b)))
	}
	t.Chdir(dir) // the example's file names are relative
	d = start(t, nil, sluice, "--configFile="+static)
	d.listening(t, web, secure)
	return d, web, secure
}

// TestExampleWorks runs the corrected example before a real machine.
func TestExampleWorks(t *testing.T) {
	vmCA := testkit.NewCA(t)
	leaf := vmCA.Leaf(t, vmHost)
	m := startVM(t, leaf)
	d, web, secure := example(t, "static.toml", m)
	for _, address := range []string{secure, web} { // the article's router is on both
		eventually(t, "TLS at "+address, func() error {
			if err := d.alive(); err != nil {
				return deadError{err}
			}
			_, err := served(address, vmHost, vmCA.Pool())
			return err
		})
	}
	url := "http://" + vmHost + ":" + portOf(web)
	mustHave(t, "plain HTTP", mustCurl(t, url+"/"), "plain VM, host "+vmHost)
	mustHave(t, "token", mustCurl(t, url+"/.well-known/acme-challenge/hand-made"), "hand-made.answer")
	if said := d.said(); said != "" {
		t.Errorf("a sound configuration leaves the log empty; it holds:\n%s", said)
	}
}

// TestArticleServesTheRest: with its slips, the article still starts, and what can be served is.
func TestArticleServesTheRest(t *testing.T) {
	m := startVM(t, testkit.NewCA(t).Leaf(t, vmHost))
	d, web, secure := example(t, "article.static.toml", m)
	// The machine's router stands, its service has no servers.
	eventually(t, "the router vm", func() error {
		if err := d.alive(); err != nil {
			return deadError{err}
		}
		out, err := curl(t, "--write-out", "%{response_code}", "--output", "/dev/null", "http://"+vmHost+":"+portOf(web)+"/")
		if err == nil && out != "503" {
			err = errors.New("answer " + out + ", want 503")
		}
		return err
	})
	// The passthrough machine has no address: the connection ends, and nobody else answers for it.
	if cert, err := served(secure, vmHost, nil); err == nil {
		t.Errorf("the certificate of %v was served for the machine", cert.Subject)
	}
	out := mustCurl(t, "--write-out", "%{response_code}", "--output", "/dev/null", "http://other.mydomain.com:"+portOf(web)+"/")
	mustHave(t, "another host", out, "404")
}

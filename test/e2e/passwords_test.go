//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// usersConf guards three hosts: by a file of htpasswd, by one of htdigest, and by a file that is broken.
const usersConf = `
[http.routers.basic]
  rule = "Host(` + "`basic.test`" + `)"
  service = "app"
  entryPoints = ["web"]
  middlewares = ["basic"]
[http.middlewares.basic.basicAuth]
  usersFile = "DIR/htpasswd"
  headerField = "X-User"
[http.routers.digest]
  rule = "Host(` + "`digest.test`" + `)"
  service = "app"
  entryPoints = ["web"]
  middlewares = ["digest"]
[http.middlewares.digest.digestAuth]
  usersFile = "DIR/htdigest"
  realm = "edge"
[http.routers.broken]
  rule = "Host(` + "`broken.test`" + `)"
  service = "app"
  entryPoints = ["web"]
  middlewares = ["broken"]
[http.middlewares.broken.basicAuth]
  usersFile = "DIR/broken"
`

// curled asks for a URL and gives the status that curl got last, and the headers of all answers.
func curled(t *testing.T, args ...string) (code, headers string) {
	t.Helper()
	out := mustCurl(t, append(args, "--output", os.DevNull, "--dump-header", "-", "--write-out", "%{stderr}%{http_code}")...)
	head, _, _ := strings.Cut(out, "\r\n\r\n")
	return out[len(out)-3:], head
}

// TestPasswordFiles logs in with files that Debian's apache2-utils make, in every format that they offer, and follows changes of them.
func TestPasswordFiles(t *testing.T) {
	programs := need(t, "htpasswd", "htdigest", "curl")
	htpasswd, htdigest := programs[0], programs[1]
	dir := directory(t)
	users := filepath.Join(dir, "htpasswd")
	formats := map[string]string{"md5": "-bm", "bcrypt": "-bB", "sha1": "-bs", "sha256": "-b2", "sha512": "-b5"}
	create := "c"
	for name, flags := range formats {
		mustRun(t, nil, htpasswd, flags+create, users, name, "secret of "+name)
		create = ""
	}
	digest := func(user, password string) {
		args := []string{filepath.Join(dir, "htdigest"), "edge", user}
		if _, err := os.Stat(args[0]); err != nil {
			args = append([]string{"-c"}, args...)
		}
		cmd := exec.Command(htdigest, args...)
		cmd.SysProcAttr = ownGroup()
		cmd.Stdin = strings.NewReader(password + "\n" + password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("htdigest: %v\n%s", err, out)
		}
	}
	digest("ann", "wonder land")
	mustRun(t, nil, htpasswd, "-bdc", filepath.Join(dir, "broken"), "crypt", "secret")

	e := startEdge(t, plan{dynamic: strings.ReplaceAll(usersConf, "DIR", dir)})
	url := func(host string) string { return e.webURL(host, "/") }
	ask := func(want, host string, args ...string) error {
		if got, _ := curled(t, append(args, url(host))...); got != want {
			return fmt.Errorf("%s: got %s, want %s", host, got, want)
		}
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for name := range formats {
		must(ask("200", "basic.test", "--user", name+":secret of "+name))
		must(ask("401", "basic.test", "--user", name+":secret"))
	}
	must(ask("401", "basic.test", "--user", "nobody:secret"))
	must(ask("401", "basic.test"))

	must(ask("200", "digest.test", "--digest", "--user", "ann:wonder land"))
	must(ask("401", "digest.test", "--digest", "--user", "ann:wonder"))
	must(ask("401", "digest.test", "--digest", "--user", "bob:wonder land"))
	must(ask("401", "digest.test", "--user", "ann:wonder land"))
	if _, headers := curled(t, "--digest", "--user", "ann:wonder", url("digest.test")); !strings.Contains(headers, `realm="edge"`) {
		t.Errorf("the challenge is %q", headers)
	}
	// Several requests on one connection count up.
	must(ask("200", "digest.test", "--digest", "--user", "ann:wonder land", url("digest.test"), url("digest.test"), "--output", os.DevNull, "--output", os.DevNull))

	// What cannot be used refuses, and says why; nothing of it is shown.
	must(ask("503", "broken.test", "--user", "crypt:secret"))
	mustHave(t, "the log", e.said(), "the hash is none of bcrypt")
	check, _ := run(t, nil, sluice, "check", filepath.Join(e.dir, "dynamic/more.toml"))
	mustHave(t, "check", check, "http.middlewares.broken.basicAuth.usersFile", "line 1: the hash is none of bcrypt")
	hash, err := os.ReadFile(filepath.Join(dir, "broken"))
	if _, secret, _ := bytes.Cut(hash, []byte{':'}); err != nil || strings.Contains(check+e.said(), strings.TrimSpace(string(secret))) {
		t.Errorf("a hash is shown, %v", err)
	}

	// Changes of the files are followed, without a change of the configuration.
	mustRun(t, nil, htpasswd, "-bB", users, "late", "in time")
	mustRun(t, nil, htpasswd, "-D", users, "sha1")
	digest("late", "in time")
	mustRun(t, nil, htpasswd, "-bBc", filepath.Join(dir, "broken"), "mended", "secret")
	eventually(t, "the changed files are in force", func() error {
		for _, err := range []error{
			ask("200", "basic.test", "--user", "late:in time"),
			ask("401", "basic.test", "--user", "sha1:secret of sha1"),
			ask("200", "basic.test", "--user", "md5:secret of md5"),
			ask("200", "digest.test", "--digest", "--user", "late:in time"),
			ask("200", "broken.test", "--user", "mended:secret"),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

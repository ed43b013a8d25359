//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"sluice/internal/testkit"
)

// TestResolverBesideCertbot: behind the same two entry points, with a redirection to https on the first, the virtual machine's
// certbot gets its certificate while a resolver of ours gets those of two other hosts, by each challenge.
func TestResolverBesideCertbot(t *testing.T) {
	m := startVM(t, testkit.NewCA(t).Leaf(t, vmHost))
	ps := ports(t, 2)
	ca := startAuthority(t, ps[0], ps[1])
	resolver := func(name, challenge string) string {
		return fmt.Sprintf(`
[certificatesResolvers.%[1]s.acme]
  caServer = "%[2]s"
  caCertificates = ["%[3]s"]
  storage = "DIR/%[1]s.json"
  keyType = "EC256"
  %[4]s
`, name, ca.directory, ca.caFile, challenge)
	}
	router := func(name, resolver string) string {
		return fmt.Sprintf("[http.routers.%[1]s]\n  rule = \"Host(`%[1]s.mydomain.com`)\"\n  service = \"app\"\n  entryPoints = [\"secure\"]\n  [http.routers.%[1]s.tls]\n    certResolver = \"%[2]s\"\n", name, resolver)
	}
	e := startEdge(t, plan{machine: m, redirect: true, ports: ps,
		static:  resolver("byhttp", "httpChallenge = {entryPoint = \"web\"}") + resolver("bytls", "tlsChallenge = {}"),
		dynamic: router("one", "byhttp") + router("two", "bytls")})
	c := newCertbot(t, ca)
	c.issue(t, m)
	for _, name := range []string{"one.mydomain.com", "two.mydomain.com"} {
		eventually(t, "a certificate for "+name, func() error {
			_, err := served(e.secure, name, ca.roots)
			return err
		})
		mustHave(t, name, mustCurl(t, "--cacert", ca.rootsFile, e.url(name)), "app, host "+name)
	}
	c.renew(t)
	c.serves(t, e.secure)

	config := "--configFile=" + filepath.Join(e.dir, "static.toml")
	var rows []struct {
		Names []string
		State string
	}
	if err := json.Unmarshal([]byte(mustRun(t, nil, sluice, "certs", "list", "--json", config)), &rows); err != nil || len(rows) != 2 || rows[0].State != "valid" {
		t.Errorf("certs list: %+v, %v", rows, err)
	}
	before, err := served(e.secure, "one.mydomain.com", ca.roots)
	if err != nil {
		t.Fatal(err)
	}
	mustHave(t, "certs renew", mustRun(t, nil, sluice, "certs", "renew", "one.mydomain.com", config), "byhttp")
	eventually(t, "the renewed certificate", func() error {
		now, err := served(e.secure, "one.mydomain.com", ca.roots)
		if err == nil && now.Equal(before) {
			err = fmt.Errorf("still the old one")
		}
		return err
	})
	mustHave(t, "certs export", mustRun(t, nil, sluice, "certs", "export", e.dir+"/out", config), "2 certificates written")
}

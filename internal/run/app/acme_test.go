package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/testkit/acmeserver"
)

// acmeStatic is a static configuration with the resolver le at a CA; challenge is its YAML.
func acmeStatic(t *testing.T, ca *acmeserver.Server, storage, more string) string {
	t.Helper()
	return fmt.Sprintf(`
entryPoints:
  web: {address: "127.0.0.1:0", http: {redirections: {entryPoint: {to: secure}}}}
  secure: {address: "127.0.0.1:0"}
certificatesResolvers:
  le:
    acme:
      caServer: %s
      caCertificates: [%s]
      storage: %s
      keyType: EC256
%s`, ca.Directory, mustJSON(t, string(ca.TLS)), storage, more)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// validates lets the CA find the router.
func (r *router) validates(ca *acmeserver.Server) {
	ca.Validate([]string{r.addr("web")}, []string{r.addr("secure")})
}

// leaf is the certificate that a handshake for name shows, if it is one of the CA.
func (r *router) leaf(ca *acmeserver.Server, name string) (*x509.Certificate, error) {
	config := &tls.Config{ServerName: name, RootCAs: ca.Roots}
	if net.ParseIP(name) != nil {
		config = &tls.Config{InsecureSkipVerify: true}
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", r.addr("secure"), config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Roots, DNSName: name, Intermediates: pool(c.ConnectionState().PeerCertificates)}); err != nil {
		return nil, err
	}
	return leaf, nil
}

func pool(list []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range list {
		p.AddCert(c)
	}
	return p
}

// certified waits until a name has a certificate of the CA.
func (r *router) certified(ca *acmeserver.Server, name string) *x509.Certificate {
	r.t.Helper()
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var leaf *x509.Certificate
		if leaf, err = r.leaf(ca, name); err == nil {
			return leaf
		}
	}
	for _, s := range r.app.engine.CertificateStatus() {
		r.t.Logf("%s %v: %+v", s.State, s.Names, s.Problem)
	}
	r.t.Fatalf("no certificate for %s: %v", name, err)
	return nil
}

const acmeRouters = `
http:
  routers:
    app: {rule: "Host(` + "`app.example.com`" + `)", service: s, entryPoints: [secure], tls: {certResolver: le}}
  services: {s: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}}
`

// TestACMEChallenges: a host gets its certificate by each challenge, behind a global redirection to https.
func TestACMEChallenges(t *testing.T) {
	for name, challenge := range map[string]string{
		"http-01":     "      httpChallenge: {entryPoint: web}\n",
		"tls-alpn-01": "      tlsChallenge: {}\n",
	} {
		t.Run(name, func(t *testing.T) {
			ca := acmeserver.New(t, acmeserver.Options{})
			file := filepath.Join(t.TempDir(), "acme.json")
			r := start(t, acmeStatic(t, ca, file, challenge), acmeRouters)
			r.validates(ca)
			leaf := r.certified(ca, "app.example.com")
			if got := strings.Join(leaf.DNSNames, " "); got != "app.example.com" {
				t.Errorf("names %s", got)
			}
			if ca.Orders() != 1 || ca.Accounts() != 1 {
				t.Errorf("%d orders and %d accounts", ca.Orders(), ca.Accounts())
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("storage: %v %v", info, err)
			}
		})
	}
}

// TestACMETakeover: a file that Traefik wrote is served at once, and nothing is ordered, not even with the CA down.
func TestACMETakeover(t *testing.T) {
	ca := acmeserver.New(t, acmeserver.Options{})
	ca.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return true
	})
	leaf := testkit.NewCA(t).Leaf(t, "app.example.com")
	file := filepath.Join(t.TempDir(), "acme.json")
	traefik := fmt.Sprintf(`{"le": {"Account": {"Email": "", "Registration": {"body": {"status": "valid"}, "uri": %q}, "PrivateKey": "", "KeyType": "4096"},
 "Certificates": [{"domain": {"main": "app.example.com"}, "certificate": %s, "key": %s, "Store": "default"}]}}`,
		strings.Replace(ca.Directory, "/dir", "/my-account/1", 1), mustJSON(t, leaf.CertPEM), mustJSON(t, leaf.KeyPEM))
	if err := os.WriteFile(file, []byte(traefik), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, acmeStatic(t, ca, file, "      httpChallenge: {entryPoint: web}\n"), acmeRouters)
	c, err := tls.Dial("tcp", r.addr("secure"), &tls.Config{ServerName: "app.example.com", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if !bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, leaf.Pair.Certificate[0]) {
		t.Error("another certificate is served")
	}
	r.stop()
	if ca.Orders() != 0 {
		t.Errorf("%d orders", ca.Orders())
	}
}

//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// authority is the ACME test server, with the name server that tells it that every name is this machine.
type authority struct {
	directory string // URL
	roots     *x509.CertPool
	rootsFile string
	caFile    string // of its own HTTPS side
}

// startAuthority starts it so that it validates HTTP-01 and TLS-ALPN-01 at the given ports of loopback.
func startAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	programs := need(t, "pebble", "pebble-challtestsrv")
	dir := directory(t)
	ca := testkit.NewCA(t)
	certFile, keyFile := ca.Leaf(t, "127.0.0.1").Files(t, dir)
	p := ports(t, 4)
	a := &authority{
		directory: "https://" + loopback(p[0]) + "/dir", caFile: filepath.Join(dir, "ca.pem"), rootsFile: filepath.Join(dir, "roots.pem"),
	}
	write(t, a.caFile, string(ca.PEM))
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": loopback(p[0]), "managementListenAddress": loopback(p[1]),
		"certificate": certFile, "privateKey": keyFile, "httpPort": httpPort, "tlsPort": tlsPort,
		"ocspResponderURL": "", "externalAccountBindingRequired": false,
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), string(conf))
	names := start(t, nil, programs[1], "-dns01", loopback(p[2]), "-management", loopback(p[3]),
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
	names.listening(t, loopback(p[2]))
	// A valid authorisation must not be used again: the renewal is to be validated like the first issue.
	server := start(t, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"}, programs[0],
		"-strict", "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", loopback(p[2]))
	server.listening(t, loopback(p[0]), loopback(p[1]))

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}, Timeout: 10 * time.Second}
	resp, err := client.Get("https://" + loopback(p[1]) + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.roots = x509.NewCertPool()
	if !a.roots.AppendCertsFromPEM(root) {
		t.Fatalf("the ACME server's root is no certificate: %q", root)
	}
	write(t, a.rootsFile, string(root))
	return a
}

// certbot is the virtual machine's ACME client.
type certbot struct {
	path string
	dir  string
	ca   *authority
}

func newCertbot(t *testing.T, ca *authority) *certbot {
	t.Helper()
	return &certbot{path: need(t, "certbot")[0], dir: directory(t), ca: ca}
}

// certbot runs the program with its state in a directory of this test.
func (c *certbot) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append(args, "--config-dir", c.dir+"/config", "--work-dir", c.dir+"/work", "--logs-dir", c.dir+"/logs", "--non-interactive")
	return run(t, []string{"REQUESTS_CA_BUNDLE=" + c.ca.caFile}, c.path, args...)
}

// issue asks for a first certificate of the machine's host by HTTP-01.
func (c *certbot) issue(t *testing.T, m *vm) {
	t.Helper()
	out, err := c.run(t, "certonly", "--webroot", "--webroot-path", m.webroot, "--domain", vmHost, "--server", c.ca.directory,
		"--agree-tos", "--register-unsafely-without-email", "--deploy-hook", m.hook())
	if err != nil {
		log, _ := os.ReadFile(c.dir + "/logs/letsencrypt.log")
		t.Fatalf("certbot: %v\n%s\n%s", err, out, tail(string(log), 3000))
	}
}

// renew renews it, whatever its age.
func (c *certbot) renew(t *testing.T) {
	t.Helper()
	if out, err := c.run(t, "renew", "--force-renewal", "--no-random-sleep-on-renew"); err != nil {
		t.Fatalf("certbot renew: %v\n%s", err, out)
	}
}

// certificate is the newest one that certbot holds.
func (c *certbot) certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "config/live", vmHost, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatal("certbot's cert.pem holds no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// served is the certificate that a client gets at an address under a name, verified against roots if there are any.
func served(address, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	conf := &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: roots == nil}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, conf)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// serves waits until the machine's newest certificate is what clients get: nginx takes it a moment after its signal.
func (c *certbot) serves(t *testing.T, address string) {
	t.Helper()
	want := c.certificate(t)
	eventually(t, "the VM's newest certificate at "+address, func() error {
		got, err := served(address, vmHost, c.ca.roots)
		if err == nil && !bytes.Equal(got.Raw, want.Raw) {
			err = fmt.Errorf("got the certificate with serial %x, want %x", got.SerialNumber, want.SerialNumber)
		}
		return err
	})
}

// TestACMEControl shows that the machine, its client and the test server work with nothing between them, so that a failure
// of the tests with Sluice in the middle is Sluice's.
func TestACMEControl(t *testing.T) {
	m := startVM(t, testkit.NewCA(t).Leaf(t, vmHost))
	ca := startAuthority(t, port(t, m.plain), port(t, m.secure))
	c := newCertbot(t, ca)
	c.issue(t, m)
	c.serves(t, m.secure)
	first := c.certificate(t)
	c.renew(t)
	if c.certificate(t).SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the renewal brought the same certificate")
	}
	c.serves(t, m.secure)
	if n := m.requests("GET /.well-known/acme-challenge/"); n < 2 {
		t.Errorf("the machine answered %d challenges, want one for the issue and one for the renewal", n)
	}
}

func port(t *testing.T, address string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

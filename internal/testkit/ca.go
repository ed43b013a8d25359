// Package testkit holds what tests of several packages need and the product must never link: a throw-away certificate
// authority, an in-memory connection, scripted peers that record the bytes they are sent, and a check for goroutines
// left behind. Everything here is for loopback and memory only; nothing reaches a network.
package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// CA is a certificate authority that lives as long as the test. Its methods may be used from several goroutines.
type CA struct {
	// Cert is the self-signed root; PEM is its encoding.
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// Leaf is a certificate with its key, in every form that a test may want.
type Leaf struct {
	// Pair holds the chain (the leaf only) and the key, ready for a tls.Config.
	Pair tls.Certificate
	// CertPEM and KeyPEM are the same as text; the key is in PKCS#8.
	CertPEM, KeyPEM []byte
}

// Request says what a leaf is to hold. The zero Request is an ECDSA P-256 server and client certificate that was valid
// an hour ago and is for one more day.
type Request struct {
	// CommonName of the subject; empty for none.
	CommonName string
	// Names are DNS names, IP addresses and URIs (anything with "://").
	Names []string
	// RSA asks for a 2048-bit RSA key, which takes about a tenth of a second to make.
	RSA bool
	// NotBefore and NotAfter override the times.
	NotBefore, NotAfter time.Time
	// Usage overrides the extended key usage (server and client authentication).
	Usage []x509.ExtKeyUsage
}

var serial atomic.Int64

// NewCA makes an authority with an ECDSA key.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key := ecdsaKey(t)
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(serial.Add(1)),
		Subject:               pkix.Name{CommonName: "Throw-away test CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{Cert: cert, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}
}

// Pool returns a pool that holds only this authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// Leaf issues an ECDSA certificate for names (DNS names, addresses, URIs).
func (ca *CA) Leaf(t testing.TB, names ...string) *Leaf {
	t.Helper()
	return ca.Issue(t, Request{Names: names})
}

// Issue makes the certificate that r describes.
func (ca *CA) Issue(t testing.TB, r Request) *Leaf {
	t.Helper()
	var key crypto.Signer
	if r.RSA {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key = k
	} else {
		key = ecdsaKey(t)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)),
		Subject:      pkix.Name{CommonName: r.CommonName},
		NotBefore:    r.NotBefore,
		NotAfter:     r.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  r.Usage,
	}
	if r.RSA {
		tmpl.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = time.Now().Add(-time.Hour)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if tmpl.ExtKeyUsage == nil {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	for _, n := range r.Names {
		switch ip := net.ParseIP(n); {
		case ip != nil:
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		case strings.Contains(n, "://"):
			u, err := url.Parse(n)
			if err != nil {
				t.Fatal(err)
			}
			tmpl.URIs = append(tmpl.URIs, u)
		default:
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	l := &Leaf{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	if l.Pair, err = tls.X509KeyPair(l.CertPEM, l.KeyPEM); err != nil {
		t.Fatal(err)
	}
	return l
}

// ServerConfig returns a configuration that serves this leaf.
func (l *Leaf) ServerConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{l.Pair}}
}

// Files writes the pair into dir as cert.pem and key.pem and returns the paths.
func (l *Leaf) Files(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, data := range map[string][]byte{cert: l.CertPEM, key: l.KeyPEM} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

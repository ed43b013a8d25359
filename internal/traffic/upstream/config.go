package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/internal/core/dynamic"
)

// OptionsOf turns a serversTransport into options. Everything wrong with it is in the error. A transport with an error
// must not be used in part: without its authorities or its certificate it would be another one.
func OptionsOf(c *dynamic.ServersTransport) (Options, error) {
	o := Defaults()
	f := c.ForwardingTimeouts
	if f == nil {
		f = &dynamic.ForwardingTimeouts{}
		f.SetDefaults()
	}
	o.DialTimeout = time.Duration(f.DialTimeout)
	o.IdleConnTimeout = time.Duration(f.IdleConnTimeout)
	o.Client.ResponseHeaderTimeout = time.Duration(f.ResponseHeaderTimeout)
	switch n := c.MaxIdleConnsPerHost; {
	case n == 0:
		o.MaxIdlePerHost = 2
	default:
		o.MaxIdlePerHost = max(n, 0)
	}
	var err error
	o.TLS, err = tlsOf(c)
	return o, err
}

func tlsOf(c *dynamic.ServersTransport) (*tls.Config, error) {
	var wrong []error
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	t := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.Spiffe != nil {
		fail("spiffe is not supported yet")
	}
	if len(c.RootCAs) > 0 {
		t.RootCAs = x509.NewCertPool()
		for i, m := range c.RootCAs {
			if !t.RootCAs.AppendCertsFromPEM([]byte(m.Content.Reveal())) {
				fail("rootCAs[%d]: no certificate in %s", i, nameOf(m))
			}
		}
	}
	for i, pair := range c.Certificates {
		cert, err := tls.X509KeyPair([]byte(pair.CertFile.Content.Reveal()), []byte(pair.KeyFile.Content.Reveal()))
		if err != nil {
			fail("certificates[%d]: %s: %w", i, nameOf(pair.CertFile), err)
			continue
		}
		t.Certificates = append(t.Certificates, cert)
	}
	var err error
	if t.MinVersion, err = tlsVersion(c.MinVersion); err != nil {
		fail("minVersion: %w", err)
	}
	if t.MaxVersion, err = tlsVersion(c.MaxVersion); err != nil {
		fail("maxVersion: %w", err)
	}
	if t.MinVersion != 0 && t.MaxVersion != 0 && t.MinVersion > t.MaxVersion {
		fail("minVersion %s is above maxVersion %s", c.MinVersion, c.MaxVersion)
	}
	for i, name := range c.CipherSuites {
		id, err := cipherSuite(name)
		if err != nil {
			fail("cipherSuites[%d]: %w", i, err)
			continue
		}
		t.CipherSuites = append(t.CipherSuites, id)
	}
	if err := demandNames(t, c); err != nil {
		wrong = append(wrong, err)
	}
	return t, errors.Join(wrong...)
}

func nameOf(m dynamic.Material) string {
	if m.Path != "" {
		return m.Path
	}
	return "the value given"
}

func tlsVersion(name string) (uint16, error) {
	switch name {
	case "":
		return 0, nil
	case "VersionTLS10":
		return tls.VersionTLS10, nil
	case "VersionTLS11":
		return tls.VersionTLS11, nil
	case "VersionTLS12":
		return tls.VersionTLS12, nil
	case "VersionTLS13":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("unknown version %q", name)
}

func cipherSuite(name string) (uint16, error) {
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range list {
			if s.Name == name {
				return s.ID, nil
			}
		}
	}
	return 0, fmt.Errorf("unknown cipher suite %q", name)
}

// demandNames makes the handshake fail unless the server's certificate carries one of the names that c asks for. The chain
// is verified against the authorities even where the host name is not.
func demandNames(t *tls.Config, c *dynamic.ServersTransport) error {
	want := c.PeerCertSANs
	if c.PeerCertURI != "" {
		want = append([]*dynamic.PeerCertSAN{{Type: dynamic.SANURI, Value: c.PeerCertURI}}, want...)
	}
	if len(want) == 0 {
		return nil
	}
	for _, w := range want {
		if w.Type != dynamic.SANURI && w.Type != dynamic.SANDNSName {
			return fmt.Errorf("peerCertSANs: type %q is neither %s nor %s", w.Type, dynamic.SANURI, dynamic.SANDNSName)
		}
	}
	sans, roots := len(c.PeerCertSANs) > 0, t.RootCAs
	t.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("server sent no certificate")
		}
		leaf := state.PeerCertificates[0]
		if sans && len(state.VerifiedChains) == 0 {
			between := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
				return err
			}
		}
		for _, w := range want {
			if hasName(leaf, w) {
				return nil
			}
		}
		return errors.New("server certificate has none of the names demanded")
	}
	return nil
}

func hasName(leaf *x509.Certificate, w *dynamic.PeerCertSAN) bool {
	if w.Type == dynamic.SANDNSName {
		for _, name := range leaf.DNSNames {
			if strings.EqualFold(name, w.Value) {
				return true
			}
		}
		return false
	}
	for _, u := range leaf.URIs {
		if strings.EqualFold(u.String(), w.Value) {
			return true
		}
	}
	return false
}

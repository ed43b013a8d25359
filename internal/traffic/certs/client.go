package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// sessions is how many sessions with servers one configuration remembers for resumption.
const sessions = 64

// peer is what the sections about connections to servers have in common.
type peer struct {
	serverName   string
	insecure     bool
	roots        []dynamic.Material
	certificates []*dynamic.KeyPair
	suites       []string
	low, high    string
	uri          string
	sans         []*dynamic.PeerCertSAN
	spiffe       *dynamic.Spiffe
	// keys name roots and the first certificate in findings.
	rootsKey string
	pairKey  func(i int) string
}

func httpPeer(t *dynamic.ServersTransport) *peer {
	return &peer{serverName: t.ServerName, insecure: t.InsecureSkipVerify, roots: t.RootCAs, certificates: t.Certificates,
		suites: t.CipherSuites, low: t.MinVersion, high: t.MaxVersion, uri: t.PeerCertURI, sans: t.PeerCertSANs, spiffe: t.Spiffe,
		rootsKey: "rootCAs", pairKey: certificatesKey}
}

func tcpPeer(t *dynamic.TCPClientTLS) *peer {
	return &peer{serverName: t.ServerName, insecure: t.InsecureSkipVerify, roots: t.RootCAs, certificates: t.Certificates,
		uri: t.PeerCertURI, sans: t.PeerCertSANs, spiffe: t.Spiffe, rootsKey: "rootCAs", pairKey: certificatesKey}
}

func clientPeer(t *dynamic.ClientTLS) *peer {
	p := &peer{insecure: t.InsecureSkipVerify, rootsKey: "ca", pairKey: func(int) string { return "" }}
	if !t.CA.IsZero() {
		p.roots = []dynamic.Material{t.CA}
	}
	if !t.Cert.IsZero() || !t.Key.IsZero() {
		p.certificates = []*dynamic.KeyPair{{CertFile: t.Cert, KeyFile: t.Key}}
	}
	return p
}

func certificatesKey(i int) string { return fmt.Sprintf("certificates[%d].", i) }

// ValidateHTTPClient returns what is wrong with the TLS part of an HTTP transport.
func ValidateHTTPClient(t *dynamic.ServersTransport) diag.List {
	_, r := httpPeer(t).read()
	return r.findings
}

// ValidateTCPClient returns what is wrong with the TLS part of a TCP transport.
func ValidateTCPClient(t *dynamic.TCPClientTLS) diag.List {
	_, r := tcpPeer(t).read()
	return r.findings
}

// ValidateClient returns what is wrong with how something else than servers is connected.
func ValidateClient(t *dynamic.ClientTLS) diag.List {
	_, r := clientPeer(t).read()
	return r.findings
}

// HTTPClient returns the configuration for connections of an HTTP transport to https servers. An empty ServerName is to be
// filled in, in a clone, by who dials; NextProtos as well. A transport with an error gives no configuration: its services
// must refuse.
func HTTPClient(t *dynamic.ServersTransport) (*tls.Config, error) {
	c, r := httpPeer(t).read()
	return c, asError("servers transport", r.findings)
}

// TCPClient is HTTPClient for the tls section of a TCP transport.
func TCPClient(t *dynamic.TCPClientTLS) (*tls.Config, error) {
	c, r := tcpPeer(t).read()
	return c, asError("servers transport", r.findings)
}

// Client is HTTPClient for connections to auth servers, stores and the like.
func Client(t *dynamic.ClientTLS) (*tls.Config, error) {
	c, r := clientPeer(t).read()
	return c, asError("TLS client", r.findings)
}

// HTTPFingerprint returns a text that is equal for HTTP transports whose connections may be shared: TLS, time limits and
// pool sizes.
func HTTPFingerprint(t *dynamic.ServersTransport) string {
	h := newHash("http transport")
	httpPeer(t).hash(h)
	h.strings(fmt.Sprint(t.MaxIdleConnsPerHost, t.DisableHTTP2))
	if f := t.ForwardingTimeouts; f != nil {
		h.strings(fmt.Sprint(int64(f.DialTimeout), int64(f.ResponseHeaderTimeout), int64(f.IdleConnTimeout), int64(f.ReadIdleTimeout), int64(f.PingTimeout)))
	}
	return h.sum()
}

// TCPFingerprint is HTTPFingerprint for TCP transports.
func TCPFingerprint(t *dynamic.TCPServersTransport) string {
	h := newHash("tcp transport")
	h.strings(fmt.Sprint(int64(t.DialKeepAlive), int64(t.DialTimeout), int64(t.TerminationDelay)))
	if p := t.ProxyProtocol; p != nil {
		h.strings(fmt.Sprint("proxy ", p.Version))
	}
	if t.TLS != nil {
		tcpPeer(t.TLS).hash(h)
	}
	return h.sum()
}

func (p *peer) hash(h hasher) {
	h.strings("tls", p.serverName, fmt.Sprint(p.insecure), p.low, p.high, p.uri)
	h.materials(p.roots)
	for _, c := range p.certificates {
		h.materials([]dynamic.Material{c.CertFile, c.KeyFile})
	}
	h.set(p.suites, suiteSpelling)
	for _, s := range p.sans {
		h.strings(s.Type, s.Value)
	}
	if p.spiffe != nil {
		h.strings(append([]string{"spiffe", p.spiffe.TrustDomain}, p.spiffe.IDs...)...)
	}
}

// read makes the configuration. With an error among the findings it is nil.
func (p *peer) read() (*tls.Config, *reader) {
	r := &reader{}
	c := &tls.Config{ServerName: p.serverName, InsecureSkipVerify: p.insecure, ClientSessionCache: tls.NewLRUClientSessionCache(sessions)}
	c.MinVersion, c.MaxVersion = r.versionRange(p.low, p.high)
	if c.MinVersion == 0 && c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12 {
		c.MinVersion = c.MaxVersion // the library's own minimum would forbid every version
	}
	c.CipherSuites = r.suiteList(p.suites)
	if len(p.roots) > 0 {
		c.RootCAs = pool(p.roots, p.rootsKey, &r.findings)
	}
	for i, k := range p.certificates {
		pair, findings := Load(k.CertFile, k.KeyFile)
		for _, f := range findings {
			if f.Severity == diag.Error { // names do not matter here
				f.Key = p.pairKey(i) + f.Key
				if p.rootsKey == "ca" {
					f.Key = strings.TrimSuffix(f.Key, "File")
				}
				r.findings.Add(f)
			}
		}
		if pair != nil {
			c.Certificates = append(c.Certificates, *pair.TLS)
		}
	}
	if p.spiffe != nil {
		r.bad("spiffe", CodeNotSupported, "SPIFFE identities are not supported yet", "")
	}
	p.readNames(c, r)
	if r.findings.Has(diag.Error) {
		return nil, r
	}
	return c, r
}

// readNames adds the demand on the names in the server's certificate.
func (p *peer) readNames(c *tls.Config, r *reader) {
	var wanted []dynamic.PeerCertSAN
	if p.uri != "" {
		wanted = append(wanted, dynamic.PeerCertSAN{Type: dynamic.SANURI, Value: p.uri})
		if len(p.sans) > 0 {
			r.bad("peerCertURI", CodeBadValue, "peerCertURI stands beside peerCertSANs", "move it into peerCertSANs with type URI")
		}
	}
	for i, s := range p.sans {
		key := fmt.Sprintf("peerCertSANs[%d]", i)
		switch {
		case s.Type != dynamic.SANURI && s.Type != dynamic.SANDNSName:
			r.unknown(key+".type", "type", s.Type, []string{dynamic.SANURI, dynamic.SANDNSName})
		case s.Value == "":
			r.bad(key+".value", CodeBadValue, "the name is missing", "")
		}
		wanted = append(wanted, *s)
	}
	if len(wanted) == 0 {
		return
	}
	roots := c.RootCAs
	// VerifyConnection runs for resumed sessions, too. A name means something only if an authority vouches for it, so the
	// chain is verified here even with insecureSkipVerify, which then says that the host's own name does not matter.
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server showed no certificate")
		}
		leaf := state.PeerCertificates[0]
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return err
		}
		if !slices.ContainsFunc(wanted, func(s dynamic.PeerCertSAN) bool { return carries(leaf, s) }) {
			return errors.New("the server's certificate carries none of the names that the transport demands")
		}
		return nil
	}
}

func carries(leaf *x509.Certificate, s dynamic.PeerCertSAN) bool {
	if s.Type == dynamic.SANURI {
		for _, u := range leaf.URIs {
			if strings.EqualFold(u.String(), s.Value) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return normal(n) == normal(s.Value) })
}

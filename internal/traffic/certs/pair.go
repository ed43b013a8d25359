// Package certs holds everything about TLS that is decided before a byte is encrypted: which certificate answers which
// name, what a connection with given TLS options demands of its client, and how we connect to servers.
//
//   - A Pair is a parsed certificate with its key. A Set is an immutable index of pairs by name; a new one is built for
//     each change of the configuration and reuses what did not change.
//   - A Keeper lives as long as the process. It gives one *tls.Config, with session ticket keys of its own, to each
//     different set of TLS options, and keeps it over reloads; handshakes look into the Set that was published last.
//   - HTTPClient, TCPClient and Client make the configurations for connections to servers.
//
// Nothing here does I/O: files named in the configuration have been read by intake. What is wrong with an element is said
// by Validate functions in findings whose Key is the path inside the element (clientAuth.caFiles[0]); the caller knows
// what stands in front. Broken options and transports are errors and never fall back to something weaker.
package certs

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Codes of the findings made here. docs/findings.md explains each.
const (
	// CodeBadCertificate is a certificate, key or authority that cannot be read or does not fit.
	CodeBadCertificate = "BAD-CERTIFICATE"
	// CodeBadValue is a value that is none of those allowed.
	CodeBadValue = "BAD-VALUE"
	// CodeNotSupported is an option that we know and cannot honour yet.
	CodeNotSupported = "NOT-SUPPORTED"
	// CodeNoEffect is an option that does nothing where it stands.
	CodeNoEffect = "NO-EFFECT"
)

// Pair is a certificate chain with its private key. It is immutable, but for the staple.
type Pair struct {
	// TLS is what a handshake needs, with Leaf set.
	TLS *tls.Certificate
	// Names are the names that the pair answers for: the common name, DNS names and addresses of the leaf, in lower case
	// and sorted. A wildcard keeps its star.
	Names []string

	kind int // order of preference among pairs for one name
	id   [sha256.Size]byte
	// stapled is TLS with a revocation answer; nil without one.
	stapled atomic.Pointer[tls.Certificate]
}

// ID identifies the leaf: its SHA-256.
func (p *Pair) ID() [sha256.Size]byte { return p.id }

// Staple makes handshakes from now on send a revocation answer (RFC 6066, section 8); nil for none. It may be called while
// the pair serves.
func (p *Pair) Staple(answer []byte) {
	if answer == nil {
		p.stapled.Store(nil)
		return
	}
	c := *p.TLS
	c.OCSPStaple = answer
	p.stapled.Store(&c)
}

// certificate is what a handshake sends.
func (p *Pair) certificate() *tls.Certificate {
	if c := p.stapled.Load(); c != nil {
		return c
	}
	return p.TLS
}

// Load parses a chain and its key. The findings tell what is wrong with which of the two, by the keys certFile and keyFile;
// with one of severity Error the pair is nil.
func Load(certFile, keyFile dynamic.Material) (*Pair, diag.List) {
	var list diag.List
	bad := func(key, message, hint string) (*Pair, diag.List) {
		list.Add(diag.Finding{Severity: diag.Error, Key: key, Code: CodeBadCertificate, Message: message, Hint: hint})
		return nil, list
	}
	chain, message := readChain(certFile)
	if message != "" {
		return bad("certFile", message, "a PEM file with the certificate first and its chain behind it, or its text")
	}
	if !hasBlock(text(keyFile), "PRIVATE KEY") {
		return bad("keyFile", notPEM(keyFile, "private key"), "a PEM file with the key, or its text")
	}
	if hasBlock(text(keyFile), "ENCRYPTED PRIVATE KEY") || strings.Contains(text(keyFile), "Proc-Type: 4,ENCRYPTED") {
		return bad("keyFile", "the key is encrypted with a password", "decrypt it: there is no place to give the password")
	}
	pair, err := tls.X509KeyPair([]byte(text(certFile)), []byte(text(keyFile)))
	if err != nil {
		// The texts of the library do not quote keys; they name the way in which a key did not parse or fit.
		return bad("keyFile", "the key cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "), "")
	}
	p := FromTLS(&pair)
	if len(p.Names) == 0 {
		list.Add(diag.Finding{Severity: diag.Warning, Key: "certFile", Code: CodeNoEffect,
			Message: "the certificate names no host, so it is only good as a default certificate"})
	}
	for i, c := range chain[1:] {
		if chain[i].CheckSignatureFrom(c) != nil && !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			list.Add(diag.Finding{Severity: diag.Warning, Key: "certFile", Code: CodeBadCertificate,
				Message: fmt.Sprintf("certificate %d of the chain is not issued by the one behind it: clients may refuse it", i+1),
				Hint:    "leaf first, then the authority that issued it, and so on"})
			break
		}
	}
	return p, list
}

// FromTLS makes a Pair of a certificate that is parsed already, such as an issued one. It does not change c, except that it
// sets c.Leaf where that is missing; a c that does not parse has no names.
func FromTLS(c *tls.Certificate) *Pair {
	p := &Pair{TLS: c}
	if c.Leaf == nil && len(c.Certificate) > 0 {
		c.Leaf, _ = x509.ParseCertificate(c.Certificate[0])
	}
	if c.Leaf == nil {
		return p
	}
	leaf := c.Leaf
	p.id = sha256.Sum256(leaf.Raw)
	switch leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		p.kind = 0 // the cheapest for us, and known everywhere
	case ed25519.PublicKey:
		p.kind = 1
	default:
		p.kind = 2
	}
	names := append([]string{leaf.Subject.CommonName}, leaf.DNSNames...)
	for _, n := range names {
		if n = normal(n); n != "" && !strings.ContainsAny(n, " \t/:") {
			p.Names = append(p.Names, n)
		}
	}
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			p.Names = append(p.Names, a.Unmap().String())
		}
	}
	slices.Sort(p.Names)
	p.Names = slices.Compact(p.Names)
	return p
}

// Covers reports whether the pair answers for name, by itself or by a wildcard for exactly one label.
func (p *Pair) Covers(name string) bool {
	name = normal(name)
	if slices.Contains(p.Names, name) {
		return true
	}
	_, parent, ok := strings.Cut(name, ".")
	return ok && slices.Contains(p.Names, "*."+parent)
}

// String tells the names, the issuer and the end of the pair.
func (p *Pair) String() string {
	if p.TLS.Leaf == nil {
		return "a certificate that cannot be read"
	}
	names := p.Names
	const shown = 4
	if len(names) > shown {
		names = append(slices.Clone(names[:shown]), fmt.Sprintf("%d more", len(p.Names)-shown))
	}
	leaf := p.TLS.Leaf
	issuer := cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String(), "nobody")
	return fmt.Sprintf("%s, issued by %s, valid until %s", strings.Join(names, " "), issuer, leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
}

// better orders pairs for the same name: cheap keys first, then the one that lasts longest.
func better(a, b *Pair) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), b.TLS.Leaf.NotAfter.Compare(a.TLS.Leaf.NotAfter), bytes.Compare(a.id[:], b.id[:]))
}

// normal is how names are compared: lower case, without a final dot.
func normal(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// text returns the content of m.
func text(m dynamic.Material) string { return m.Content.Reveal() }

// readChain parses the certificates in m; message says why that failed.
func readChain(m dynamic.Material) (chain []*x509.Certificate, message string) {
	if !hasBlock(text(m), "CERTIFICATE") {
		return nil, notPEM(m, "certificate")
	}
	rest := []byte(text(m))
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Sprintf("certificate %d cannot be read: %v", len(chain)+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, "the PEM text is damaged"
	}
	return chain, ""
}

// hasBlock reports whether a PEM block whose type ends in kind begins somewhere in s.
func hasBlock(s, kind string) bool {
	for rest := s; ; {
		_, after, ok := strings.Cut(rest, "-----BEGIN ")
		if !ok {
			return false
		}
		typ, next, ok := strings.Cut(after, "-----")
		if !ok {
			return false
		}
		if strings.HasSuffix(typ, kind) {
			return true
		}
		rest = next
	}
}

// notPEM says that m holds no kind. It tells a path that names no file from text that is something else, and shows only
// what is certainly a path: the rest may be a key.
func notPEM(m dynamic.Material, kind string) string {
	switch written := m.Written; {
	case m.IsZero():
		return "the " + kind + " is missing"
	case m.Path != "":
		return fmt.Sprintf("the file %s holds no %s in PEM form", m.Path, kind)
	case looksLikePath(written):
		return fmt.Sprintf("there is no file %s", written)
	default:
		return "neither the name of a file nor a " + kind + " in PEM form"
	}
}

func looksLikePath(s string) bool {
	if len(s) > 1024 || strings.ContainsAny(s, "\r\n") || strings.Contains(s, "-----") {
		return false
	}
	ext := strings.ToLower(path.Ext(s))
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") ||
		slices.Contains([]string{".pem", ".crt", ".cer", ".cert", ".key", ".ca"}, ext)
}

// pool reads authorities into a pool. Every one of list must be readable; key is the path of the list in findings.
func pool(list []dynamic.Material, key string, report *diag.List) *x509.CertPool {
	out := x509.NewCertPool()
	for i, m := range list {
		chain, message := readChain(m)
		if message != "" {
			report.Add(diag.Finding{Severity: diag.Error, Key: fmt.Sprintf("%s[%d]", key, i), Code: CodeBadCertificate,
				Message: message, Hint: "a PEM file with the certificates of authorities, or their text"})
			continue
		}
		for _, c := range chain {
			out.AddCert(c)
		}
	}
	return out
}

// asError makes one error of the findings of severity Error in list; nil when there is none.
func asError(what string, list diag.List) error {
	var texts []string
	for _, f := range list {
		if f.Severity == diag.Error {
			texts = append(texts, f.Key+": "+f.Message)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(diag.Escape(what + ": " + strings.Join(texts, "; ")))
}

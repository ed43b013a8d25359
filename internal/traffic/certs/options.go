package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// ValidateOptions returns what is wrong with TLS options. With a finding of severity Error they cannot be served.
func ValidateOptions(o *dynamic.TLSOptions) diag.List {
	_, r := readOptions(o)
	return r.findings
}

// Fingerprint returns a text that is equal for options that demand the same of connections, whatever their names: the
// identity of a tls.Config with its session tickets, and what a request's router is compared with (421).
func Fingerprint(o *dynamic.TLSOptions) string {
	h := newHash("tls options")
	h.strings(o.MinVersion, o.MaxVersion)
	// The library goes by an order of its own in all three, so order is no difference.
	h.set(o.CipherSuites, suiteSpelling)
	h.set(o.CurvePreferences, curveSpelling)
	h.strings(o.ALPNProtocols...)
	h.strings(fmt.Sprint(o.SNIStrict, o.DisableSessionTickets))
	if a := o.ClientAuth; a != nil && effectiveAuth(a) != dynamic.ClientAuthNone {
		h.strings(effectiveAuth(a))
		h.materials(a.CAFiles)
	}
	return h.sum()
}

// effectiveAuth is clientAuthType with the default filled in.
func effectiveAuth(a *dynamic.ClientAuth) string {
	switch {
	case a.ClientAuthType != "":
		return a.ClientAuthType
	case len(a.CAFiles) > 0:
		return dynamic.ClientAuthRequireAndVerify
	default:
		return dynamic.ClientAuthNone
	}
}

// readOptions makes the part of a tls.Config that comes from options.
func readOptions(o *dynamic.TLSOptions) (*tls.Config, *reader) {
	r := &reader{}
	c := &tls.Config{SessionTicketsDisabled: o.DisableSessionTickets}
	c.MinVersion, c.MaxVersion = r.versionRange(o.MinVersion, o.MaxVersion)
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
		if c.MaxVersion != 0 && c.MaxVersion < c.MinVersion {
			c.MinVersion = c.MaxVersion
		}
	}
	c.CipherSuites = r.suiteList(o.CipherSuites)
	if len(c.CipherSuites) == 0 && c.CipherSuites != nil && c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13 {
		r.bad("cipherSuites", CodeBadValue, "no suite is left for the versions allowed", "suites of TLS 1.3 are of no use below it")
	}
	c.CurvePreferences = r.curveList(o.CurvePreferences)
	for i, p := range o.ALPNProtocols {
		switch {
		case p == "" || len(p) > 255:
			r.bad(fmt.Sprintf("alpnProtocols[%d]", i), CodeBadValue, "a protocol name has 1 to 255 bytes", "")
		case p != dynamic.ALPNACMETLS && !slices.Contains(c.NextProtos, p):
			// Only the handshake that answers a challenge may speak acme-tls/1 (RFC 8737 section 3); a connection that
			// goes on to HTTP must not.
			c.NextProtos = append(c.NextProtos, p)
		}
	}
	if a := o.ClientAuth; a != nil {
		readClientAuth(c, a, r)
	}
	if o.PreferServerCipherSuites != nil {
		r.findings.Add(diag.Finding{Severity: diag.Info, Key: "preferServerCipherSuites", Code: CodeNoEffect,
			Message: "preferServerCipherSuites has no effect", Hint: "remove it"})
	}
	return c, r
}

func readClientAuth(c *tls.Config, a *dynamic.ClientAuth, r *reader) {
	kind, ok := clientAuthTypes[effectiveAuth(a)]
	if !ok {
		r.unknown("clientAuth.clientAuthType", "clientAuthType", a.ClientAuthType, dynamic.ClientAuthTypes())
	}
	c.ClientAuth = kind
	if len(a.CAFiles) > 0 {
		c.ClientCAs = pool(a.CAFiles, "clientAuth.caFiles", &r.findings)
	}
	switch {
	case kind >= tls.VerifyClientCertIfGiven && len(a.CAFiles) == 0:
		// The library would verify against the system's authorities: anybody with a public certificate would pass.
		r.bad("clientAuth.caFiles", CodeBadValue, "clientAuthType "+a.ClientAuthType+" needs caFiles", "")
	case ok && kind < tls.VerifyClientCertIfGiven && len(a.CAFiles) > 0:
		r.findings.Add(diag.Finding{Severity: diag.Warning, Key: "clientAuth.clientAuthType", Code: CodeNoEffect,
			Message: "caFiles are not used for verification with clientAuthType " + a.ClientAuthType,
			Hint:    "leave clientAuthType out to require verified certificates"})
	}
}

// hasher makes fingerprints: every part is preceded by its length, so that parts cannot run into each other.
type hasher struct{ h hash.Hash }

func newHash(kind string) hasher {
	h := hasher{sha256.New()}
	h.strings(kind)
	return h
}

func (h hasher) strings(list ...string) {
	fmt.Fprintf(h.h, "%d:", len(list))
	for _, s := range list {
		fmt.Fprintf(h.h, "%d:%s", len(s), s)
	}
}

// set hashes a list whose order and repetitions do not matter, each element in one spelling. An empty list is not the
// same as one of elements without effect.
func (h hasher) set(list []string, spell func(string) string) {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = spell(s)
	}
	slices.Sort(out)
	h.strings(slices.Compact(out)...)
}

func (h hasher) materials(list []dynamic.Material) {
	for _, m := range list {
		h.strings(text(m))
	}
	h.strings("end")
}

func (h hasher) sum() string { return hex.EncodeToString(h.h.Sum(nil)[:16]) }

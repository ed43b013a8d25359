package certs

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

var versions = map[string]uint16{
	dynamic.VersionTLS10: tls.VersionTLS10,
	dynamic.VersionTLS11: tls.VersionTLS11,
	dynamic.VersionTLS12: tls.VersionTLS12,
	dynamic.VersionTLS13: tls.VersionTLS13,
}

// suites has the suites that can be chosen, under the names that configuration knows. Those of TLS 1.3 and the signalling
// value are accepted and 0: they cannot be chosen.
var suites = func() map[string]uint16 {
	ids := map[string]uint16{}
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range list {
			ids[s.Name] = s.ID
		}
	}
	out := map[string]uint16{}
	for _, name := range dynamic.CipherSuites() {
		id, ok := ids[name]
		if !ok {
			id = ids[name+"_SHA256"] // the short spelling of the ChaCha20 suites
		}
		if slices.Contains([]uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}, id) {
			id = 0
		}
		out[name] = id
	}
	return out
}()

var curves = map[string]tls.CurveID{
	"CurveP256": tls.CurveP256, "secp256r1": tls.CurveP256,
	"CurveP384": tls.CurveP384, "secp384r1": tls.CurveP384,
	"CurveP521": tls.CurveP521, "secp521r1": tls.CurveP521,
	"X25519": tls.X25519, "x25519": tls.X25519,
	"X25519MLKEM768": tls.X25519MLKEM768, "x25519mlkem768": tls.X25519MLKEM768,
	"SecP256r1MLKEM768": tls.SecP256r1MLKEM768, "secp256r1mlkem768": tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024, "secp384r1mlkem1024": tls.SecP384r1MLKEM1024,
}

var clientAuthTypes = map[string]tls.ClientAuthType{
	dynamic.ClientAuthNone:             tls.NoClientCert,
	dynamic.ClientAuthRequest:          tls.RequestClientCert,
	dynamic.ClientAuthRequireAny:       tls.RequireAnyClientCert,
	dynamic.ClientAuthVerifyIfGiven:    tls.VerifyClientCertIfGiven,
	dynamic.ClientAuthRequireAndVerify: tls.RequireAndVerifyClientCert,
}

// suiteSpelling and curveSpelling give each suite and curve one spelling. Unknown names keep theirs, so that options that
// are refused never look like others that are not.
func suiteSpelling(name string) string {
	if id, ok := suites[name]; ok {
		return fmt.Sprint(id)
	}
	return name
}

func curveSpelling(name string) string {
	if id, ok := curves[name]; ok {
		return fmt.Sprint(uint16(id))
	}
	return name
}

// reader turns values of the configuration into those of crypto/tls and collects what is wrong.
type reader struct{ findings diag.List }

func (r *reader) bad(key, code, message, hint string) {
	r.findings.Add(diag.Finding{Severity: diag.Error, Key: key, Code: code, Message: message, Hint: hint})
}

func (r *reader) unknown(key, what, value string, known []string) {
	hint := diag.DidYouMean(value, known)
	if hint == "" && len(known) < 8 {
		hint = "one of " + strings.Join(known, ", ")
	}
	r.bad(key, CodeBadValue, fmt.Sprintf("unknown %s %q", what, value), hint)
}

func (r *reader) versionRange(low, high string) (lowest, highest uint16) {
	read := func(key, name string) uint16 {
		v, ok := versions[name]
		if !ok && name != "" {
			r.unknown(key, "TLS version", name, dynamic.TLSVersions())
		}
		return v
	}
	lowest, highest = read("minVersion", low), read("maxVersion", high)
	if highest != 0 && highest < max(lowest, tls.VersionTLS10) {
		r.bad("maxVersion", CodeBadValue, "maxVersion is below minVersion", "")
	}
	return lowest, highest
}

// suiteList returns nil for the library's choice, and an empty list where only suites of TLS 1.3 are named.
func (r *reader) suiteList(names []string) []uint16 {
	if len(names) == 0 {
		return nil
	}
	out := []uint16{}
	for i, n := range names {
		id, ok := suites[n]
		switch {
		case !ok:
			r.unknown(fmt.Sprintf("cipherSuites[%d]", i), "cipher suite", n, dynamic.CipherSuites())
		case id != 0 && !slices.Contains(out, id):
			out = append(out, id)
		}
	}
	return out
}

func (r *reader) curveList(names []string) []tls.CurveID {
	var out []tls.CurveID
	for i, n := range names {
		id, ok := curves[n]
		switch {
		case !ok:
			r.unknown(fmt.Sprintf("curvePreferences[%d]", i), "curve", n, dynamic.Curves())
		case !slices.Contains(out, id):
			out = append(out, id)
		}
	}
	return out
}

package certs

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
)

func options(change func(o *dynamic.TLSOptions)) *dynamic.TLSOptions {
	o := &dynamic.TLSOptions{}
	o.SetDefaults()
	if change != nil {
		change(o)
	}
	return o
}

func TestOptionFindings(t *testing.T) {
	ca := testkit.NewCA(t)
	yes := true
	cases := []struct {
		name   string
		change func(o *dynamic.TLSOptions)
		want   string // of the first finding; empty for none
	}{
		{"defaults", nil, ""},
		{"every suite", func(o *dynamic.TLSOptions) { o.CipherSuites = dynamic.CipherSuites() }, ""},
		{"every curve", func(o *dynamic.TLSOptions) { o.CurvePreferences = dynamic.Curves() }, ""},
		{"version", func(o *dynamic.TLSOptions) { o.MinVersion = "VersionTLS14" }, `error minVersion: unknown TLS version "VersionTLS14" (did you mean`},
		{"version in another spelling", func(o *dynamic.TLSOptions) { o.MaxVersion = "TLS1.2" }, `error maxVersion: unknown TLS version "TLS1.2" (one of VersionTLS10,`},
		{"versions crossed", func(o *dynamic.TLSOptions) { o.MinVersion, o.MaxVersion = "VersionTLS13", "VersionTLS12" }, "error maxVersion: maxVersion is below"},
		{"suite", func(o *dynamic.TLSOptions) {
			o.CipherSuites = []string{"TLS_FALLBACK_SCSV", "TLS_ECDHE_RSA_WITH_AES_128_GCM"}
		}, "error cipherSuites[1]: unknown cipher suite"},
		{"only suites of TLS 1.3 below it", func(o *dynamic.TLSOptions) {
			o.CipherSuites, o.MaxVersion = []string{"TLS_AES_128_GCM_SHA256"}, "VersionTLS12"
		}, "error cipherSuites: no suite is left"},
		{"curve", func(o *dynamic.TLSOptions) { o.CurvePreferences = []string{"curvep256"} }, "error curvePreferences[0]: unknown curve"},
		{"protocol", func(o *dynamic.TLSOptions) { o.ALPNProtocols = []string{"h2", ""} }, "error alpnProtocols[1]: a protocol name"},
		{"auth type", func(o *dynamic.TLSOptions) { o.ClientAuth = &dynamic.ClientAuth{ClientAuthType: "Required"} }, "error clientAuth.clientAuthType: unknown"},
		{"verify without authorities", func(o *dynamic.TLSOptions) {
			o.ClientAuth = &dynamic.ClientAuth{ClientAuthType: "VerifyClientCertIfGiven"}
		},
			"error clientAuth.caFiles: clientAuthType VerifyClientCertIfGiven needs caFiles"},
		{"authorities not read", func(o *dynamic.TLSOptions) {
			o.ClientAuth = &dynamic.ClientAuth{CAFiles: []dynamic.Material{file("ca.pem", ca.PEM), inline("/no/ca.pem")}}
		}, "error clientAuth.caFiles[1]: there is no file /no/ca.pem"},
		{"authorities without use", func(o *dynamic.TLSOptions) {
			o.ClientAuth = &dynamic.ClientAuth{CAFiles: []dynamic.Material{file("ca.pem", ca.PEM)}, ClientAuthType: "NoClientCert"}
		}, "warning clientAuth.clientAuthType: caFiles are not used"},
		{"empty auth", func(o *dynamic.TLSOptions) { o.ClientAuth = &dynamic.ClientAuth{} }, ""},
		{"old option", func(o *dynamic.TLSOptions) { o.PreferServerCipherSuites = &yes }, "info preferServerCipherSuites"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := options(c.change)
			list := ValidateOptions(o)
			got := ""
			if len(list) > 0 {
				f := list[0]
				got = fmt.Sprintf("%s %s: %s (%s)", f.Severity, f.Key, f.Message, f.Hint)
			}
			if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("%s, want %s", got, c.want)
			}
			if _, err := NewKeeper().Server(o); (err != nil) != list.Has(diag.Error) {
				t.Errorf("Server says %v where Validate says %v", err, list)
			}
		})
	}
}

func TestClientAuth(t *testing.T) {
	ca, stranger := testkit.NewCA(t), testkit.NewCA(t)
	good, bad := ca.Leaf(t, "client.test").Pair, stranger.Leaf(t, "client.test").Pair
	old := ca.Issue(t, testkit.Request{Names: []string{"client.test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}).Pair
	k := keeper(t, nil)
	cases := []struct {
		kind                  string
		authorities           bool
		none, good, bad, oldC bool // whether the handshake succeeds
	}{
		{"", false, true, true, true, true},
		{"", true, false, true, false, false},
		{"NoClientCert", true, true, true, true, true},
		{"RequestClientCert", true, true, true, true, true},
		{"RequireAnyClientCert", false, false, true, true, true},
		{"VerifyClientCertIfGiven", true, true, true, false, false},
		{"RequireAndVerifyClientCert", true, false, true, false, false},
	}
	for _, c := range cases {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			a := &dynamic.ClientAuth{ClientAuthType: c.kind}
			if c.authorities {
				a.CAFiles = []dynamic.Material{file("ca.pem", ca.PEM)}
			}
			conf := server(t, k, options(func(o *dynamic.TLSOptions) { o.ClientAuth = a }))
			for name, try := range map[string]struct {
				pair *tls.Certificate
				ok   bool
			}{"none": {nil, c.none}, "good": {&good, c.good}, "stranger's": {&bad, c.bad}, "expired": {&old, c.oldC}} {
				client := &tls.Config{InsecureSkipVerify: true, MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if try.pair == nil {
						return &tls.Certificate{}, nil
					}
					return try.pair, nil
				}}
				_, _, serverErr := shake(t, conf, client)
				if (serverErr == nil) != try.ok {
					t.Errorf("%q, authorities %v, %x, certificate %s: %v", c.kind, c.authorities, version, name, serverErr)
				}
			}
		}
	}
}

func TestVersionsSuitesCurvesProtocols(t *testing.T) {
	k := keeper(t, nil)
	cases := []struct {
		name   string
		change func(o *dynamic.TLSOptions)
		client *tls.Config
		want   string // version suite curve protocol, or a part of the error
	}{
		{"TLS 1.1 by default", nil, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
		{"TLS 1.0 if wanted", func(o *dynamic.TLSOptions) { o.MinVersion = "VersionTLS10" }, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "301"},
		{"TLS 1.1 at most", func(o *dynamic.TLSOptions) { o.MaxVersion = "VersionTLS11" }, &tls.Config{MinVersion: tls.VersionTLS10}, "302"},
		{"TLS 1.2 at most", func(o *dynamic.TLSOptions) { o.MaxVersion = "VersionTLS12" }, &tls.Config{}, "303"},
		{"TLS 1.3 at least", func(o *dynamic.TLSOptions) { o.MinVersion = "VersionTLS13" }, &tls.Config{MaxVersion: tls.VersionTLS12}, "protocol version"},
		{"suite", func(o *dynamic.TLSOptions) {
			o.CipherSuites = []string{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"}
		}, &tls.Config{MaxVersion: tls.VersionTLS12}, "303 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
		{"suites of TLS 1.3 only", func(o *dynamic.TLSOptions) { o.CipherSuites = []string{"TLS_AES_128_GCM_SHA256"} }, &tls.Config{MaxVersion: tls.VersionTLS12}, "handshake failure"},
		{"curve", func(o *dynamic.TLSOptions) { o.CurvePreferences = []string{"secp384r1"} }, &tls.Config{}, "304 TLS_AES_128_GCM_SHA256 CurveP384"},
		{"h2", nil, &tls.Config{NextProtos: []string{"http/1.1", "h2"}}, "304 TLS_AES_128_GCM_SHA256 X25519MLKEM768 h2"},
		{"no overlap", nil, &tls.Config{NextProtos: []string{"h3"}}, "no application protocol"},
		{"challenge protocol is not for us", nil, &tls.Config{NextProtos: []string{"acme-tls/1"}}, "no application protocol"},
		{"http/1.1 only", func(o *dynamic.TLSOptions) { o.ALPNProtocols = []string{"http/1.1"} }, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "304 TLS_AES_128_GCM_SHA256 X25519MLKEM768 http/1.1"},
		{"none", func(o *dynamic.TLSOptions) { o.ALPNProtocols = nil }, &tls.Config{NextProtos: []string{"h2"}}, "304 TLS_AES_128_GCM_SHA256 X25519MLKEM768 "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.client.InsecureSkipVerify = true
			state, err, serverErr := shake(t, server(t, k, options(c.change)), c.client)
			got := fmt.Sprintf("%x %s %s %s", state.Version, tls.CipherSuiteName(state.CipherSuite), state.CurveID, state.NegotiatedProtocol)
			if err != nil {
				got = err.Error() + " / " + fmt.Sprint(serverErr)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	ca, other := testkit.NewCA(t), testkit.NewCA(t)
	auth := func(kind string, cas ...*testkit.CA) *dynamic.TLSOptions {
		return options(func(o *dynamic.TLSOptions) {
			o.ClientAuth = &dynamic.ClientAuth{ClientAuthType: kind}
			for _, c := range cas {
				o.ClientAuth.CAFiles = append(o.ClientAuth.CAFiles, inline(string(c.PEM)))
			}
		})
	}
	base := Fingerprint(options(nil))
	same := map[string]*dynamic.TLSOptions{
		"order of suites": options(func(o *dynamic.TLSOptions) { slices.Reverse(o.CipherSuites) }),
		"other spelling": options(func(o *dynamic.TLSOptions) {
			for i, s := range o.CipherSuites {
				if strings.Contains(s, "ECDHE") {
					o.CipherSuites[i] = strings.Replace(s, "POLY1305_SHA256", "POLY1305", 1)
				}
			}
		}),
		"empty auth": auth(""),
		"no auth":    auth("NoClientCert", ca),
	}
	for name, o := range same {
		if Fingerprint(o) != base {
			t.Errorf("%s: differs", name)
		}
	}
	if Fingerprint(auth("", ca)) != Fingerprint(auth("RequireAndVerifyClientCert", ca)) {
		t.Error("the default of clientAuthType differs from itself")
	}
	all := map[string]*dynamic.TLSOptions{
		"base": options(nil), "min": options(func(o *dynamic.TLSOptions) { o.MinVersion = "VersionTLS13" }), "max": options(func(o *dynamic.TLSOptions) { o.MaxVersion = "VersionTLS13" }),
		"suites": options(func(o *dynamic.TLSOptions) { o.CipherSuites = o.CipherSuites[:5] }), "no suites": options(func(o *dynamic.TLSOptions) { o.CipherSuites = nil }),
		"1.3 suite": options(func(o *dynamic.TLSOptions) { o.CipherSuites = []string{"TLS_AES_128_GCM_SHA256"} }), "bogus suite": options(func(o *dynamic.TLSOptions) { o.CipherSuites = []string{"x"} }),
		"curve": options(func(o *dynamic.TLSOptions) { o.CurvePreferences = []string{"X25519"} }), "strict": options(func(o *dynamic.TLSOptions) { o.SNIStrict = true }),
		"alpn": options(func(o *dynamic.TLSOptions) { o.ALPNProtocols = []string{"h2"} }), "tickets": options(func(o *dynamic.TLSOptions) { o.DisableSessionTickets = true }),
		"request": auth("RequestClientCert"), "ca": auth("", ca), "other ca": auth("", other), "two": auth("", ca, other), "if given": auth("VerifyClientCertIfGiven", ca),
	}
	seen := map[string]string{}
	for name, o := range all {
		f := Fingerprint(o)
		if twin := seen[f]; twin != "" {
			t.Errorf("%s and %s have the same fingerprint", name, twin)
		}
		seen[f] = name
	}
}

func TestResumption(t *testing.T) {
	ca := testkit.NewCA(t)
	first := certificate(ca.Leaf(t, "a.test", "b.test"))
	k := keeper(t, nil, first)
	plain, strict := options(nil), options(func(o *dynamic.TLSOptions) { o.SNIStrict = true })
	twin := options(func(o *dynamic.TLSOptions) { slices.Reverse(o.CipherSuites) })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := func(name string, cache tls.ClientSessionCache) *tls.Config {
			return &tls.Config{ServerName: name, RootCAs: ca.Pool(), ClientSessionCache: oneSession{cache}, MaxVersion: version}
		}
		resumed := func(o *dynamic.TLSOptions, c *tls.Config) bool {
			t.Helper()
			state, err, _ := shake(t, server(t, k, o), c)
			if err != nil {
				t.Fatal(err)
			}
			return state.DidResume
		}
		cache := tls.NewLRUClientSessionCache(1)
		c := client("a.test", cache)
		if resumed(plain, c) {
			t.Error("resumed what was not there")
		}
		for range 2 {
			if !resumed(plain, c) {
				t.Errorf("%x: not resumed", version)
			}
		}
		// A reload with another certificate keeps sessions; the same options under another name share them.
		s, _ := Build([]*dynamic.Certificate{certificate(ca.Leaf(t, "a.test", "b.test"))}, nil, k.Current())
		k.Publish(s)
		if !resumed(twin, c) {
			t.Errorf("%x: not resumed after a change of certificates", version)
		}
		// TLS-10: neither other options nor another host.
		if resumed(strict, c) {
			t.Errorf("%x: resumed across options", version)
		}
		resumed(plain, c)
		if resumed(plain, client("b.test", cache)) {
			t.Errorf("%x: resumed for another host", version)
		}
		off := options(func(o *dynamic.TLSOptions) { o.DisableSessionTickets = true })
		resumed(off, c)
		if resumed(off, c) {
			t.Errorf("%x: resumed with tickets disabled", version)
		}
		k.Retain(map[string]bool{Fingerprint(strict): true})
		if resumed(plain, c) {
			t.Errorf("%x: resumed after the options had gone", version)
		}
	}
}

// oneSession uses one slot for every name, so that a client tries another host's session.
type oneSession struct{ tls.ClientSessionCache }

func (o oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }
func (o oneSession) Put(_ string, s *tls.ClientSessionState)    { o.ClientSessionCache.Put("", s) }

func TestServerIsKept(t *testing.T) {
	k := NewKeeper()
	a, _ := k.Server(options(nil))
	b, _ := k.Server(options(func(o *dynamic.TLSOptions) { slices.Reverse(o.CipherSuites) }))
	c, _ := k.Server(options(func(o *dynamic.TLSOptions) { o.SNIStrict = true }))
	if a != b || a == c || a.Fingerprint == c.Fingerprint {
		t.Error("options and configurations do not match")
	}
	k.Retain(map[string]bool{a.Fingerprint: true})
	if d, _ := k.Server(options(nil)); d != a {
		t.Error("a kept configuration changed")
	}
	if d, _ := k.Server(options(func(o *dynamic.TLSOptions) { o.SNIStrict = true })); d == c {
		t.Error("a forgotten configuration came back")
	}
}

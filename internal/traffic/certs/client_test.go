package certs

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
)

func TestHTTPClient(t *testing.T) {
	ca, other := testkit.NewCA(t), testkit.NewCA(t)
	leaf := ca.Leaf(t, "server.test", "spiffe://Example.test/web")
	mine := ca.Leaf(t, "client.test")
	roots := []dynamic.Material{file("ca.pem", ca.PEM)}
	san := func(kind, value string) []*dynamic.PeerCertSAN {
		return []*dynamic.PeerCertSAN{{Type: "DNSName", Value: "nope.test"}, {Type: kind, Value: value}}
	}
	cases := []struct {
		name string
		t    dynamic.ServersTransport
		ok   bool
	}{
		{"trusted", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots}, true},
		{"system's authorities", dynamic.ServersTransport{ServerName: "server.test"}, false},
		{"wrong authority", dynamic.ServersTransport{ServerName: "server.test", RootCAs: []dynamic.Material{file("ca.pem", other.PEM)}}, false},
		{"wrong name", dynamic.ServersTransport{ServerName: "other.test", RootCAs: roots}, false},
		{"skip", dynamic.ServersTransport{ServerName: "other.test", InsecureSkipVerify: true}, true},
		{"only TLS 1.3", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, MinVersion: "VersionTLS13"}, true}, // without maxVersion
		{"TLS 1.1", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, MaxVersion: "VersionTLS11"}, false},
		{"suite that the server has not", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, MaxVersion: "VersionTLS12",
			CipherSuites: []string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}}, false},
		{"uri", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, PeerCertURI: "spiffe://example.test/WEB"}, true},
		{"other uri", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, PeerCertURI: "spiffe://example.test/db"}, false},
		{"san", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, PeerCertSANs: san("URI", "spiffe://example.test/web")}, true},
		{"dns san", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, PeerCertSANs: san("DNSName", "Server.test")}, true},
		{"san of the wrong type", dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots, PeerCertSANs: san("URI", "server.test")}, false},
		{"san with skip, trusted", dynamic.ServersTransport{ServerName: "x.test", InsecureSkipVerify: true, RootCAs: roots, PeerCertSANs: san("DNSName", "server.test")}, true},
		{"san with skip, not trusted", dynamic.ServersTransport{ServerName: "x.test", InsecureSkipVerify: true, PeerCertSANs: san("DNSName", "server.test")}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf, err := HTTPClient(&c.t)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 { // the second one may resume: the same demands hold
				_, err, _ := shake(t, leaf.ServerConfig(), conf)
				if (err == nil) != c.ok {
					t.Errorf("try %d: %v", i+1, err)
				}
			}
		})
	}
	conf, err := HTTPClient(&dynamic.ServersTransport{ServerName: "server.test", RootCAs: roots,
		Certificates: []*dynamic.KeyPair{{CertFile: file("c.pem", mine.CertPEM), KeyFile: file("k.pem", mine.KeyPEM)}}})
	if err != nil {
		t.Fatal(err)
	}
	sc := leaf.ServerConfig()
	sc.ClientAuth, sc.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	if _, err, serverErr := shake(t, sc, conf); err != nil || serverErr != nil {
		t.Errorf("client certificate: %v, %v", err, serverErr)
	}
}

// A transport that cannot be built gives no configuration at all: it must not be replaced by a weaker one.
func TestBrokenClients(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := ca.Leaf(t, "a.test")
	key := dynamic.KeyPair{CertFile: file("c.pem", leaf.CertPEM), KeyFile: file("k.pem", leaf.KeyPEM)}
	halved := dynamic.KeyPair{CertFile: key.CertFile}
	httpCases := []struct {
		t    dynamic.ServersTransport
		want string
	}{
		{dynamic.ServersTransport{RootCAs: []dynamic.Material{file("ca.pem", ca.PEM), inline("/no.pem")}}, "rootCAs[1]: there is no file /no.pem"},
		{dynamic.ServersTransport{Certificates: []*dynamic.KeyPair{&key, &halved}}, "certificates[1].keyFile: the private key is missing"},
		{dynamic.ServersTransport{CipherSuites: []string{"x"}}, "cipherSuites[0]: unknown cipher suite"},
		{dynamic.ServersTransport{MinVersion: "x"}, "minVersion: unknown TLS version"},
		{dynamic.ServersTransport{MinVersion: "VersionTLS13", MaxVersion: "VersionTLS12"}, "maxVersion: maxVersion is below"},
		{dynamic.ServersTransport{Spiffe: &dynamic.Spiffe{}}, "spiffe: SPIFFE"},
		{dynamic.ServersTransport{PeerCertSANs: []*dynamic.PeerCertSAN{{Type: "uri", Value: "x"}}}, `peerCertSANs[0].type: unknown type "uri"`},
		{dynamic.ServersTransport{PeerCertSANs: []*dynamic.PeerCertSAN{{Type: "URI"}}}, "peerCertSANs[0].value: the name is missing"},
		{dynamic.ServersTransport{PeerCertURI: "a://b", PeerCertSANs: []*dynamic.PeerCertSAN{{Type: "URI", Value: "a://b"}}}, "peerCertURI: peerCertURI stands beside"},
	}
	for _, c := range httpCases {
		conf, err := HTTPClient(&c.t)
		if conf != nil || err == nil || !strings.Contains(err.Error(), c.want) || !ValidateHTTPClient(&c.t).Has(diag.Error) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if conf, err := TCPClient(&dynamic.TCPClientTLS{RootCAs: []dynamic.Material{inline("x")}}); conf != nil || err == nil || !strings.Contains(err.Error(), "rootCAs[0]") {
		t.Errorf("TCP: %v", err)
	}
	for want, c := range map[string]dynamic.ClientTLS{
		"ca[0]: there is no file /no.pem":  {CA: inline("/no.pem")},
		"key: the private key is missing":  {Cert: key.CertFile},
		"cert: the certificate is missing": {Key: key.KeyFile},
	} {
		if conf, err := Client(&c); conf != nil || err == nil || !strings.Contains(err.Error(), want) || !ValidateClient(&c).Has(diag.Error) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestOtherClients(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := ca.Leaf(t, "server.test")
	conf, err := TCPClient(&dynamic.TCPClientTLS{ServerName: "server.test", RootCAs: []dynamic.Material{inline(string(ca.PEM))}})
	if err != nil || len(ValidateTCPClient(&dynamic.TCPClientTLS{})) != 0 {
		t.Fatal(err)
	}
	if _, err, _ := shake(t, leaf.ServerConfig(), conf); err != nil {
		t.Error(err)
	}
	conf, err = Client(&dynamic.ClientTLS{CA: inline(string(ca.PEM)), Cert: inline(string(leaf.CertPEM)), Key: inline(string(leaf.KeyPEM))})
	if err != nil || len(conf.Certificates) != 1 {
		t.Fatal(err)
	}
	conf.ServerName = "server.test"
	if _, err, _ := shake(t, leaf.ServerConfig(), conf); err != nil {
		t.Error(err)
	}
}

func TestTransportFingerprints(t *testing.T) {
	base := func() *dynamic.ServersTransport {
		f := &dynamic.ForwardingTimeouts{}
		f.SetDefaults()
		return &dynamic.ServersTransport{ForwardingTimeouts: f}
	}
	if one, two := HTTPFingerprint(base()), HTTPFingerprint(base()); one != two {
		t.Error("equal transports differ")
	}
	seen := map[string]string{HTTPFingerprint(base()): "base"}
	for name, change := range map[string]func(*dynamic.ServersTransport){
		"name": func(t *dynamic.ServersTransport) { t.ServerName = "a" }, "skip": func(t *dynamic.ServersTransport) { t.InsecureSkipVerify = true },
		"roots":   func(t *dynamic.ServersTransport) { t.RootCAs = []dynamic.Material{inline("a")} },
		"roots 2": func(t *dynamic.ServersTransport) { t.RootCAs = []dynamic.Material{inline("b")} },
		"cert": func(t *dynamic.ServersTransport) {
			t.Certificates = []*dynamic.KeyPair{{CertFile: inline("a"), KeyFile: inline("b")}}
		},
		"cert 2": func(t *dynamic.ServersTransport) {
			t.Certificates = []*dynamic.KeyPair{{CertFile: inline("b"), KeyFile: inline("a")}}
		},
		"suites": func(t *dynamic.ServersTransport) { t.CipherSuites = dynamic.CipherSuites() }, "min": func(t *dynamic.ServersTransport) { t.MinVersion = "VersionTLS12" },
		"max": func(t *dynamic.ServersTransport) { t.MaxVersion = "VersionTLS12" }, "idle": func(t *dynamic.ServersTransport) { t.MaxIdleConnsPerHost = 7 },
		"h1": func(t *dynamic.ServersTransport) { t.DisableHTTP2 = true }, "uri": func(t *dynamic.ServersTransport) { t.PeerCertURI = "a" },
		"san":    func(t *dynamic.ServersTransport) { t.PeerCertSANs = []*dynamic.PeerCertSAN{{Type: "URI", Value: "a"}} },
		"spiffe": func(t *dynamic.ServersTransport) { t.Spiffe = &dynamic.Spiffe{} }, "no timeouts": func(t *dynamic.ServersTransport) { t.ForwardingTimeouts = nil },
		"dial": func(t *dynamic.ServersTransport) { t.ForwardingTimeouts.DialTimeout++ }, "ping": func(t *dynamic.ServersTransport) { t.ForwardingTimeouts.PingTimeout++ },
	} {
		tr := base()
		change(tr)
		f := HTTPFingerprint(tr)
		if twin := seen[f]; twin != "" {
			t.Errorf("%s and %s have the same fingerprint", name, twin)
		}
		seen[f] = name
	}
	for name, tr := range map[string]*dynamic.TCPServersTransport{
		"base": {}, "dial": {DialTimeout: 1}, "keep": {DialKeepAlive: 1}, "end": {TerminationDelay: 1}, "proxy": {ProxyProtocol: &dynamic.ProxyProtocol{Version: 1}},
		"proxy 2": {ProxyProtocol: &dynamic.ProxyProtocol{Version: 2}}, "tls": {TLS: &dynamic.TCPClientTLS{}}, "name": {TLS: &dynamic.TCPClientTLS{ServerName: "a"}},
	} {
		f := TCPFingerprint(tr)
		if twin := seen[f]; twin != "" {
			t.Errorf("tcp %s and %s have the same fingerprint", name, twin)
		}
		seen[f] = fmt.Sprint("tcp ", name)
	}
}

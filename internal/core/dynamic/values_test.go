package dynamic

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/secret"
)

func TestParseDuration(t *testing.T) {
	rows := []struct {
		text string
		want time.Duration
		bad  string // part of the error
	}{
		{text: "0", want: 0},
		{text: "5", want: 5 * time.Second},
		{text: "-1", want: -time.Second},
		{text: "+7", want: 7 * time.Second},
		{text: "500ms", want: 500 * time.Millisecond},
		{text: "1m30s", want: 90 * time.Second},
		{text: "1.5h", want: 90 * time.Minute},
		{text: "9223372036", want: 9223372036 * time.Second},
		{text: "9223372037", bad: "out of range"},
		{text: "99999999999999999999", bad: "out of range"},
		{text: "1.5", bad: "whole seconds"},
		{text: "", bad: "whole seconds"},
		{text: " 5", bad: "whole seconds"},
		{text: "5 s", bad: "whole seconds"},
		{text: "ten", bad: "whole seconds"},
	}
	for _, row := range rows {
		got, err := ParseDuration(row.text)
		switch {
		case row.bad != "" && (err == nil || !strings.Contains(err.Error(), row.bad)):
			t.Errorf("%q: got %v, %v, want an error with %q", row.text, got, err, row.bad)
		case row.bad == "" && (err != nil || got.Std() != row.want):
			t.Errorf("%q: got %v, %v, want %v", row.text, got, err, row.want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"0", "5", "-1", "1m30s", "1.5h", "9223372037", "", "5 s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		again, err := ParseDuration(d.String())
		if err != nil || again != d {
			t.Errorf("%q is %v, which reads back as %v, %v", text, d, again, err)
		}
	})
}

func TestDurationJSON(t *testing.T) {
	var v struct{ D Duration }
	if err := json.Unmarshal([]byte(`{"D":"1m"}`), &v); err != nil || v.D != Seconds(60) {
		t.Fatalf("got %v, %v", v.D, err)
	}
	out, err := json.Marshal(v)
	if err != nil || string(out) != `{"D":"1m0s"}` {
		t.Errorf("got %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"D":"x"}`), &v); err == nil || v.D != Seconds(60) {
		t.Errorf("a bad duration gave %v, %v", v.D, err)
	}
}

// TestSecretsDoNotPrint formats configuration with inline keys in every common way.
func TestSecretsDoNotPrint(t *testing.T) {
	const marker = "do-not-print-me"
	c := Config{
		TLS: &TLS{Certificates: []*Certificate{{
			CertFile: Material{Written: "/etc/cert.pem", Path: "/etc/cert.pem", Content: secret.New(marker)},
			KeyFile:  Material{Written: marker},
		}}},
		HTTP: &HTTP{Middlewares: map[string]*Middleware{
			"auth": {BasicAuth: &BasicAuth{Users: []secret.String{secret.New(marker)}}},
			"jwt":  {JWT: &JWT{SigningSecret: secret.New(marker), PublicKey: Material{Written: marker}}},
		}},
	}
	out, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	certificate, auth := *c.TLS.Certificates[0], *c.HTTP.Middlewares["auth"].BasicAuth
	texts := []string{
		string(out),
		fmt.Sprintf("%v %+v %#v %s", certificate, certificate, certificate, certificate.KeyFile),
		fmt.Sprintf("%v %+v %#v", auth, auth, auth),
	}
	for _, text := range texts {
		if strings.Contains(text, marker) {
			t.Errorf("a secret shows in %s", text)
		}
		if !strings.Contains(text, secret.Redacted) {
			t.Errorf("no redaction mark in %s", text)
		}
	}
	if !strings.Contains(string(out), `"certFile":"/etc/cert.pem"`) {
		t.Errorf("the path of a certificate does not show in %s", out)
	}
	if out, _ := json.Marshal(KeyPair{}); string(out) != "{}" {
		t.Errorf("an empty key pair gives %s", out)
	}
}

func TestKinds(t *testing.T) {
	rows := []struct {
		name string
		of   interface{ Kinds() []string }
		want []string
	}{
		{"empty service", &Service{}, nil},
		{"service", &Service{Weighted: &Weighted{}, Middlewares: []string{"m"}}, []string{"weighted"}},
		{"two kinds", &Service{Failover: &Failover{}, LoadBalancer: &LoadBalancer{}}, []string{"loadBalancer", "failover"}},
		{"middleware", &Middleware{AddPrefix: &AddPrefix{}}, []string{"addPrefix"}},
		{
			"plugins", &Middleware{JWT: &JWT{}, Plugin: map[string]map[string]any{"b": nil, "a": {}}},
			[]string{"jwt", "plugin.a", "plugin.b"},
		},
		{"TCP service", &TCPService{Weighted: &TCPWeighted{}}, []string{"weighted"}},
		{"TCP middleware", &TCPMiddleware{IPWhiteList: &TCPIPList{}}, []string{"ipWhiteList"}},
		{"UDP service", &UDPService{LoadBalancer: &UDPLoadBalancer{}}, []string{"loadBalancer"}},
	}
	for _, row := range rows {
		if got := row.of.Kinds(); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

// TestCipherSuiteNames compares the table with the TLS library, which is the one that must know the names.
func TestCipherSuiteNames(t *testing.T) {
	known := map[string]bool{"TLS_FALLBACK_SCSV": true} // a signal, not a suite
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		known[s.Name] = true
	}
	names := CipherSuites()
	for _, name := range names {
		long := name
		if strings.HasSuffix(name, "_CHACHA20_POLY1305") {
			long += "_SHA256"
		}
		if !known[long] {
			t.Errorf("the TLS library does not know %s", name)
		}
	}
	for name := range known {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Error("a name stands twice")
	}
	for _, name := range DefaultCipherSuites() {
		if !slices.Contains(names, name) {
			t.Errorf("default suite %s is no known suite", name)
		}
	}
	if got := BuiltinTLSOptions().MinVersion; !slices.Contains(TLSVersions(), got) || got != "VersionTLS12" {
		t.Errorf("built-in options have least version %q", got)
	}
}

func TestChallengePort(t *testing.T) {
	if got := (&TCPLoadBalancer{}).ChallengePort(); got != 80 {
		t.Errorf("default: got %d, want 80", got)
	}
	if got := (&TCPLoadBalancer{ACMEPort: 8080}).ChallengePort(); got != 8080 {
		t.Errorf("set: got %d, want 8080", got)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		weight *int
		want   int
	}{{nil, 1}, {new(1), 1}, {new(7), 7}, {new(0), 0}, {new(-3), 0}} {
		if child, server := (&WeightedChild{Weight: c.weight}).Share(), (&Server{Weight: c.weight}).Share(); child != c.want || server != c.want {
			t.Errorf("got %d and %d, want %d", child, server, c.want)
		}
	}
}

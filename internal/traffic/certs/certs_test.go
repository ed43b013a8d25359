package certs

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// file is a material as intake leaves it after reading a file.
func file(name string, content []byte) dynamic.Material {
	return dynamic.Material{Written: name, Path: name, Content: secret.New(string(content))}
}

// inline is a material that names no file.
func inline(content string) dynamic.Material {
	return dynamic.Material{Written: content, Content: secret.New(content)}
}

func certificate(l *testkit.Leaf) *dynamic.Certificate {
	return &dynamic.Certificate{CertFile: file("c.pem", l.CertPEM), KeyFile: file("k.pem", l.KeyPEM), Stores: []string{"default"}}
}

// addressed is a connection with another local address.
type addressed struct {
	net.Conn
	local net.Addr
}

func (a addressed) LocalAddr() net.Addr { return a.local }

// shake does a handshake in memory and exchanges a byte each way, so that tickets have come and late alerts are seen.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	a, b := testkit.Pipe()
	a.SetDeadline(time.Now().Add(10 * time.Second))
	b.SetDeadline(time.Now().Add(10 * time.Second))
	done := make(chan error, 1)
	go func() {
		c := tls.Server(addressed{b, &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 443}}, server)
		_, err := io.ReadFull(c, make([]byte, 1))
		if err == nil {
			_, err = c.Write([]byte("y"))
		}
		c.Close()
		done <- err
	}()
	c := tls.Client(a, client)
	_, err := c.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	state = c.ConnectionState()
	c.Close()
	return state, err, <-done
}

func server(t *testing.T, k *Keeper, o *dynamic.TLSOptions) *tls.Config {
	t.Helper()
	s, err := k.Server(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Config
}

func keeper(t *testing.T, store *dynamic.TLSStore, certificates ...*dynamic.Certificate) *Keeper {
	t.Helper()
	k := NewKeeper()
	s, report := Build(certificates, store, nil)
	for i, l := range report.Certificates {
		if l.Has(diag.Error) {
			t.Errorf("certificate %d: %v", i, l)
		}
	}
	k.Publish(s)
	return k
}

func shown(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return "nothing"
	}
	return state.PeerCertificates[0].Subject.CommonName
}

func TestSelection(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := func(cn string, names ...string) *dynamic.Certificate {
		return certificate(ca.Issue(t, testkit.Request{CommonName: cn, Names: names}))
	}
	otherStore := leaf("Other Store", "other.test")
	otherStore.Stores = []string{"internal"}
	k := keeper(t, &dynamic.TLSStore{DefaultCertificate: &dynamic.KeyPair{CertFile: leaf("the default").CertFile}},
		leaf("Many", "*.aaa.test", "www.example.test"), leaf("Wild", "*.example.test"), leaf("Upper", "UPPER.Test"),
		leaf("Address", "192.0.2.7", "2001:db8::1"), leaf("cn.test"), otherStore)
	cases := []struct{ sni, want string }{
		{"www.example.test", "Many"}, // exact beats wildcard, whatever the text of the other names
		{"WWW.Example.TEST", "Many"},
		{"x.example.test", "Wild"},
		{"x.y.example.test", SelfSignedName}, // a wildcard is for one label
		{"example.test", SelfSignedName},
		{"x.aaa.test", "Many"},
		{"upper.test", "Upper"},
		{"cn.test", "cn.test"},
		{"other.test", SelfSignedName},
		{"nobody.test", SelfSignedName}, // the default certificate has no key and cannot be used
		{"", "Address"},
	}
	for _, c := range cases {
		for _, strict := range []bool{false, true} {
			o := dynamic.BuiltinTLSOptions()
			o.SNIStrict = strict
			state, err, _ := shake(t, server(t, k, o), &tls.Config{ServerName: c.sni, InsecureSkipVerify: true})
			if strict && c.want == SelfSignedName {
				if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
					t.Errorf("%q, strict: %v", c.sni, err)
				}
				continue
			}
			if err != nil || shown(state) != c.want {
				t.Errorf("%q, strict %v: %s, %v", c.sni, strict, shown(state), err)
			}
		}
	}
}

func TestKeyTypes(t *testing.T) {
	ca := testkit.NewCA(t)
	rsa := certificate(ca.Issue(t, testkit.Request{CommonName: "rsa", Names: []string{"a.test"}, RSA: true}))
	ecdsa := certificate(ca.Issue(t, testkit.Request{CommonName: "ecdsa", Names: []string{"a.test"}}))
	wild := certificate(ca.Issue(t, testkit.Request{CommonName: "wild", Names: []string{"*.test"}, RSA: true}))
	only := func(suite uint16) *tls.Config {
		return &tls.Config{ServerName: "a.test", RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
	}
	k := keeper(t, nil, rsa, ecdsa)
	conf := server(t, k, dynamic.BuiltinTLSOptions())
	for want, c := range map[string]*tls.Config{
		"rsa":   only(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
		"ecdsa": only(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
	} {
		if state, err, _ := shake(t, conf, c); err != nil || shown(state) != want {
			t.Errorf("%s: %s, %v", want, shown(state), err)
		}
	}
	if state, _, _ := shake(t, conf, &tls.Config{ServerName: "a.test", RootCAs: ca.Pool()}); shown(state) != "ecdsa" {
		t.Errorf("a client that can both gets %s", shown(state))
	}
	// A wildcard that the client can use is better than an exact one that it cannot.
	k = keeper(t, nil, ecdsa, wild)
	if state, err, _ := shake(t, server(t, k, dynamic.BuiltinTLSOptions()), only(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)); err != nil || shown(state) != "wild" {
		t.Errorf("%s, %v", shown(state), err)
	}
}

func TestSeveralForOneName(t *testing.T) {
	ca := testkit.NewCA(t)
	old := certificate(ca.Issue(t, testkit.Request{CommonName: "old", Names: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}))
	recent := certificate(ca.Issue(t, testkit.Request{CommonName: "new", Names: []string{"a.test"}, NotAfter: time.Now().Add(90 * 24 * time.Hour)}))
	for _, list := range [][]*dynamic.Certificate{{old, recent}, {recent, old}} {
		s, _ := Build(list, nil, nil)
		if got := s.Lookup("A.test."); len(got) != 2 || got[0].TLS.Leaf.Subject.CommonName != "new" {
			t.Errorf("%v", got)
		}
	}
}

func TestDefaults(t *testing.T) {
	ca := testkit.NewCA(t)
	own := ca.Issue(t, testkit.Request{CommonName: "own default"})
	pair := func(cert, key []byte) *dynamic.KeyPair {
		return &dynamic.KeyPair{CertFile: file("d.pem", cert), KeyFile: file("d.key", key)}
	}
	generated := &dynamic.GeneratedCert{Resolver: "le", Domain: &dynamic.Domain{Main: "Gen.test", SANs: []string{"*.gen.test"}}}
	made := certificate(ca.Issue(t, testkit.Request{CommonName: "made", Names: []string{"gen.test", "*.gen.test", "more.test"}}))
	partly := certificate(ca.Issue(t, testkit.Request{CommonName: "partly", Names: []string{"gen.test"}}))
	cases := []struct {
		name  string
		store *dynamic.TLSStore
		certs []*dynamic.Certificate
		want  string
		codes string
	}{
		{"none", nil, nil, SelfSignedName, ""},
		{"empty store", &dynamic.TLSStore{}, nil, SelfSignedName, ""},
		{"own", &dynamic.TLSStore{DefaultCertificate: pair(own.CertPEM, own.KeyPEM)}, nil, "own default", ""},
		{"unreadable", &dynamic.TLSStore{DefaultCertificate: pair(own.CertPEM, []byte("junk"))}, nil, SelfSignedName, "error BAD-CERTIFICATE defaultCertificate.keyFile"},
		{"empty", &dynamic.TLSStore{DefaultCertificate: &dynamic.KeyPair{}}, nil, SelfSignedName, "error BAD-CERTIFICATE defaultCertificate.certFile"},
		{"generated, not there", &dynamic.TLSStore{DefaultGeneratedCert: generated}, []*dynamic.Certificate{partly}, SelfSignedName, ""},
		{"generated", &dynamic.TLSStore{DefaultGeneratedCert: generated}, []*dynamic.Certificate{partly, made}, "made", ""},
		{"both", &dynamic.TLSStore{DefaultCertificate: pair(own.CertPEM, own.KeyPEM), DefaultGeneratedCert: generated}, []*dynamic.Certificate{made}, "own default",
			"warning NO-EFFECT defaultGeneratedCert"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, report := Build(c.certs, c.store, nil)
			k := NewKeeper()
			k.Publish(s)
			state, err, _ := shake(t, server(t, k, dynamic.BuiltinTLSOptions()), &tls.Config{ServerName: "nobody.test", InsecureSkipVerify: true})
			if err != nil || shown(state) != c.want {
				t.Errorf("%s, %v", shown(state), err)
			}
			var codes []string
			for _, f := range report.Store {
				codes = append(codes, fmt.Sprint(f.Severity, " ", f.Code, " ", f.Key))
			}
			if got := strings.Join(codes, ", "); got != c.codes {
				t.Errorf("findings %s", got)
			}
		})
	}
}

func TestSelfSignedIsMadeOnce(t *testing.T) {
	k := NewKeeper()
	var serials []string
	for range 2 {
		s, _ := Build(nil, nil, k.Current())
		k.Publish(s)
		state, _, _ := shake(t, server(t, k, dynamic.BuiltinTLSOptions()), &tls.Config{InsecureSkipVerify: true})
		leaf := state.PeerCertificates[0]
		serials = append(serials, leaf.SerialNumber.String())
		if !strings.HasSuffix(leaf.DNSNames[0], ".traefik.default") || leaf.NotAfter.Before(time.Now().Add(360*24*time.Hour)) {
			t.Errorf("%v until %v", leaf.DNSNames, leaf.NotAfter)
		}
	}
	if serials[0] != serials[1] {
		t.Error("a change of the configuration made a new one")
	}
}

func TestIssuedOverlay(t *testing.T) {
	ca := testkit.NewCA(t)
	issued := func(cn string, names ...string) *Pair {
		l := ca.Issue(t, testkit.Request{CommonName: cn, Names: names})
		return FromTLS(&tls.Certificate{Certificate: l.Pair.Certificate, PrivateKey: l.Pair.PrivateKey})
	}
	given := certificate(ca.Issue(t, testkit.Request{CommonName: "given", Names: []string{"a.test"}}))
	k := keeper(t, nil, given)
	k.SetIssued(NewIssued([]*Pair{issued("issued a", "a.test"), issued("issued b", "b.test"), issued("wild", "*.test")}))
	want := map[string]string{"a.test": "given", "b.test": "issued b", "c.test": "wild"}
	conf := server(t, k, dynamic.BuiltinTLSOptions())
	for name, cn := range want {
		if state, err, _ := shake(t, conf, &tls.Config{ServerName: name, RootCAs: ca.Pool()}); err != nil || shown(state) != cn {
			t.Errorf("%s: %s, %v", name, shown(state), err)
		}
	}
	// A new configuration keeps them, and a set made before they came does not lose them.
	s, _ := Build(nil, nil, nil)
	k.Publish(s)
	if got := k.Current().Lookup("a.test"); len(got) != 2 || got[0].TLS.Leaf.Subject.CommonName != "issued a" {
		t.Errorf("after a reload: %v", got)
	}
	if len(k.Current().Issued()) != 3 || len(k.Current().Given()) != 0 || len(s.Issued()) != 0 {
		t.Errorf("%s", k.Current())
	}
}

func TestBuildReusesWhatItParsed(t *testing.T) {
	ca := testkit.NewCA(t)
	good, bad := certificate(ca.Leaf(t, "a.test")), &dynamic.Certificate{CertFile: inline("x"), KeyFile: inline("y")}
	first, r1 := Build([]*dynamic.Certificate{good, bad}, nil, nil)
	second, r2 := Build([]*dynamic.Certificate{bad, good}, nil, first)
	if first.Given()[0] != second.Given()[0] {
		t.Error("an unchanged certificate was parsed again")
	}
	if len(r1.Certificates[1]) != 1 || len(r2.Certificates[0]) != 1 || len(r2.Certificates[1]) != 0 {
		t.Errorf("%v %v", r1, r2)
	}
}

func TestLoadFindings(t *testing.T) {
	ca := testkit.NewCA(t)
	a, b := ca.Leaf(t, "a.test"), ca.Leaf(t, "b.test")
	unrelated := testkit.NewCA(t)
	cases := []struct {
		name      string
		cert, key dynamic.Material
		want      string
	}{
		{"missing", dynamic.Material{}, dynamic.Material{}, "certFile: the certificate is missing"},
		{"no such file", inline("/etc/nope.pem"), inline(string(a.KeyPEM)), "certFile: there is no file /etc/nope.pem"},
		{"no such key file", inline(string(a.CertPEM)), inline("nope.key"), "keyFile: there is no file nope.key"},
		{"text that may be a key", inline(string(a.CertPEM)), inline("MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04f"), "keyFile: neither the name of a file nor a private key in PEM form"},
		{"file that is no PEM", file("c.pem", []byte{0x30, 0x82}), inline(string(a.KeyPEM)), "certFile: the file c.pem holds no certificate in PEM form"},
		{"swapped", inline(string(a.KeyPEM)), inline(string(a.CertPEM)), "certFile: neither"},
		{"of another", inline(string(a.CertPEM)), inline(string(b.KeyPEM)), "keyFile: the key cannot be used: private key does not match public key"},
		{"damaged", inline("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"), inline(string(a.KeyPEM)), "certFile: the PEM text is damaged"},
		{"no certificate inside", inline("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), inline(string(a.KeyPEM)), "certFile: certificate 1 cannot be read"},
		{"encrypted", inline(string(a.CertPEM)), inline("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "keyFile: the key is encrypted"},
		{"chain out of order", inline(string(a.CertPEM) + string(unrelated.Issue(t, testkit.Request{CommonName: "x"}).CertPEM)), inline(string(a.KeyPEM)), "certFile: certificate 1 of the chain"},
		{"sound chain", inline(string(a.CertPEM) + string(ca.PEM)), inline(string(a.KeyPEM)), ""},
		{"key and certificate in one", inline(string(a.KeyPEM) + string(a.CertPEM)), inline(string(a.CertPEM) + string(a.KeyPEM)), ""},
		{"no names", inline(string(ca.Issue(t, testkit.Request{}).CertPEM)), dynamic.Material{}, "keyFile: the private key is missing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, list := Load(c.cert, c.key)
			got := ""
			for _, f := range list {
				got += f.Key + ": " + f.Message
			}
			if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") || (p == nil) != list.Has(diag.Error) {
				t.Errorf("%q, pair %v", got, p != nil)
			}
		})
	}
	nameless := ca.Issue(t, testkit.Request{})
	if p, list := Load(inline(string(nameless.CertPEM)), inline(string(nameless.KeyPEM))); p == nil || list.Count(diag.Warning) != 1 {
		t.Errorf("a certificate without names: %v", list)
	}
}

func TestCovers(t *testing.T) {
	p := &Pair{Names: []string{"*.b.test", "a.test"}}
	for name, want := range map[string]bool{"a.test": true, "A.Test.": true, "x.b.test": true, "b.test": false, "x.y.b.test": false, "*.b.test": true, "": false} {
		if p.Covers(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Add("-----BEGIN ", "-----BEGIN x-----")
	f.Add("/a/b.pem", "")
	f.Fuzz(func(t *testing.T, cert, key string) {
		p, list := Load(inline(cert), inline(key))
		if (p == nil) != list.Has(diag.Error) {
			t.Errorf("pair %v, findings %v", p != nil, list)
		}
	})
}

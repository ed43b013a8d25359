package acme

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/testkit"
	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/storage"
)

// TestServerName: the names that CAs send for addresses, there and back.
func TestServerName(t *testing.T) {
	for name, want := range map[string]string{
		"a.example.com": "a.example.com", "192.0.2.1": "1.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		got := serverName(name)
		if got != want {
			t.Errorf("serverName(%q) = %q", name, got)
		}
		if ip, ok := addressOf(got); ok != (net.ParseIP(name) != nil) || ok && !ip.Equal(net.ParseIP(name)) {
			t.Errorf("addressOf(%q) = %v, %t", got, ip, ok)
		}
	}
	for _, bad := range []string{"", "in-addr.arpa", "1.2.3.in-addr.arpa", "x.2.0.192.in-addr.arpa", "x.ip6.arpa", strings.Repeat("g.", 32) + "ip6.arpa"} {
		if ip, ok := addressOf(bad); ok {
			t.Errorf("addressOf(%q) = %v", bad, ip)
		}
	}
}

// TestChallenges: an answer is given for exactly its host and token while it is pending, by any instance of a shared storage.
func TestChallenges(t *testing.T) {
	store, err := storage.Open(t.TempDir() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	mine, other := NewChallenges(), NewChallenges()
	other.share(store)
	for _, kind := range []string{storage.HTTP, storage.TLS} {
		a := &answer{kind: kind, challenges: mine, store: store}
		c := authority.Challenge{Name: "a.example.com", Token: "tok", Answer: "tok.thumb"}
		if err := a.Present(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		for who, list := range map[string]*Challenges{"mine": mine, "another instance's": other} {
			if kind == storage.HTTP {
				if got, ok := list.HTTP("A.Example.com", "tok"); !ok || string(got) != "tok.thumb" {
					t.Errorf("%s: %q %t", who, got, ok)
				}
				for _, q := range [][2]string{{"b.example.com", "tok"}, {"a.example.com", "TOK"}, {"a.example.com", ""}, {"", "tok"}} {
					if got, ok := list.HTTP(q[0], q[1]); ok {
						t.Errorf("%s: %q is answered with %q", who, q, got)
					}
				}
				continue
			}
			if list.Pending("b.example.com") || !list.Pending("a.example.com") {
				t.Errorf("%s: pending", who)
			}
			checkChallengeHandshake(t, list.TLS("a.example.com"))
		}
		a.CleanUp(context.Background(), c)
		if _, ok := other.HTTP("a.example.com", "tok"); ok || mine.Pending("a.example.com") || other.Pending("a.example.com") {
			t.Errorf("%s: it is answered after its end", kind)
		}
	}
}

// checkChallengeHandshake looks at a tls-alpn-01 answer as RFC 8737 says.
func checkChallengeHandshake(t *testing.T, config *tls.Config) {
	t.Helper()
	if config == nil {
		t.Error("no answer")
		return
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, config).Handshake()
	c := tls.Client(b, &tls.Config{ServerName: "a.example.com", NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Error(err)
		return
	}
	state := c.ConnectionState()
	leaf := state.PeerCertificates[0]
	if state.NegotiatedProtocol != "acme-tls/1" || len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != "a.example.com" {
		t.Errorf("protocol %q, names %q", state.NegotiatedProtocol, leaf.DNSNames)
	}
	digest := sha256.Sum256([]byte("tok.thumb"))
	for _, e := range leaf.Extensions {
		var got []byte
		if e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical {
			if _, err := asn1.Unmarshal(e.Value, &got); err == nil && string(got) == string(digest[:]) {
				return
			}
		}
	}
	t.Error("the certificate has no such extension")
}

// handshake asks a world for a name and returns the first name of the certificate.
func (w *world) handshake(name string) string {
	w.t.Helper()
	s, err := w.keeper.Server(dynamic.BuiltinTLSOptions())
	if err != nil {
		w.t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, s.Config).Handshake()
	c := tls.Client(b, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// TestOnDemand: the first handshake of an allowed name waits for its certificate; others are not ordered for.
func TestOnDemand(t *testing.T) {
	testkit.LeakCheck(t)
	var asked atomic.Int64
	ask := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if name := r.URL.Query().Get("domain"); !strings.HasSuffix(name, ".customer.com") {
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	defer ask.Close()
	ca := newFakeCA(t, 90*day)
	path := filepath.Join(t.TempDir(), "acme.json")
	s := setup{ca: ca, path: path, quick: true, more: func(c *static.ACME) {
		c.OnDemand = &static.OnDemand{Ask: ask.URL + "/?key=1", Allow: []string{"*.listed.com"}}
	}}
	w := begin(t, s)
	for name, want := range map[string]bool{
		"www.customer.com": true, "WWW.Customer.com": true, "a.listed.com": true, "a.b.listed.com": false, "evil.com": false,
		"no_name.customer.com": false, "single": false,
	} {
		if got := w.handshake(name); strings.EqualFold(got, name) != want {
			t.Errorf("%s got the certificate of %s", name, got)
		}
	}
	w.orders(2)
	n := asked.Load()
	if w.handshake("evil.com"); asked.Load() != n {
		t.Error("a verdict is asked for again at once")
	}
	for range 100 {
		w.handshake(fmt.Sprintf("x%d.evil.com", asked.Load()))
	}
	if got := asked.Load() - n; got > askBurst+askBurst/2 { // a slow machine gives time for some more
		t.Errorf("%d questions for 100 handshakes", got)
	}
	w.stop()
	w = begin(t, s)
	if got := w.handshake("www.customer.com"); got != "www.customer.com" {
		t.Errorf("after a restart: %s", got)
	}
	w.orders(2)
	for deadline := time.Now().Add(10 * time.Second); len(w.m.Status()) < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if st := w.status("www.customer.com"); !st.OnDemand || st.State != StateValid {
		t.Errorf("status %+v", st)
	}
}

// TestOnDemandFails: a handshake does not wait for what failed a moment ago.
func TestOnDemandFails(t *testing.T) {
	testkit.LeakCheck(t)
	ca := newFakeCA(t, 90*day)
	ca.failing(refusal)
	w := begin(t, setup{ca: ca, path: filepath.Join(t.TempDir(), "acme.json"), quick: true,
		more: func(c *static.ACME) { c.OnDemand = &static.OnDemand{Allow: []string{"a.com"}} }})
	for range 20 {
		w.handshake("a.com")
	}
	w.orders(1)
}

func TestBucket(t *testing.T) {
	b := bucket{burst: 3, every: time.Second}
	now := time.Unix(1000, 0)
	taken := func(at time.Time) (n int) {
		for b.take(at) {
			n++
		}
		return n
	}
	if n := taken(now); n != 3 {
		t.Errorf("%d at once", n)
	}
	if n := taken(now.Add(1500 * time.Millisecond)); n != 1 {
		t.Errorf("%d after a second and a half", n)
	}
	if n := taken(now.Add(time.Hour)); n != 3 {
		t.Errorf("%d after an hour", n)
	}
}

// TestExport: certificates become files, the command runs when they change, and only then.
func TestExport(t *testing.T) {
	testkit.LeakCheck(t)
	if runtime.GOOS == "windows" {
		t.Skip("the command is a shell script")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "hook")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$1 $SLUICE_CERTIFICATES\" >>"+dir+"/ran\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca := newFakeCA(t, 90*day)
	s := setup{ca: ca, path: filepath.Join(dir, "acme.json"), quick: true, wants: []Want{want("a.example.com"), {Resolver: "le", Names: []string{"*.example.org"}}},
		more: func(c *static.ACME) {
			c.DNSChallenge = &static.DNSChallenge{Provider: "manual"}
			c.Export = &static.Export{Directory: dir + "/out", Command: script + " one"}
		}}
	w := begin(t, s)
	ran := func() string { b, _ := os.ReadFile(dir + "/ran"); return string(b) }
	complete := func() bool {
		return strings.Contains(ran(), "a.example.com") && strings.Contains(ran(), "*.example.org")
	}
	for deadline := time.Now().Add(20 * time.Second); !complete() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	w.stop()
	first := ran()
	if !strings.HasPrefix(first, "one ") || !complete() {
		t.Errorf("the command ran as %q", first)
	}
	for _, name := range []string{"a.example.com", "_.example.org"} {
		if _, err := tls.LoadX509KeyPair(dir+"/out/"+name+".crt", dir+"/out/"+name+".key"); err != nil {
			t.Error(err)
		}
		if _, err := tls.LoadX509KeyPair(dir+"/out/"+name+".pem", dir+"/out/"+name+".pem"); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(dir + "/out/" + name + ".key"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s.key: %v %v", name, info.Mode(), err)
		}
	}
	entries, _ := os.ReadDir(dir + "/out")
	if len(entries) != 6 {
		t.Errorf("%d files", len(entries))
	}
	w = begin(t, s)
	for deadline := time.Now().Add(10 * time.Second); len(w.m.Status()) < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	w.stop()
	if ran() != first {
		t.Errorf("nothing changed, and the command ran: %q", ran())
	}
}

// TestExportNames: nothing in a certificate leads out of the directory.
func TestExportNames(t *testing.T) {
	ca := newFakeCA(t, 90*day)
	dir := t.TempDir()
	for _, main := range []string{"../../etc/x", "..", "2001:db8::1", "*.example.com"} {
		chain, _ := ca.issue([]string{"a.example.com"}, ca.key)
		if _, err := Export(dir+"/out", []*storage.Certificate{{Main: main, Chain: chain, Key: []byte("k")}}); err != nil {
			t.Error(err)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("outside of the directory: %v", entries)
	}
}

// TestVerification: LEGO_CA_* count where the options say nothing.
func TestVerification(t *testing.T) {
	pem := testkit.NewCA(t).PEM
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(kv map[string]string) func(string) string { return func(k string) string { return kv[k] } }
	for name, c := range map[string]struct {
		config static.ACME
		env    map[string]string
		pool   bool
		server string
		fails  bool
	}{
		"nothing":     {static.ACME{}, nil, false, "", false},
		"environment": {static.ACME{}, map[string]string{"LEGO_CA_CERTIFICATES": file, "LEGO_CA_SERVER_NAME": "x"}, true, "x", false},
		"options":     {static.ACME{CACertificates: []dynamic.Material{material(pem)}, CAServerName: "y"}, map[string]string{"LEGO_CA_CERTIFICATES": "/nowhere", "LEGO_CA_SERVER_NAME": "x"}, true, "y", false},
		"no file":     {static.ACME{}, map[string]string{"LEGO_CA_CERTIFICATES": "/nowhere"}, false, "", true},
		"no PEM":      {static.ACME{CACertificates: []dynamic.Material{material([]byte("x"))}}, nil, false, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			pool, server, err := verification(&c.config, env(c.env))
			if (pool != nil) != c.pool || server != c.server || (err != nil) != c.fails {
				t.Errorf("got %v %q %v", pool != nil, server, err)
			}
		})
	}
}

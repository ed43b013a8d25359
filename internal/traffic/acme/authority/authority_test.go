// This file is long because its cases are the answers of one test server, with what each of them must become.

package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-acme/lego/v5/challenge"
	"github.com/go-acme/lego/v5/challenge/dns01"

	"sluice/internal/core/static"
	"sluice/internal/testkit/acmeserver"
	"sluice/internal/traffic/acme/storage"
)

// web answers http-01 challenges.
type web struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string
	cleaned int
}

func newWeb(t *testing.T) *web {
	w := &web{answers: map[string]string{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		host, _, _ := net.SplitHostPort(r.Host)
		if a, ok := w.answers[host+r.URL.Path]; ok {
			rw.Write([]byte(a))
			return
		}
		http.NotFound(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *web) Kind() string { return http01Kind }

func (w *web) Present(_ context.Context, c Challenge) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[c.Name+"/.well-known/acme-challenge/"+c.Token] = c.Answer
	return nil
}

func (w *web) Ready(context.Context, Challenge) error { return nil }

func (w *web) CleanUp(_ context.Context, c Challenge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleaned++
	delete(w.answers, c.Name+"/.well-known/acme-challenge/"+c.Token)
}

func (w *web) Alone() (time.Duration, bool) { return 0, false }

// fixture is a client of a CA, with an account.
type fixture struct {
	t       *testing.T
	ca      *acmeserver.Server
	c       *Client
	web     *web
	account *storage.Account
	order   *storage.Order
}

func accountKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

func newFixture(t *testing.T, o acmeserver.Options, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, ca: acmeserver.New(t, o), web: newWeb(t)}
	f.ca.Validate([]string{f.web.Listener.Addr().String()}, nil)
	f.c = f.client(change)
	return f
}

func (f *fixture) client(change func(*Options)) *Client {
	f.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.ca.TLS)
	options := Options{Directory: f.ca.Directory, KeyType: static.KeyEC256, Timeout: time.Minute, HeaderTimeout: 30 * time.Second,
		IssueTimeout: 30 * time.Second, Roots: roots, Log: slog.New(slog.NewTextHandler(f.t.Output(), nil)), NewAccountKey: accountKey}
	if change != nil {
		change(&options)
	}
	c := New(f.t.Context(), options)
	f.t.Cleanup(c.Idle)
	return c
}

func (f *fixture) register() error {
	a, err := f.c.Register(context.Background(), f.account, nil, func(a *storage.Account) error { f.account = a; return nil })
	if err == nil && a != f.account && a.URI != f.account.URI {
		f.t.Error("the account was not saved")
	}
	return err
}

func (f *fixture) obtain(names ...string) (*Issued, error) {
	f.t.Helper()
	if err := f.register(); err != nil {
		return nil, err
	}
	return f.c.Obtain(context.Background(), Request{Names: names, Account: f.account, Resume: f.order, Solvers: []Solver{f.web},
		Save: func(o *storage.Order) error { f.order = o; return nil }})
}

func (f *fixture) must(names ...string) *Issued {
	f.t.Helper()
	i, err := f.obtain(names...)
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

// as returns the error in our words.
func as(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	return e
}

func TestObtain(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	i := f.must("b.example.com", "a.example.com", "127.0.0.1")
	if err := i.Leaf.VerifyHostname("a.example.com"); err != nil {
		t.Error(err)
	}
	if err := i.Leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
	if _, ok := i.Leaf.PublicKey.(*ecdsa.PublicKey); !ok || i.Challenge != "http-01" {
		t.Errorf("key %T, challenge %s", i.Leaf.PublicKey, i.Challenge)
	}
	if n := strings.Count(string(i.Chain), "BEGIN CERTIFICATE"); n < 2 {
		t.Errorf("the chain has %d certificates", n)
	}
	if f.web.cleaned != 3 || len(f.web.answers) != 0 {
		t.Errorf("%d answers removed, %d left", f.web.cleaned, len(f.web.answers))
	}
}

func TestKeyTypes(t *testing.T) {
	for kind, want := range map[string]string{static.KeyEC256: "EC 256", static.KeyEC384: "EC 384", static.KeyRSA2048: "RSA 2048"} {
		key, err := newKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		text, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeKey(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		switch k := again.(type) {
		case *ecdsa.PrivateKey:
			got = fmt.Sprint("EC ", k.Curve.Params().BitSize)
		case *rsa.PrivateKey:
			got = fmt.Sprint("RSA ", k.N.BitLen())
		}
		if got != want {
			t.Errorf("%s makes %s", kind, got)
		}
	}
}

// TestAccounts: EAB where it is needed, one account however often, and another one where the CA has forgotten it.
func TestAccounts(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	f := newFixture(t, acmeserver.Options{EAB: map[string][]byte{"kid-1": key}}, nil)
	if e := as(t, f.register()); e.Kind != KindConfiguration || !strings.Contains(e.Advice, "eab") {
		t.Errorf("without EAB: %+v", e)
	}
	kept := f.account
	if kept == nil || len(kept.Key) == 0 || kept.URI != "" {
		t.Fatalf("the key was not kept before the registration: %+v", kept)
	}
	f.c = f.client(func(o *Options) {
		o.KID, o.HMAC, o.Email = "kid-1", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "me@example.com"
	})
	for range 3 {
		if err := f.register(); err != nil {
			t.Fatal(err)
		}
	}
	if f.account.URI == "" || string(f.account.Key) != string(kept.Key) || !slices.Contains(f.account.Contact, "mailto:me@example.com") {
		t.Errorf("account %+v", f.account)
	}
	if f.ca.Accounts() != 1 {
		t.Errorf("%d registrations", f.ca.Accounts())
	}
	f.must("a.example.com")

	gone := *f.account
	gone.URI += "9"
	f.account = &gone
	_, err := f.obtain("b.example.com")
	if e := as(t, err); !e.Gone {
		t.Errorf("with an account that does not exist: %+v", e)
	}
	// An account of another CA is left alone; one of ours among the former ones is taken.
	foreign := &storage.Account{URI: "https://other.example/acct/1", Key: gone.Key}
	var saved *storage.Account
	got, err := f.c.Register(context.Background(), foreign, map[string]*storage.Account{"127.0.0.1": kept, "x": {URI: f.ca.Directory + "/1", Key: kept.Key}},
		func(a *storage.Account) error { saved = a; return nil })
	if err != nil || saved == nil || !f.c.Belongs(got) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestProfileAndChain: the profile decides the lifetime, the preferred chain is taken where there is one.
func TestProfileAndChain(t *testing.T) {
	f := newFixture(t, acmeserver.Options{Profiles: map[string]uint64{"default": 90 * 24 * 3600, "shortlived": 6 * 24 * 3600}, AlternateRoots: 2}, nil)
	first := f.must("a.example.com")
	issuers := map[string]bool{}
	var other string
	for _, c := range f.chains(t) {
		issuers[c] = true
		if c != topIssuer(t, first.Chain) {
			other = c
		}
	}
	if len(issuers) != 3 {
		t.Fatalf("the CA has the chains %v", issuers)
	}
	f.c, f.order = f.client(func(o *Options) { o.Profile, o.PreferredChain = "shortlived", other }), nil
	i := f.must("a.example.com")
	if life := i.Leaf.NotAfter.Sub(i.Leaf.NotBefore).Round(time.Hour); life != 6*24*time.Hour {
		t.Errorf("it lives for %s", life)
	}
	if got := topIssuer(t, i.Chain); got != other {
		t.Errorf("the chain leads to %q, want %q", got, other)
	}
	f.c, f.order = f.client(func(o *Options) { o.PreferredChain = "nobody" }), nil
	f.must("a.example.com")
	f.c, f.order = f.client(func(o *Options) { o.Profile = "nonsense" }), nil
	_, err := f.obtain("a.example.com")
	if e := as(t, err); e.Kind != KindConfiguration || !strings.Contains(e.Advice, "profile") {
		t.Errorf("unknown profile: %+v", e)
	}
}

// chains are the top issuers of all chains of the last order.
func (f *fixture) chains(t *testing.T) (out []string) {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(f.account.Key)
	if err != nil {
		t.Fatal(err)
	}
	core, err := f.c.session(context.Background(), f.account, key)
	if err != nil {
		t.Fatal(err)
	}
	order, err := core.Orders.Get(context.Background(), f.order.URL)
	if err != nil {
		t.Fatal(err)
	}
	all, err := core.Certificates.GetAll(context.Background(), order.Certificate, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		out = append(out, topIssuer(t, c.Cert))
	}
	return out
}

func topIssuer(t *testing.T, chain []byte) string {
	t.Helper()
	var last *x509.Certificate
	for rest := chain; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return last.Issuer.CommonName
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		last = c
	}
}

// TestNames: the common name is the first name where that fits, and left out where it must be.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example.com"
	for name, c := range map[string]struct {
		names   []string
		disable bool
		want    string
	}{
		"first":   {[]string{"b.example.com", "a.example.com"}, false, "b.example.com"},
		"long":    {[]string{long}, false, ""},
		"address": {[]string{"127.0.0.1"}, false, ""},
		"off":     {[]string{"a.example.com"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			key, _ := newKey(static.KeyEC256)
			j := &job{c: &Client{o: Options{DisableCommonName: c.disable, EmailAddresses: []string{"x@example.com"}}}, req: Request{Names: c.names}, key: key}
			der, err := j.request()
			if err != nil {
				t.Fatal(err)
			}
			r, err := x509.ParseCertificateRequest(der)
			if err != nil || r.Subject.CommonName != c.want || len(r.EmailAddresses) != 1 || len(r.DNSNames)+len(r.IPAddresses) != len(c.names) {
				t.Errorf("got %q %v %v %v", r.Subject.CommonName, r.DNSNames, r.EmailAddresses, err)
			}
		})
	}
}

// TestBadNonces: a CA that refuses two thirds of the nonces gets its orders through all the same.
func TestBadNonces(t *testing.T) {
	newFixture(t, acmeserver.Options{BadNonces: "60"}, nil).must("a.example.com")
}

// TestResume: an order that was stored is taken up, at whatever step it was left.
func TestResume(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	if err := f.register(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/authZ/", "/chalZ/", "/finalize-order/", "/certZ/"} {
		t.Run(at, func(t *testing.T) {
			f.order = nil
			before := f.ca.Orders()
			cut := true
			f.ca.Fault(func(w http.ResponseWriter, r *http.Request) bool {
				if cut && strings.HasPrefix(r.URL.Path, at) {
					http.Error(w, "down", http.StatusBadGateway)
					return true
				}
				return false
			})
			if _, err := f.obtain("a.example.com"); err == nil || f.order == nil {
				t.Fatalf("got %v, order %v", err, f.order)
			}
			cut = false
			f.c = f.client(nil) // another process
			i, err := f.obtain("a.example.com")
			if err != nil {
				t.Fatal(err)
			}
			if n := f.ca.Orders() - before; n != 1 {
				t.Errorf("%d orders", n)
			}
			// Taken up once more when it is done, it gives the same certificate.
			again, err := f.obtain("a.example.com")
			if err != nil || !again.Leaf.Equal(i.Leaf) {
				t.Errorf("got another certificate, %v", err)
			}
			// For other names it is not taken.
			if _, err := f.obtain("b.example.com"); err != nil || f.ca.Orders()-before != 2 {
				t.Errorf("%d orders, %v", f.ca.Orders()-before, err)
			}
		})
	}
	f.ca.Fault(nil)
}

// TestFailures: each common failure has its kind and says what to do.
func TestFailures(t *testing.T) {
	f := newFixture(t, acmeserver.Options{Blocked: []string{"blocked.com"}}, nil)
	if err := f.register(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		prepare func()
		name    string
		kind    string
		reached bool
		failed  bool
		words   string
	}{
		"port 80 is not reachable":  {func() { f.ca.Validate(nil, nil) }, "a.example.com", KindConnection, true, true, "port 80"},
		"another server answers":    {func() { f.ca.Validate([]string{wrong(t)}, nil) }, "a.example.com", KindAnswer, true, true, "another server"},
		"no DNS record":             {func() { f.ca.DNS.SetDefaultDNSIPv4("") }, "nowhere.example.com", KindConnection, true, true, "DNS (A and AAAA)"},
		"the CA refuses the domain": {func() {}, "www.blocked.com", KindRejected, true, false, "does not issue"},
		"wildcard without DNS":      {func() {}, "*.example.com", KindConfiguration, true, false, "dnsChallenge"},
		"limit with Retry-After": {f.answering("/order-plz", 429, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}`, "120"),
			"a.example.com", KindRateLimited, true, false, "wait"},
		"limit with a date in words": {f.answering("/order-plz", 429, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many, retry after 2099-01-02 03:04:05 UTC: see","status":429}`, ""),
			"a.example.com", KindRateLimited, true, false, "wait"},
		"a proxy's page":    {f.answering("/order-plz", 502, "<html>bad gateway", ""), "a.example.com", KindServer, true, false, "CA has a problem"},
		"a null problem":    {f.answering("/order-plz", 500, "null", ""), "a.example.com", KindServer, true, false, ""},
		"an endless answer": {f.answering("/order-plz", 200, strings.Repeat("x", maxBody+2), ""), "a.example.com", KindUnreachable, false, false, ""},
		"no JSON":           {f.answering("/order-plz", 201, "{", ""), "a.example.com", KindUnreachable, false, false, ""},
		"CAA":               {f.answering("/order-plz", 403, `{"type":"urn:ietf:params:acme:error:caa","detail":"CAA forbids","status":403}`, ""), "a.example.com", KindCAA, true, false, "0 issue"},
		"directory is down": {f.answering("/dir", 503, "x", ""), "a.example.com", KindUnreachable, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f.order = nil
			f.c.forget()
			c.prepare()
			defer func() {
				f.ca.Fault(nil)
				f.ca.DNS.SetDefaultDNSIPv4("127.0.0.1")
				f.ca.Validate([]string{f.web.Listener.Addr().String()}, nil)
			}()
			_, err := f.obtain(c.name)
			e := as(t, err)
			if e.Kind != c.kind || e.Reached != c.reached || (len(e.Failed) > 0) != c.failed || !strings.Contains(e.Advice, c.words) || e.Text == "" {
				t.Errorf("kind %s, reached %t, failed %v: %s (%s)", e.Kind, e.Reached, e.Failed, e.Text, e.Advice)
			}
			if strings.HasPrefix(name, "limit") && !e.Until.After(time.Now().Add(time.Minute)) {
				t.Errorf("until %s", e.Until)
			}
		})
	}
	f.order = nil
	f.must("a.example.com") // all of that leaves nothing behind
}

func wrong(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// answering lets the CA give an answer to requests for a path.
func (f *fixture) answering(path string, status int, body, retryAfter string) func() {
	return func() {
		f.ca.Fault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.Header().Set("Replay-Nonce", "bm9uY2U")
			w.WriteHeader(status)
			w.Write([]byte(body))
			return true
		})
	}
}

// TestUnreachable: refused connections, unknown authorities, clear text and a wrong clock are told apart, and ask nothing.
func TestUnreachable(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	for name, c := range map[string]struct {
		change func(*Options)
		kind   string
		words  string
	}{
		"refused":   {func(o *Options) { o.Directory = "https://127.0.0.1:1/dir" }, KindUnreachable, "firewall"},
		"authority": {func(o *Options) { o.Roots = x509.NewCertPool() }, KindUnreachable, "caCertificates"},
		"name":      {func(o *Options) { o.ServerName = "wrong.example" }, KindUnreachable, "caServerName"},
		"http":      {func(o *Options) { o.Directory = "http://127.0.0.1:1/dir" }, KindConfiguration, "https"},
	} {
		t.Run(name, func(t *testing.T) {
			f.c, f.account = f.client(c.change), nil
			e := as(t, f.register())
			if e.Kind != c.kind || e.Reached || !strings.Contains(e.Advice, c.words) {
				t.Errorf("kind %s, reached %t: %s (%s)", e.Kind, e.Reached, e.Text, e.Advice)
			}
		})
	}
	t.Run("clock", func(t *testing.T) {
		f.c, f.account = f.client(nil), nil
		f.ca.Fault(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(-365*24*time.Hour).UTC().Format(http.TimeFormat))
			return false
		})
		defer f.ca.Fault(nil)
		e := as(t, f.register())
		if e.Kind != KindClock || e.Reached || !strings.Contains(e.Text, "365 days ahead") {
			t.Errorf("%+v", e)
		}
		if f.ca.Accounts() != 0 {
			t.Error("an account was registered by a wrong clock")
		}
	})
	t.Run("stopped", func(t *testing.T) {
		f.account = nil
		life, cancel := context.WithCancel(context.Background())
		hang := make(chan struct{})
		f.ca.Fault(func(w http.ResponseWriter, r *http.Request) bool { cancel(); <-hang; return true })
		defer f.ca.Fault(nil)
		defer close(hang)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(f.ca.TLS)
		c := New(life, Options{Directory: f.ca.Directory, Roots: roots, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), NewAccountKey: accountKey})
		_, err := c.Register(context.Background(), nil, nil, func(*storage.Account) error { return nil })
		if e := as(t, err); e.Kind != KindStopped {
			t.Errorf("%+v", e)
		}
	})
}

// TestStorageFails: an order that cannot be written down is not gone on with.
func TestStorageFails(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	if err := f.register(); err != nil {
		t.Fatal(err)
	}
	_, err := f.c.Obtain(context.Background(), Request{Names: []string{"a.example.com"}, Account: f.account, Solvers: []Solver{f.web},
		Save: func(*storage.Order) error { return errors.New("disk full") }})
	if e := as(t, err); e.Kind != KindStorage || !e.Reached {
		t.Errorf("%+v", e)
	}
	if f.ca.Seen("chalZ") != 0 {
		t.Error("a challenge was asked for")
	}
}

// TestToken: what is no token is not put anywhere.
func TestToken(t *testing.T) {
	for token, ok := range map[string]bool{"abc_DEF-123": true, "": false, "a/b": false, "a b": false, "..": false, "ä": false, strings.Repeat("a", maxToken+1): false} {
		if err := checkToken(token); (err == nil) != ok {
			t.Errorf("checkToken(%.20q) = %v", token, err)
		}
	}
}

// records is a DNS provider on the test CA's name server.
type records struct {
	ca      *acmeserver.Server
	fail    error
	mu      sync.Mutex
	present []string
	removed []string
}

func (r *records) Present(ctx context.Context, domain, _, keyAuth string) error {
	if r.fail != nil {
		return r.fail
	}
	info := dns01.GetChallengeInfo(ctx, domain, keyAuth)
	r.mu.Lock()
	r.present = append(r.present, info.EffectiveFQDN)
	r.mu.Unlock()
	r.ca.DNS.AddDNSTXTRecord(info.EffectiveFQDN, info.Value)
	return nil
}

func (r *records) CleanUp(ctx context.Context, domain, _, keyAuth string) error {
	info := dns01.GetChallengeInfo(ctx, domain, keyAuth)
	r.mu.Lock()
	r.removed = append(r.removed, info.EffectiveFQDN)
	r.mu.Unlock()
	r.ca.DNS.DeleteDNSTXTRecord(info.EffectiveFQDN)
	return nil
}

func (r *records) Timeout() (timeout, interval time.Duration) {
	return 3 * time.Second, 10 * time.Millisecond
}

type alone struct{ *records }

func (alone) Sequential() time.Duration { return time.Millisecond }

// TestDNS: wildcards by dns-01, together or one after the other, with CNAMEs, and what goes wrong.
func TestDNS(t *testing.T) {
	f := newFixture(t, acmeserver.Options{}, nil)
	if err := f.register(); err != nil {
		t.Fatal(err)
	}
	obtain := func(p challenge.Provider, o DNSOptions, names ...string) (*Issued, error) {
		o.Resolvers = []string{f.ca.NameServer}
		s := DNS(func() (challenge.Provider, error) { return p, nil }, o)
		return f.c.Obtain(context.Background(), Request{Names: names, Account: f.account, Solvers: []Solver{s}, Save: func(*storage.Order) error { return nil }})
	}
	f.ca.DNS.AddDNSCNAMERecord("_acme-challenge.alias.example.com.", "elsewhere.example.net.")
	for name, c := range map[string]struct {
		sequential bool
		options    DNSOptions
		names      []string
	}{
		"wildcard":          {false, DNSOptions{DisableAuthoritative: true, RequireRecursive: true}, []string{"*.example.com"}},
		"one by one":        {true, DNSOptions{DisableAuthoritative: true, RequireRecursive: true}, []string{"a.example.com", "*.example.com"}},
		"no checks":         {false, DNSOptions{DisableChecks: true, Delay: 10 * time.Millisecond}, []string{"a.example.com", "b.example.com"}},
		"behind an alias":   {false, DNSOptions{DisableAuthoritative: true}, []string{"alias.example.com"}},
		"name and own star": {true, DNSOptions{DisableChecks: true}, []string{"x.example.com", "*.x.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &records{ca: f.ca}
			var p challenge.Provider = r
			if c.sequential {
				p = alone{r}
			}
			i, err := obtain(p, c.options, c.names...)
			if err != nil {
				t.Fatal(err)
			}
			if len(i.Leaf.DNSNames) != len(c.names) || i.Challenge != "dns-01" {
				t.Errorf("names %v by %s", i.Leaf.DNSNames, i.Challenge)
			}
			if len(r.present) != len(c.names) || len(r.removed) != len(c.names) {
				t.Errorf("made %v, removed %v", r.present, r.removed)
			}
			if name == "behind an alias" && r.present[0] != "elsewhere.example.net." {
				t.Errorf("the record was made at %s", r.present[0])
			}
		})
	}
	t.Run("the provider fails", func(t *testing.T) {
		before := f.ca.Seen("chalZ")
		_, err := obtain(&records{ca: f.ca, fail: errors.New("403 bad token")}, DNSOptions{}, "a.example.com")
		e := as(t, err)
		if e.Kind != KindProvider || len(e.Failed) != 0 || !strings.Contains(e.Text, "403 bad token") || !strings.Contains(e.Advice, "credentials") {
			t.Errorf("%+v", e)
		}
		if f.ca.Seen("chalZ") != before {
			t.Error("the CA was asked to validate")
		}
	})
	t.Run("the record is not seen", func(t *testing.T) {
		_, err := obtain(&invisible{records{ca: f.ca}}, DNSOptions{DisableAuthoritative: true, RequireRecursive: true}, "a.example.com")
		if e := as(t, err); e.Kind != KindProvider || !strings.Contains(e.Text, "not seen within") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("there is no such provider", func(t *testing.T) {
		s := DNS(func() (challenge.Provider, error) { return nil, errors.New("DO_AUTH_TOKEN is missing") }, DNSOptions{})
		_, err := f.c.Obtain(context.Background(), Request{Names: []string{"a.example.com"}, Account: f.account, Solvers: []Solver{s}, Save: func(*storage.Order) error { return nil }})
		if e := as(t, err); e.Kind != KindConfiguration || !strings.Contains(e.Text, "DO_AUTH_TOKEN") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("it can be stopped while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		r := &invisible{records{ca: f.ca}}
		s := DNS(func() (challenge.Provider, error) { return r, nil }, DNSOptions{Resolvers: []string{f.ca.NameServer}, Delay: time.Hour})
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := f.c.Obtain(ctx, Request{Names: []string{"a.example.com"}, Account: f.account, Solvers: []Solver{s}, Save: func(*storage.Order) error { return nil }})
		if e := as(t, err); e.Kind != KindStopped && e.Kind != KindProvider {
			t.Errorf("%+v", e)
		}
	})
}

// invisible says that it made a record.
type invisible struct{ records }

func (*invisible) Present(context.Context, string, string, string) error { return nil }

// TestNameServers: jobs with other name servers wait for each other, those with the same do not.
func TestNameServers(t *testing.T) {
	var n nameServers
	ctx := context.Background()
	a1, _ := n.acquire(ctx, []string{"127.0.0.1:1"})
	a2, err := n.acquire(ctx, []string{"127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := n.acquire(short, []string{"127.0.0.1:2"}); err == nil {
		t.Error("two settings at once")
	}
	got := make(chan struct{})
	go func() {
		if b, err := n.acquire(ctx, []string{"127.0.0.1:2"}); err == nil {
			b()
		}
		close(got)
	}()
	a1()
	a2()
	<-got
}

// FuzzProblem: no body of an error makes what reads it stumble.
func FuzzProblem(f *testing.F) {
	for _, s := range []string{"", "null", "[]", "{}", `{"type":"urn:ietf:params:acme:error:dns","detail":"x"}`, "<html>", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if out := problem(500, []byte(body)); len(out) == 0 || strings.TrimSpace(string(out))[0] != '{' {
			t.Errorf("%q becomes %q", body, out)
		}
		retryDate(body)
		retryDate("retry after " + body)
	})
}

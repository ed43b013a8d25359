package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
	"sluice/internal/testkit"
	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// fakeCA issues in no time, or fails as it is told to.
type fakeCA struct {
	life time.Duration
	// fail says why an attempt fails; nil for none. step is called between the steps of an order.
	fail   func(names []string) error
	step   func(name string)
	window func(leaf *x509.Certificate) (authority.Window, error)

	mu       sync.Mutex
	accounts int
	orders   []string // names and time of each new order
	times    []time.Time
	tries    []time.Time
	resumed  int
	open     map[string]string // order URL to names
	key      *ecdsa.PrivateKey
	cert     *x509.Certificate
	serial   int64
}

// attempts are the times of all attempts so far.
func (f *fakeCA) attempts() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tries)
}

// ordered is the time of order i.
func (f *fakeCA) ordered(i int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.times[i]
}

func newFakeCA(t testing.TB, life time.Duration) *fakeCA {
	t.Helper()
	f := &fakeCA{life: life, open: map[string]string{}}
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, f.key.Public(), f.key)
	if err != nil {
		t.Fatal(err)
	}
	f.cert, _ = x509.ParseCertificate(der)
	return f
}

// issue makes a certificate that begins now.
func (f *fakeCA) issue(names []string, key crypto.Signer) (chain []byte, leaf *x509.Certificate) {
	f.serial++
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1000 + f.serial), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now, NotAfter: now.Add(f.life)}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, f.cert, key.Public(), f.key)
	if err != nil {
		panic(err)
	}
	leaf, _ = x509.ParseCertificate(der)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), leaf
}

// client is the CA as one resolver of one process sees it.
type client struct {
	*fakeCA
	directory string
}

func (c client) uri() string { return strings.TrimSuffix(c.directory, "/directory") + "/acct/1" }

func (c client) Belongs(a *storage.Account) bool { return a != nil && a.URI == c.uri() }

func (c client) Register(_ context.Context, have *storage.Account, former map[string]*storage.Account, save func(*storage.Account) error) (*storage.Account, error) {
	if c.Belongs(have) {
		return have, nil
	}
	c.mark("before the account")
	c.mu.Lock()
	c.accounts++
	c.mu.Unlock()
	a := &storage.Account{URI: c.uri(), Key: []byte(c.uri())}
	err := save(a)
	c.mark("after the account")
	return a, err
}

func (c client) mark(name string) {
	if c.step != nil {
		c.step(name)
	}
}

func (c client) Obtain(ctx context.Context, req authority.Request) (*authority.Issued, error) {
	c.mu.Lock()
	c.tries = append(c.tries, time.Now())
	fail := c.fail
	c.mu.Unlock()
	if fail != nil {
		if e, ok := fail(req.Names).(*authority.Error); ok && !e.Reached {
			return nil, e
		}
	}
	names := strings.Join(req.Names, " ")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	resume := req.Resume != nil && c.open[req.Resume.URL] == names
	c.mu.Unlock()
	var keyText []byte
	if resume {
		keyText = req.Resume.Key
		block, _ := pem.Decode(keyText)
		key, _ = x509.ParseECPrivateKey(block.Bytes)
		c.mu.Lock()
		c.resumed++
		c.mu.Unlock()
	} else {
		if req.Ordering != nil {
			if err := req.Ordering(); err != nil {
				return nil, err
			}
		}
		der, _ := x509.MarshalECPrivateKey(key)
		keyText = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		c.mark("before the order")
		c.mu.Lock()
		c.orders = append(c.orders, names)
		c.times = append(c.times, time.Now())
		url := fmt.Sprintf("%s/order/%d", c.directory, len(c.orders))
		c.open[url] = names
		c.mu.Unlock()
		c.mark("before the order is stored")
		if err := req.Save(&storage.Order{URL: url, CA: c.directory, Key: keyText, Begun: time.Now()}); err != nil {
			return nil, &authority.Error{Kind: authority.KindStorage, Text: err.Error(), Reached: true}
		}
		c.mark("after the order is stored")
	}
	if fail != nil {
		if err := fail(req.Names); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, &authority.Error{Kind: authority.KindStopped}
	}
	c.mu.Lock()
	chain, leaf := c.issue(req.Names, key)
	c.mu.Unlock()
	c.mark("after the issue")
	return &authority.Issued{Chain: chain, Key: keyText, Leaf: leaf}, nil
}

func (c client) RenewalWindow(_ context.Context, _ *storage.Account, leaf certificate) (authority.Window, error) {
	if c.window == nil {
		return authority.Window{}, authority.ErrNoWindow
	}
	return c.window(leaf)
}

func (c client) Idle() {}

// counts returns how many new orders there were.
func (f *fakeCA) counts() (orders, accounts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.orders), f.accounts
}

const fakeDirectory = "https://fake.ca.internal/directory"

// world is a Manager at work.
type world struct {
	t      *testing.T
	ca     *fakeCA
	m      *Manager
	keeper *certs.Keeper
	stop   func()
}

// setup is what a world starts from.
type setup struct {
	ca      *fakeCA
	path    string
	more    func(c *static.ACME)
	wants   []Want
	quick   bool // looks as often as the product
	before  func(m *Manager)
	connect func(ctx context.Context, name string, c *static.ACME) (ca, []authority.Solver, error)
	given   *certs.Set
}

func begin(t *testing.T, s setup) *world {
	t.Helper()
	c := &static.ACME{}
	c.SetDefaults()
	c.CAServer, c.Storage, c.KeyType = fakeDirectory, s.path, static.KeyEC256
	c.HTTPChallenge = &static.HTTPChallenge{EntryPoint: "web"}
	if s.more != nil {
		s.more(c)
	}
	w := &world{t: t, ca: s.ca, keeper: certs.NewKeeper()}
	o := Options{Resolvers: map[string]*static.CertificatesResolver{"le": {ACME: c}}, Keeper: w.keeper, Challenges: NewChallenges(),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
	if !s.quick {
		o.poll, o.sleep = 10*time.Minute, time.Hour
	}
	o.connect = s.connect
	if o.connect == nil {
		o.connect = func(_ context.Context, _ string, c *static.ACME) (ca, []authority.Solver, error) {
			return client{s.ca, c.CAServer}, nil, nil
		}
	}
	w.m = New(o)
	if s.before != nil {
		s.before(w.m)
	}
	set := s.given
	if set == nil {
		set = &certs.Set{}
	}
	w.keeper.Publish(set)
	w.m.Update(s.wants, set)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); w.m.Run(ctx) }()
	w.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(w.stop)
	return w
}

func want(names ...string) Want {
	return Want{Resolver: "le", Names: names, Inferred: true, Users: []string{"r@file"}}
}

// served is the certificate that a name gets, nil for none.
func (w *world) served(name string) *x509.Certificate {
	if list := w.keeper.Current().Lookup(name); len(list) > 0 {
		return list[0].TLS.Leaf
	}
	return nil
}

// status is what there is to say about a name.
func (w *world) status(name string) *Status {
	for _, s := range w.m.Status() {
		if slices.Contains(s.Names, name) {
			return &s
		}
	}
	return &Status{}
}

func (w *world) orders(want int) {
	w.t.Helper()
	if got, _ := w.ca.counts(); got != want {
		w.t.Errorf("%d orders, want %d: %q", got, want, w.ca.orders)
	}
}

// fake runs a test under fake time.
func fake(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// refusal is a failed validation.
func refusal(names []string) error {
	return &authority.Error{Kind: authority.KindDNS, Reached: true, Failed: names, Text: "no record", Advice: "make one"}
}

func unreachable([]string) error {
	return &authority.Error{Kind: authority.KindUnreachable, Text: "connection refused"}
}

func (f *fakeCA) failing(with func([]string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = with
}

// given makes a set of configured certificates for names.
func given(t *testing.T, names ...string) *certs.Set {
	t.Helper()
	ca := testkit.NewCA(t)
	var list []*dynamic.Certificate
	for _, n := range names {
		l := ca.Leaf(t, n)
		list = append(list, &dynamic.Certificate{CertFile: material(l.CertPEM), KeyFile: material(l.KeyPEM)})
	}
	set, _ := certs.Build(list, nil, nil)
	return set
}

package staple

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/certs"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// responder is an authority with its responder.
type responder struct {
	*httptest.Server
	cert   *x509.Certificate
	key    crypto.Signer
	status atomic.Int64
	life   time.Duration
	asked  atomic.Int64
	broken atomic.Bool
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour * 1000), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	r := &responder{key: key, life: 4 * time.Hour}
	r.cert, _ = x509.ParseCertificate(der)
	r.Server = httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) answer(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/ca" {
		w.Write(r.cert.Raw)
		return
	}
	r.asked.Add(1)
	if r.broken.Load() {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	b, _ := io.ReadAll(req.Body)
	q, err := ocsp.ParseRequest(b)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	raw, err := ocsp.CreateResponse(r.cert, r.cert, ocsp.Response{Status: int(r.status.Load()), SerialNumber: q.SerialNumber,
		ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(r.life), RevokedAt: now.Add(-time.Minute)}, r.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(raw)
}

// leaf is a certificate that names a responder, with or without its authority in the chain.
func (r *responder) leaf(t *testing.T, url string, chain bool) *dynamic.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"a.test"}, OCSPServer: []string{url}, IssuingCertificateURL: []string{r.URL + "/ca"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, r.cert, key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})...)
	}
	return &dynamic.Certificate{CertFile: dynamic.Material{Content: secret.New(string(text))},
		KeyFile: dynamic.Material{Content: secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))}}
}

// stapled is what a client is sent.
func stapled(t *testing.T, k *certs.Keeper) []byte {
	t.Helper()
	s, err := k.Server(dynamic.BuiltinTLSOptions())
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, s.Config).Handshake()
	c := tls.Client(b, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.OCSPResponse()
}

func TestStaple(t *testing.T) {
	r := newResponder(t)
	for name, c := range map[string]struct {
		url       string
		chain     bool
		overrides map[string]string
	}{
		"chain":    {r.URL, true, nil},
		"no chain": {r.URL, false, nil},
		"override": {"http://127.0.0.1:1/gone", true, map[string]string{"http://127.0.0.1:1/gone": r.URL}},
	} {
		t.Run(name, func(t *testing.T) {
			k := certs.NewKeeper()
			list := []*dynamic.Certificate{r.leaf(t, c.url, c.chain)}
			set, _ := certs.Build(list, nil, nil)
			k.Publish(set)
			revoked := 0
			s := New(Options{Overrides: c.overrides, Pairs: func() []*certs.Pair { return k.Current().Given() },
				Revoked: func(*certs.Pair) { revoked++ }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
			ctx := context.Background()
			s.pass(ctx)
			got := stapled(t, k)
			if resp, err := ocsp.ParseResponse(got, r.cert); err != nil || resp.Status != ocsp.Good {
				t.Fatalf("stapled %d bytes: %v", len(got), err)
			}
			asked := r.asked.Load()
			// A reload makes another pair of the same certificate: it gets the answer without a question.
			again := &dynamic.Certificate{CertFile: list[0].CertFile, KeyFile: list[0].KeyFile}
			set, _ = certs.Build([]*dynamic.Certificate{again}, nil, set)
			k.Publish(set)
			s.pass(ctx)
			if len(stapled(t, k)) == 0 || r.asked.Load() != asked {
				t.Errorf("after a reload: %d questions", r.asked.Load()-asked)
			}
			// A failure keeps the answer; its end takes it away; a revocation does, too, and is told.
			st := s.known[k.Current().Given()[0].ID()]
			r.broken.Store(true)
			st.next = time.Time{}
			s.pass(ctx)
			if len(stapled(t, k)) == 0 || st.failures != 1 || !st.next.After(time.Now()) {
				t.Errorf("after a failure: %+v", st)
			}
			st.ends = time.Now().Add(-time.Second)
			s.pass(ctx)
			if len(stapled(t, k)) != 0 {
				t.Error("an answer that has ended is sent")
			}
			r.broken.Store(false)
			st.next = time.Time{}
			s.pass(ctx)
			r.status.Store(ocsp.Revoked)
			defer r.status.Store(ocsp.Good)
			for range 2 {
				st.next = time.Time{}
				s.pass(ctx)
			}
			if len(stapled(t, k)) != 0 || revoked != 1 {
				t.Errorf("after the revocation: told %d times", revoked)
			}
			k.Publish(&certs.Set{})
			st.seen = time.Now().Add(-25 * time.Hour)
			s.pass(ctx)
			if len(s.known) != 0 {
				t.Error("a certificate that has gone is remembered")
			}
		})
	}
}

// TestForeignAnswer: an answer that the authority did not sign, or for another certificate, is not used.
func TestForeignAnswer(t *testing.T) {
	r, other := newResponder(t), newResponder(t)
	for name, url := range map[string]string{"another authority": other.URL, "no answer": r.URL + "/ca"} {
		t.Run(name, func(t *testing.T) {
			set, _ := certs.Build([]*dynamic.Certificate{r.leaf(t, url, true)}, nil, nil)
			k := certs.NewKeeper()
			k.Publish(set)
			s := New(Options{Pairs: set.Given, Log: slog.New(slog.DiscardHandler)})
			s.pass(context.Background())
			if len(stapled(t, k)) != 0 {
				t.Error("it is sent")
			}
		})
	}
}

// TestRun: it ends with its context, also while a responder does not answer.
func TestRun(t *testing.T) {
	testkit.LeakCheck(t)
	hang := make(chan struct{})
	asked := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-hang
	}))
	defer slow.Close()
	defer close(hang)
	r := newResponder(t)
	set, _ := certs.Build([]*dynamic.Certificate{r.leaf(t, slow.URL, true)}, nil, nil)
	s := New(Options{Pairs: set.Given, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	s.Poke()
	<-asked
	cancel()
	<-ended
}

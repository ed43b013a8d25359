// Package acmeserver runs Pebble, the ACME test server of Let's Encrypt, inside a test, with the name server that tells it
// that every name is this machine, and with faults to order. Everything is on loopback. The goroutine of its validation
// authority never ends, so a leak check begins behind New.
package acmeserver

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// Options shape the CA. The zero value is one that issues for five years at once and asks for nothing.
type Options struct {
	// Lifetime in seconds, by profile; empty for a default profile of 90 days.
	Profiles map[string]uint64
	// EAB are the keys of external accounts by their IDs; with any, new accounts need one.
	EAB map[string][]byte
	// BadNonces is the share of good nonces that are refused, in percent.
	BadNonces string
	// AlternateRoots is how many other chains are offered.
	AlternateRoots int
	// OCSP is the responder that certificates name.
	OCSP string
	// Blocked are domains that it refuses.
	Blocked []string
}

// Server is a CA.
type Server struct {
	// Directory is its directory URL.
	Directory string
	// TLS is the root of its HTTPS side, in PEM; Roots verify what it issues.
	TLS   []byte
	Roots *x509.CertPool
	// DNS has the records that it looks up; NameServer is where it listens.
	DNS        *challtestsrv.ChallSrv
	NameServer string

	front   *httptest.Server
	handler atomic.Pointer[http.Handler]
	admin   http.Handler
	// plain and secure are where challenges are asked for: each connection goes to the next one.
	plain, secure gateway

	mu    sync.Mutex
	seen  map[string]int
	fault func(w http.ResponseWriter, r *http.Request) bool
}

// New starts a CA, which ends with the test. It has nowhere to validate before Validate is called. Its settings stand in the
// environment, so tests that use it do not run in parallel.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	set := t.(interface{ Setenv(key, value string) }).Setenv
	set("PEBBLE_VA_NOSLEEP", "1")
	set("PEBBLE_AUTHZREUSE", "0")
	if o.BadNonces == "" {
		o.BadNonces = "0"
	}
	set("PEBBLE_WFE_NONCEREJECT", o.BadNonces)
	s := &Server{seen: map[string]int{}}
	s.front = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.front.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.front.StartTLS()
	t.Cleanup(s.front.Close)
	s.Directory = s.front.URL + wfe.DirectoryPath
	s.TLS = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.front.Certificate().Raw})
	s.startDNS(t)
	s.issuing(t, o)
	return s
}

// issuing puts the parts of Pebble together.
func (s *Server) issuing(t testing.TB, o Options) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{}
	for name, seconds := range o.Profiles {
		profiles[name] = ca.Profile{Description: name, ValidityPeriod: seconds}
	}
	if len(profiles) == 0 {
		profiles["default"] = ca.Profile{ValidityPeriod: 90 * 24 * 3600}
	}
	issuer := ca.New(quiet, store, o.OCSP, "ecdsa", o.AlternateRoots, 1, profiles)
	for id, key := range o.EAB {
		if err := store.AddExternalAccountKeyByID(id, base64.RawURLEncoding.EncodeToString(key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range o.Blocked {
		if err := store.AddBlockedDomain(name); err != nil {
			t.Fatal(err)
		}
	}
	validator := va.New(quiet, s.plain.listen(t), s.secure.listen(t), true, s.NameServer, store)
	front := wfe.New(quiet, store, validator, issuer, []string{"ca.test"}, true, len(o.EAB) > 0, 0, 0)
	s.Roots = x509.NewCertPool()
	for i := range 1 + o.AlternateRoots {
		s.Roots.AddCert(issuer.GetRootCert(i).Cert)
	}
	h := front.Handler()
	s.admin = front.ManagementHandler()
	s.handler.Store(&h)
}

// Validate says where the CA finds port 80 and port 443 of every name. Of several addresses each is used in turn.
func (s *Server) Validate(plain, secure []string) {
	s.plain.to.Store(&plain)
	s.secure.to.Store(&secure)
}

// gateway is a port that leads to others.
type gateway struct {
	to   atomic.Pointer[[]string]
	next atomic.Uint64
}

func (g *gateway) listen(t testing.TB) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.lead(c)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func (g *gateway) lead(c net.Conn) {
	defer c.Close()
	to := g.to.Load()
	if to == nil || len(*to) == 0 {
		return
	}
	s, err := net.Dial("tcp", (*to)[g.next.Add(1)%uint64(len(*to))])
	if err != nil {
		return
	}
	defer s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(s, c)
		s.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, s)
	c.Close()
	<-done
}

// startDNS starts the name server on a port that the system chose.
func (s *Server) startDNS(t testing.TB) {
	t.Helper()
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.NameServer = l.Addr().String()
		l.Close()
		s.DNS, err = challtestsrv.New(challtestsrv.Config{Log: log.New(io.Discard, "", 0), DNSAddrs: []string{s.NameServer}})
		if err != nil {
			t.Fatal(err)
		}
		s.DNS.SetDefaultDNSIPv4("127.0.0.1")
		s.DNS.SetDefaultDNSIPv6("")
		go s.DNS.Run()
		if s.listening() {
			t.Cleanup(s.DNS.Shutdown)
			return
		}
		if try == 5 {
			t.Fatal("the name server does not start")
		}
	}
}

// listening waits until the name server takes connections.
func (s *Server) listening() bool {
	for range 1000 {
		if c, err := net.Dial("tcp", s.NameServer); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// serve counts a request, and gives it to the fault, if there is one, before the CA.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	kind := strings.Trim(r.URL.Path, "/")
	kind, _, _ = strings.Cut(kind, "/")
	s.seen[kind]++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	h := s.handler.Load()
	if h == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, r)
}

// Fault lets f answer requests instead of the CA, where it returns true; nil ends that.
func (s *Server) Fault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Seen returns how many requests there were for a kind of path, the first word in it: order-plz is a new order, sign-me-up a new
// account, certZ a certificate.
func (s *Server) Seen(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[kind]
}

// Orders and Accounts count what was asked for.
func (s *Server) Orders() int { return s.Seen("order-plz") }

// Accounts returns how many new accounts were asked for.
func (s *Server) Accounts() int { return s.Seen("sign-me-up") }

// SuggestRenewal makes the CA answer questions for the renewal of a certificate with a text.
func (s *Server) SuggestRenewal(t testing.TB, certificatePEM []byte, response string) {
	t.Helper()
	body := `{"certificate": ` + quote(string(certificatePEM)) + `, "ariResponse": ` + quote(response) + `}`
	rec, req := httptest.NewRecorder(), httptest.NewRequest("POST", "/set-renewal-info/", strings.NewReader(body))
	req.Header.Set("User-Agent", "test")
	s.admin.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Fatalf("set the renewal: %d %s", rec.Code, rec.Body)
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("acmeserver: " + err.Error()) // a text always marshals
	}
	return string(b)
}

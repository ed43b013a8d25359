package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/storage"
)

// Challenges are the pending challenges of all resolvers, as entry points ask for them. It implements
// entrypoint.Challenges. Those of other instances are found in the storages that are shared.
type Challenges struct {
	mu     sync.RWMutex
	http   map[httpKey]string
	tls    map[string]*tls.Config
	shared []storage.Store
}

type httpKey struct{ name, token string }

// NewChallenges makes an empty list.
func NewChallenges() *Challenges {
	return &Challenges{http: map[httpKey]string{}, tls: map[string]*tls.Config{}}
}

// share adds a storage that other instances put challenges into. Only before serving begins.
func (c *Challenges) share(s storage.Store) {
	for _, have := range c.shared {
		if have == s {
			return
		}
	}
	c.shared = append(c.shared, s)
}

// HTTP implements entrypoint.Challenges.
func (c *Challenges) HTTP(host, token string) ([]byte, bool) {
	name := normalName(host)
	c.mu.RLock()
	answer, ok := c.http[httpKey{name, token}]
	c.mu.RUnlock()
	for _, s := range c.shared {
		if ok {
			break
		}
		answer, ok = s.Find(storage.HTTP, name, token)
	}
	return []byte(answer), ok
}

// Pending implements entrypoint.Challenges.
func (c *Challenges) Pending(name string) bool { return c.TLS(name) != nil }

// TLS implements entrypoint.Challenges.
func (c *Challenges) TLS(name string) *tls.Config {
	name = strings.ToLower(name)
	c.mu.RLock()
	config := c.tls[name]
	c.mu.RUnlock()
	if config != nil {
		return config
	}
	for _, s := range c.shared {
		if answer, ok := s.Find(storage.TLS, name, ""); ok {
			if config, err := challengeConfig(name, answer); err == nil {
				return config
			}
		}
	}
	return nil
}

func (c *Challenges) put(p storage.Pending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Kind == storage.HTTP {
		c.http[httpKey{p.Name, p.Token}] = p.Answer
		return nil
	}
	config, err := challengeConfig(p.Name, p.Answer)
	if err == nil {
		c.tls[p.Name] = config
	}
	return err
}

func (c *Challenges) drop(p storage.Pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Kind == storage.HTTP {
		delete(c.http, httpKey{p.Name, p.Token})
	} else {
		delete(c.tls, p.Name)
	}
}

// answer is the solver of http-01 and tls-alpn-01: it puts the answer where entry points find it.
type answer struct {
	kind       string
	delay      time.Duration
	challenges *Challenges
	store      storage.Store
}

// pendingLife is how long an answer stands for other instances, should we die.
const pendingLife = time.Hour

func (a *answer) pending(c authority.Challenge) storage.Pending {
	p := storage.Pending{Kind: a.kind, Name: c.Name, Token: c.Token, Answer: c.Answer, Expires: time.Now().Add(pendingLife).UTC()}
	if a.kind == storage.TLS {
		p.Name, p.Token = serverName(c.Name), ""
	}
	return p
}

// Kind implements authority.Solver.
func (a *answer) Kind() string { return a.kind }

// Present implements authority.Solver.
func (a *answer) Present(_ context.Context, c authority.Challenge) error {
	p := a.pending(c)
	if err := a.challenges.put(p); err != nil {
		return err
	}
	return a.store.Publish(p)
}

// Ready implements authority.Solver.
func (a *answer) Ready(ctx context.Context, _ authority.Challenge) error {
	t := time.NewTimer(a.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CleanUp implements authority.Solver.
func (a *answer) CleanUp(_ context.Context, c authority.Challenge) {
	p := a.pending(c)
	a.challenges.drop(p)
	a.store.Withdraw(p)
}

// Alone implements authority.Solver.
func (a *answer) Alone() (time.Duration, bool) { return 0, false }

// serverName is the name that a CA sends in the handshake: addresses are asked for by their reverse names (RFC 8738, section 6).
func serverName(name string) string {
	a, err := netip.ParseAddr(name)
	if err != nil {
		return name
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	bytes := a.Unmap().AsSlice()
	for i := len(bytes) - 1; i >= 0; i-- {
		if a.Unmap().Is4() {
			b.WriteString(strconv.Itoa(int(bytes[i])) + ".")
		} else {
			b.Write([]byte{hex[bytes[i]&15], '.', hex[bytes[i]>>4], '.'})
		}
	}
	if a.Unmap().Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

// addressOf is the inverse of serverName; ok is false for host names.
func addressOf(name string) (net.IP, bool) {
	labels := strings.Split(name, ".")
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(rest, ".")
		if len(parts) != net.IPv4len {
			return nil, false
		}
		ip := net.ParseIP(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return ip, ip != nil
	}
	if strings.HasSuffix(name, ".ip6.arpa") && len(labels) == 2*net.IPv6len+2 {
		ip := make(net.IP, net.IPv6len)
		for i := range ip {
			n, err := strconv.ParseUint(labels[2*(net.IPv6len-i)-1]+labels[2*(net.IPv6len-i)-2], 16, 8)
			if err != nil {
				return nil, false
			}
			ip[i] = byte(n)
		}
		return ip, true
	}
	return nil, false
}

// challengeConfig makes the self-signed certificate of a tls-alpn-01 challenge (RFC 8737, section 3): one name, and the
// digest of the key authorisation in a critical extension.
func challengeConfig(name, answer string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(answer))
	value, err := asn1.Marshal(digest[:])
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "ACME challenge"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}},
	}
	if ip, ok := addressOf(name); ok {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"acme-tls/1"},
		MinVersion: tls.VersionTLS12}, nil
}

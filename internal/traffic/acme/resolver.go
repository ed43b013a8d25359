package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/dnsproviders"
	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

// certificate is a parsed one.
type certificate = *x509.Certificate

// resolver is one certificate resolver at work. Its fields are guarded by the manager's lock, except those that never
// change.
type resolver struct {
	name    string
	config  *static.ACME
	store   storage.Store
	public  bool
	limits  schedule.Limits
	client  ca
	solvers []authority.Solver

	// broken is why the resolver cannot work at all, loadErr why its storage cannot be read, readOnly why it must not write.
	broken, loadErr, readOnly error

	version string
	content *storage.Content
	entries []*entry
	// unsaved are certificates that could not be stored yet, by ID.
	unsaved map[string]*storage.Certificate

	exporter exporter
	gate     gate
	running  map[string]bool
	ordering int
	asking   bool
	forced   map[string]bool      // names to be renewed now
	penalty  map[string]time.Time // tasks that must wait for reasons that are not stored
}

// entry is a certificate of a resolver.
type entry struct {
	resolver *resolver
	id       string
	names    []string
	pair     *certs.Pair
	leaf     certificate
	source   *storage.Certificate
	// current tells that it is from the CA that is configured now.
	current bool
}

func (e *entry) valid(now time.Time) bool { return now.Before(e.leaf.NotAfter) }

// life is how long the certificate is valid in all.
func (e *entry) life() time.Duration { return e.leaf.NotAfter.Sub(e.leaf.NotBefore) }

func newResolver(name string, c *static.ACME, stores map[string]storage.Store) *resolver {
	r := &resolver{name: name, config: c, public: schedule.Public(c.CAServer), limits: schedule.LimitsOf(c.CAServer),
		content: &storage.Content{}, unsaved: map[string]*storage.Certificate{}, running: map[string]bool{}, forced: map[string]bool{},
		penalty: map[string]time.Time{}}
	if c.ClientTimeout < c.ClientResponseHeaderTimeout {
		r.broken = errors.New("clientTimeout is shorter than clientResponseHeaderTimeout")
	}
	r.store = stores[c.Storage]
	if r.store == nil {
		// What cannot be read is said by each Load.
		r.store, _ = storage.Open(c.Storage)
		stores[c.Storage] = r.store
	}
	return r
}

// reload reads what the storages have, where it may have changed.
func (m *Manager) reload() {
	for _, r := range m.resolvers {
		if err := r.store.Writable(); err != nil {
			if r.readOnly == nil || r.readOnly.Error() != err.Error() {
				m.complain(r.name, "The storage of the resolver cannot be written: its certificates are served, and none is ordered or renewed", err)
			}
			r.readOnly = err
		} else {
			r.readOnly = nil
			m.complain(r.name, "The storage of the resolver cannot be written: its certificates are served, and none is ordered or renewed", nil)
		}
		for _, text := range r.store.Remarks() {
			if !m.remarks[text] {
				m.remarks[text] = true
				m.log.Warn(text, "resolver", r.name)
			}
		}
		version := r.store.Version()
		if version == r.version {
			continue
		}
		m.load(r, version)
	}
}

// load reads what one storage has. Elements that cannot be read are reported; the rest counts, and of a storage that has
// become unreadable as a whole the last good content.
func (m *Manager) load(r *resolver, version string) {
	content, err := r.store.Load(r.name)
	r.loadErr = err
	m.complain(r.name, "The storage of the resolver cannot be read", err)
	if err != nil && content.Account == nil && len(content.Certificates) == 0 && len(r.content.Certificates) > 0 {
		return
	}
	r.version, r.content = version, content
	r.entries = m.parseAll(r)
}

// parseAll makes the entries of what is stored, keeping those that did not change.
func (m *Manager) parseAll(r *resolver) []*entry {
	list := slices.Clone(r.content.Certificates)
	for id, c := range r.unsaved {
		list = slices.DeleteFunc(list, func(s *storage.Certificate) bool { return storage.ID(s.Names()) == id })
		list = append(list, c)
	}
	var out []*entry
	for _, c := range list {
		names := normalNames(c.Names())
		id := storage.ID(names)
		if i := slices.IndexFunc(r.entries, func(e *entry) bool {
			return e.id == id && bytes.Equal(e.source.Chain, c.Chain) && bytes.Equal(e.source.Key, c.Key)
		}); i >= 0 {
			r.entries[i].current = r.isCurrent(r.entries[i])
			out = append(out, r.entries[i])
			continue
		}
		pair, err := parse(c)
		m.complain(r.name+" "+id, "A stored certificate cannot be read; it will be ordered anew", err)
		if err != nil {
			continue
		}
		e := &entry{resolver: r, id: id, names: names, pair: pair, leaf: pair.TLS.Leaf, source: c}
		// Traefik files a certificate under the names that were not covered yet: what it really has is in itself.
		if !coversAll(pair.Names, names) {
			e.names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !covers(pair.Names, n) })
		}
		e.current = r.isCurrent(e)
		out = append(out, e)
	}
	return out
}

// isCurrent reports whether a certificate comes from the CA that is configured. Where nobody wrote down where it came from,
// the account tells, and the issuer of Let's Encrypt's staging.
func (r *resolver) isCurrent(e *entry) bool {
	if s := r.content.Sets[e.id]; s != nil && s.CA != "" {
		return s.CA == r.config.CAServer
	}
	staging := strings.Contains(e.leaf.Issuer.String(), "STAGING") || strings.Contains(e.leaf.Issuer.String(), "Fake LE")
	if staging != (r.config.CAServer == static.LetsEncryptStaging) && (staging || r.config.CAServer == static.LetsEncryptStaging) {
		return false
	}
	a := r.content.Account
	return a == nil || a.URI == "" || belongs(a.URI, r.config.CAServer)
}

// gate holds back everything of a resolver while its CA, or its storage, cannot be reached; then one task tries.
type gate struct {
	n           int
	since, next time.Time
}

func (g *gate) closed(now time.Time) bool {
	return g.n > 0 && now.Before(schedule.Believe(g.next, now))
}

func (g *gate) failed(now time.Time, chance float64) {
	if g.n == 0 {
		g.since = now
	}
	g.n++
	g.next = now.Add(schedule.Probe(g.n, g.since, now, chance))
}

func (g *gate) passed() { *g = gate{} }

// client makes the client and the solvers of a resolver.
func (m *Manager) client(ctx context.Context, name string, c *static.ACME) (ca, []authority.Solver, error) {
	roots, serverName, err := verification(c, m.getenv)
	if err != nil {
		return nil, nil, err
	}
	o := authority.Options{Directory: c.CAServer, Email: c.Email, KeyType: c.KeyType, Profile: c.Profile, PreferredChain: c.PreferredChain,
		EmailAddresses: c.EmailAddresses, DisableCommonName: c.DisableCommonName, Timeout: c.ClientTimeout.Std(),
		HeaderTimeout: c.ClientResponseHeaderTimeout.Std(), IssueTimeout: c.CertificateTimeout.Std(), Roots: roots, ServerName: serverName,
		UserAgent: m.o.UserAgent, Log: m.log.With("resolver", name)}
	if c.EAB != nil {
		o.KID, o.HMAC = c.EAB.KID, c.EAB.HMACEncoded.Reveal()
	}
	var solvers []authority.Solver
	store := m.storeOf(name)
	if t := c.TLSChallenge; t != nil {
		solvers = append(solvers, &answer{kind: storage.TLS, delay: t.Delay.Std(), challenges: m.o.Challenges, store: store})
	}
	if h := c.HTTPChallenge; h != nil {
		solvers = append(solvers, &answer{kind: storage.HTTP, delay: h.Delay.Std(), challenges: m.o.Challenges, store: store})
	}
	if d := c.DNSChallenge; d != nil && d.Provider != "" {
		do := authority.DNSOptions{Resolvers: d.Resolvers}
		if p := d.Propagation; p != nil {
			do.DisableChecks, do.DisableAuthoritative, do.RequireRecursive, do.Delay = p.DisableChecks, p.DisableANSChecks, p.RequireAllRNS, p.DelayBeforeChecks.Std()
		}
		solvers = append(solvers, authority.DNS(dnsproviders.Builder(d.Provider), do))
	}
	return authority.New(ctx, o), solvers, nil
}

func (m *Manager) storeOf(resolver string) storage.Store {
	for _, r := range m.resolvers {
		if r.name == resolver {
			return r.store
		}
	}
	return nil
}

func (m *Manager) getenv(name string) string {
	for _, kv := range slices.Backward(m.o.Environ) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// verification says how the CA's server is verified: by the options or, where there are none, the environment.
func verification(c *static.ACME, getenv func(string) string) (*x509.CertPool, string, error) {
	serverName := c.CAServerName
	if serverName == "" {
		serverName = getenv("LEGO_CA_SERVER_NAME")
	}
	var texts [][]byte
	system := c.CASystemCertPool
	for _, m := range c.CACertificates {
		texts = append(texts, []byte(m.Content.Reveal()))
	}
	if len(texts) == 0 {
		for _, path := range strings.Split(getenv("LEGO_CA_CERTIFICATES"), string(os.PathListSeparator)) {
			if path == "" {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, "", fmt.Errorf("LEGO_CA_CERTIFICATES: %w", err)
			}
			texts = append(texts, data)
		}
		if b, err := strconv.ParseBool(getenv("LEGO_CA_SYSTEM_CERT_POOL")); err == nil {
			system = system || b
		}
	}
	if len(texts) == 0 {
		return nil, serverName, nil
	}
	pool := x509.NewCertPool()
	if system {
		if p, err := x509.SystemCertPool(); err == nil {
			pool = p
		}
	}
	for i, t := range texts {
		if !pool.AppendCertsFromPEM(t) {
			return nil, "", fmt.Errorf("caCertificates[%d] holds no certificate in PEM form", i)
		}
	}
	return pool, serverName, nil
}

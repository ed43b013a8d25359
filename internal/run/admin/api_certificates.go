package admin

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

// Words of a certificate's status.
const (
	certificateEnabled = "enabled"
	certificateWarning = "warning"
	certificateExpired = "expired"

	// soon is how long before its end a certificate is a warning, whatever its lifetime: the words are those of dashboards.
	soon = 30 * 24 * time.Hour
)

// certificateJSON is a certificate as clients know it, with what the resolver that got it has to say.
type certificateJSON struct {
	Name                 string    `json:"name"`
	SANs                 []string  `json:"sans"`
	NotAfter             time.Time `json:"notAfter"`
	NotBefore            time.Time `json:"notBefore"`
	SerialNumber         string    `json:"serialNumber"`
	CommonName           string    `json:"commonName,omitempty"`
	IssuerOrg            string    `json:"issuerOrg,omitempty"`
	IssuerCN             string    `json:"issuerCN,omitempty"`
	IssuerCountry        string    `json:"issuerCountry,omitempty"`
	Organization         string    `json:"organization,omitempty"`
	Country              string    `json:"country,omitempty"`
	Version              string    `json:"version"`
	KeyType              string    `json:"keyType"`
	KeySize              int       `json:"keySize,omitempty"`
	SignatureAlgorithm   string    `json:"signatureAlgorithm"`
	CertFingerprint      string    `json:"certFingerprint"`
	PublicKeyFingerprint string    `json:"publicKeyFingerprint"`
	Status               string    `json:"status"`

	// Resolver tells who got it; nil for a certificate of the configuration.
	Resolver *resolverJSON `json:"resolver,omitempty"`
}

// resolverJSON is what a resolver says about names that it has, or wants, a certificate for.
type resolverJSON struct {
	Name        string           `json:"name"`
	Names       []string         `json:"names"`
	State       string           `json:"state"`
	UsedBy      []string         `json:"usedBy,omitempty"`
	RenewAt     time.Time        `json:"renewAt,omitzero"`
	NextAttempt time.Time        `json:"nextAttempt,omitzero"`
	Failures    int              `json:"failures,omitempty"`
	Problem     *storage.Problem `json:"problem,omitempty"`
	Orphaned    time.Time        `json:"orphanedSince,omitzero"`
	OnDemand    bool             `json:"onDemand,omitempty"`
	Certificate string           `json:"certificate,omitempty"` // name of the certificate in /api/certificates
}

func resolverOf(s *acme.Status) *resolverJSON {
	out := &resolverJSON{Name: s.Resolver, Names: s.Names, State: s.State, UsedBy: s.Users, RenewAt: s.Renewal.UTC(), NextAttempt: s.Next.UTC(),
		Failures: s.Failures, Problem: s.Problem, Orphaned: s.Orphaned, OnDemand: s.OnDemand}
	if s.Renewal.IsZero() {
		out.RenewAt = time.Time{}
	}
	if s.Next.IsZero() {
		out.NextAttempt = time.Time{}
	}
	return out
}

// certificates lists the certificates that handshakes may show, without the self-signed one.
func (a *API) certificates() (list []element) {
	if a.Certificates == nil {
		return nil
	}
	pairs, statuses := a.Certificates()
	by := map[*certs.Pair]*acme.Status{}
	for i := range statuses {
		if s := &statuses[i]; s.Pair != nil && by[s.Pair] == nil {
			by[s.Pair] = s
		}
	}
	now := time.Now()
	for _, p := range pairs {
		if p.TLS.Leaf == nil {
			continue
		}
		c := describeCertificate(p, now)
		if s := by[p]; s != nil {
			c.Resolver = resolverOf(s)
		}
		list = append(list, element{name: c.Name, status: c.Status, kind: c.IssuerCN, rule: strings.Join(append([]string{c.CommonName, c.IssuerOrg, c.IssuerCN}, c.SANs...), " "),
			service: c.CommonName, until: c.NotAfter, show: func(bool) map[string]any { return object(&c) }})
	}
	return list
}

func describeCertificate(p *certs.Pair, now time.Time) certificateJSON {
	leaf := p.TLS.Leaf
	public := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	id := p.ID()
	c := certificateJSON{
		Name: hex.EncodeToString(id[:]), NotAfter: leaf.NotAfter.UTC(), NotBefore: leaf.NotBefore.UTC(), SerialNumber: leaf.SerialNumber.String(),
		CommonName: leaf.Subject.CommonName, IssuerCN: leaf.Issuer.CommonName, Version: "v3", KeyType: "Unknown",
		SignatureAlgorithm: leaf.SignatureAlgorithm.String(), CertFingerprint: hex.EncodeToString(id[:]),
		PublicKeyFingerprint: hex.EncodeToString(public[:]), Status: certificateEnabled, SANs: []string{},
	}
	first := func(list []string) string { return cmp.Or(append(list, "")...) }
	names := func(n *pkix.Name) (organization, country string) { return first(n.Organization), first(n.Country) }
	c.Organization, c.Country = names(&leaf.Subject)
	c.IssuerOrg, c.IssuerCountry = names(&leaf.Issuer)
	c.SANs = append(c.SANs, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		c.SANs = append(c.SANs, ip.String())
	}
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		c.KeyType, c.KeySize = x509.RSA.String(), k.N.BitLen()
	case *ecdsa.PublicKey:
		c.KeyType, c.KeySize = x509.ECDSA.String(), k.Curve.Params().BitSize
	}
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		c.Status = certificateExpired
	case left < soon:
		c.Status = certificateWarning
	}
	return c
}

// arrangeCertificates sorts by the parameters sortBy and direction.
func arrangeCertificates(list []element, q url.Values) []element {
	descending := q.Get("direction") != "" && q.Get("direction") != "asc"
	slices.SortFunc(list, func(a, b element) int {
		var c int
		switch q.Get("sortBy") {
		case "status":
			c = cmp.Compare(a.status, b.status)
		case "issuer":
			c = cmp.Compare(a.kind, b.kind)
		case "validUntil":
			c = a.until.Compare(b.until)
		default: // name, cn
			c = cmp.Compare(a.service, b.service)
		}
		if c = cmp.Or(c, cmp.Compare(a.name, b.name)); descending {
			return -c
		}
		return c
	})
	return list
}

// serveCertificates adds the paths about certificates. /api/acme is ours: it also has names without a certificate yet.
func (a *API) serveCertificates(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/certificates", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		q.Del("serviceName")
		q.Del("middlewareName")
		page(w, q, arrangeCertificates(choose(a.certificates(), q), q))
	})
	mux.HandleFunc("GET /api/certificates/{name}", func(w http.ResponseWriter, r *http.Request) {
		one(w, "certificate", r.PathValue("name"), a.certificates())
	})
	mux.HandleFunc("GET /api/acme", func(w http.ResponseWriter, _ *http.Request) {
		out := []*resolverJSON{}
		if a.Certificates != nil {
			_, statuses := a.Certificates()
			for i := range statuses {
				row := resolverOf(&statuses[i])
				if p := statuses[i].Pair; p != nil {
					id := p.ID()
					row.Certificate = hex.EncodeToString(id[:])
				}
				out = append(out, row)
			}
		}
		reply(w, out)
	})
}

// countCertificates counts for the overview.
func countCertificates(list []element) (s section) {
	s.Total = len(list)
	for _, e := range list {
		switch e.status {
		case certificateWarning:
			s.Warnings++
		case certificateExpired:
			s.Errors++
		}
	}
	return s
}

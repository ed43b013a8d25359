package certs

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// Set is an immutable index of the certificates of the default store and of those issued since. It is safe for
// concurrent use.
type Set struct {
	pairs  []*Pair // of the configuration
	given  index   // the same
	issued *Issued // of resolvers: asked behind those of the configuration; nil for none

	// fallback answers for names that no certificate has; nil for the self-signed one.
	fallback  *Pair
	generated []string // the names of a default certificate that a resolver is to issue

	parsed map[any]loaded // by the pointer of the configuration, for the next Build
}

// index finds pairs by name; each list is ordered by better.
type index struct {
	exact map[string][]*Pair
	// wildcard has pairs by what stands behind their "*.".
	wildcard map[string][]*Pair
}

// Issued is an immutable index of the certificates that resolvers got.
type Issued struct {
	pairs []*Pair
	index index
}

// NewIssued makes the index. The caller does not change the list afterwards.
func NewIssued(pairs []*Pair) *Issued { return &Issued{pairs, indexOf(pairs)} }

type loaded struct {
	pair     *Pair
	findings diag.List
}

// Report holds the findings of a Build, with keys inside the element.
type Report struct {
	// Certificates has an element for each certificate given to Build.
	Certificates []diag.List
	// Store is about the default store.
	Store diag.List
}

// Build makes the index of certificates and of the default certificate of store (which may be nil). A certificate that
// cannot be used is left out, with a finding. What previous has parsed is reused where the configuration's pointers are
// the same; previous may be nil. The new set has no issued certificates until With or Keeper.Publish adds them.
func Build(certificates []*dynamic.Certificate, store *dynamic.TLSStore, previous *Set) (*Set, Report) {
	s := &Set{parsed: make(map[any]loaded, len(certificates)+1)}
	report := Report{Certificates: make([]diag.List, len(certificates))}
	for i, c := range certificates {
		l := s.load(previous, c, c.CertFile, c.KeyFile)
		report.Certificates[i] = l.findings
		if len(c.Stores) > 0 && !slices.Contains(c.Stores, dynamic.DefaultName) {
			report.Certificates[i] = append(slices.Clone(l.findings), diag.Finding{Severity: diag.Warning, Key: "stores", Code: CodeNoEffect,
				Message: "the certificate is in no store that is used", Hint: "handshakes look into the store called default only"})
			continue
		}
		if l.pair != nil {
			s.pairs = append(s.pairs, l.pair)
		}
	}
	s.given = indexOf(s.pairs)
	if store != nil {
		s.readStore(store, previous, &report.Store)
	}
	return s, report
}

func (s *Set) load(previous *Set, key any, cert, keyFile dynamic.Material) loaded {
	if previous != nil {
		if l, ok := previous.parsed[key]; ok {
			s.parsed[key] = l
			return l
		}
	}
	var l loaded
	l.pair, l.findings = Load(cert, keyFile)
	s.parsed[key] = l
	return l
}

func (s *Set) readStore(store *dynamic.TLSStore, previous *Set, report *diag.List) {
	if g := store.DefaultGeneratedCert; g != nil && g.Domain != nil {
		for _, n := range append([]string{g.Domain.Main}, g.Domain.SANs...) {
			if n = normal(n); n != "" {
				s.generated = append(s.generated, n)
			}
		}
	}
	d := store.DefaultCertificate
	if d == nil {
		return
	}
	if store.DefaultGeneratedCert != nil {
		report.Add(diag.Finding{Severity: diag.Warning, Key: "defaultGeneratedCert", Code: CodeNoEffect,
			Message: "defaultCertificate wins over defaultGeneratedCert", Hint: "remove one of the two"})
		s.generated = nil
	}
	l := s.load(previous, d, d.CertFile, d.KeyFile)
	for _, f := range l.findings {
		if f.Severity < diag.Error && f.Code == CodeNoEffect {
			continue // a default certificate needs no name
		}
		f.Key = "defaultCertificate." + f.Key
		if f.Severity == diag.Error {
			f.Message += "; the self-signed certificate is used instead"
		}
		report.Add(f)
	}
	s.fallback = l.pair
}

// With returns a Set with the certificates that resolvers got, in place of those it had. The rest is shared.
func (s *Set) With(issued *Issued) *Set {
	out := *s
	out.issued = issued
	return &out
}

// Given returns the certificates of the configuration, in its order. The caller does not change the list.
func (s *Set) Given() []*Pair { return s.pairs }

// Has reports whether a certificate of the configuration, the default certificate included, answers for name: then none
// need be got for it.
func (s *Set) Has(name string) bool {
	name = normal(name)
	_, parent, _ := strings.Cut(name, ".")
	return len(s.given.exact[name]) > 0 || len(s.given.wildcard[parent]) > 0 || s.fallback != nil && s.fallback.Covers(name)
}

// Issued returns the certificates that resolvers got. The caller does not change the list.
func (s *Set) Issued() []*Pair {
	if s.issued == nil {
		return nil
	}
	return s.issued.pairs
}

// Default returns the certificate for names that no other one covers; nil for the self-signed one.
func (s *Set) Default() *Pair {
	if s.fallback != nil || len(s.generated) == 0 {
		return s.fallback
	}
	for _, list := range [...][]*Pair{s.Issued(), s.pairs} {
		for _, p := range list {
			if !slices.ContainsFunc(s.generated, func(n string) bool { return !slices.Contains(p.Names, n) }) {
				return p
			}
		}
	}
	return nil
}

func indexOf(pairs []*Pair) index {
	ix := index{exact: map[string][]*Pair{}, wildcard: map[string][]*Pair{}}
	for _, p := range pairs {
		for _, n := range p.Names {
			if parent, ok := strings.CutPrefix(n, "*."); ok {
				ix.wildcard[parent] = append(ix.wildcard[parent], p)
			} else {
				ix.exact[n] = append(ix.exact[n], p)
			}
		}
	}
	for _, m := range []map[string][]*Pair{ix.exact, ix.wildcard} {
		for n := range maps.Keys(m) {
			slices.SortFunc(m[n], better)
		}
	}
	return ix
}

// Lookup returns the pairs that answer for name, the preferred ones first: exact before wildcard, and the configuration's
// before issued ones. name is a server name in any case, or an address.
func (s *Set) Lookup(name string) []*Pair {
	var out []*Pair
	s.each(normal(name), func(list []*Pair) bool {
		out = append(out, list...)
		return false
	})
	return out
}

// each calls f with each non-empty list of pairs for name, the preferred one first, until f returns true.
func (s *Set) each(name string, f func([]*Pair) bool) {
	_, parent, dotted := strings.Cut(name, ".")
	issued := &index{}
	if s.issued != nil {
		issued = &s.issued.index
	}
	for _, wild := range [...]bool{false, true} {
		for _, ix := range [...]*index{&s.given, issued} {
			list := ix.exact[name]
			if wild {
				if !dotted {
					return
				}
				list = ix.wildcard[parent]
			}
			if len(list) > 0 && f(list) {
				return
			}
		}
	}
}

// Select returns the certificate for a handshake: one for the server name, or without one for the local address, that
// the client can use. With strict it returns nil where no certificate has the name; else nil stands for the self-signed
// certificate.
func (s *Set) Select(hello *tls.ClientHelloInfo, strict bool) (chosen *Pair, found bool) {
	name := normal(hello.ServerName)
	if name == "" {
		name = localAddress(hello.Conn)
	}
	var first *Pair
	s.each(name, func(list []*Pair) bool {
		if first == nil {
			first = list[0]
		}
		for _, p := range list {
			if hello.SupportsCertificate(p.TLS) == nil {
				chosen = p
				return true
			}
		}
		return false
	})
	switch {
	case chosen != nil:
		return chosen, true
	case first != nil:
		return first, true // the handshake fails with the alert that says why
	case strict:
		return nil, false
	}
	return s.Default(), false
}

// Describe says in words which certificate a client is shown that sends name and can use every kind of key. With strict, ok
// is false where no certificate has the name.
func (s *Set) Describe(name string, strict bool) (text string, ok bool) {
	var p *Pair
	s.each(normal(name), func(list []*Pair) bool {
		p = list[0]
		return true
	})
	switch {
	case p != nil:
		return p.String(), true
	case strict:
		return "none", false
	case s.Default() != nil:
		return "the default certificate, " + s.Default().String(), true
	case len(s.generated) > 0:
		return "the self-signed default certificate, until the one of defaultGeneratedCert is there", true
	}
	return "the self-signed default certificate, since no other one covers the name", true
}

// localAddress is the address that a client without server name connected to, as text; empty if it has none.
func localAddress(c net.Conn) string {
	if c == nil {
		return ""
	}
	a, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// String tells how much the set holds, for logs.
func (s *Set) String() string {
	return fmt.Sprintf("%d configured and %d issued certificates", len(s.pairs), len(s.Issued()))
}

package engine

import (
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/entrypoint"
)

// certificates builds the index of certificates; what cannot be used is reported and left out. What previous has parsed
// is not parsed again.
func certificates(p *plan.Plan, previous *certs.Set) (*certs.Set, diag.List) {
	list := make([]*dynamic.Certificate, len(p.TLS.Certificates))
	for i, c := range p.TLS.Certificates {
		list[i] = c.Config
	}
	var store *dynamic.TLSStore
	if s := p.TLS.Default; s != nil && s.Status != plan.Disabled {
		store = s.Config
	}
	set, report := certs.Build(list, store, previous)
	var findings diag.List
	for i, l := range report.Certificates {
		findings = append(findings, located(&p.TLS.Certificates[i].Node, l)...)
	}
	if s := p.TLS.Default; s != nil {
		findings = append(findings, located(&s.Node, report.Store)...)
	}
	return set, findings
}

// Certificate describes the certificate that a plan's own certificates give a server name, as explain.Facts asks for it.
func Certificate(p *plan.Plan) func(name string, strict bool) (string, bool) {
	set, _ := certificates(p, nil) // Validate reports what is wrong with them
	return set.Describe
}

// Certificate describes the certificate in force for a server name, those of resolvers among them. Safe for concurrent use.
func (e *Engine) Certificate(name string, strict bool) (string, bool) {
	return e.keeper.Current().Describe(name, strict)
}

// Certificates returns those that handshakes may show, the default one among them. Safe for concurrent use.
func (e *Engine) Certificates() []*certs.Pair {
	set := e.keeper.Current()
	out := slices.Concat(set.Given(), set.Issued())
	if d := set.Default(); d != nil && !slices.Contains(out, d) {
		out = append(out, d)
	}
	return out
}

// tlsOptions returns what handshakes with these options are made with, nil to refuse them.
func (b *build) tlsOptions(effective *dynamic.TLSOptions, node *plan.TLSOptions) *entrypoint.TLSOptions {
	if effective == nil || node == nil || node.Status == plan.Disabled || len(b.broken(&node.Node, node.Identity)) > 0 {
		return nil
	}
	s, err := b.e.keeper.Server(effective)
	if err != nil {
		b.report(&node.Node, node.Identity, err)
		return nil
	}
	return &entrypoint.TLSOptions{Fingerprint: s.Fingerprint, Config: s.Config}
}

// coveredPassthroughs reports certificates of ours that are valid for a host that is passed through on an entry point where
// HTTPS is served too: clients with such a certificate may send requests for that host over a connection that we serve (RFC
// 9113 section 9.1.1), and get 421.
func coveredPassthroughs(p *plan.Plan, set *certs.Set) (out diag.List) {
	if len(set.Given()) == 0 && len(set.Issued()) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.EntryPoints)) {
		ep := p.EntryPoints[name]
		if len(ep.Secure) == 0 {
			continue
		}
		for _, r := range ep.TLS {
			if !r.Passthrough() || r.Status == plan.Disabled {
				continue
			}
			for _, host := range r.Rule.Hosts() {
				if host.Name == "*" {
					continue
				}
				pairs := set.Lookup(host.Name)
				if len(pairs) == 0 {
					continue
				}
				out.Add(diag.Finding{Place: r.Place("rule"), Severity: diag.Info, Key: r.Key() + ".rule", Code: "CERTIFICATE-COVERS-PASSTHROUGH",
					Message: "a certificate that Sluice shows itself on entry point " + name + " (for " + strings.Join(pairs[0].Names, ", ") + ") is valid for " + host.Name + " too",
					Hint:    "browsers may ask on the wrong connection first, and get 421; a certificate for single hosts avoids that"})
			}
		}
	}
	return out
}

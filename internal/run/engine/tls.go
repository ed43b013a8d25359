package engine

import (
	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/entrypoint"
)

// certificates builds the index of certificates; what cannot be used is reported and left out.
func (b *build) certificates() *certs.Set {
	list := make([]*dynamic.Certificate, len(b.p.TLS.Certificates))
	for i, c := range b.p.TLS.Certificates {
		list[i] = c.Config
	}
	var store *dynamic.TLSStore
	if s := b.p.TLS.Default; s != nil && s.Status != plan.Disabled {
		store = s.Config
	}
	set, report := certs.Build(list, store, b.e.set)
	for i, l := range report.Certificates {
		b.findings = append(b.findings, located(&b.p.TLS.Certificates[i].Node, l)...)
	}
	if s := b.p.TLS.Default; s != nil {
		b.findings = append(b.findings, located(&s.Node, report.Store)...)
	}
	return set
}

// tlsOptions returns what handshakes with these options are made with, nil to refuse them.
func (b *build) tlsOptions(effective *dynamic.TLSOptions, node *plan.TLSOptions) *entrypoint.TLSOptions {
	if effective == nil || node == nil || node.Status == plan.Disabled || b.broken[&node.Node].Has(diag.Error) {
		return nil
	}
	s, err := b.e.keeper.Server(effective)
	if err != nil {
		b.report(&node.Node, err)
		return nil
	}
	b.fingerprints[s.Fingerprint] = true
	return &entrypoint.TLSOptions{Fingerprint: s.Fingerprint, Config: s.Config}
}

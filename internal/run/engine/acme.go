package engine

import (
	"cmp"
	"context"
	"slices"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
	"sluice/internal/traffic/acme"
)

// Run does the work that goes on beside serving, such as getting certificates, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	if e.acme != nil {
		e.acme.Run(ctx)
	}
}

// CertificateStatus tells about the certificates of resolvers: what is wanted, what there is, and what went wrong. It is safe
// for concurrent use with Apply.
func (e *Engine) CertificateStatus() []acme.Status { return e.acme.Status() }

// wants are the certificates that routers and the default store ask resolvers for.
func wants(p *plan.Plan) []acme.Want {
	var out []acme.Want
	add := func(resolver, user string, domains []*dynamic.Domain, inferred []string) {
		if resolver == "" {
			return
		}
		for _, d := range domains {
			if d != nil {
				out = append(out, acme.Want{Resolver: resolver, Names: append([]string{d.Main}, d.SANs...), Users: []string{user}})
			}
		}
		if len(domains) == 0 {
			out = append(out, acme.Want{Resolver: resolver, Names: inferred, Inferred: true, Users: []string{user}})
		}
	}
	for _, r := range p.HTTP.Routers {
		if r.TLS != nil && r.TLS.CertResolver != "" && r.Routed() {
			add(r.TLS.CertResolver, r.Name.String(), r.TLS.Domains, ours(p, r))
		}
	}
	for _, r := range p.TCP.Routers {
		if t := r.Config.TLS; t != nil && !t.Passthrough && r.Routed() {
			add(t.CertResolver, r.Name.String(), t.Domains, r.Rule.Domains())
		}
	}
	// Equal sets of different resolvers are told apart by who comes first, so the order must not be chance.
	slices.SortFunc(out, func(a, b acme.Want) int {
		return cmp.Or(cmp.Compare(a.Users[0], b.Users[0]), slices.Compare(a.Names, b.Names))
	})
	if s := p.TLS.Default; s != nil && s.Status != plan.Disabled && s.Config.DefaultCertificate == nil {
		if g := s.Config.DefaultGeneratedCert; g != nil && g.Domain != nil {
			add(g.Resolver, "tls.stores."+s.Name.Local, []*dynamic.Domain{g.Domain}, nil)
		}
	}
	return out
}

// ours are the names of a router's rule without those whose connections go through to a machine that has its own
// certificate, on every entry point of the router.
func ours(p *plan.Plan, r *plan.Router) []string {
	names := r.Rule.Domains()
	if r.TLS.Domains != nil {
		return names // not looked at
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(r.EntryPoints, func(at string) bool {
			ep := p.EntryPoints[at]
			return ep == nil || len(ep.TLS) == 0 ||
				ep.Conn.Decide(&route.Conn{Opening: route.TLSHello, SNI: name}, nil).Action != route.TLSPassthrough
		})
	})
}

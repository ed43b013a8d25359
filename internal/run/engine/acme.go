package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/acme/staple"
	"sluice/internal/traffic/certs"
)

// Run does the work that goes on beside serving, such as getting certificates and their revocation answers, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	var work sync.WaitGroup
	if e.acme != nil {
		work.Go(func() { e.acme.Run(ctx) })
	}
	if e.stapler != nil {
		work.Go(func() { e.stapler.Run(ctx) })
	}
	work.Wait()
}

// certificateWork makes what gets certificates and their revocation answers, as far as the static configuration asks for it.
func (e *Engine) certificateWork() {
	if e.o.Challenges != nil {
		e.acme = acme.New(acme.Options{Resolvers: e.o.Static.CertificatesResolvers, Keeper: e.keeper, Challenges: e.o.Challenges,
			Environ: e.o.Environ, UserAgent: e.o.UserAgent, Log: e.o.Log})
	}
	if c := e.o.Static.OCSP; c != nil {
		o := staple.Options{Overrides: c.ResponderOverrides, Pairs: e.Certificates, Log: e.o.Log}
		if e.acme != nil {
			o.Revoked = e.acme.Revoked
		}
		e.stapler = staple.New(o)
	}
}

// newCertificates tells those parts about a new generation.
func (e *Engine) newCertificates(p *plan.Plan, set *certs.Set) {
	if e.acme != nil {
		e.acme.Update(wants(p), set)
	}
	if e.stapler != nil {
		e.stapler.Poke()
	}
}

// CertificateStatus tells about the certificates of resolvers: what is wanted, what there is, and what went wrong. It is safe
// for concurrent use with Apply.
func (e *Engine) CertificateStatus() []acme.Status { return e.acme.Status() }

// wants are the certificates that routers and the default store ask resolvers for.
func wants(p *plan.Plan) []acme.Want {
	var out []acme.Want
	for _, w := range asked(p) {
		out = append(out, w.Want)
	}
	return out
}

// asking is a want with the element that it comes from.
type asking struct {
	acme.Want
	node *plan.Node
}

func asked(p *plan.Plan) []asking {
	var out []asking
	add := func(resolver string, n *plan.Node, domains []*dynamic.Domain, inferred []string) {
		if resolver == "" {
			return
		}
		user := n.Name.String()
		if n.Kind == "tls.stores" {
			user = n.Key()
		}
		for _, d := range domains {
			if d != nil {
				out = append(out, asking{acme.Want{Resolver: resolver, Names: append([]string{d.Main}, d.SANs...), Users: []string{user}}, n})
			}
		}
		if len(domains) == 0 {
			out = append(out, asking{acme.Want{Resolver: resolver, Names: inferred, Inferred: true, Users: []string{user}}, n})
		}
	}
	for _, r := range p.HTTP.Routers {
		if r.TLS != nil && r.TLS.CertResolver != "" && r.Routed() {
			add(r.TLS.CertResolver, &r.Node, r.TLS.Domains, ours(p, r))
		}
	}
	for _, r := range p.TCP.Routers {
		if t := r.Config.TLS; t != nil && !t.Passthrough && r.Routed() {
			add(t.CertResolver, &r.Node, t.Domains, r.Rule.Domains())
		}
	}
	// Equal sets of different resolvers are told apart by who comes first, so the order must not be chance.
	slices.SortFunc(out, func(a, b asking) int {
		return cmp.Or(cmp.Compare(a.Users[0], b.Users[0]), slices.Compare(a.Names, b.Names))
	})
	if s := p.TLS.Default; s != nil && s.Status != plan.Disabled && s.Config.DefaultCertificate == nil {
		if g := s.Config.DefaultGeneratedCert; g != nil && g.Domain != nil {
			add(g.Resolver, &s.Node, []*dynamic.Domain{g.Domain}, nil)
		}
	}
	return out
}

// checkWants reports certificates that are asked for and can never be got, and resolvers whose DNS provider is none.
func checkWants(p *plan.Plan) (out diag.List) {
	if p.Static == nil || len(p.Static.CertificatesResolvers) == 0 {
		return nil
	}
	resolvers := p.Static.CertificatesResolvers
	for _, name := range slices.Sorted(maps.Keys(resolvers)) {
		if r := resolvers[name]; r != nil && r.ACME != nil {
			if err := acme.CheckProvider(r.ACME); err != nil {
				out.Add(diag.Finding{Severity: diag.Warning, Key: "certificatesResolvers." + name + ".acme.dnsChallenge.provider", Code: "BAD-VALUE", Message: err.Error()})
			}
		}
	}
	for _, w := range asked(p) {
		r := resolvers[w.Resolver]
		if r == nil || r.ACME == nil {
			continue
		}
		text := acme.Refuse(r.ACME, w.Names)
		if len(w.Names) == 0 {
			text = "no name is found for the certificate: the rule has no Host that is served here"
		}
		if text == "" {
			continue
		}
		key, place := w.node.Key()+".tls.certResolver", w.node.Place("tls", "certResolver")
		if w.node.Kind == "tls.stores" {
			key, place = w.node.Key()+".defaultGeneratedCert", w.node.Place("defaultGeneratedCert")
		}
		out.Add(diag.Finding{Place: place, Severity: diag.Warning, Key: key, Code: "NO-CERTIFICATE", Message: text,
			Hint: "the router serves with whatever certificate covers its hosts"})
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

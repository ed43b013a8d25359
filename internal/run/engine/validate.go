package engine

import (
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/forward"
	"sluice/internal/traffic/health"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/breaker"
	"sluice/internal/traffic/middleware/buffering"
	"sluice/internal/traffic/middleware/compress"
	"sluice/internal/traffic/middleware/errorpage"
	"sluice/internal/traffic/middleware/forwardauth"
	"sluice/internal/traffic/middleware/grpcweb"
	"sluice/internal/traffic/middleware/httpcache"
	"sluice/internal/traffic/middleware/jwt"
	"sluice/internal/traffic/middleware/oidc"
	"sluice/internal/traffic/middleware/opa"
	"sluice/internal/traffic/middleware/policy"
	"sluice/internal/traffic/middleware/ratelimit"
	"sluice/internal/traffic/middleware/retrying"
	"sluice/internal/traffic/middleware/signed"
	"sluice/internal/traffic/middleware/waf"
	"sluice/internal/traffic/tunnel"
)

// kinds is the build table of HTTP middlewares.
var kinds = sync.OnceValue(func() middleware.Kinds {
	return append(middleware.Light(), compress.Kind(), buffering.Kind(), retrying.Kind(), breaker.Kind(),
		errorpage.Kind(), grpcweb.Kind(), ratelimit.Kind(), ratelimit.Distributed(), forwardauth.Kind(), httpcache.Kind(), waf.Kind(),
		jwt.Kind(), signed.Kind(), policy.Kind(), opa.Kind(), oidc.Kind())
})

// Validate reports what Apply would refuse or leave out, without building anything. It does no I/O.
func Validate(p *plan.Plan) diag.List {
	var out diag.List
	all := checkable{p.HTTP.Middlewares, p.HTTP.Transports, p.HTTP.Services, p.TCP.Middlewares, p.TCP.Transports, p.TCP.Services, p.TLS.Options}
	all.check(func(_ *plan.Node, list diag.List) { out = append(out, list...) })
	set, findings := certificates(p, nil)
	out = append(append(out, findings...), coveredPassthroughs(p, set)...)
	return append(out, checkWants(p)...)
}

// checkable are the elements that builders can judge without building them.
type checkable struct {
	middlewares   []*plan.Middleware
	transports    []*plan.Transport
	services      []*plan.Service
	guards        []*plan.TCPMiddleware
	tcpTransports []*plan.TCPTransport
	tcpServices   []*plan.TCPService
	options       []*plan.TLSOptions
}

// validate finds out which of the new nodes cannot be built, by the same checks that `sluice check` makes.
func (b *build) validate() {
	var gone, fresh checkable
	was, p := b.was, b.p
	gone.middlewares, fresh.middlewares = p.HTTP.Middlewares.Since(was.HTTP.Middlewares)
	gone.transports, fresh.transports = p.HTTP.Transports.Since(was.HTTP.Transports)
	gone.services, fresh.services = p.HTTP.Services.Since(was.HTTP.Services)
	gone.guards, fresh.guards = p.TCP.Middlewares.Since(was.TCP.Middlewares)
	gone.tcpTransports, fresh.tcpTransports = p.TCP.Transports.Since(was.TCP.Transports)
	gone.tcpServices, fresh.tcpServices = p.TCP.Services.Since(was.TCP.Services)
	gone.options, fresh.options = p.TLS.Options.Since(was.TLS.Options)
	gone.each(func(n *plan.Node) { delete(b.e.checked, n) })
	fresh.check(func(n *plan.Node, list diag.List) { b.e.checked[n] = list })
}

func (p *checkable) each(f func(*plan.Node)) {
	for _, m := range p.middlewares {
		f(&m.Node)
	}
	for _, t := range p.transports {
		f(&t.Node)
	}
	for _, s := range p.services {
		f(&s.Node)
	}
	for _, m := range p.guards {
		f(&m.Node)
	}
	for _, t := range p.tcpTransports {
		f(&t.Node)
	}
	for _, s := range p.tcpServices {
		f(&s.Node)
	}
	for _, o := range p.options {
		f(&o.Node)
	}
}

// check calls report for every node that the builders have something to say about.
func (p *checkable) check(report func(n *plan.Node, list diag.List)) {
	say := func(n *plan.Node, list diag.List) {
		if len(list) > 0 {
			report(n, located(n, list))
		}
	}
	table := kinds()
	for _, m := range p.middlewares {
		if m.Type != "" && m.Type != "chain" && m.Status != plan.Disabled {
			say(&m.Node, table.Validate(m.Type, m.Config))
		}
	}
	for _, m := range p.guards {
		if m.Status != plan.Disabled {
			say(&m.Node, checkGuard(m))
		}
	}
	for _, t := range p.transports {
		if t.Status != plan.Disabled {
			say(&t.Node, certs.ValidateHTTPClient(t.Config))
		}
	}
	for _, t := range p.tcpTransports {
		if t.Status != plan.Disabled && t.Config.TLS != nil {
			list := certs.ValidateTCPClient(t.Config.TLS)
			for i := range list {
				list[i].Key = "tls." + list[i].Key
			}
			say(&t.Node, list)
		}
	}
	for _, o := range p.options {
		if o.Status != plan.Disabled {
			say(&o.Node, certs.ValidateOptions(o.Config))
		}
	}
	for _, s := range p.services {
		if s.Status != plan.Disabled {
			say(&s.Node, forward.Check(s.Config))
		}
	}
	for _, s := range p.tcpServices {
		if s.Status == plan.Disabled || s.Type != "loadBalancer" || s.Config.LoadBalancer.HealthCheck == nil {
			continue
		}
		if err := health.ValidateTCP(s.Config.LoadBalancer.HealthCheck); err != nil {
			say(&s.Node, diag.List{{Severity: diag.Error, Key: "loadBalancer.healthCheck", Code: "BAD-VALUE", Message: err.Error()}})
		}
	}
}

// located gives findings of a builder, whose keys are paths below the element, the element's key and place.
func located(n *plan.Node, list diag.List) diag.List {
	out := make(diag.List, len(list))
	for i, f := range list {
		f.Place = n.Place(pathOf(f.Key)...)
		if f.Key == "" {
			f.Key = n.Key()
		} else {
			f.Key = n.Key() + "." + f.Key
		}
		out[i] = f
	}
	return out
}

// pathOf splits a key such as servers[0].url into its path.
func pathOf(key string) []string {
	var out []string
	start := 0
	for i := 0; i <= len(key); i++ {
		if i == len(key) || key[i] == '.' || key[i] == '[' || key[i] == ']' {
			if i > start {
				out = append(out, key[start:i])
			}
			start = i + 1
		}
	}
	return out
}

// checkGuard reports what makes a TCP middleware useless.
func checkGuard(m *plan.TCPMiddleware) diag.List {
	if list := sourceRange(m); list != nil {
		if _, err := tunnel.NewAllowList(*list); err != nil {
			return diag.List{{Severity: diag.Error, Key: m.Type, Code: "BAD-VALUE", Message: err.Error(),
				Hint: "routers that use it close their connections"}}
		}
	}
	return nil
}

// sourceRange returns the list of an allow list, nil for other types.
func sourceRange(m *plan.TCPMiddleware) *[]string {
	switch m.Type {
	case "ipAllowList":
		return &m.Config.IPAllowList.SourceRange
	case "ipWhiteList":
		return &m.Config.IPWhiteList.SourceRange
	}
	return nil
}

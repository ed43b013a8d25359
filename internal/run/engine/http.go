package engine

import (
	"fmt"
	"hash/fnv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/httpmsg"
)

// refusal answers for what cannot be built: 503, with the reason in the log only.
type refusal struct{ reason string }

// Serve implements httpmsg.Handler.
func (r refusal) Serve(*httpmsg.Exchange) error {
	return fault.New(fault.RouterRefused, r.reason, nil)
}

// chain is the built handler of a router.
type chain struct {
	holding
	handler httpmsg.Handler
	// dropped is set when no router has it any more.
	dropped bool
}

// httpRouter builds what an entry point does with a router's requests.
func (b *build) httpRouter(r *plan.Router, denied entrypoint.EncodedCharacters) entrypoint.HTTPRouter {
	o, t := &r.Observability, b.e.o.Static.Tracing
	out := entrypoint.HTTPRouter{Name: r.Name.String(), Denied: denied,
		Quiet: httpmsg.Quiet{AccessLog: isFalse(o.AccessLogs), Metrics: isFalse(o.Metrics), Tracing: isFalse(o.Tracing) || t == nil || !t.AddInternals && r.Service != nil && r.Service.Type == plan.TypeInternal}}
	if r.Config.DefaultRule {
		h := fnv.New64()
		h.Write([]byte(r.Name.String()))
		out.LoopGuard = fmt.Sprintf("%x", h.Sum64())
	}
	out.Handler = b.e.chains[r.Identity].handler
	return out
}

func isFalse(p *bool) bool { return p != nil && !*p }

// chain builds the chain of a router.
func (b *build) chain(r *plan.Router, detailed bool) *chain {
	c := &chain{}
	done := b.hold(&c.holding)
	c.handler = b.router(r, detailed)
	done()
	return c
}

// childKey is the key of the chain of a router below others; detailed gives it spans, as its root has them.
type childKey struct {
	identity *plan.Identity
	detailed bool
}

// child returns the chain of a router below others, which all routers above it share.
func (b *build) child(r *plan.Router, detailed bool) *chain {
	key := childKey{r.Identity, detailed}
	c := b.e.children[key]
	if c == nil {
		c = b.chain(r, detailed)
		b.e.children[key] = c
	}
	b.holder.chains = append(b.holder.chains, c)
	return c
}

// layer builds what finds the router below one.
func (b *build) layer(r *plan.Router, detailed bool) httpmsg.Handler {
	l := &entrypoint.Layer{HTTPRoutes: entrypoint.HTTPRoutes{Table: r.Table}}
	for _, c := range r.Children {
		l.Routers = append(l.Routers, entrypoint.HTTPRouter{Name: c.Name.String(), Handler: b.child(c, detailed).handler})
	}
	return l
}

// router builds a chain. A router that is disabled, or of which any part cannot be built, refuses: it never becomes a
// chain with a hole in it.
func (b *build) router(r *plan.Router, detailed bool) httpmsg.Handler {
	var end httpmsg.Handler
	attributes := []string{"traefik.router.name", r.Name.String(), "http.route", r.Config.Rule}
	switch {
	case r.Status == plan.Disabled || r.Service == nil && r.Table == nil:
		return refusal{"the router is disabled: " + first(r.Findings)}
	case r.Table != nil:
		end = b.layer(r, detailed)
	default:
		end = b.service(r.Service)
		if detailed {
			end = &traced{name: "Service", attributes: []string{"traefik.service.name", r.Service.Name.String()}, next: end}
			attributes = append(attributes, "traefik.service.name", r.Service.Name.String())
		}
	}
	h, err := b.wrap(r.Middlewares, r.Name, end, detailed)
	if err != nil {
		return refusal{err.Error()}
	}
	if detailed {
		h = &traced{name: "Router", next: h, attributes: attributes}
	}
	return h
}

// wrap puts middlewares around a handler, the first one outermost. detailed gives each a span.
func (b *build) wrap(list []*plan.Middleware, router plan.Name, next httpmsg.Handler, detailed bool) (httpmsg.Handler, error) {
	var err error
	for i := len(list) - 1; i >= 0; i-- {
		m := list[i]
		if m.Type == "chain" {
			if next, err = b.wrap(m.Chain, router, next, detailed); err != nil {
				return nil, err
			}
			continue
		}
		if why := b.broken(&m.Node, m.Identity); m.Status == plan.Disabled || len(why) > 0 {
			return nil, fmt.Errorf("the middleware %s cannot be used: %s", m.Name, first(append(why, m.Findings...)))
		}
		kind, ok := kinds().Lookup(m.Type)
		if !ok {
			return nil, fmt.Errorf("the middleware type %s is not supported yet", m.Type)
		}
		env := middleware.Env{Name: m.Name.String(), Router: router.String(), State: &b.e.state, Log: b.e.o.Log, Budget: b.e.o.Budget}
		if m.Service != nil {
			env.Service = b.service(m.Service)
		}
		if next, err = kind.Build(m.Config, env, next); err != nil {
			b.report(&m.Node, m.Identity, err)
			return nil, fmt.Errorf("the middleware %s cannot be built: %w", m.Name, err)
		}
		if detailed {
			next = &traced{name: m.Type, attributes: []string{"traefik.middleware.name", m.Name.String()}, next: next}
		}
	}
	return next, nil
}

func first(l diag.List) string {
	for _, f := range l {
		if f.Severity == diag.Error {
			return f.Message
		}
	}
	return "no reason is known"
}

// transport returns the connections of a transport; all transports of one fingerprint share them.
func (b *build) transport(t *plan.Transport) (*upstream.Transport, error) {
	have := b.transports[t]
	if have == nil {
		c := defaultTransport(b.e.o.Static)
		if t != nil {
			if why := b.broken(&t.Node, t.Identity); t.Status == plan.Disabled || len(why) > 0 {
				return nil, fmt.Errorf("the serversTransport %s cannot be used: %s", t.Name, first(append(why, t.Findings...)))
			}
			c = t.Config
		}
		key := certs.HTTPFingerprint(c)
		if have = b.e.transports[key]; have == nil {
			o, err := upstream.OptionsOf(c)
			if err != nil {
				return nil, fmt.Errorf("serversTransport: %w", err)
			}
			o.Proxy = b.e.o.Proxy
			have = &transport{Transport: upstream.New(o, b.e.o.Watch)}
			b.e.transports[key] = have
		}
		b.transports[t] = have
	}
	b.holder.transports = append(b.holder.transports, have)
	return have.Transport, nil
}

// defaultTransport is the transport of services that name none.
func defaultTransport(c *static.Config) *dynamic.ServersTransport {
	out := &dynamic.ServersTransport{MaxIdleConnsPerHost: 200}
	s := c.ServersTransport
	if s == nil {
		return out
	}
	out.InsecureSkipVerify, out.RootCAs, out.MaxIdleConnsPerHost, out.Spiffe = s.InsecureSkipVerify, s.RootCAs, s.MaxIdleConnsPerHost, s.Spiffe
	if f := s.ForwardingTimeouts; f != nil {
		out.ForwardingTimeouts = &dynamic.ForwardingTimeouts{}
		out.ForwardingTimeouts.SetDefaults()
		out.ForwardingTimeouts.DialTimeout = f.DialTimeout
		out.ForwardingTimeouts.ResponseHeaderTimeout = f.ResponseHeaderTimeout
		out.ForwardingTimeouts.IdleConnTimeout = f.IdleConnTimeout
	}
	return out
}

// machineName names the live state of the servers that answer challenges for a TCP service.
func machineName(service string, position int) string {
	return strings.Join([]string{"acme", service, fmt.Sprint(position)}, " ")
}

// Package policy lets requests pass that a rule allows: in the language in which routers choose their requests, and in the
// same way. The middleware's key is policy.
//
// A router's rule decides who answers; a policy decides whether the answer is given. What it refuses gets 403 and does not
// fall to a wider router.
package policy

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/core/rule"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of policy.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "policy", Check: check, Build: build}
}

type guard struct {
	allow    *route.HTTPTable // nil where only the user counts
	users    []string         // none where the user does not count
	client   middleware.Client
	refusal  *fault.Fault
	subjects sync.Pool
	next     httpmsg.Handler
}

// subject is a request as rules see it.
type subject struct {
	req    route.Request
	header *httpmsg.Header
}

// HeaderValue implements route.Fields.
func (s *subject) HeaderValue(name string, i int) ([]byte, bool) {
	for at := s.header.Index(name, 0); at >= 0; at = s.header.Index(name, at+1) {
		if i--; i < 0 {
			return s.header.At(at).Value, true
		}
	}
	return nil, false
}

func check(c *dynamic.Middleware) diag.List {
	o := c.Policy
	l := middleware.CheckIPStrategy("policy.ipStrategy", o.IPStrategy)
	if o.Allow == "" && len(o.Users) == 0 {
		l.Add(middleware.Bad("policy", "it does not say what is allowed", "give allow or users"))
	}
	if o.Allow != "" {
		_, problems := rule.Parse(o.Allow, rule.V3, rule.HTTP)
		for _, p := range problems {
			l.Add(diag.Finding{Severity: p.Severity, Key: "policy.allow", Code: p.Code, Message: p.Message, Hint: p.Hint})
		}
	}
	if slices.Contains(o.Users, "") {
		l.Add(middleware.Bad("policy.users", "the name of a user is empty", ""))
	}
	if !middleware.KnownStatus(o.RejectStatusCode) || o.RejectStatusCode < 400 {
		l.Add(middleware.Bad("policy.rejectStatusCode", fmt.Sprintf("%d is not a status code for a refusal", o.RejectStatusCode), "the usual one is 403"))
	}
	return l
}

func build(c *dynamic.Middleware, _ middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.Policy
	client, err := middleware.NewClient(o.IPStrategy)
	if err != nil {
		return nil, fmt.Errorf("policy.%w", err)
	}
	g := &guard{users: o.Users, client: client, next: next}
	g.refusal = fault.New(fault.Forbidden, "policy: the request is not allowed", nil)
	g.refusal.StatusCode = o.RejectStatusCode
	if o.Allow != "" {
		parsed, _ := rule.Parse(o.Allow, rule.V3, rule.HTTP)
		g.allow = route.CompileHTTP(nil, []route.Entry{{Rule: parsed}})
	}
	g.subjects.New = func() any { s := &subject{}; s.req.Header = s; return s }
	return g, nil
}

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	if len(g.users) > 0 && (x.Facts.User == "" || !slices.Contains(g.users, x.Facts.User)) {
		return g.refusal
	}
	if g.allow != nil {
		if ok, err := g.holds(x); err != nil {
			return err
		} else if !ok {
			return g.refusal
		}
	}
	return g.next.Serve(x)
}

// holds asks the rule about the request as it stands, after what earlier middlewares did to it.
func (g *guard) holds(x *httpmsg.Exchange) (bool, error) {
	host, err := route.CanonicalHost(x.Scratch(len(x.Req.Host))[:0], x.Req.Host)
	if err != nil {
		return false, fault.New(fault.BadRequest, "policy: the host is malformed", err)
	}
	path := []byte(x.Req.Path)
	if bytes.IndexByte(path, '%') >= 0 {
		if path, err = route.RoutingPath(x.Scratch(len(path))[:0], path); err != nil {
			return false, fault.New(fault.BadRequest, "policy: the path holds a broken percent code", err)
		}
	}
	addr, ok := g.client.Addr(x)
	if !ok {
		addr = netip.Addr{} // no ClientIP holds
	}
	s := g.subjects.Get().(*subject)
	s.header = &x.Req.Header
	s.req.Host, s.req.Path, s.req.Method, s.req.Query, s.req.Client = host, path, x.Req.Method, x.Req.Query, addr
	_, allowed := g.allow.Lookup(&s.req)
	s.req.Reset() // keeps nothing of the request alive
	s.header = nil
	g.subjects.Put(s)
	return allowed, nil
}

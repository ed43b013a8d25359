package forward

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/httpmsg"
)

// Child is a service below another one.
type Child struct {
	// Name is what the parent calls it, exactly as configured: sticky cookies and highest random weight are computed from it.
	Name string
	// Handler answers for it.
	Handler httpmsg.Handler
	// Health tells whether it is up; nil where it does not tell, and then it counts as up.
	Health balance.Health
}

// up reports whether the child can take traffic, as far as is known.
func (c *Child) up() bool { return c.Health == nil || c.Health.Up() }

// elsewhere reports whether a request that ended with f in one service may go to another one: nothing of it was sent, or
// it may be repeated. before is the body that it had at first: a middleware of the failed service that put another one in
// its place has read it.
func elsewhere(x *httpmsg.Exchange, f *fault.Fault, before httpmsg.Body) bool {
	if x.Upgrade != nil || x.Cancelled() != nil || !upstream.Untouched(x, before) {
		return false
	}
	return f.Kind == fault.NoServer || upstream.Repeatable(x, f)
}

// choose picks the endpoint of the client's cookie, or the next one. stick tells that the cookie is to be set.
func choose(sticky *balance.Sticky, picker balance.Picker, x *httpmsg.Exchange) (e *balance.Endpoint, stick bool) {
	if sticky != nil {
		if e, stale := sticky.Lookup(x); e != nil {
			return e, stale
		}
	}
	return picker.Pick(x.Peer.Addr(), nil), true
}

// cookieOptions returns the options of a sticky cookie, nil where there is none.
func cookieOptions(s *dynamic.Sticky) *balance.CookieOptions {
	if s == nil || s.Cookie == nil {
		return nil
	}
	k := s.Cookie
	o := &balance.CookieOptions{Name: k.Name, Secure: k.Secure, HTTPOnly: k.HTTPOnly, SameSite: k.SameSite,
		MaxAge: k.MaxAge, Domain: k.Domain}
	if k.Path != nil {
		o.Path = *k.Path
	}
	return o
}

func noServer(retryAfter int) error {
	f := fault.New(fault.NoServer, "no server of the service is up", nil)
	f.Body = "no available server"
	f.RetryAfter = retryAfter
	return f
}

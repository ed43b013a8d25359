package entrypoint

import (
	"bytes"
	"sync"

	"sluice/internal/core/fault"
	"sluice/internal/core/route"
	"sluice/internal/wire/httpmsg"
)

// HTTPOptions are what an entry point does with every request, whatever router takes it. They are fixed at start.
type HTTPOptions struct {
	// KeepDots leaves //, /./ and /../ in paths (http.sanitizePath = false).
	KeepDots bool
	// EncodeSemicolons turns ';' of queries into %3B; otherwise it becomes '&'.
	EncodeSemicolons bool
	// Forwarded says which forwarded headers are believed.
	Forwarded ForwardedHeaders
}

// HTTPRouter is what a matched router does with its requests.
type HTTPRouter struct {
	// Name is the qualified name of the router, for the record.
	Name string
	// Handler is the chain of middlewares and the service. A router that cannot be built has one that refuses.
	Handler httpmsg.Handler
	// Denied are the percent codes that its paths must not hold.
	Denied EncodedCharacters
	// Quiet says what its requests are kept out of.
	Quiet httpmsg.Quiet
	// LoopGuard marks requests of a router with a default rule, see loopGuard; empty for all others.
	LoopGuard string
}

// HTTPRoutes finds the router of a request; immutable.
type HTTPRoutes struct {
	// Table answers with positions in Routers.
	Table   *route.HTTPTable
	Routers []HTTPRouter
}

// lookup is the state of one routing decision, reused from request to request.
type lookup struct {
	req    route.Request
	header *httpmsg.Header
}

var lookups = sync.Pool{New: func() any {
	l := &lookup{}
	l.req.Header = l
	return l
}}

// release gives l back. It keeps nothing of the request alive.
func (l *lookup) release() {
	l.req.Reset()
	l.header = nil
	lookups.Put(l)
}

// HeaderValue implements route.Fields.
func (l *lookup) HeaderValue(name string, i int) ([]byte, bool) {
	for at := l.header.Index(name, 0); at >= 0; at = l.header.Index(name, at+1) {
		if i == 0 {
			return l.header.At(at).Value, true
		}
		i--
	}
	return nil, false
}

// Serve implements httpmsg.Handler for all versions of HTTP: it brings the request into its one form, finds the router,
// and hands over. It returns a fault where nobody may answer.
func (e *EntryPoint) Serve(x *httpmsg.Exchange) error {
	x.Facts.EntryPoint, x.KeepOrigin = e.name, e.origin
	x.OnFinish(e)
	if err := cleanPath(x, !e.http.KeepDots); err != nil {
		return err
	}
	semicolons(x, e.http.EncodeSemicolons)
	x.Facts.Asked = httpmsg.Asked{Method: x.Req.Method, Host: x.Req.Host, Path: x.Req.Path, Query: x.Req.Query}
	if err := e.http.Forwarded.apply(x); err != nil {
		return err
	}
	l := lookups.Get().(*lookup)
	h, err := e.choose(x, l)
	l.release()
	if err != nil {
		return err
	}
	return h.Serve(x)
}

// choose decides who answers.
func (e *EntryPoint) choose(x *httpmsg.Exchange, l *lookup) (httpmsg.Handler, error) {
	if err := l.describe(x); err != nil {
		return nil, err
	}
	routes := e.routes()
	side := &routes.Plain
	if x.Req.TLS {
		side = &routes.Secure
	}
	if token, ok := challengeToken(x); ok {
		if h := e.challenge(x, l, routes, side, token); h != nil {
			return h, nil
		}
	}
	at, ok := side.Table.Lookup(&l.req)
	if x.Req.TLS {
		if err := e.directed(x, l, routes, side, ok); err != nil {
			x.CloseAfter = true // the client shall make a connection for this host
			return nil, err
		}
	}
	if !ok {
		return nil, fault.New(fault.NoRouter, "no router matches", nil)
	}
	return e.take(x, &side.Routers[at])
}

// take checks what belongs to the router and returns its handler.
func (e *EntryPoint) take(x *httpmsg.Exchange, r *HTTPRouter) (httpmsg.Handler, error) {
	x.Facts.Router, x.Facts.Quiet = r.Name, r.Quiet
	if e.tracer != nil && !r.Quiet.Tracing {
		e.beginSpan(x)
	}
	if r.Denied.Denies(x.Req.Path) {
		return nil, fault.New(fault.BadRequest, "the path holds a percent code that the entry point denies", nil)
	}
	if r.LoopGuard != "" {
		if err := loopGuard(x, r.LoopGuard); err != nil {
			return nil, err
		}
	}
	return r.Handler, nil
}

// describe fills the view that rules look at.
func (l *lookup) describe(x *httpmsg.Exchange) error {
	l.header = &x.Req.Header
	host, err := route.CanonicalHost(x.Scratch(len(x.Req.Host))[:0], x.Req.Host)
	if err != nil {
		return fault.New(fault.BadRequest, "the host is malformed", err)
	}
	path := []byte(x.Req.Path)
	if bytes.IndexByte(path, '%') >= 0 {
		if path, err = route.RoutingPath(x.Scratch(len(path))[:0], path); err != nil {
			return fault.New(fault.BadRequest, "the path holds a broken percent code", err)
		}
	}
	l.req.Host, l.req.Path, l.req.Method, l.req.Query = host, path, x.Req.Method, x.Req.Query
	l.req.Client = x.Peer.Addr()
	return nil
}

// loopHeader marks requests to services behind a default rule: the rule was made up from a container's name, so it can
// lead back to us.
const loopHeader = "X-Traefik-Router"

// loopGuard refuses a request that this very router has handled already.
func loopGuard(x *httpmsg.Exchange, mark string) error {
	if x.Req.Header.Lookup(loopHeader).Is(mark) {
		return fault.New(fault.BadRequest, "the router's service leads back to the router", nil)
	}
	x.Req.Header.Set(loopHeader, mark)
	return nil
}

// directed refuses requests that came over a connection which was not made for their host (RFC 9110 section 15.5.20):
// the host's TLS options differ from those of the handshake, or the host belongs to a machine behind a passthrough and
// the router that matched does not name it.
func (e *EntryPoint) directed(x *httpmsg.Exchange, l *lookup, routes *Routes, side *HTTPRoutes, found bool) error {
	if found && routes.severalOptions {
		if want := routes.fingerprint(string(l.req.Host)); want != x.TLSOptions {
			return fault.New(fault.Misdirected, "the connection was not made with the TLS options of the host", nil)
		}
	}
	if routes.passthrough && (x.TLS == nil || x.TLS.ServerName != string(l.req.Host)) {
		if routes.owner(string(l.req.Host), x.Peer.Addr()) != nil {
			if _, names := side.Table.LookupOwner(&l.req); !names {
				return fault.New(fault.Misdirected, "the host belongs to a passthrough router", nil)
			}
		}
	}
	return nil
}

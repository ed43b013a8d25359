// Package forwardauth asks a server of the user's about each request: it passes, or the client gets that server's answer.
// The middleware's key is forwardAuth.
//
// Nothing that goes wrong lets a request pass. Every question is bounded in time and its answer in size, redirects are
// answers and not followed. What the answer may set on the request can be set by nobody else: the client's fields of those
// names are gone in every spelling, whether the answer has them or not.
package forwardauth

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

const (
	// patience is the time for a question and its answer.
	patience = 30 * time.Second
	// largest is the longest answer that is passed on where none is configured.
	largest = 64 << 20
	// drained is how much of an answer that nobody needs is read, so that its connection can be used again.
	drained = 64 << 10
)

// Kind is the row of forwardAuth.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "forwardAuth", Check: check, Build: build}
}

// trust says what becomes of the forwarded headers of the request.
type trust uint8

const (
	legacy trust = iota // a mixture, where the option is unset
	distrusted
	trusted
)

type guard struct {
	address  *url.URL
	server   *outgoing.Client
	trust    trust
	asks     []string         // request headers that the server gets; none for all
	sets     middleware.Names // headers of the answer for the request
	setsLike *regexp.Regexp   // the same; nil for none
	cookies  []string
	user     string // header of the answer

	withBody     bool
	body, answer int64 // limits; less than zero for none
	memory       *httpmsg.Budget

	keepLocation, keepMethod bool
	signIn                   string
	next                     httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.ForwardAuth
	bad := func(key, message, hint string) { l.Add(middleware.Bad("forwardAuth."+key, message, hint)) }
	if _, err := outgoing.ParseURL(o.Address); err != nil {
		bad("address", err.Error(), "write it like https://auth.example.com/check")
	}
	l = append(l, outgoing.CheckTLS("forwardAuth.tls", o.TLS)...)
	if o.TrustForwardHeader == nil {
		l.Add(diag.Finding{Severity: diag.Info, Key: "forwardAuth.trustForwardHeader", Code: "DEPRECATED",
			Message: "it is not set, so some X-Forwarded headers of the request are kept and others are made anew", Hint: "set it to false, or to true behind a proxy of yours"})
	}
	for _, list := range []struct {
		key   string
		names []string
		sets  bool
	}{{"authResponseHeaders", o.AuthResponseHeaders, true}, {"authRequestHeaders", o.AuthRequestHeaders, false}} {
		for i, name := range list.names {
			key := fmt.Sprintf("%s[%d]", list.key, i)
			switch {
			case !httpmsg.IsToken(httpmsg.Text(name)):
				bad(key, strconv.Quote(name)+" is no name of a header", "")
			case list.sets && unsettable.Has(httpmsg.IDOf(name)):
				l.Add(middleware.Odd("forwardAuth."+key, name+" describes the message itself and cannot be set", "remove it"))
			}
		}
	}
	if _, err := regexp.Compile(o.AuthResponseHeadersRegex); err != nil {
		bad("authResponseHeadersRegex", err.Error(), "")
	}
	for i, name := range o.AddAuthCookiesToResponse {
		if !httpmsg.IsToken(httpmsg.Text(name)) {
			bad(fmt.Sprintf("addAuthCookiesToResponse[%d]", i), strconv.Quote(name)+" is no name of a cookie", "")
		}
	}
	if o.HeaderField != "" && !httpmsg.IsToken(httpmsg.Text(o.HeaderField)) {
		bad("headerField", strconv.Quote(o.HeaderField)+" is no name of a header", "")
	}
	for _, n := range []struct {
		key   string
		value *int64
	}{{"maxBodySize", o.MaxBodySize}, {"maxResponseBodySize", o.MaxResponseBodySize}} {
		if n.value != nil && *n.value < -1 {
			bad(n.key, fmt.Sprintf("%d is less than -1", *n.value), "-1 means unlimited")
		}
	}
	if o.ForwardBody && limit(o.MaxBodySize) < 0 {
		l.Add(middleware.Odd("forwardAuth.maxBodySize", "bodies of any size are read before they are allowed", "give a size in bytes"))
	}
	if s := o.AuthSigninURL; s != "" {
		if _, err := url.Parse(s); err != nil || !httpmsg.IsFieldValue(httpmsg.Text(s)) {
			bad("authSigninURL", strconv.Quote(s)+" is no URL", "write it like https://login.example.com/")
		}
	}
	return l
}

func limit(n *int64) int64 {
	if n == nil {
		return -1
	}
	return min(*n, 1<<60)
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.ForwardAuth
	g := &guard{
		sets: o.AuthResponseHeaders, cookies: o.AddAuthCookiesToResponse, user: o.HeaderField, withBody: o.ForwardBody,
		asks: o.AuthRequestHeaders, body: limit(o.MaxBodySize), answer: limit(o.MaxResponseBodySize), keepLocation: o.PreserveLocationHeader,
		keepMethod: o.PreserveRequestMethod, signIn: o.AuthSigninURL, memory: env.Budget, next: next,
	}
	switch t := o.TrustForwardHeader; {
	case t != nil && *t:
		g.trust = trusted
	case t != nil:
		g.trust = distrusted
	}
	var err error
	if g.address, err = outgoing.ParseURL(o.Address); err != nil {
		return nil, fmt.Errorf("forwardAuth.address: %w", err)
	}
	if o.AuthResponseHeadersRegex != "" {
		if g.setsLike, err = regexp.Compile(o.AuthResponseHeadersRegex); err != nil {
			return nil, fmt.Errorf("forwardAuth.authResponseHeadersRegex: %w", err)
		}
	}
	if g.server, err = outgoing.Kept(env, "forwardAuth", o.TLS); err != nil {
		return nil, fmt.Errorf("forwardAuth.%w", err)
	}
	return g, nil
}

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	body, err := g.readBody(x)
	if err != nil {
		return err
	}
	passes, err := g.ask(x, body)
	if err != nil || !passes {
		return err
	}
	return g.next.Serve(x)
}

// readBody reads the request's body ahead if the auth server is to see it.
func (g *guard) readBody(x *httpmsg.Exchange) (*spool.Body, error) {
	req := &x.Req
	if !g.withBody || req.Body == nil {
		return nil, nil
	}
	if g.body >= 0 && req.ContentLength > g.body {
		return nil, fault.New(fault.Unauthorized, "forwardAuth: the request says it is larger than maxBodySize", nil)
	}
	body, whole, err := spool.Read(req.Body, req.ContentLength, spool.Limits{Max: g.body, Budget: g.memory})
	if err != nil {
		return nil, err
	}
	x.OnFinish(body)
	if !whole {
		return nil, fault.New(fault.Unauthorized, "forwardAuth: the request is larger than maxBodySize", nil)
	}
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	return body, nil
}

// ask asks the server about x. If the request may pass, what the answer sets stands on it; if not, the answer is x's response.
func (g *guard) ask(x *httpmsg.Exchange, body *spool.Body) (passes bool, err error) {
	ctx, end := outgoing.Within(x, patience)
	q, sent := g.question(ctx, x, body)
	// The client library may still read the body when its answer is there already.
	defer sent.Wait()
	defer end()

	res, err := g.server.Do(q)
	if err != nil {
		return false, failed(x, "asking the auth server", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return g.admit(x, res)
	}
	return false, g.refuse(x, res)
}

// failed is what ends a request whose question broke.
func failed(x *httpmsg.Exchange, doing string, err error) error {
	if cause := x.Cancelled(); cause != nil {
		return fault.New(fault.ClientGone, "forwardAuth: "+doing, cause)
	}
	return fault.New(fault.Internal, "forwardAuth: "+doing, err)
}

// named reports whether a Set-Cookie line is about one of the cookies.
func named(cookies []string, line string) bool {
	for i := range len(line) {
		if line[i] == '=' || line[i] == ';' {
			line = line[:i]
			break
		}
	}
	return slices.Contains(cookies, trim(line))
}

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

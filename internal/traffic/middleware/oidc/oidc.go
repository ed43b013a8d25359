// Package oidc logs users in by OpenID Connect and keeps a session for them. The middleware's key is oidc.
//
// A browser that comes without a session is sent to the provider (authorization code flow, with PKCE where that is wanted)
// and comes back with a code; the tokens that the code is good for make the session, which lives sealed in cookies, or in a
// store of several instances. What is no browser going somewhere gets 401. While the provider cannot be asked, whoever has
// no session gets 503, and those who have one are served.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/claims"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of oidc.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "oidc", Check: check, Build: build}
}

type guard struct {
	live     *live
	ended    *ended
	store    *store // nil where sessions are in cookies
	seals    *sealer
	rules    *claims.Rules
	patience time.Duration
	memory   *httpmsg.Budget // of logouts that are read

	// Where things are; nil for nowhere.
	redirect, loginAt, logoutAt, backchannel, postLogin, postLogout *place

	scope       string
	authParams  map[string]string
	pkce        bool
	noLogin     bool // nobody is sent to the provider
	sidRequired bool
	access      bool // claims of the access token are asked for

	state, session *jar
	csrf           *jar // nil where there is no protection
	csrfHeader     string
	csrfKey        []byte
	life           time.Duration
	sliding        bool
	refresh        bool

	next httpmsg.Handler
}

var errProvider = errors.New("the provider says that it cannot log anybody in now")

// unauthenticated is the answer to those who cannot be sent to the provider. It is never changed.
var (
	unauthenticated = fault.New(fault.Unauthorized, "oidc: the request has no session", nil)
	unfit           = fault.New(fault.Forbidden, "oidc: the claims of the user are not good enough", nil)
	forged          = fault.New(fault.Forbidden, "oidc: the request does not carry the token against forgery", nil)
)

var challenge = middleware.NewChallenge("OpenIDConnect")

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	g.rules.Clear(x)
	switch {
	case g.redirect.is(x):
		return g.callback(x)
	case g.logoutAt.is(x):
		return g.logout(x)
	case g.backchannel.is(x):
		return g.backchannelLogout(x)
	}
	s, err := g.load(x)
	if err != nil {
		return err
	}
	var lines setCookies
	if s != nil {
		if s, lines, err = g.current(x, s); err != nil {
			return err
		}
	}
	if s == nil {
		x.OnCommit(setCookies(g.session.forget(x, 0)))
		return g.stranger(x)
	}
	if g.csrf != nil {
		if line := g.csrfLine(x, s); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		x.OnCommit(lines)
	}
	if g.csrf != nil && !g.trusted(x, s) {
		return forged
	}
	if g.loginAt.is(x) && g.postLogin != nil {
		redirect(x, g.postLogin.of(x), nil)
		return nil
	}
	if !g.rules.Admit(x, s) {
		return unfit
	}
	withhold(x, g.ours)
	return g.next.Serve(x)
}

// ours reports whether a cookie is the middleware's, and nothing to the server.
func (g *guard) ours(name httpmsg.View) bool { return g.session.which(name) >= 0 || g.isPending(name) }

// stranger answers whoever has no session.
func (g *guard) stranger(x *httpmsg.Exchange) error {
	switch {
	case g.noLogin, !navigates(x):
	case g.loginAt == nil:
		return g.login(x, here(x))
	case g.loginAt.is(x):
		return g.login(x, g.afterLogin(x))
	}
	x.OnCommit(challenge)
	return unauthenticated
}

// afterLogin is where a login that was asked for leads.
func (g *guard) afterLogin(x *httpmsg.Exchange) string {
	if g.postLogin != nil {
		return g.postLogin.of(x)
	}
	return middleware.Scheme(x) + "://" + x.Req.Host.String() + "/"
}

// navigates reports whether a browser goes somewhere with the request, so that a user sees where a redirection leads. Scripts,
// images, uploads and upgrades get 401 instead, which they understand.
func navigates(x *httpmsg.Exchange) bool {
	h := &x.Req.Header
	if !x.Req.Method.Is("GET") && !x.Req.Method.Is("HEAD") || len(x.Req.UpgradeTo) > 0 || h.Lookup("X-Requested-With").EqualFold("XMLHttpRequest") {
		return false
	}
	if mode := h.Lookup("Sec-Fetch-Mode"); mode != nil {
		return mode.EqualFold("navigate")
	}
	accept := strings.ToLower(h.Get(httpmsg.HdrAccept).String())
	return accept == "" || strings.Contains(accept, "text/html") || strings.Contains(accept, "application/xhtml+xml") || strings.Contains(accept, "*/*")
}

// current brings a session up to date: tokens that ran out are renewed, and the time of the session begins anew where it
// slides. It returns nil for a session that is over, and the cookies to be set.
func (g *guard) current(x *httpmsg.Exchange, s *session) (*session, setCookies, error) {
	now := time.Now()
	changed := false
	if g.refresh && s.Refresh != "" && s.stale(now) {
		fresh, written, err := g.renew(x, s)
		switch {
		case errors.Is(err, errGrant):
			return nil, nil, g.discard(x, s)
		case err != nil:
			return nil, nil, g.failed(x, "renewing tokens", err)
		}
		s, changed = fresh, written
	}
	// Not with each request: answers with cookies are stored by nobody.
	if g.sliding && now.Unix()-s.Last >= max(int64(g.life/time.Second)/20, 1) {
		changed = true
	}
	if !changed {
		return s, nil, nil
	}
	renewed := *s
	renewed.Last = now.Unix()
	lines, err := g.keep(x, &renewed)
	if err == errGrant {
		return nil, nil, nil
	}
	return &renewed, lines, err
}

// load returns the session of a request, nil if it has none that is good.
func (g *guard) load(x *httpmsg.Exchange) (s *session, err error) {
	text, ok := g.session.read(x)
	if !ok {
		return nil, nil
	}
	if g.store != nil {
		ctx, end := outgoing.Within(x, g.patience)
		s, err = g.fetch(ctx, text)
		end()
		if err == errGrant {
			return nil, nil
		} else if err != nil {
			return nil, g.failed(x, "asking the store of sessions", err)
		}
	} else if s = (&session{}); g.seals.open(g.session.name, text, s) != nil || s.decode() != nil {
		return nil, nil
	}
	if s.over(time.Now(), g.life, g.sliding) || g.ended.has(s) {
		return nil, nil
	}
	return s, nil
}

// sealedIn is the label of a session in the store.
func sealedIn(id string) string { return "stored " + id }

// keep stores a session and returns the cookies that lead to it. errGrant says that it was ended since it was read.
func (g *guard) keep(x *httpmsg.Exchange, s *session) (setCookies, error) {
	if g.store == nil {
		sealed, err := g.seals.seal(g.session.name, s)
		if err != nil {
			return nil, fault.New(fault.Internal, "oidc: sealing the session", err)
		}
		lines, err := g.session.write(x, sealed)
		if err != nil {
			return nil, fault.New(fault.Internal, "oidc: the session is too large, give session.store", err)
		}
		return lines, nil
	}
	fresh := s.stored == ""
	if fresh {
		s.stored = random(32)
	}
	ctx, end := outgoing.Within(x, g.patience)
	err := g.put(ctx, s, fresh)
	end()
	switch {
	case err == errGrant:
		return nil, err
	case err != nil:
		return nil, g.failed(x, "storing the session", err)
	}
	lines, err := g.session.write(x, s.stored)
	if err != nil {
		return nil, fault.New(fault.Internal, "oidc: writing cookies", err)
	}
	return lines, nil
}

// put stores a session, see store.save.
func (g *guard) put(ctx context.Context, s *session, fresh bool) error {
	sealed, err := g.seals.seal(sealedIn(s.stored), s)
	if err != nil {
		return err
	}
	return g.store.save(ctx, s.stored, sealed, s, g.left(s), fresh)
}

// left is how long a session lives from now on.
func (g *guard) left(s *session) time.Duration {
	from := s.Begun
	if g.sliding {
		from = s.Last
	}
	return max(time.Until(time.Unix(from, 0).Add(g.life)), time.Second)
}

// discard ends a session.
func (g *guard) discard(x *httpmsg.Exchange, s *session) error {
	g.ended.end(byKey, s.Key, time.Now().Unix(), g.life)
	if g.store == nil || s.stored == "" {
		return nil
	}
	ctx, end := outgoing.Within(x, g.patience)
	err := g.store.drop(ctx, s.stored)
	end()
	if err != nil {
		return g.failed(x, "ending the session", err)
	}
	return nil
}

// discardNamed ends the session that a logout token names, or all of a user.
func (g *guard) discardNamed(ctx context.Context, t *coreos.LogoutToken) error {
	at := t.IssuedAt.Add(skew).Unix()
	if t.SessionID != "" {
		g.ended.end(bySID, t.SessionID, at, g.life)
	} else {
		g.ended.end(bySub, t.Subject, at, g.life)
	}
	if g.store == nil {
		return nil
	}
	return g.store.dropNamed(ctx, t.SessionID, t.Subject)
}

// failed is what ends a request that we could not ask about.
func (g *guard) failed(x *httpmsg.Exchange, doing string, err error) error {
	if cause := x.Cancelled(); cause != nil {
		return fault.New(fault.ClientGone, "oidc: "+doing, cause)
	}
	var u *unavailable
	if errors.As(err, &u) {
		err = u.cause
	}
	return fault.New(fault.AuthUnavailable, fmt.Sprintf("oidc: %s", doing), err)
}

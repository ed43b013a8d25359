package oidc

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// maxPending is how many logins a browser may have under way.
const maxPending = 5

// pending is a login under way. It travels sealed in a cookie of its own.
type pending struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v,omitempty"` // of RFC 7636
	Return   string `json:"u"`           // where the user goes afterwards
	Redirect string `json:"r"`           // where the provider sends the user back to
	Begun    int64  `json:"b"`
}

// managed are the parameters of an authorization request that authParams cannot set.
var managed = []string{"client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "request", "request_uri", "response_mode", "response_type", "scope", "state"}

// login sends the user to the provider (OpenID Connect Core section 3.1.2.1).
func (g *guard) login(x *httpmsg.Exchange, to string) error {
	ctx, end := outgoing.Within(x, g.patience)
	p, err := g.live.doc.Get(ctx)
	end()
	if err != nil {
		return g.failed(x, "asking for the provider", err)
	}
	l := pending{State: random(24), Nonce: random(24), Return: to, Redirect: g.redirect.of(x), Begun: time.Now().Unix()}
	q := p.authorize.Query()
	for name, value := range g.authParams {
		q.Set(name, value)
	}
	for name, value := range map[string]string{"response_type": "code", "client_id": g.live.client.id, "redirect_uri": l.Redirect, "scope": g.scope, "state": l.State, "nonce": l.Nonce} {
		q.Set(name, value)
	}
	if g.pkce {
		l.Verifier = random(48)
		sum := sha256.Sum256([]byte(l.Verifier))
		q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		q.Set("code_challenge_method", "S256")
	}
	name := g.pendingName(l.State)
	sealed, err := g.seals.seal(name, &l)
	if err != nil {
		return fault.New(fault.Internal, "oidc: sealing a login", err)
	}
	lines := setCookies{g.state.line(x, name, sealed, g.state.maxAge)}
	if old := g.pendingNames(x); len(old) >= maxPending {
		for _, n := range old {
			lines = append(lines, g.state.line(x, n, "", -1))
		}
	}
	at := *p.authorize
	at.RawQuery = q.Encode()
	redirect(x, at.String(), lines)
	return nil
}

// redirect answers with a redirection that nobody stores.
func redirect(x *httpmsg.Exchange, to string, cookies setCookies) {
	x.OnCommit(cookies)
	x.Respond(302, "text/plain; charset=utf-8", "Found")
	x.Res.Header.AddID(httpmsg.HdrLocation, httpmsg.Text(to))
	x.Res.Header.AddID(httpmsg.HdrCacheControl, httpmsg.Text("no-store"))
}

// pendingName is the name of the cookie of a login.
func (g *guard) pendingName(state string) string {
	return g.state.name + "-" + state[:min(len(state), 8)]
}

// isPending reports whether a cookie is that of a login.
func (g *guard) isPending(name httpmsg.View) bool {
	rest, ok := strings.CutPrefix(string(name), g.state.name+"-")
	return ok && len(rest) == 8
}

// pendingNames are the cookies of logins that a request has.
func (g *guard) pendingNames(x *httpmsg.Exchange) []string {
	var out []string
	for name := range middleware.Cookies(&x.Req.Header) {
		if g.isPending(name) {
			out = append(out, name.String())
		}
	}
	return out
}

// Answers to those whose login does not end well. They are never changed.
var (
	stray  = fault.New(fault.BadRequest, "oidc: the login is not known here, or took too long", nil)
	denied = fault.New(fault.Forbidden, "oidc: the provider did not log the user in", nil)
)

// callback takes the user back from the provider (OpenID Connect Core sections 3.1.2.5 to 3.1.3.7).
func (g *guard) callback(x *httpmsg.Exchange) error {
	if !x.Req.Method.Is("GET") && !x.Req.Method.Is("HEAD") {
		return fault.New(fault.MethodNotAllowed, "oidc: the provider sends users back by GET", nil)
	}
	state, times := middleware.QueryValue(x.Req.Query, "state")
	l, ok := g.pendingLogin(x, state)
	if times != 1 || !ok {
		return stray
	}
	// Whatever comes of it, this login is used up.
	used := setCookies{g.state.line(x, g.pendingName(state), "", -1)}
	s, err := g.finishLogin(x, l)
	if err != nil {
		x.OnCommit(used)
		return err
	}
	lines, err := g.keep(x, s)
	if err != nil {
		x.OnCommit(used)
		return err
	}
	to := l.Return
	if !leadsHome(to, x, g.session.domain) && to != g.afterLogin(x) {
		to = "/"
	}
	redirect(x, to, append(used, lines...))
	return nil
}

// pendingLogin returns the login that a state belongs to.
func (g *guard) pendingLogin(x *httpmsg.Exchange, state string) (*pending, bool) {
	if state == "" {
		return nil, false
	}
	name := g.pendingName(state)
	for cookie, value := range middleware.Cookies(&x.Req.Header) {
		if string(cookie) != name {
			continue
		}
		l := &pending{}
		if g.seals.open(name, string(value), l) != nil || subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1 {
			continue
		}
		age := time.Now().Unix() - l.Begun
		return l, age >= -int64(skew/time.Second) && age <= int64(g.state.maxAge)
	}
	return nil, false
}

// finishLogin makes a session of what the provider answered.
func (g *guard) finishLogin(x *httpmsg.Exchange, l *pending) (*session, error) {
	ctx, end := outgoing.Within(x, g.patience)
	defer end()
	p, err := g.live.doc.Get(ctx)
	if err != nil {
		return nil, g.failed(x, "asking for the provider", err)
	}
	// RFC 9207: the answer must be that of the provider which was asked.
	if from, times := middleware.QueryValue(x.Req.Query, "iss"); times > 1 || times == 1 && from != p.issuer || times == 0 && p.namesSelf {
		return nil, denied
	}
	if why, times := middleware.QueryValue(x.Req.Query, "error"); times > 0 {
		switch why {
		case "server_error", "temporarily_unavailable":
			return nil, g.failed(x, "logging in", &unavailable{errProvider})
		}
		return nil, fault.New(fault.Forbidden, "oidc: the provider did not log the user in: "+code(why), nil)
	}
	answer, times := middleware.QueryValue(x.Req.Query, "code")
	if times != 1 || answer == "" {
		return nil, stray
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {answer}, "redirect_uri": {l.Redirect}}
	if l.Verifier != "" {
		form.Set("code_verifier", l.Verifier)
	}
	t, err := g.live.client.grant(ctx, p, form)
	if err == errGrant {
		return nil, stray
	} else if err != nil {
		return nil, g.failed(x, "getting tokens", err)
	}
	token, err := p.verifier.Verify(ctx, t.id)
	if err != nil {
		if verdict(err) != errGrant {
			return nil, g.failed(x, "verifying the ID token", err)
		}
		return nil, fault.New(fault.Forbidden, "oidc: the ID token is not good", err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(l.Nonce)) != 1 {
		return nil, fault.New(fault.Forbidden, "oidc: the ID token is that of another login", nil)
	}
	if token.AccessTokenHash != "" && token.VerifyAccessToken(t.access) != nil {
		return nil, fault.New(fault.Forbidden, "oidc: the access token does not belong to the ID token", nil)
	}
	now := time.Now().Unix()
	s := &session{Key: random(16), ID: t.id, Begun: now, Last: now}
	if g.refresh {
		s.Refresh = t.refresh
	}
	if !t.expires.IsZero() {
		s.Expires = t.expires.Unix()
	}
	if g.access {
		s.Access = t.access
	}
	if err := s.decode(); err != nil {
		return nil, fault.New(fault.Forbidden, "oidc: the ID token is not good", err)
	}
	if s.Expires == 0 {
		s.Expires = token.Expiry.Unix()
	}
	if azp, there := s.id["azp"]; there && azp != g.live.client.id || !there && len(token.Audience) > 1 {
		return nil, fault.New(fault.Forbidden, "oidc: the ID token was made for somebody else", nil)
	}
	return s, nil
}

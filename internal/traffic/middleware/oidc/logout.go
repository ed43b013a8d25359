package oidc

import (
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// logout ends the session here, and at the provider where that has an endpoint for it (OpenID Connect RP-Initiated Logout 1.0).
func (g *guard) logout(x *httpmsg.Exchange) error {
	lines := setCookies(g.session.forget(x, 0))
	s, err := g.load(x)
	if err != nil {
		return err
	}
	if g.csrf != nil {
		lines = append(lines, g.csrf.forget(x, 0)...)
	}
	after := ""
	if g.postLogout != nil {
		after = g.postLogout.of(x)
	}
	if s != nil {
		if err := g.discard(x, s); err != nil {
			return err
		}
		if to := g.endSession(x, s, after); to != "" {
			redirect(x, to, lines)
			return nil
		}
	}
	if after != "" {
		redirect(x, after, lines)
		return nil
	}
	x.OnCommit(lines)
	x.Respond(200, "text/plain; charset=utf-8", "Logged out\n")
	x.Res.Header.AddID(httpmsg.HdrCacheControl, httpmsg.Text("no-store"))
	return nil
}

// endSession is where the provider ends the session, empty if it does not or cannot be asked: the session here ends in any case.
func (g *guard) endSession(x *httpmsg.Exchange, s *session, after string) string {
	ctx, end := outgoing.Within(x, g.patience)
	p, err := g.live.doc.Get(ctx)
	end()
	if err != nil || p.endSession == nil {
		return ""
	}
	to := *p.endSession
	q := to.Query()
	q.Set("client_id", g.live.client.id)
	q.Set("id_token_hint", s.ID)
	if after != "" {
		q.Set("post_logout_redirect_uri", after)
	}
	to.RawQuery = q.Encode()
	return to.String()
}

// maxLogout is the largest form of a back-channel logout, in bytes.
const maxLogout = 128 << 10

// backchannelLogout takes a logout that the provider tells us about (OpenID Connect Back-Channel Logout 1.0).
func (g *guard) backchannelLogout(x *httpmsg.Exchange) error {
	if !x.Req.Method.Is("POST") {
		return fault.New(fault.MethodNotAllowed, "oidc: providers tell about logouts by POST", nil)
	}
	refused := fault.New(fault.BadRequest, "oidc: the logout token is missing or not good", nil)
	form, fits, err := spool.Form(x, maxLogout, g.memory)
	if err != nil {
		return err
	}
	if !fits {
		return fault.New(fault.BodyTooLarge, "oidc: the logout is too large", nil)
	}
	text, times := middleware.QueryValue(form, "logout_token")
	if times != 1 {
		return refused
	}
	ctx, end := outgoing.Within(x, g.patience)
	defer end()
	p, err := g.live.doc.Get(ctx)
	if err != nil {
		return g.failed(x, "asking for the provider", err)
	}
	token, err := p.verifier.VerifyLogout(ctx, text)
	if err != nil {
		if verdict(err) != errGrant {
			return g.failed(x, "verifying a logout token", err)
		}
		refused.Cause = err
		return refused
	}
	if g.sidRequired && token.SessionID == "" {
		return refused
	}
	if err := g.discardNamed(ctx, token); err != nil {
		return fault.New(fault.AuthUnavailable, "oidc: ending sessions", err)
	}
	x.Respond(200, "text/plain; charset=utf-8", "")
	x.Res.Header.AddID(httpmsg.HdrCacheControl, httpmsg.Text("no-store"))
	return nil
}

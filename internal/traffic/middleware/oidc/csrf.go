package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// csrfCookie is the name of the cookie that pages read the token from. Frontends know it by this name.
const csrfCookie = "traefikee-csrf-token"

// csrfToken is the token of a session: a keyed digest of its name, so that nothing is to be stored and nobody can make one for
// a session that is not his (the signed double-submit pattern).
func (g *guard) csrfToken(s *session) string {
	m := hmac.New(sha256.New, g.csrfKey)
	m.Write([]byte(s.Key))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// csrfLine sets the cookie where the browser has none or another one.
func (g *guard) csrfLine(x *httpmsg.Exchange, s *session) string {
	token := g.csrfToken(s)
	for name, value := range middleware.Cookies(&x.Req.Header) {
		if string(name) == g.csrf.name && string(value) == token {
			return ""
		}
	}
	return g.csrf.line(x, g.csrf.name, token, g.csrf.maxAge)
}

// trusted reports whether a request that may change something (RFC 9110 section 9.2.1) carries the token of its session.
func (g *guard) trusted(x *httpmsg.Exchange, s *session) bool {
	switch m := x.Req.Method; {
	case len(x.Req.UpgradeTo) > 0:
		// A browser cannot send headers with a WebSocket handshake; it sends where the page is from.
		return sameOrigin(x)
	case m.Is("GET"), m.Is("HEAD"), m.Is("OPTIONS"), m.Is("TRACE"):
		return true
	}
	h := &x.Req.Header
	at := h.Index(g.csrfHeader, 0)
	if at < 0 || h.Index(g.csrfHeader, at+1) >= 0 {
		return false
	}
	return subtle.ConstantTimeCompare(h.At(at).Value, []byte(g.csrfToken(s))) == 1
}

// sameOrigin reports whether Origin, where it is there, is the requested host.
func sameOrigin(x *httpmsg.Exchange) bool {
	origin := x.Req.Header.Get(httpmsg.HdrOrigin)
	return origin == nil || origin.EqualFold(middleware.Scheme(x)+"://"+x.Req.Host.String())
}

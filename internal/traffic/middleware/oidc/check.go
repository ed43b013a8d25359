package oidc

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/claims"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

const (
	// maxName is the longest name of a cookie, in bytes.
	maxName = 128
	// maxLife is the longest life of a session or login, in seconds: ten years.
	maxLife = 10 * 365 * 24 * 3600
)

// withDefaults returns the sections that may be absent where a configuration was not read from a file.
func withDefaults(o *dynamic.OIDC) (*dynamic.OIDCStateCookie, *dynamic.OIDCSession) {
	state, session := o.StateCookie, o.Session
	if state == nil {
		state = &dynamic.OIDCStateCookie{}
		state.SetDefaults()
	}
	if session == nil {
		session = &dynamic.OIDCSession{}
		session.SetDefaults()
	}
	return state, session
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.OIDC
	bad := func(key, message, hint string) { l.Add(middleware.Bad("oidc."+key, message, hint)) }
	odd := func(key, message, hint string) { l.Add(middleware.Odd("oidc."+key, message, hint)) }

	if u, err := outgoing.ParseURL(o.Issuer); err != nil {
		bad("issuer", err.Error(), "write it like https://accounts.example.com")
	} else if u.Scheme == "http" && !loopback(u) {
		odd("issuer", "without TLS whoever is on the way can log in as anybody", "use https")
	}
	if o.DisableIssuerCheck {
		odd("disableIssuerCheck", "tokens of every issuer whose keys the provider publishes are taken", "give trustedIssuer instead")
	}
	if o.ClientID == "" {
		bad("clientId", "the client's name at the provider must be given", "")
	}
	if o.ClientSecret.IsZero() {
		l.Add(diag.Finding{Severity: diag.Info, Key: "oidc.clientSecret", Code: "ODD-VALUE",
			Message: "without a secret PKCE is used, and sessions end with the process", Hint: "give clientSecret, or session.store.secret"})
	}
	if len(o.Scopes) > 0 && !slices.Contains(o.Scopes, "openid") {
		bad("scopes", "openid is not among them", "add it: without it no ID token is given")
	}
	for i, s := range o.Scopes {
		if s == "" || strings.ContainsAny(s, " \t\"\\") || !httpmsg.IsFieldValue(httpmsg.Text(s)) {
			bad(fmt.Sprintf("scopes[%d]", i), fmt.Sprintf("%q is no scope", s), "write each scope as an entry of its own")
		}
	}
	if o.RedirectURL == "" {
		bad("redirectUrl", "it must be given", "a usual one is /callback")
	}
	for _, p := range places(o) {
		if _, err := parsePlace(*p.text); err != nil {
			bad(p.key, err.Error(), "write it like /path, example.com/path or https://example.com/path")
		}
	}
	if at, err := parsePlace(o.RedirectURL); err == nil && at != nil && at.path == "/" {
		odd("redirectUrl", "the start page is taken from the server", "use a path that the server does not have, such as /callback")
	}
	if o.PostLoginRedirectURL != "" && o.LoginURL == "" {
		odd("postLoginRedirectUrl", "it has no effect without loginUrl", "users go where they wanted to go")
	}
	if o.PostLogoutRedirectURL != "" && o.LogoutURL == "" {
		odd("postLogoutRedirectUrl", "it has no effect without logoutUrl", "")
	}
	for _, name := range slices.Sorted(maps.Keys(o.AuthParams)) {
		if slices.Contains(managed, strings.ToLower(name)) {
			bad("authParams."+name, "it is set by the login itself", "remove it")
		}
	}
	l = append(l, checkCookies(o)...)
	l = append(l, claims.CheckRules("oidc", o.Claims, o.UsernameClaim, o.ForwardHeaders)...)
	return append(l, outgoing.CheckAsker("oidc.clientConfig", o.ClientConfig)...)
}

// named is an option that is a place.
type named struct {
	key  string
	text *string
	at   func(*guard) **place
}

func places(o *dynamic.OIDC) []named {
	return []named{
		{"redirectUrl", &o.RedirectURL, func(g *guard) **place { return &g.redirect }},
		{"loginUrl", &o.LoginURL, func(g *guard) **place { return &g.loginAt }},
		{"logoutUrl", &o.LogoutURL, func(g *guard) **place { return &g.logoutAt }},
		{"postLoginRedirectUrl", &o.PostLoginRedirectURL, func(g *guard) **place { return &g.postLogin }},
		{"postLogoutRedirectUrl", &o.PostLogoutRedirectURL, func(g *guard) **place { return &g.postLogout }},
		{"backchannelLogoutUrl", &o.BackchannelLogoutURL, func(g *guard) **place { return &g.backchannel }},
	}
}

func loopback(u *url.URL) bool {
	host := u.Hostname()
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasPrefix(host, "127.") || host == "::1"
}

// isDomain reports whether a cookie may have the domain (RFC 6265 section 4.1.1).
func isDomain(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || label[0] == '-' || strings.ContainsFunc(label, func(c rune) bool {
			return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-')
		}) {
			return false
		}
	}
	return len(text) <= 255
}

func checkCookies(o *dynamic.OIDC) diag.List {
	var l diag.List
	bad := func(key, message, hint string) { l.Add(middleware.Bad("oidc."+key, message, hint)) }
	odd := func(key, message, hint string) { l.Add(middleware.Odd("oidc."+key, message, hint)) }
	state, session := withDefaults(o)
	for _, c := range []struct {
		key, name, path, domain, sameSite string
		secure                            bool
	}{{"stateCookie", state.Name, state.Path, state.Domain, state.SameSite, state.Secure}, {"session", session.Name, session.Path, session.Domain, session.SameSite, session.Secure}} {
		if c.name != "" && (!httpmsg.IsToken(httpmsg.Text(c.name)) || len(c.name) > maxName) {
			bad(c.key+".name", fmt.Sprintf("%.40q is no name of a cookie", c.name), "")
		}
		if !strings.HasPrefix(c.path, "/") || strings.Contains(c.path, ";") || !httpmsg.IsFieldValue(httpmsg.Text(c.path)) {
			bad(c.key+".path", fmt.Sprintf("%q is no path", c.path), "the usual one is /")
		}
		if c.domain != "" && !isDomain(strings.TrimPrefix(c.domain, ".")) {
			bad(c.key+".domain", fmt.Sprintf("%q is no domain", c.domain), "write it like example.com")
		}
		switch _, ok := sameSiteOf(c.sameSite); {
		case !ok:
			bad(c.key+".sameSite", fmt.Sprintf("%q is none of none, lax and strict", c.sameSite), "the usual one is lax")
		case strings.EqualFold(c.sameSite, "strict"):
			odd(c.key+".sameSite", "the browser does not send the cookie when the provider sends the user back", "use lax")
		case strings.EqualFold(c.sameSite, "none") && !c.secure:
			odd(c.key+".sameSite", "browsers refuse the cookie without secure", "add secure: true")
		}
	}
	if state.Name != "" && state.Name == session.Name {
		bad("session.name", "the state cookie has this name", "")
	}
	if state.MaxAge < 1 || state.MaxAge > maxLife {
		bad("stateCookie.maxAge", fmt.Sprintf("%d is not a number of seconds from 1 on", state.MaxAge), "the usual one is 600")
	}
	if session.Expiry < 1 || session.Expiry > maxLife {
		bad("session.expiry", fmt.Sprintf("%d is not a number of seconds from 1 on", session.Expiry), "the usual one is 86400")
	}
	if o.CSRF != nil && o.CSRF.HeaderName != "" && !httpmsg.IsToken(httpmsg.Text(o.CSRF.HeaderName)) {
		bad("csrf.headerName", fmt.Sprintf("%q is no name of a header", o.CSRF.HeaderName), "the usual one is Hub-Csrf-Token")
	}
	if o.BackchannelLogoutURL != "" && (session.Store == nil || session.Store.Redis == nil) {
		l.Add(diag.Finding{Severity: diag.Info, Key: "oidc.backchannelLogoutUrl", Code: "ODD-VALUE",
			Message: "logouts are remembered by this process only, until it ends", Hint: "give session.store.redis where there are several"})
	}
	return append(l, checkStore("oidc.session.store", session.Store)...)
}

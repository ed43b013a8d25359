package oidc

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/claims"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// build makes the handler. It asks nobody.
func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.OIDC
	state, session := withDefaults(o)
	g := &guard{authParams: o.AuthParams, pkce: o.PKCE || o.ClientSecret.IsZero(), noLogin: o.DisableLogin, sidRequired: o.BackchannelLogoutSessionsRequired,
		life: time.Duration(session.Expiry) * time.Second, sliding: isTrue(session.Sliding), refresh: isTrue(session.Refresh), memory: env.Budget, next: next}
	var err error
	for _, p := range places(o) {
		if *p.at(g), err = parsePlace(*p.text); err != nil {
			return nil, fmt.Errorf("oidc.%s: %w", p.key, err)
		}
	}
	if g.rules, err = claims.NewRules(o.Claims, o.UsernameClaim, o.ForwardHeaders); err != nil {
		return nil, fmt.Errorf("oidc.%w", err)
	}
	g.access = asksAccess(g.rules.Paths())
	scopes := o.Scopes
	if len(scopes) == 0 {
		scopes = []string{"openid"}
	}
	g.scope = strings.Join(scopes, " ")
	g.authParams = authParams(o.AuthParams, scopes)

	name := localName(env.Name)
	g.state = &jar{name: orElse(state.Name, name+"-state"), path: state.Path, domain: state.Domain, maxAge: state.MaxAge, httpOnly: isTrue(state.HTTPOnly), secure: state.Secure}
	g.state.sameSite, _ = sameSiteOf(state.SameSite)
	g.session = &jar{name: orElse(session.Name, name+"-session"), path: session.Path, domain: session.Domain, maxAge: session.Expiry, httpOnly: isTrue(session.HTTPOnly), secure: session.Secure}
	g.session.sameSite, _ = sameSiteOf(session.SameSite)
	secret := sealSecret(o, session, env)
	if g.seals, err = newSealer(secret, "cookies "+env.Name+" "+o.ClientID); err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	if o.CSRF != nil {
		g.csrfHeader = orElse(o.CSRF.HeaderName, "Hub-Csrf-Token")
		// Pages read it, so it is not hidden from them.
		g.csrf = &jar{name: csrfCookie, path: session.Path, domain: session.Domain, maxAge: session.Expiry, sameSite: http.SameSiteLaxMode, secure: o.CSRF.Secure}
		if g.csrfKey, err = hkdf.Key(sha256.New, secret, []byte("sluice oidc"), "csrf "+env.Name+" "+o.ClientID, 32); err != nil {
			return nil, fmt.Errorf("oidc: deriving a key: %w", err)
		}
	}

	asker, err := outgoing.NewAsker(env, "oidc", o.ClientConfig)
	if err != nil {
		return nil, fmt.Errorf("oidc.%w", err)
	}
	g.patience = asker.Patience()
	client := &client{id: o.ClientID, secret: o.ClientSecret.Reveal(), issuer: orElse(o.TrustedIssuer, o.Issuer), anyIssuer: o.DisableIssuerCheck, asker: asker, log: env.Log}
	if client.discovery, err = discoveryURL(o.Issuer, o.DiscoveryParams); err != nil {
		return nil, fmt.Errorf("oidc.issuer: %w", err)
	}
	g.live = kept(env, "oidc\x00"+env.Name+"\x00"+fingerprint(o), func() *live { return newLive(client) })
	g.ended = kept(env, "oidc ended\x00"+env.Name, func() *ended { return &ended{} })
	if g.store, err = openStore(env, session.Store, g.life); err != nil {
		return nil, fmt.Errorf("oidc.session.store: %w", err)
	}
	return g, nil
}

// kept is what outlives changes of the configuration that leave its key alone.
func kept[T any](env middleware.Env, key string, make func() T) T {
	if env.State == nil {
		return make()
	}
	return env.State.Keep(key, func() any { return make() }).(T)
}

// fingerprint tells ways to ask a provider apart, secrets included, without showing them.
func fingerprint(o *dynamic.OIDC) string {
	parts := []string{o.Issuer, o.TrustedIssuer, fmt.Sprint(o.DisableIssuerCheck), o.ClientID, o.ClientSecret.Reveal(), fmt.Sprint(o.DiscoveryParams)} // fmt sorts maps
	if c := o.ClientConfig; c != nil {
		parts = append(parts, fmt.Sprint(c.TimeoutSeconds, c.MaxRetries), outgoing.Print(c.TLS))
	}
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d %s\n", len(p), p)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// sealSecret is what keys are derived from: a secret that all instances have, or one of this process.
func sealSecret(o *dynamic.OIDC, s *dynamic.OIDCSession, env middleware.Env) []byte {
	if s.Store != nil && !s.Store.Secret.IsZero() {
		return []byte(s.Store.Secret.Reveal())
	}
	if !o.ClientSecret.IsZero() {
		return []byte(o.ClientSecret.Reveal())
	}
	return kept(env, "oidc key\x00"+env.Name, func() []byte {
		key := make([]byte, 32)
		rand.Read(key) // never fails: it ends the process instead
		return key
	})
}

// authParams are the further parameters of an authorization request. A prompt that is empty is none; offline access needs
// the user's consent (OpenID Connect Core section 11).
func authParams(given map[string]string, scopes []string) map[string]string {
	out := map[string]string{}
	for name, value := range given {
		out[name] = value
	}
	prompt, there := out["prompt"]
	switch {
	case there && prompt == "":
		delete(out, "prompt")
	case !there && slices.Contains(scopes, "offline_access"):
		out["prompt"] = "consent"
	}
	return out
}

// localName is the name of a middleware without its provider, as a cookie may be called.
func localName(name string) string {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name = name[:i]
	}
	clean := []byte(name)
	for i, c := range clean {
		if !httpmsg.IsToken(httpmsg.View{c}) {
			clean[i] = '_'
		}
	}
	return orElse(string(clean[:min(len(clean), 64)]), "oidc")
}

func isTrue(b *bool) bool { return b == nil || *b }

func orElse(text, usual string) string {
	if text == "" {
		return usual
	}
	return text
}

// Package jwt lets requests pass that carry a signed token (RFC 7519), sent as RFC 6750 has it. The middleware's key is jwt.
//
// Keys are those of the configuration, or a set that a server publishes and rotates. A token that is not good gets 401, one
// whose claims are not good enough 403. Where it cannot be known, since keys could not be had, the answer is 503.
package jwt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/claims"
	"sluice/internal/traffic/middleware/jose"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

const (
	// shortSecret is the length below which a shared secret can be guessed, in bytes (RFC 7518 section 3.2).
	shortSecret = 32
	// maxLeeway bounds how wrong clocks may be.
	maxLeeway = time.Hour
	// maxForm is how much of a form is read to find a token in it, in bytes.
	maxForm = 256 << 10
)

// Kind is the row of jwt.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "jwt", Check: check, Build: build}
}

type guard struct {
	keys     jose.Source            // nil where they depend on the issuer
	byIssuer map[string]jose.Source // nil where they do not
	trusted  []string               // issuers; empty for any
	allowed  []string               // algorithms

	source   middleware.Token
	form     string // parameter of forms, empty for none
	forwards bool   // Authorization
	rules    *claims.Rules
	leeway   time.Duration
	patience time.Duration
	memory   *httpmsg.Budget // of forms
	next     httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.JWT
	bad := func(key, message, hint string) { l.Add(middleware.Bad("jwt."+key, message, hint)) }
	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{{"signingSecret", !o.SigningSecret.IsZero()}, {"publicKey", !o.PublicKey.IsZero()}, {"jwksFile", !o.JWKSFile.IsZero()}, {"jwksUrl", o.JWKSURL != ""}} {
		if way.set {
			ways = append(ways, way.key)
		}
	}
	switch {
	case len(ways) == 0:
		l.Add(middleware.Bad("jwt", "there are no keys", "give signingSecret, publicKey, jwksFile or jwksUrl"))
	case len(ways) > 1:
		bad(ways[1], "only one of "+strings.Join(ways, " and ")+" can be used", "a key set (jwksFile) may hold keys of several kinds")
	case o.JWKSURL != "":
		if _, err := keyURLs(o); err != nil {
			bad("jwksUrl", err.Error(), "write it like https://auth.example.com/keys, or as a path beside trustedIssuers")
		}
	default:
		set, err := static(o)
		if err != nil {
			bad(ways[0], err.Error(), "")
		} else if len(o.Algorithms) > 0 && !slices.ContainsFunc(o.Algorithms, func(a string) bool { return slices.Contains(set.Algorithms(), a) }) {
			bad("algorithms", "the keys are good for none of these", "they are good for "+strings.Join(set.Algorithms(), ", "))
		}
		if secret, err := secretOf(o); ways[0] == "signingSecret" && err == nil && len(secret) < shortSecret {
			l.Add(middleware.Odd("jwt.signingSecret", fmt.Sprintf("%d bytes can be guessed from any token", len(secret)), "use 32 random bytes or more: openssl rand -base64 32"))
		}
	}
	for i, err := range jose.CheckAlgorithms(o.Algorithms) {
		bad(fmt.Sprintf("algorithms[%d]", i), err.Error(), "")
	}
	if o.JWKSURL != "" && len(o.Algorithms) > 0 && !slices.ContainsFunc(o.Algorithms, func(a string) bool { return slices.Contains(jose.Asymmetric(), a) }) {
		bad("algorithms", "keys that are published cannot be secret", "use RS256 or ES256")
	}
	for i, issuer := range o.TrustedIssuers {
		if issuer == "" {
			bad(fmt.Sprintf("trustedIssuers[%d]", i), "it is empty", "")
		}
	}
	if o.Leeway < 0 || o.Leeway.Std() > maxLeeway {
		bad("leeway", "it is not from 0s to 1h", "the usual one is 10s")
	}
	if o.TokenKey != "" {
		l.Add(diag.Finding{Severity: diag.Info, Key: "jwt.tokenKey", Code: "ODD-VALUE",
			Message: "tokens in URLs end up in logs and histories", Hint: "have clients send them in Authorization (RFC 6750 section 5.3)"})
	}
	l = append(l, claims.CheckRules("jwt", o.Claims, o.UsernameClaim, o.ForwardHeaders)...)
	return append(l, outgoing.CheckAsker("jwt.clientConfig", o.ClientConfig)...)
}

// secretOf returns the shared secret.
func secretOf(o *dynamic.JWT) ([]byte, error) {
	text := o.SigningSecret.Reveal()
	if !o.SigningSecretBase64Encoded {
		return []byte(text), nil
	}
	for _, e := range [...]*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if secret, err := e.DecodeString(strings.TrimSpace(text)); err == nil {
			return secret, nil
		}
	}
	return nil, errors.New("it is not in base64")
}

// static returns the keys of the configuration.
func static(o *dynamic.JWT) (*jose.Set, error) {
	switch {
	case !o.SigningSecret.IsZero():
		secret, err := secretOf(o)
		if err != nil {
			return nil, err
		}
		return jose.Secret(secret)
	case !o.PublicKey.IsZero():
		if o.PublicKey.Content.IsZero() {
			return nil, errors.New("the file cannot be read, or is empty")
		}
		return jose.PublicKeys([]byte(o.PublicKey.Content.Reveal()))
	default:
		if o.JWKSFile.Content.IsZero() {
			return nil, errors.New("the file cannot be read, or is empty")
		}
		return jose.ParseSet([]byte(o.JWKSFile.Content.Reveal()), true)
	}
}

// keyURLs returns where keys are, by issuer; under "" where the issuer does not matter.
func keyURLs(o *dynamic.JWT) (map[string]*url.URL, error) {
	if !strings.HasPrefix(o.JWKSURL, "/") {
		u, err := outgoing.ParseURL(o.JWKSURL)
		return map[string]*url.URL{"": u}, err
	}
	if len(o.TrustedIssuers) == 0 {
		// An issuer that nobody has vouched for would be asked for the keys to its own tokens.
		return nil, errors.New("a bare path needs trustedIssuers: whoever makes a token would choose the server of its keys")
	}
	out := map[string]*url.URL{}
	for _, issuer := range o.TrustedIssuers {
		u, err := outgoing.ParseURL(strings.TrimSuffix(issuer, "/") + o.JWKSURL)
		if err != nil {
			return nil, fmt.Errorf("below the issuer %q: %w", issuer, err)
		}
		out[issuer] = u
	}
	return out, nil
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.JWT
	g := &guard{trusted: o.TrustedIssuers, allowed: o.Algorithms, form: o.TokenKey, forwards: o.ForwardAuthorization, leeway: o.Leeway.Std(), memory: env.Budget, next: next}
	g.source = middleware.NewToken(&dynamic.TokenSource{Header: "Authorization", HeaderAuthScheme: "Bearer", Query: o.TokenKey})
	var err error
	if g.rules, err = claims.NewRules(o.Claims, o.UsernameClaim, o.ForwardHeaders); err != nil {
		return nil, fmt.Errorf("jwt.%w", err)
	}
	if o.JWKSURL == "" {
		set, err := static(o)
		if err != nil {
			return nil, fmt.Errorf("jwt: %w", err)
		}
		if g.keys = set; len(g.allowed) == 0 {
			g.allowed = set.Algorithms()
		}
		return g, nil
	}
	if g.allowed = jose.Asymmetric(); len(o.Algorithms) > 0 {
		g.allowed = slices.DeleteFunc(g.allowed, func(a string) bool { return !slices.Contains(o.Algorithms, a) })
	}
	asker, err := outgoing.NewAsker(env, "jwt", o.ClientConfig)
	if err != nil {
		return nil, fmt.Errorf("jwt.%w", err)
	}
	g.patience = asker.Patience()
	urls, err := keyURLs(o)
	if err != nil {
		return nil, fmt.Errorf("jwt.jwksUrl: %w", err)
	}
	for issuer, u := range urls {
		keys := published(env, o, asker, u)
		if issuer == "" {
			g.keys = keys
			return g, nil
		}
		if g.byIssuer == nil {
			g.byIssuer = map[string]jose.Source{}
		}
		g.byIssuer[issuer] = keys
	}
	return g, nil
}

// published returns the key set at an address, shared by all routers and kept as long as the middleware asks for it in the
// same way.
func published(env middleware.Env, o *dynamic.JWT, asker *outgoing.Asker, u *url.URL) *jose.Remote {
	fresh := func() any { return jose.NewRemote(asker, u, env.Log) }
	if env.State == nil {
		return fresh().(*jose.Remote)
	}
	how := "\x00"
	if c := o.ClientConfig; c != nil {
		how = fmt.Sprintf("%d %d\x00%s", c.TimeoutSeconds, c.MaxRetries, outgoing.Print(c.TLS))
	}
	return env.State.Keep("jwt keys\x00"+env.Name+"\x00"+u.String()+"\x00"+how, fresh).(*jose.Remote)
}

// Answers to those who do not pass. They are never changed.
var (
	missing = fault.New(fault.Unauthorized, "jwt: the request has no token", nil)
	unfit   = fault.New(fault.Forbidden, "jwt: the claims of the token are not good enough", nil)
)

// Challenges of RFC 6750 section 3.
var (
	anonymous = middleware.NewChallenge("Bearer")
	invalid   = middleware.NewChallenge(`Bearer error="invalid_token"`)
)

// Serve implements httpmsg.Handler.
func (g *guard) Serve(x *httpmsg.Exchange) error {
	g.rules.Clear(x)
	text, ok, err := g.token(x)
	if err != nil {
		return err
	}
	if !ok {
		x.OnCommit(anonymous)
		return missing
	}
	set, err := g.verify(x, string(text))
	switch {
	case err == nil:
	case refused(err):
		x.OnCommit(invalid)
		return fault.New(fault.Unauthorized, "jwt", err)
	case x.Cancelled() != nil:
		return fault.New(fault.ClientGone, "jwt: waiting for keys", x.Cancelled())
	default:
		return fault.New(fault.AuthUnavailable, "jwt: getting keys", err)
	}
	if !g.rules.Admit(x, set) {
		return unfit
	}
	if !g.forwards {
		x.Req.Header.DelID(httpmsg.HdrAuthorization)
	}
	return g.next.Serve(x)
}

// errIssuer is a token of somebody who is not trusted.
var errIssuer = errors.New("the issuer of the token is not trusted")

// refused reports whether an error says that the token is not good.
func refused(err error) bool {
	switch err {
	case errIssuer, errClaims, jose.ErrExpired, jose.ErrTooEarly, jose.ErrTimes:
		return true
	}
	return jose.Refused(err)
}

// errClaims is a token that says nothing.
var errClaims = errors.New("the token has no claims")

// verify returns the claims of a token that is good.
func (g *guard) verify(x *httpmsg.Exchange, text string) (claims.Set, error) {
	token, err := jose.Parse(text, g.allowed)
	if err != nil {
		return nil, err
	}
	keys := g.keys
	if g.byIssuer != nil {
		said, err := claims.Decode(token.Unverified())
		if err != nil {
			return nil, errClaims
		}
		if keys = g.byIssuer[said.String("iss")]; keys == nil {
			return nil, errIssuer
		}
	}
	var payload []byte
	if fixed, ok := keys.(*jose.Set); ok {
		payload, err = fixed.Verify(token)
	} else {
		ctx, end := outgoing.Within(x, g.patience)
		payload, err = jose.Verify(ctx, keys, token)
		end()
	}
	if err != nil {
		return nil, err
	}
	set, err := claims.Decode(payload)
	if err != nil {
		return nil, errClaims
	}
	if err := jose.CheckTimes(set, time.Now(), g.leeway); err != nil {
		return nil, err
	}
	if len(g.trusted) > 0 && !slices.Contains(g.trusted, set.String("iss")) {
		return nil, errIssuer
	}
	return set, nil
}

// token finds the token: in Authorization, the query, or a form. An error breaks the request.
func (g *guard) token(x *httpmsg.Exchange) (text []byte, ok bool, err error) {
	if text, ok = g.source.Of(x); ok || text != nil || g.form == "" {
		return text, ok, nil
	}
	form, _, err := spool.Form(x, maxForm, g.memory)
	if err != nil {
		return nil, false, err
	}
	value, times := middleware.QueryValue(form, g.form)
	return []byte(value), times == 1 && value != "", nil
}

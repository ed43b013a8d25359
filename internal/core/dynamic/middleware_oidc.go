package dynamic

import "sluice/internal/core/secret"

// OIDC logs users in by OpenID Connect and keeps a session for them.
type OIDC struct {
	// Issuer is the provider's URL; its discovery document is fetched from there. Required.
	Issuer string `json:"issuer,omitempty"`
	// TrustedIssuer is the issuer that tokens must name where it differs from Issuer.
	TrustedIssuer string `json:"trustedIssuer,omitempty"`
	// DisableIssuerCheck accepts tokens of any issuer.
	DisableIssuerCheck bool `json:"disableIssuerCheck,omitempty"`
	// RedirectURL is where the provider sends users back to. Required.
	RedirectURL string `json:"redirectUrl,omitempty"`
	// ClientID of ours at the provider. Required.
	ClientID string `json:"clientId,omitempty"`
	// ClientSecret of ours at the provider.
	ClientSecret secret.String `json:"clientSecret,omitzero"`
	// Scopes asked for. Default openid.
	Scopes []string `json:"scopes,omitempty"`
	// PKCE protects the code (RFC 7636).
	PKCE bool `json:"pkce,omitempty"`
	// DiscoveryParams are added to the discovery request.
	DiscoveryParams map[string]string `json:"discoveryParams,omitempty"`
	// AuthParams are added to the authorization request.
	AuthParams map[string]string `json:"authParams,omitempty"`
	// DisableLogin answers 401 instead of starting a login.
	DisableLogin bool `json:"disableLogin,omitempty"`
	// LoginURL starts a login. Empty: every request without a session does.
	LoginURL string `json:"loginUrl,omitempty"`
	// LogoutURL ends the session.
	LogoutURL string `json:"logoutUrl,omitempty"`
	// PostLoginRedirectURL is where users go after a login. Empty: where they wanted to go.
	PostLoginRedirectURL string `json:"postLoginRedirectUrl,omitempty"`
	// PostLogoutRedirectURL is where users go after a logout.
	PostLogoutRedirectURL string `json:"postLogoutRedirectUrl,omitempty"`
	// BackchannelLogoutURL is where the provider tells us about logouts.
	BackchannelLogoutURL string `json:"backchannelLogoutUrl,omitempty"`
	// BackchannelLogoutSessionsRequired demands that it names the session.
	BackchannelLogoutSessionsRequired bool `json:"backchannelLogoutSessionsRequired,omitempty"`
	// Claims is an expression over the claims that must hold. Empty: none.
	Claims string `json:"claims,omitempty"`
	// UsernameClaim is the claim that the access log shows as user.
	UsernameClaim string `json:"usernameClaim,omitempty"`
	// ForwardHeaders are request headers to be set, with the claim that each takes.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
	// ClientConfig is how the provider is asked.
	ClientConfig *IdentityClient `json:"clientConfig,omitempty"`
	// StateCookie holds the state of a login under way.
	StateCookie *OIDCStateCookie `json:"stateCookie,omitempty"`
	// Session is what a logged-in user has.
	Session *OIDCSession `json:"session,omitempty"`
	// CSRF protects sessions against requests from other sites. Absent: off.
	CSRF *OIDCCSRF `json:"csrf,omitempty"`
}

// SetDefaults sets scopes [openid], and the state cookie and the session with their defaults.
func (o *OIDC) SetDefaults() {
	o.Scopes = []string{"openid"}
	o.StateCookie = &OIDCStateCookie{}
	o.StateCookie.SetDefaults()
	o.Session = &OIDCSession{}
	o.Session.SetDefaults()
}

// OIDCStateCookie holds the state of a login under way.
type OIDCStateCookie struct {
	// Name of the cookie. Empty: derived from the middleware's name.
	Name string `json:"name,omitempty"`
	// Path of the cookie. Default "/".
	Path string `json:"path,omitempty"`
	// Domain of the cookie. Empty: the host.
	Domain string `json:"domain,omitempty"`
	// MaxAge in seconds. Default 600.
	MaxAge int `json:"maxAge,omitempty"`
	// SameSite is none, lax or strict. Default lax.
	SameSite string `json:"sameSite,omitempty"`
	// HTTPOnly hides it from scripts. Unset: true.
	HTTPOnly *bool `json:"httpOnly,omitempty"`
	// Secure sends it over TLS only.
	Secure bool `json:"secure,omitempty"`
}

// SetDefaults sets path "/", maxAge 600, sameSite lax and httpOnly true.
func (c *OIDCStateCookie) SetDefaults() {
	c.Path = "/"
	c.MaxAge = 600
	c.SameSite = "lax"
	c.HTTPOnly = new(true)
}

// OIDCSession is what a logged-in user has.
type OIDCSession struct {
	// Name of the cookie. Empty: derived from the middleware's name.
	Name string `json:"name,omitempty"`
	// Path of the cookie. Default "/".
	Path string `json:"path,omitempty"`
	// Domain of the cookie. Empty: the host.
	Domain string `json:"domain,omitempty"`
	// Expiry in seconds. Default 86400.
	Expiry int `json:"expiry,omitempty"`
	// Sliding counts Expiry from the last request instead of the login. Unset: true.
	Sliding *bool `json:"sliding,omitempty"`
	// Refresh renews the token with the provider when it runs out. Unset: true.
	Refresh *bool `json:"refresh,omitempty"`
	// SameSite is none, lax or strict. Default lax.
	SameSite string `json:"sameSite,omitempty"`
	// HTTPOnly hides the cookie from scripts. Unset: true.
	HTTPOnly *bool `json:"httpOnly,omitempty"`
	// Secure sends the cookie over TLS only.
	Secure bool `json:"secure,omitempty"`
	// Store keeps sessions outside the cookie. Absent: they are in the cookie, encrypted.
	Store *TokenStore `json:"store,omitempty"`
}

// SetDefaults sets path "/", expiry 86400, sliding, refresh and httpOnly true and sameSite lax.
func (s *OIDCSession) SetDefaults() {
	s.Path = "/"
	s.Expiry = 86400
	s.Sliding = new(true)
	s.Refresh = new(true)
	s.SameSite = "lax"
	s.HTTPOnly = new(true)
}

// OIDCCSRF protects sessions against requests from other sites.
type OIDCCSRF struct {
	// Secure sends the cookie over TLS only.
	Secure bool `json:"secure,omitempty"`
	// HeaderName is the header that requests carry the token in. Default Hub-Csrf-Token.
	HeaderName string `json:"headerName,omitempty"`
}

// SetDefaults sets headerName Hub-Csrf-Token.
func (c *OIDCCSRF) SetDefaults() { c.HeaderName = "Hub-Csrf-Token" }

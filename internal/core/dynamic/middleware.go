package dynamic

import (
	"maps"
	"slices"
)

// Middleware is one step between router and service. Exactly one kind must be set. The kinds with a plugin tag may also
// be written below plugin, as the edition of Traefik that sells them has it.
type Middleware struct {
	// AddPrefix puts a prefix in front of the path.
	AddPrefix *AddPrefix `json:"addPrefix,omitempty"`
	// StripPrefix takes a prefix off the path.
	StripPrefix *StripPrefix `json:"stripPrefix,omitempty"`
	// StripPrefixRegex takes a matching prefix off the path.
	StripPrefixRegex *StripPrefixRegex `json:"stripPrefixRegex,omitempty"`
	// ReplacePath replaces the whole path.
	ReplacePath *ReplacePath `json:"replacePath,omitempty"`
	// ReplacePathRegex replaces what matches in the path.
	ReplacePathRegex *ReplacePathRegex `json:"replacePathRegex,omitempty"`
	// Chain is a list of middlewares under one name.
	Chain *Chain `json:"chain,omitempty"`
	// IPWhiteList is the older name of IPAllowList and works the same. Deprecated.
	IPWhiteList *IPWhiteList `json:"ipWhiteList,omitempty" sluice:"v2"`
	// IPAllowList accepts listed clients only.
	IPAllowList *IPAllowList `json:"ipAllowList,omitempty"`
	// Headers sets headers, answers CORS preflights and adds security headers.
	Headers *Headers `json:"headers,omitempty"`
	// EncodedCharacters refuses paths that hold certain percent-codes.
	EncodedCharacters *EncodedCharacters `json:"encodedCharacters,omitempty"`
	// Errors replaces error answers by pages from a service.
	Errors *Errors `json:"errors,omitempty"`
	// RateLimit bounds the requests of a source over time.
	RateLimit *RateLimit `json:"rateLimit,omitempty"`
	// RedirectRegex redirects to an address made from the requested one.
	RedirectRegex *RedirectRegex `json:"redirectRegex,omitempty"`
	// RedirectScheme redirects to another scheme.
	RedirectScheme *RedirectScheme `json:"redirectScheme,omitempty"`
	// BasicAuth asks for a name and password (RFC 7617).
	BasicAuth *BasicAuth `json:"basicAuth,omitempty"`
	// DigestAuth asks for a name and password without sending it (RFC 7616).
	DigestAuth *DigestAuth `json:"digestAuth,omitempty"`
	// ForwardAuth asks a server whether the request may pass.
	ForwardAuth *ForwardAuth `json:"forwardAuth,omitempty"`
	// InFlightReq bounds the simultaneous requests of a source.
	InFlightReq *InFlightReq `json:"inFlightReq,omitempty"`
	// Buffering reads whole bodies before passing them on.
	Buffering *Buffering `json:"buffering,omitempty"`
	// CircuitBreaker stops asking a service that fails.
	CircuitBreaker *CircuitBreaker `json:"circuitBreaker,omitempty"`
	// Compress encodes response bodies.
	Compress *Compress `json:"compress,omitempty" sluice:"section"`
	// PassTLSClientCert tells the server about the client's certificate.
	PassTLSClientCert *PassTLSClientCert `json:"passTLSClientCert,omitempty"`
	// Retry sends a request again that failed.
	Retry *Retry `json:"retry,omitempty"`
	// ContentType guesses the type of responses that do not tell it.
	ContentType *ContentType `json:"contentType,omitempty" sluice:"section"`
	// GRPCWeb turns gRPC-Web into gRPC.
	GRPCWeb *GRPCWeb `json:"grpcWeb,omitempty"`
	// Plugin holds one extension by name with its free-form options. Keys that belong to fields with a plugin tag are
	// not found here: they are read into those fields.
	Plugin map[string]map[string]any `json:"plugin,omitempty"`

	// JWT accepts requests with a valid signed token (RFC 7519).
	JWT *JWT `json:"jwt,omitempty" sluice:"plugin=jwt"`
	// OIDC logs users in by OpenID Connect.
	OIDC *OIDC `json:"oidc,omitempty" sluice:"plugin=oidc"`
	// OAuthIntrospection asks an authorization server about the token of a request (RFC 7662).
	OAuthIntrospection *OAuthIntrospection `json:"oAuthIntrospection,omitempty" sluice:"plugin=oAuthIntrospection"`
	// OAuthClientCredentials exchanges the client's credentials for a token (RFC 6749, section 4.4).
	OAuthClientCredentials *OAuthClientCredentials `json:"oAuthClientCredentials,omitempty" sluice:"plugin=oAuthClientCredentials"`
	// LDAP checks name and password against a directory.
	LDAP *LDAP `json:"ldap,omitempty" sluice:"plugin=ldap"`
	// APIKey accepts requests with a listed key.
	APIKey *APIKey `json:"apiKey,omitempty" sluice:"plugin=apiKey"`
	// HMAC accepts requests that are signed with a shared key.
	HMAC *HMAC `json:"hmac,omitempty" sluice:"plugin=hmac"`
	// OPA asks an Open Policy Agent.
	OPA *OPA `json:"opa,omitempty" sluice:"plugin=opa"`
	// WAF refuses requests that rules find hostile.
	WAF *WAF `json:"waf,omitempty" sluice:"plugin=coraza"`
	// DistributedRateLimit bounds the requests of a source over all instances together.
	DistributedRateLimit *DistributedRateLimit `json:"distributedRateLimit,omitempty" sluice:"plugin=distributedRateLimit"`
	// HTTPCache answers from stored responses (RFC 9111).
	HTTPCache *HTTPCache `json:"httpCache,omitempty" sluice:"section,plugin=httpCache"`
	// Policy lets requests pass that a rule allows. Sluice's own.
	Policy *Policy `json:"policy,omitempty"`
	// BodyLimit refuses large request bodies without buffering them. Sluice's own.
	BodyLimit *BodyLimit `json:"bodyLimit,omitempty"`
	// IPBan shuts out clients that cause many errors. Sluice's own.
	IPBan *IPBan `json:"ipBan,omitempty" sluice:"section"`
	// Maintenance answers every request with a notice. Sluice's own.
	Maintenance *Maintenance `json:"maintenance,omitempty" sluice:"section"`
}

// Kinds returns the file spelling of the kinds that are set, in the order of the struct, and then each plugin as
// plugin.NAME. A sound middleware has one.
func (m *Middleware) Kinds() []string {
	names := setPointers(m)
	for _, name := range slices.Sorted(maps.Keys(m.Plugin)) {
		names = append(names, "plugin."+name)
	}
	return names
}

// Chain is a list of middlewares under one name.
type Chain struct {
	// Middlewares are applied in this order. Required.
	Middlewares []string `json:"middlewares,omitempty"`
}

package dynamic

import "sluice/internal/core/secret"

// IdentityClient is how middlewares ask identity servers.
type IdentityClient struct {
	// TLS is how we connect to them.
	TLS *ClientTLS `json:"tls,omitempty"`
	// TimeoutSeconds of one request. Default 5.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// MaxRetries after a failed request. Default 3.
	MaxRetries int `json:"maxRetries,omitempty"`
}

// SetDefaults sets timeoutSeconds 5 and maxRetries 3.
func (c *IdentityClient) SetDefaults() {
	c.TimeoutSeconds = 5
	c.MaxRetries = 3
}

// TokenSource says where a token or key stands in the request.
type TokenSource struct {
	// Header is the name of a header.
	Header string `json:"header,omitempty"`
	// HeaderAuthScheme is the word in front of the token in Header, such as Bearer.
	HeaderAuthScheme string `json:"headerAuthScheme,omitempty"`
	// Query is the name of a query parameter.
	Query string `json:"query,omitempty"`
	// Cookie is the name of a cookie.
	Cookie string `json:"cookie,omitempty"`
}

// APIKey accepts requests with a listed key.
type APIKey struct {
	// KeySource says where the key stands. Required.
	KeySource *TokenSource `json:"keySource,omitempty"`
	// SecretNonBase64Encoded says that clients send their keys as they are. False: in base64.
	SecretNonBase64Encoded bool `json:"secretNonBase64Encoded,omitempty"`
	// SecretValues are hashes of the keys that are accepted, as htpasswd makes them. These or Keys are required.
	SecretValues []secret.String `json:"secretValues,omitempty"`
	// Keys are keys whose holders are known. Sluice's own.
	Keys []*APIKeyHolder `json:"keys,omitempty"`
	// ForwardHeaders are request headers to be set, with the entry of the holder's Metadata that each takes; "id" stands for
	// the holder's ID. Sluice's own.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
}

// APIKeyHolder is somebody with a key.
type APIKeyHolder struct {
	// ID names the holder in the access log. Required.
	ID string `json:"id,omitempty"`
	// SecretValue is the hash of the key. Required.
	SecretValue secret.String `json:"secretValue,omitzero"`
	// Metadata is what servers may be told about the holder.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// HMAC accepts requests that are signed with a shared key.
type HMAC struct {
	// Keys are the keys by identifier. Required.
	Keys []*HMACKey `json:"keys,omitempty"`
	// ValidateDigest compares the body with the Digest header, which must be signed. Unset: true.
	ValidateDigest *bool `json:"validateDigest,omitempty"`
	// EnforcedHeaders must be signed. Default (request-target), (created), (expires).
	EnforcedHeaders []string `json:"enforcedHeaders,omitempty"`
	// MaxBodyBytes is the largest body whose digest is computed, -1 for any. Default 64 MiB. Sluice's own.
	MaxBodyBytes int64 `json:"maxBodyBytes,omitempty"`
	// Leeway is by how much clocks may differ. Default 10s. Sluice's own.
	Leeway Duration `json:"leeway,omitempty"`
}

// SetDefaults sets validateDigest true, the enforced headers, maxBodyBytes 64 MiB and leeway 10s.
func (h *HMAC) SetDefaults() {
	h.ValidateDigest = new(true)
	h.EnforcedHeaders = []string{"(request-target)", "(created)", "(expires)"}
	h.MaxBodyBytes = 64 << 20
	h.Leeway = Seconds(10)
}

// HMACKey is a shared key.
type HMACKey struct {
	// ID is what requests name it by.
	ID string `json:"id,omitempty"`
	// Key is the secret.
	Key secret.String `json:"key,omitzero"`
}

// JWT accepts requests with a valid signed token (RFC 7519).
type JWT struct {
	// SigningSecret is the shared key of HMAC signatures.
	SigningSecret secret.String `json:"signingSecret,omitzero"`
	// SigningSecretBase64Encoded says that SigningSecret is in base64.
	SigningSecretBase64Encoded bool `json:"signingSecretBase64Encoded,omitempty"`
	// PublicKey verifies other signatures: path or PEM.
	PublicKey Material `json:"publicKey,omitzero"`
	// JWKSFile is a set of keys (RFC 7517): path or content.
	JWKSFile Material `json:"jwksFile,omitzero"`
	// JWKSURL is where a set of keys is fetched from. A bare path stands below the token's issuer, which must be one of
	// TrustedIssuers.
	JWKSURL string `json:"jwksUrl,omitempty"`
	// TrustedIssuers are the URLs of those whose tokens are accepted, as the claim iss has them. Empty: any. Sluice's own.
	TrustedIssuers []string `json:"trustedIssuers,omitempty"`
	// Algorithms that tokens may be signed with. Empty: all that the keys are good for. Sluice's own.
	Algorithms []string `json:"algorithms,omitempty"`
	// Leeway is by how much clocks may differ. Default 10s. Sluice's own.
	Leeway Duration `json:"leeway,omitempty"`
	// ForwardAuthorization leaves Authorization on the request.
	ForwardAuthorization bool `json:"forwardAuthorization,omitempty"`
	// TokenKey is the query or form parameter that may hold the token. Empty: the header only.
	TokenKey string `json:"tokenKey,omitempty"`
	// Claims is an expression over the claims that must hold. Empty: none.
	Claims string `json:"claims,omitempty"`
	// UsernameClaim is the claim that the access log shows as user.
	UsernameClaim string `json:"usernameClaim,omitempty"`
	// ForwardHeaders are request headers to be set, with the claim that each takes.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
	// ClientConfig is how keys are fetched.
	ClientConfig *IdentityClient `json:"clientConfig,omitempty"`
}

// SetDefaults sets leeway 10s.
func (j *JWT) SetDefaults() { j.Leeway = Seconds(10) }

// OAuthIntrospection asks an authorization server about the token of a request (RFC 7662).
type OAuthIntrospection struct {
	// ClientConfig is the server and how it is asked. Required.
	ClientConfig *IntrospectionClient `json:"clientConfig,omitempty"`
	// TokenSource says where the token stands.
	TokenSource *TokenSource `json:"tokenSource,omitempty"`
	// Claims is an expression over the answer that must hold. Empty: none.
	Claims string `json:"claims,omitempty"`
	// ForwardAuthorization leaves Authorization on the request.
	ForwardAuthorization bool `json:"forwardAuthorization,omitempty"`
	// ForwardHeaders are request headers to be set, with the claim that each takes.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
	// UsernameClaim is the claim that the access log shows as user.
	UsernameClaim string `json:"usernameClaim,omitempty"`
}

// IntrospectionClient is an introspection server and how it is asked.
type IntrospectionClient struct {
	// URL of the introspection endpoint. Required.
	URL string `json:"url,omitempty"`
	// Headers are added to the request, such as our own Authorization.
	Headers map[string]string `json:"headers,omitempty"`
	// TokenTypeHint is sent along.
	TokenTypeHint string `json:"tokenTypeHint,omitempty"`
	// TLS is how we connect.
	TLS *ClientTLS `json:"tls,omitempty"`
	// TimeoutSeconds of one request. Default 5.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// MaxRetries after a failed request. Default 3.
	MaxRetries int `json:"maxRetries,omitempty"`
}

// SetDefaults sets timeoutSeconds 5 and maxRetries 3.
func (c *IntrospectionClient) SetDefaults() {
	c.TimeoutSeconds = 5
	c.MaxRetries = 3
}

// OAuthClientCredentials exchanges the client's credentials for a token (RFC 6749, section 4.4).
type OAuthClientCredentials struct {
	// URL of the token endpoint. Required.
	URL string `json:"url,omitempty"`
	// Audience asked for.
	Audience string `json:"audience,omitempty"`
	// ClientID of our own. Empty: that of the request.
	ClientID string `json:"clientID,omitempty"`
	// ClientSecret of our own. Empty: that of the request.
	ClientSecret secret.String `json:"clientSecret,omitzero"`
	// Claims is an expression over the token's claims that must hold. Empty: none.
	Claims string `json:"claims,omitempty"`
	// UsernameClaim is the claim that the access log shows as user.
	UsernameClaim string `json:"usernameClaim,omitempty"`
	// ForwardHeaders are request headers to be set, with the claim that each takes.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
	// ClientConfig is how the endpoint is asked.
	ClientConfig *IdentityClient `json:"clientConfig,omitempty"`
	// Store keeps tokens that several instances share.
	Store *TokenStore `json:"store,omitempty"`
}

// TokenStore keeps tokens or sessions that several instances share.
type TokenStore struct {
	// KeyPrefix stands before each key.
	KeyPrefix string `json:"keyPrefix,omitempty"`
	// Secret encrypts what is stored.
	Secret secret.String `json:"secret,omitzero"`
	// Redis is the only kind of store.
	Redis *RedisStore `json:"redis,omitempty"`
}

// LDAP checks name and password of basic authentication against a directory.
type LDAP struct {
	// URL of the directory, ldap:// or ldaps://. Required.
	URL string `json:"url,omitempty"`
	// StartTLS switches a plain connection to TLS.
	StartTLS bool `json:"startTLS,omitempty"`
	// CertificateAuthority is the only authority that is trusted: path or PEM. Empty: the system's.
	CertificateAuthority Material `json:"certificateAuthority,omitzero"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// BindDN is who searches. Empty: the user binds directly.
	BindDN string `json:"bindDN,omitempty"`
	// BindPassword belongs to BindDN.
	BindPassword secret.String `json:"bindPassword,omitzero"`
	// ConnPool bounds the connections.
	ConnPool *LDAPPool `json:"connPool,omitempty"`
	// BaseDN is where users are. Required.
	BaseDN string `json:"baseDN,omitempty"`
	// Attribute that holds the name. Default cn.
	Attribute string `json:"attribute,omitempty"`
	// SearchFilter finds users; %s stands for the name. Empty: no search.
	SearchFilter string `json:"searchFilter,omitempty"`
	// ForwardUsername sends the name to the server.
	ForwardUsername bool `json:"forwardUsername,omitempty"`
	// ForwardUsernameHeader is the header that it is sent in. Default Username.
	ForwardUsernameHeader string `json:"forwardUsernameHeader,omitempty"`
	// ForwardAuthorization leaves Authorization on the request.
	ForwardAuthorization bool `json:"forwardAuthorization,omitempty"`
	// WWWAuthenticateHeader makes browsers ask for name and password.
	WWWAuthenticateHeader bool `json:"wwwAuthenticateHeader,omitempty"`
	// WWWAuthenticateHeaderRealm is the realm shown then.
	WWWAuthenticateHeaderRealm string `json:"wwwAuthenticateHeaderRealm,omitempty"`
}

// SetDefaults sets attribute cn and forwardUsernameHeader Username.
func (l *LDAP) SetDefaults() {
	l.Attribute = "cn"
	l.ForwardUsernameHeader = "Username"
}

// LDAPPool bounds the connections to a directory.
type LDAPPool struct {
	// Size is how many are kept. Default 10.
	Size int `json:"size,omitempty"`
	// Burst is how many more may be opened for a while. Default 5.
	Burst int `json:"burst,omitempty"`
	// TTL is how long one is used. Default 60s.
	TTL Duration `json:"ttl,omitempty"`
}

// SetDefaults sets size 10, burst 5 and ttl 60s.
func (p *LDAPPool) SetDefaults() {
	p.Size = 10
	p.Burst = 5
	p.TTL = Seconds(60)
}

// OPA asks an Open Policy Agent.
type OPA struct {
	// URL is the address of an Open Policy Agent, whose data API is asked. Required. Sluice's own.
	URL string `json:"url,omitempty"`
	// ClientConfig is how it is asked. Sluice's own.
	ClientConfig *IdentityClient `json:"clientConfig,omitempty"`
	// Policy is the policy's text, path or content. It is not evaluated here: the agent is to have it.
	Policy string `json:"policy,omitempty"`
	// BundlePath is the path of a bundle, instead of Policy. It is not read here: the agent is to have it.
	BundlePath string `json:"bundlePath,omitempty"`
	// Allow is what must be true for a request to pass, such as data.example.allow. It or ForwardHeaders is required.
	Allow string `json:"allow,omitempty"`
	// ForwardHeaders are request headers to be set, with the document that each takes, such as data.example.group.
	ForwardHeaders map[string]string `json:"forwardHeaders,omitempty"`
}

// Policy lets requests pass that a rule allows. Sluice's own.
type Policy struct {
	// Allow is a rule over the request, in the language of routers, that must hold. It or Users is required.
	Allow string `json:"allow,omitempty"`
	// Users are the names, of which the request's user must be one. A middleware before this one must have verified it.
	Users []string `json:"users,omitempty"`
	// IPStrategy says which address ClientIP sees. Absent: the peer's.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty"`
	// RejectStatusCode is what others get. Default 403.
	RejectStatusCode int `json:"rejectStatusCode,omitempty"`
}

// SetDefaults sets rejectStatusCode 403.
func (p *Policy) SetDefaults() { p.RejectStatusCode = 403 }

package dynamic

import "sluice/internal/core/secret"

// DefaultRealm is the realm of basicAuth and digestAuth where none or an empty one is written.
const DefaultRealm = "traefik"

// BasicAuth asks for a name and password (RFC 7617).
type BasicAuth struct {
	// Users are name:hash with a bcrypt, {SHA}, Apache MD5, SHA-256 or SHA-512 hash. They win over UsersFile.
	Users []secret.String `json:"users,omitempty"`
	// UsersFile is the path of a file with one user per line; # begins a comment line. Changes of it are followed.
	UsersFile Material `json:"usersFile,omitzero"`
	// Realm is shown to the user. Default traefik.
	Realm string `json:"realm,omitempty"`
	// RemoveHeader drops Authorization before the server.
	RemoveHeader bool `json:"removeHeader,omitempty"`
	// HeaderField is a request header that is set to the user's name. Empty: none.
	HeaderField string `json:"headerField,omitempty"`
}

// SetDefaults sets realm traefik.
func (b *BasicAuth) SetDefaults() { b.Realm = DefaultRealm }

// DigestAuth asks for a name and password without sending it (RFC 7616, MD5 and qop auth only).
type DigestAuth struct {
	// Users are name:realm:HA1, HA1 being the hexadecimal MD5 of name:realm:password.
	Users []secret.String `json:"users,omitempty"`
	// UsersFile is the path of a file with one user per line; # begins a comment line. Changes of it are followed.
	UsersFile Material `json:"usersFile,omitzero"`
	// Realm is shown to the user, and part of HA1. Default traefik.
	Realm string `json:"realm,omitempty"`
	// RemoveHeader drops Authorization before the server.
	RemoveHeader bool `json:"removeHeader,omitempty"`
	// HeaderField is a request header that is set to the user's name. Empty: none.
	HeaderField string `json:"headerField,omitempty"`
}

// SetDefaults sets realm traefik.
func (d *DigestAuth) SetDefaults() { d.Realm = DefaultRealm }

// ForwardAuth asks a server whether the request may pass.
type ForwardAuth struct {
	// Address is the URL of the server. Required.
	Address string `json:"address,omitempty"`
	// TLS is how we connect to it.
	TLS *ClientTLS `json:"tls,omitempty"`
	// TrustForwardHeader keeps the X-Forwarded headers of the request. False: they are made anew. Unset: a mixture, for
	// older configurations.
	TrustForwardHeader *bool `json:"trustForwardHeader,omitempty"`
	// AuthResponseHeaders are copied from the answer to the request; the client's own are always removed.
	AuthResponseHeaders []string `json:"authResponseHeaders,omitempty"`
	// AuthResponseHeadersRegex does the same for header names that match.
	AuthResponseHeadersRegex string `json:"authResponseHeadersRegex,omitempty"`
	// AuthRequestHeaders are the request headers that the auth server gets. Empty: all.
	AuthRequestHeaders []string `json:"authRequestHeaders,omitempty"`
	// AddAuthCookiesToResponse are names of cookies that are copied from the answer to the response.
	AddAuthCookiesToResponse []string `json:"addAuthCookiesToResponse,omitempty"`
	// HeaderField is the header of the answer that holds the user's name for the access log. Empty: none.
	HeaderField string `json:"headerField,omitempty"`
	// ForwardBody sends the request body along.
	ForwardBody bool `json:"forwardBody,omitempty"`
	// MaxBodySize in bytes of the body that is sent along; a larger one gets 401. Unset or -1: unlimited.
	MaxBodySize *int64 `json:"maxBodySize,omitempty"`
	// MaxResponseBodySize in bytes of the answer; a larger one gets 401. Unset or -1: unlimited.
	MaxResponseBodySize *int64 `json:"maxResponseBodySize,omitempty"`
	// PreserveLocationHeader passes a relative Location as it is, instead of resolving it against Address.
	PreserveLocationHeader bool `json:"preserveLocationHeader,omitempty"`
	// PreserveRequestMethod asks with the method of the request instead of GET.
	PreserveRequestMethod bool `json:"preserveRequestMethod,omitempty"`
	// AuthSigninURL is where a 401 is redirected to. Empty: the 401 is passed on.
	AuthSigninURL string `json:"authSigninURL,omitempty"`
}

// SetDefaults sets maxBodySize -1.
func (f *ForwardAuth) SetDefaults() { f.MaxBodySize = new(int64(-1)) }

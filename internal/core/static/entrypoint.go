package static

import (
	"math"

	"sluice/internal/core/dynamic"
)

const (
	// InternalEntryPoint is the entry point of the API, the health endpoint and the metrics unless they name another.
	InternalEntryPoint = "traefik"
	// internalAddress is where it listens when nobody defines it.
	internalAddress = ":8080"
	// fallbackEntryPoint and fallbackAddress are used where no entry point is defined.
	fallbackEntryPoint = "http"
	fallbackAddress    = ":80"
)

// EntryPoint is an address that we listen on.
type EntryPoint struct {
	// Address is [host]:port, optionally with /tcp or /udp behind. IPv6 addresses stand in brackets. No host: all
	// interfaces. Empty: a TCP port that the system picks.
	Address string `json:"address,omitempty"`
	// AllowACMEByPass lets routers of users win over our own answers to ACME challenges on this entry point.
	AllowACMEByPass bool `json:"allowACMEByPass,omitempty"`
	// ReusePort lets several processes listen on the address (SO_REUSEPORT).
	ReusePort bool `json:"reusePort,omitempty"`
	// AsDefault makes this one of the entry points of routers that name none; then only such ones are.
	AsDefault bool `json:"asDefault,omitempty"`
	// Transport holds timeouts and limits of connections.
	Transport EntryPointTransport `json:"transport"`
	// ProxyProtocol accepts a PROXY header in front of connections.
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty" sluice:"section"`
	// ForwardedHeaders says whose X-Forwarded headers are believed.
	ForwardedHeaders ForwardedHeaders `json:"forwardedHeaders"`
	// HTTP holds what is done with every request, and defaults of HTTP routers.
	HTTP EntryPointHTTP `json:"http"`
	// HTTP2 holds limits of HTTP/2 connections.
	HTTP2 HTTP2 `json:"http2"`
	// HTTP3 serves HTTP/3 on the same address.
	HTTP3 *HTTP3 `json:"http3,omitempty" sluice:"section"`
	// UDP holds the session timeout of UDP entry points.
	UDP EntryPointUDP `json:"udp"`
	// Observability holds defaults of the routers' switches. Absent: all on, without making routers special.
	Observability *Observability `json:"observability,omitempty"`
}

// SetDefaults sets the defaults of every part that is not optional.
func (e *EntryPoint) SetDefaults() {
	e.Transport.SetDefaults()
	e.HTTP.SetDefaults()
	e.HTTP2.SetDefaults()
	e.UDP.SetDefaults()
}

// EntryPointTransport holds timeouts and limits of connections.
type EntryPointTransport struct {
	// LifeCycle says how the entry point stops.
	LifeCycle LifeCycle `json:"lifeCycle"`
	// RespondingTimeouts bound the phases of a connection.
	RespondingTimeouts RespondingTimeouts `json:"respondingTimeouts"`
	// KeepAliveMaxTime is the age at which a connection is asked to end. Zero: none.
	KeepAliveMaxTime dynamic.Duration `json:"keepAliveMaxTime,omitempty"`
	// KeepAliveMaxRequests is the number of requests after which a connection is asked to end. Zero: none.
	KeepAliveMaxRequests int `json:"keepAliveMaxRequests,omitempty"`
}

// SetDefaults sets the defaults of both parts.
func (t *EntryPointTransport) SetDefaults() {
	t.LifeCycle.SetDefaults()
	t.RespondingTimeouts.SetDefaults()
}

// LifeCycle says how the entry point stops.
type LifeCycle struct {
	// RequestAcceptGraceTimeout is how long it goes on accepting after the stop signal. Default 0.
	RequestAcceptGraceTimeout dynamic.Duration `json:"requestAcceptGraceTimeout,omitempty"`
	// GraceTimeOut is how long requests and connections may then take to finish. Default 10s.
	GraceTimeOut dynamic.Duration `json:"graceTimeOut,omitempty"`
}

// SetDefaults sets graceTimeOut 10s.
func (l *LifeCycle) SetDefaults() { l.GraceTimeOut = dynamic.Seconds(10) }

// RespondingTimeouts bound the phases of a connection.
type RespondingTimeouts struct {
	// ReadTimeout bounds the head of a request, and any stretch in which its body does not come forward. Zero: none.
	// Default 60s.
	ReadTimeout dynamic.Duration `json:"readTimeout,omitempty"`
	// WriteTimeout bounds the writing of a response. Zero: none. Default 0.
	WriteTimeout dynamic.Duration `json:"writeTimeout,omitempty"`
	// IdleTimeout bounds the wait for the next request on a connection. Zero: none. Default 180s.
	IdleTimeout dynamic.Duration `json:"idleTimeout,omitempty"`
}

// SetDefaults sets readTimeout 60s and idleTimeout 180s.
func (r *RespondingTimeouts) SetDefaults() {
	r.ReadTimeout = dynamic.Seconds(60)
	r.IdleTimeout = dynamic.Seconds(180)
}

// ProxyProtocol accepts a PROXY header, version 1 or 2, in front of connections. One of the options must be set.
type ProxyProtocol struct {
	// Insecure believes everyone.
	Insecure bool `json:"insecure,omitempty"`
	// TrustedIPs are addresses and CIDR blocks of peers that are believed.
	TrustedIPs []string `json:"trustedIPs,omitempty"`
}

// ForwardedHeaders says whose X-Forwarded headers are believed.
type ForwardedHeaders struct {
	// Insecure believes everyone.
	Insecure bool `json:"insecure,omitempty"`
	// TrustedIPs are addresses and CIDR blocks of peers that are believed.
	TrustedIPs []string `json:"trustedIPs,omitempty"`
	// Connection lists headers that a client may name in Connection and that still reach the middlewares.
	Connection []string `json:"connection,omitempty"`
	// NotAppendXForwardedFor leaves X-Forwarded-For as it came.
	NotAppendXForwardedFor bool `json:"notAppendXForwardedFor,omitempty"`
	// AddXForwardedSchemeHeaders sets X-Forwarded-Scheme and X-Scheme.
	AddXForwardedSchemeHeaders bool `json:"addXForwardedSchemeHeaders,omitempty"`
}

// Values of http.underscoreHeadersStrategy.
const (
	UnderscoreKeep   = "keep"
	UnderscoreDelete = "delete"
	UnderscoreReject = "reject"
)

// EntryPointHTTP holds what is done with every request, and defaults of HTTP routers.
type EntryPointHTTP struct {
	// Redirections redirects everything that comes in.
	Redirections *Redirections `json:"redirections,omitempty"`
	// Middlewares stand in front of each router's own. Names should be qualified (name@provider).
	Middlewares []string `json:"middlewares,omitempty"`
	// TLS is the tls of routers that have none of their own.
	TLS *dynamic.RouterTLS `json:"tls,omitempty" sluice:"section"`
	// EncodedCharacters refuses paths that hold certain percent-codes. Absent: none is refused.
	EncodedCharacters *EncodedCharacters `json:"encodedCharacters,omitempty"`
	// EncodeQuerySemicolons turns ";" in queries into %3B; else it separates like "&".
	EncodeQuerySemicolons bool `json:"encodeQuerySemicolons,omitempty"`
	// SanitizePath folds //, /./ and /../ before routing. Unset: true.
	SanitizePath *bool `json:"sanitizePath,omitempty"`
	// MaxHeaderBytes of a request head; a larger one gets 431. Zero: 1 MiB. Default 1 MiB.
	MaxHeaderBytes int `json:"maxHeaderBytes,omitempty"`
	// UnderscoreHeadersStrategy for request header names that hold "_": keep, delete, or reject with 400. Default keep.
	UnderscoreHeadersStrategy string `json:"underscoreHeadersStrategy,omitempty"`
}

// SetDefaults sets sanitizePath true, maxHeaderBytes 1 MiB and underscoreHeadersStrategy keep.
func (h *EntryPointHTTP) SetDefaults() {
	h.SanitizePath = new(true)
	h.MaxHeaderBytes = 1 << 20
	h.UnderscoreHeadersStrategy = UnderscoreKeep
}

// Redirections redirects everything that comes in.
type Redirections struct {
	// EntryPoint is where to.
	EntryPoint *Redirection `json:"entryPoint,omitempty"`
}

// Redirection is a redirection to another entry point.
type Redirection struct {
	// To is the name of an entry point, or :PORT. Required.
	To string `json:"to,omitempty"`
	// Scheme of the target. Default https.
	Scheme string `json:"scheme,omitempty"`
	// Permanent answers 301 or 308 instead of 302 or 307. Default true.
	Permanent bool `json:"permanent,omitempty"`
	// Priority of the router that redirects. Default math.MaxInt-1, in front of every user's router.
	Priority int `json:"priority,omitempty"`
}

// SetDefaults sets scheme https, permanent true and the priority.
func (r *Redirection) SetDefaults() {
	r.Scheme = "https"
	r.Permanent = true
	r.Priority = math.MaxInt - 1
}

// EncodedCharacters refuses, with 400, paths that hold percent-codes which are not allowed. All are allowed by default,
// other than in the middleware of this name.
type EncodedCharacters struct {
	// AllowEncodedSlash allows %2F. Default true.
	AllowEncodedSlash bool `json:"allowEncodedSlash"`
	// AllowEncodedBackSlash allows %5C. Default true.
	AllowEncodedBackSlash bool `json:"allowEncodedBackSlash"`
	// AllowEncodedNullCharacter allows %00. Default true.
	AllowEncodedNullCharacter bool `json:"allowEncodedNullCharacter"`
	// AllowEncodedSemicolon allows %3B. Default true.
	AllowEncodedSemicolon bool `json:"allowEncodedSemicolon"`
	// AllowEncodedPercent allows %25. Default true.
	AllowEncodedPercent bool `json:"allowEncodedPercent"`
	// AllowEncodedQuestionMark allows %3F. Default true.
	AllowEncodedQuestionMark bool `json:"allowEncodedQuestionMark"`
	// AllowEncodedHash allows %23. Default true.
	AllowEncodedHash bool `json:"allowEncodedHash"`
}

// SetDefaults allows all of them.
func (e *EncodedCharacters) SetDefaults() {
	*e = EncodedCharacters{
		AllowEncodedSlash:         true,
		AllowEncodedBackSlash:     true,
		AllowEncodedNullCharacter: true,
		AllowEncodedSemicolon:     true,
		AllowEncodedPercent:       true,
		AllowEncodedQuestionMark:  true,
		AllowEncodedHash:          true,
	}
}

// HTTP2 holds limits of HTTP/2 connections.
type HTTP2 struct {
	// MaxConcurrentStreams of a connection. Default 250.
	MaxConcurrentStreams int `json:"maxConcurrentStreams,omitempty"`
	// MaxDecoderHeaderTableSize in bytes. Default 4096.
	MaxDecoderHeaderTableSize int `json:"maxDecoderHeaderTableSize,omitempty"`
	// MaxEncoderHeaderTableSize in bytes. Default 4096.
	MaxEncoderHeaderTableSize int `json:"maxEncoderHeaderTableSize,omitempty"`
}

// SetDefaults sets 250 streams and tables of 4096 bytes.
func (h *HTTP2) SetDefaults() {
	h.MaxConcurrentStreams = 250
	h.MaxDecoderHeaderTableSize = 4096
	h.MaxEncoderHeaderTableSize = 4096
}

// HTTP3 serves HTTP/3 on the same address.
type HTTP3 struct {
	// AdvertisedPort in Alt-Svc. Zero: the port that we listen on.
	AdvertisedPort int `json:"advertisedPort,omitempty"`
}

// EntryPointUDP holds the session timeout of UDP entry points.
type EntryPointUDP struct {
	// Timeout of an idle session; more than zero. Default 3s.
	Timeout dynamic.Duration `json:"timeout,omitempty"`
}

// SetDefaults sets timeout 3s.
func (u *EntryPointUDP) SetDefaults() { u.Timeout = dynamic.Seconds(3) }

// Observability holds defaults of the routers' switches.
type Observability struct {
	// AccessLogs switches the access log. Unset: true.
	AccessLogs *bool `json:"accessLogs,omitempty"`
	// Metrics switches metrics. Unset: true.
	Metrics *bool `json:"metrics,omitempty"`
	// Tracing switches traces. Unset: true.
	Tracing *bool `json:"tracing,omitempty"`
	// TraceVerbosity is minimal or detailed. Default minimal; other text acts as minimal.
	TraceVerbosity string `json:"traceVerbosity,omitempty"`
}

// SetDefaults switches everything on and sets traceVerbosity minimal.
func (o *Observability) SetDefaults() {
	o.AccessLogs = new(true)
	o.Metrics = new(true)
	o.Tracing = new(true)
	o.TraceVerbosity = dynamic.TraceMinimal
}

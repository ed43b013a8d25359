package dynamic

// ServersTransport says how to connect to HTTP servers.
type ServersTransport struct {
	// ServerName is sent as SNI and verified. Empty: the host of the server's URL.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs are the only authorities that are trusted. Empty: the system's.
	RootCAs []Material `json:"rootCAs,omitempty"`
	// Certificates are offered to servers that ask for one.
	Certificates []*KeyPair `json:"certificates,omitempty"`
	// CipherSuites up to TLS 1.2. Empty: the defaults of the TLS library.
	CipherSuites []string `json:"cipherSuites,omitempty"`
	// MinVersion is a TLS version name. Empty: the default of the TLS library.
	MinVersion string `json:"minVersion,omitempty"`
	// MaxVersion is a TLS version name. Empty: the default of the TLS library.
	MaxVersion string `json:"maxVersion,omitempty"`
	// MaxIdleConnsPerHost is how many idle connections to one server are kept. Zero: 2; negative: none.
	MaxIdleConnsPerHost int `json:"maxIdleConnsPerHost,omitempty"`
	// DisableHTTP2 uses HTTP/1.1 only; h2c servers then fail.
	DisableHTTP2 bool `json:"disableHTTP2,omitempty"`
	// PeerCertURI must be among the URI names of the server's certificate. Superseded by PeerCertSANs.
	PeerCertURI string `json:"peerCertURI,omitempty"`
	// PeerCertSANs lists names of which the server's certificate must carry one.
	PeerCertSANs []*PeerCertSAN `json:"peerCertSANs,omitempty"`
	// ForwardingTimeouts bound the phases of a request. Absent: the defaults of that section.
	ForwardingTimeouts *ForwardingTimeouts `json:"forwardingTimeouts,omitempty"`
	// Spiffe takes identity and trust from the SPIFFE workload API. It excludes every other TLS option here.
	Spiffe *Spiffe `json:"spiffe,omitempty" sluice:"section"`
}

// ForwardingTimeouts bound the phases of a request to a server.
type ForwardingTimeouts struct {
	// DialTimeout bounds connecting. Zero: none. Default 30s.
	DialTimeout Duration `json:"dialTimeout,omitempty"`
	// ResponseHeaderTimeout bounds the wait for the response head after the request was sent. Zero: none. Default 0.
	ResponseHeaderTimeout Duration `json:"responseHeaderTimeout,omitempty"`
	// IdleConnTimeout is how long an idle connection is kept. Zero: for ever. Default 90s.
	IdleConnTimeout Duration `json:"idleConnTimeout,omitempty"`
	// ReadIdleTimeout is the silence on an HTTP/2 connection after which it is pinged. Zero: never. Default 0.
	ReadIdleTimeout Duration `json:"readIdleTimeout,omitempty"`
	// PingTimeout closes an HTTP/2 connection whose ping is not answered in time. Default 15s.
	PingTimeout Duration `json:"pingTimeout,omitempty"`
}

// SetDefaults sets dialTimeout 30s, idleConnTimeout 90s and pingTimeout 15s.
func (f *ForwardingTimeouts) SetDefaults() {
	f.DialTimeout = Seconds(30)
	f.IdleConnTimeout = Seconds(90)
	f.PingTimeout = Seconds(15)
}

// Values of peerCertSANs[].type.
const (
	SANURI     = "URI"
	SANDNSName = "DNSName"
)

// PeerCertSAN is a name that a server's certificate may carry.
type PeerCertSAN struct {
	// Type is URI or DNSName.
	Type string `json:"type,omitempty"`
	// Value is the name.
	Value string `json:"value,omitempty"`
}

// Spiffe selects the servers that are trusted. Empty: any SPIFFE identity.
type Spiffe struct {
	// IDs lists identities; it wins over TrustDomain.
	IDs []string `json:"ids,omitempty"`
	// TrustDomain accepts every identity of one domain.
	TrustDomain string `json:"trustDomain,omitempty"`
}

// KeyPair is a certificate with its chain and its private key.
type KeyPair struct {
	// CertFile is the chain, leaf first: path or PEM.
	CertFile Material `json:"certFile,omitzero"`
	// KeyFile is the private key: path or PEM.
	KeyFile Material `json:"keyFile,omitzero"`
}

// ClientTLS is how we connect by TLS to something that is not a server of a service: engines, stores, auth servers.
type ClientTLS struct {
	// CA is the only authority that is trusted: path or PEM. Empty: the system's.
	CA Material `json:"ca,omitzero"`
	// Cert is our certificate: path or PEM. It goes with Key.
	Cert Material `json:"cert,omitzero"`
	// Key is our private key: path or PEM.
	Key Material `json:"key,omitzero"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// CAOptional is a leftover without effect.
	CAOptional *bool `json:"caOptional,omitempty" sluice:"v2"`
}

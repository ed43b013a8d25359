package dynamic

// DefaultName is the name of the TLS options and of the certificate store that are used where none is named.
const DefaultName = "default"

// TLS holds certificates, certificate stores and options for the connections that we terminate.
type TLS struct {
	// Certificates are chosen by the name that the client asks for.
	Certificates []*Certificate `json:"certificates,omitempty" sluice:"filesonly"`
	// Options are named sets of demands on connections.
	Options map[string]*TLSOptions `json:"options,omitempty" sluice:"filesonly"`
	// Stores hold default certificates; only the one called default is used.
	Stores map[string]*TLSStore `json:"stores,omitempty"`
}

// Certificate is a certificate with its chain and key, and the stores that it goes into.
type Certificate struct {
	// CertFile is the chain, leaf first: path or PEM. Required.
	CertFile Material `json:"certFile,omitzero"`
	// KeyFile is the private key: path or PEM. Required.
	KeyFile Material `json:"keyFile,omitzero"`
	// Stores names the stores. Default: default, the only one that is asked in handshakes.
	Stores []string `json:"stores,omitempty"`
}

// SetDefaults sets stores [default].
func (c *Certificate) SetDefaults() { c.Stores = []string{DefaultName} }

// TLSStore says which certificate is used where none fits.
type TLSStore struct {
	// DefaultCertificate is used where no certificate fits; it wins over DefaultGeneratedCert.
	DefaultCertificate *KeyPair `json:"defaultCertificate,omitempty" sluice:"filesonly"`
	// DefaultGeneratedCert has the default certificate issued by a resolver.
	DefaultGeneratedCert *GeneratedCert `json:"defaultGeneratedCert,omitempty"`
}

// GeneratedCert is a default certificate to be issued.
type GeneratedCert struct {
	// Resolver names the certificate resolver.
	Resolver string `json:"resolver,omitempty"`
	// Domain holds the names of the certificate.
	Domain *Domain `json:"domain,omitempty"`
}

// TLSOptions are demands on connections.
type TLSOptions struct {
	// MinVersion is a TLS version name. Empty: TLS 1.2.
	MinVersion string `json:"minVersion,omitempty"`
	// MaxVersion is a TLS version name. Empty: the newest.
	MaxVersion string `json:"maxVersion,omitempty"`
	// CipherSuites up to TLS 1.2, by IANA name. Default: DefaultCipherSuites.
	CipherSuites []string `json:"cipherSuites,omitempty"`
	// CurvePreferences are key exchange groups. Empty: those of the TLS library.
	CurvePreferences []string `json:"curvePreferences,omitempty"`
	// ClientAuth says whether clients need a certificate.
	ClientAuth *ClientAuth `json:"clientAuth,omitempty"`
	// SNIStrict refuses names for which there is no certificate, instead of showing the default one.
	SNIStrict bool `json:"sniStrict,omitempty"`
	// ALPNProtocols are the protocols offered, the preferred one first. Default: h2, http/1.1, acme-tls/1.
	ALPNProtocols []string `json:"alpnProtocols,omitempty"`
	// DisableSessionTickets refuses resumption.
	DisableSessionTickets bool `json:"disableSessionTickets,omitempty"`
	// PreferServerCipherSuites has no effect. Deprecated.
	PreferServerCipherSuites *bool `json:"preferServerCipherSuites,omitempty" sluice:"v2"`
}

// SetDefaults sets the default cipher suites and protocols.
func (o *TLSOptions) SetDefaults() {
	o.CipherSuites = DefaultCipherSuites()
	o.ALPNProtocols = DefaultALPNProtocols()
}

// BuiltinTLSOptions returns the options called default as they are where no provider defines them: the defaults, and
// TLS 1.2 as the least version.
func BuiltinTLSOptions() *TLSOptions {
	o := &TLSOptions{}
	o.SetDefaults()
	o.MinVersion = VersionTLS12
	return o
}

// ClientAuth says whether clients need a certificate.
type ClientAuth struct {
	// CAFiles are the authorities that client certificates are verified against: paths or PEM.
	CAFiles []Material `json:"caFiles,omitempty"`
	// ClientAuthType is one of the ClientAuth names. Empty: RequireAndVerifyClientCert where CAFiles are set, else no
	// certificate is asked.
	ClientAuthType string `json:"clientAuthType,omitempty"`
}

// Values of clientAuthType.
const (
	// ClientAuthNone asks for no certificate, even with caFiles.
	ClientAuthNone = "NoClientCert"
	// ClientAuthRequest asks, and takes none or any.
	ClientAuthRequest = "RequestClientCert"
	// ClientAuthRequireAny takes any, but needs one.
	ClientAuthRequireAny = "RequireAnyClientCert"
	// ClientAuthVerifyIfGiven takes none, or one that caFiles vouch for.
	ClientAuthVerifyIfGiven = "VerifyClientCertIfGiven"
	// ClientAuthRequireAndVerify needs one that caFiles vouch for.
	ClientAuthRequireAndVerify = "RequireAndVerifyClientCert"
)

// ClientAuthTypes returns the known values of clientAuthType, from the loosest to the strictest.
func ClientAuthTypes() []string {
	return []string{ClientAuthNone, ClientAuthRequest, ClientAuthRequireAny, ClientAuthVerifyIfGiven, ClientAuthRequireAndVerify}
}

package static

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// CertificatesResolver gets certificates. Exactly one kind must be set.
type CertificatesResolver struct {
	// ACME gets them from an ACME server (RFC 8555).
	ACME *ACME `json:"acme,omitempty"`
	// Tailscale gets them from the local Tailscale daemon.
	Tailscale *Tailscale `json:"tailscale,omitempty" sluice:"section"`
}

// Tailscale gets certificates for names under ts.net from the local daemon.
type Tailscale struct{}

// Directories of Let's Encrypt, current and past.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"

	letsEncryptV1        = "https://acme-v01.api.letsencrypt.org/directory"
	letsEncryptStagingV1 = "https://acme-staging.api.letsencrypt.org/directory"
)

// Values of acme.keyType.
const (
	KeyEC256   = "EC256"
	KeyEC384   = "EC384"
	KeyRSA2048 = "RSA2048"
	KeyRSA4096 = "RSA4096"
	KeyRSA8192 = "RSA8192"
)

// KeyTypes returns the known values of acme.keyType.
func KeyTypes() []string { return []string{KeyEC256, KeyEC384, KeyRSA2048, KeyRSA4096, KeyRSA8192} }

// ACME gets certificates from an ACME server.
type ACME struct {
	// Email of the account. Empty: none.
	Email string `json:"email,omitempty"`
	// CAServer is the directory URL. Default: Let's Encrypt.
	CAServer string `json:"caServer,omitempty"`
	// PreferredChain is the common name of an issuer; the chain that holds it is taken where the CA offers several.
	PreferredChain string `json:"preferredChain,omitempty"`
	// Profile of certificates, where the CA offers several.
	Profile string `json:"profile,omitempty"`
	// EmailAddresses are put into certificate requests.
	EmailAddresses []string `json:"emailAddresses,omitempty"`
	// DisableCommonName leaves the common name out of certificate requests.
	DisableCommonName bool `json:"disableCommonName,omitempty"`
	// Storage is the path of the file with account and certificates, or a directory that several instances share.
	// Several resolvers may share it. Default acme.json.
	Storage string `json:"storage,omitempty"`
	// KeyType of certificate keys. Default RSA4096; unknown text acts the same.
	KeyType string `json:"keyType,omitempty"`
	// EAB ties the account to one that the CA already knows (RFC 8555, section 7.3.4).
	EAB *EAB `json:"eab,omitempty"`
	// CertificatesDuration in hours was the lifetime assumed for renewals. Default 2160.
	CertificatesDuration int `json:"certificatesDuration,omitempty"`
	// ClientTimeout of a whole exchange with the CA; at least ClientResponseHeaderTimeout. Default 2m.
	ClientTimeout dynamic.Duration `json:"clientTimeout,omitempty"`
	// ClientResponseHeaderTimeout of the CA's response heads. Default 30s.
	ClientResponseHeaderTimeout dynamic.Duration `json:"clientResponseHeaderTimeout,omitempty"`
	// CertificateTimeout is how long the CA may take to issue. Default 30s.
	CertificateTimeout dynamic.Duration `json:"certificateTimeout,omitempty"`
	// CACertificates are the authorities that the CA's own server is verified against: paths or PEM. Empty: the
	// environment's, else the system's.
	CACertificates []dynamic.Material `json:"caCertificates,omitempty"`
	// CASystemCertPool adds the system's authorities to CACertificates.
	CASystemCertPool bool `json:"caSystemCertPool,omitempty"`
	// CAServerName is verified instead of the host of CAServer.
	CAServerName string `json:"caServerName,omitempty"`
	// DNSChallenge proves control by a DNS record.
	DNSChallenge *DNSChallenge `json:"dnsChallenge,omitempty" sluice:"section"`
	// HTTPChallenge proves control by an answer on port 80.
	HTTPChallenge *HTTPChallenge `json:"httpChallenge,omitempty" sluice:"section"`
	// TLSChallenge proves control by a handshake on port 443 (RFC 8737).
	TLSChallenge *TLSChallenge `json:"tlsChallenge,omitempty" sluice:"section"`
	// OnDemand issues certificates for names that no router tells, at their first handshake. Absent: off. Sluice's own.
	OnDemand *OnDemand `json:"onDemand,omitempty"`
	// Export writes certificates as PEM files. Absent: off. Sluice's own.
	Export *Export `json:"export,omitempty"`
}

// SetDefaults sets the server, the storage, the key type and the times.
func (a *ACME) SetDefaults() {
	a.CAServer = LetsEncrypt
	a.Storage = "acme.json"
	a.KeyType = KeyRSA4096
	a.CertificatesDuration = 2160
	a.ClientTimeout = dynamic.Seconds(120)
	a.ClientResponseHeaderTimeout = dynamic.Seconds(30)
	a.CertificateTimeout = dynamic.Seconds(30)
}

// EAB ties an ACME account to one that the CA already knows.
type EAB struct {
	// KID is the identifier of the key.
	KID string `json:"kid,omitempty"`
	// HMACEncoded is the key in base64url without padding.
	HMACEncoded secret.String `json:"hmacEncoded,omitzero"`
}

// DNSChallenge proves control by a DNS record.
type DNSChallenge struct {
	// Provider is the code of the DNS provider; its credentials come from the environment. Required.
	Provider string `json:"provider,omitempty"`
	// Resolvers are host:port of the DNS servers that are asked. Empty: the system's.
	Resolvers []string `json:"resolvers,omitempty"`
	// Propagation says how we wait for the record.
	Propagation *Propagation `json:"propagation,omitempty" sluice:"section"`
	// DelayBeforeCheck is the older form of propagation.delayBeforeChecks. Deprecated.
	DelayBeforeCheck dynamic.Duration `json:"delayBeforeCheck,omitempty"`
	// DisablePropagationCheck is the older form of propagation.disableChecks. Deprecated.
	DisablePropagationCheck bool `json:"disablePropagationCheck,omitempty"`
}

// Propagation says how we wait for a DNS record to be seen.
type Propagation struct {
	// DisableChecks does not look at all.
	DisableChecks bool `json:"disableChecks,omitempty"`
	// DisableANSChecks does not ask the authoritative servers.
	DisableANSChecks bool `json:"disableANSChecks,omitempty"`
	// RequireAllRNS waits until every recursive server sees it.
	RequireAllRNS bool `json:"requireAllRNS,omitempty"`
	// DelayBeforeChecks is waited before the first look.
	DelayBeforeChecks dynamic.Duration `json:"delayBeforeChecks,omitempty"`
}

// HTTPChallenge proves control by an answer on port 80.
type HTTPChallenge struct {
	// EntryPoint that the CA reaches on port 80. Required.
	EntryPoint string `json:"entryPoint,omitempty"`
	// Delay between the preparation of the answer and telling the CA.
	Delay dynamic.Duration `json:"delay,omitempty"`
}

// TLSChallenge proves control by a handshake on port 443.
type TLSChallenge struct {
	// Delay between the preparation of the answer and telling the CA.
	Delay dynamic.Duration `json:"delay,omitempty"`
}

// OnDemand issues certificates for names that no router tells. One of the options must be set.
type OnDemand struct {
	// Ask is a URL that is asked with ?domain=NAME; only an answer 200 allows the name.
	Ask string `json:"ask,omitempty"`
	// Allow lists names that are allowed; a first label "*" stands for any one label.
	Allow []string `json:"allow,omitempty"`
}

// Export writes certificates as PEM files.
type Export struct {
	// Directory to write to. Required.
	Directory string `json:"directory,omitempty"`
	// Command is run after a change, its words separated by spaces, without a shell. Empty: none.
	Command string `json:"command,omitempty"`
}

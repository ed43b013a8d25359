package dynamic

// Headers sets headers, answers CORS preflights and adds security headers. At least one option must be set.
type Headers struct {
	// CustomRequestHeaders are set on the request; an empty value deletes.
	CustomRequestHeaders map[string]string `json:"customRequestHeaders,omitempty"`
	// CustomResponseHeaders are set on the response; an empty value deletes.
	CustomResponseHeaders map[string]string `json:"customResponseHeaders,omitempty"`

	// AccessControlAllowCredentials allows credentials.
	AccessControlAllowCredentials bool `json:"accessControlAllowCredentials,omitempty"`
	// AccessControlAllowHeaders are the request headers allowed.
	AccessControlAllowHeaders []string `json:"accessControlAllowHeaders,omitempty"`
	// AccessControlAllowMethods are the methods allowed.
	AccessControlAllowMethods []string `json:"accessControlAllowMethods,omitempty"`
	// AccessControlAllowOriginList are exact origins, or "*".
	AccessControlAllowOriginList []string `json:"accessControlAllowOriginList,omitempty"`
	// AccessControlAllowOriginListRegex are expressions searched anywhere in the origin.
	AccessControlAllowOriginListRegex []string `json:"accessControlAllowOriginListRegex,omitempty"`
	// AccessControlExposeHeaders are the response headers that scripts may read.
	AccessControlExposeHeaders []string `json:"accessControlExposeHeaders,omitempty"`
	// AccessControlMaxAge in seconds of a preflight's answer. Unset: not sent.
	AccessControlMaxAge *int64 `json:"accessControlMaxAge,omitempty"`
	// AddVaryHeader adds Origin to Vary.
	AddVaryHeader bool `json:"addVaryHeader,omitempty"`

	// AllowedHosts are the only hosts accepted, port included. Empty: all.
	AllowedHosts []string `json:"allowedHosts,omitempty"`
	// HostsProxyHeaders are headers that hold the host instead of Host.
	HostsProxyHeaders []string `json:"hostsProxyHeaders,omitempty"`
	// SSLProxyHeaders are header values that count as TLS.
	SSLProxyHeaders map[string]string `json:"sslProxyHeaders,omitempty"`
	// STSSeconds is max-age of Strict-Transport-Security (RFC 6797). Zero: not sent.
	STSSeconds int64 `json:"stsSeconds,omitempty"`
	// STSIncludeSubdomains adds includeSubDomains.
	STSIncludeSubdomains bool `json:"stsIncludeSubdomains,omitempty"`
	// STSPreload adds preload.
	STSPreload bool `json:"stsPreload,omitempty"`
	// ForceSTSHeader sends it on plain connections as well.
	ForceSTSHeader bool `json:"forceSTSHeader,omitempty"`
	// FrameDeny sends X-Frame-Options: DENY.
	FrameDeny bool `json:"frameDeny,omitempty"`
	// CustomFrameOptionsValue is sent as X-Frame-Options instead.
	CustomFrameOptionsValue string `json:"customFrameOptionsValue,omitempty"`
	// ContentTypeNosniff sends X-Content-Type-Options: nosniff.
	ContentTypeNosniff bool `json:"contentTypeNosniff,omitempty"`
	// BrowserXSSFilter sends X-XSS-Protection: 1; mode=block.
	BrowserXSSFilter bool `json:"browserXssFilter,omitempty"`
	// CustomBrowserXSSValue is sent as X-XSS-Protection instead.
	CustomBrowserXSSValue string `json:"customBrowserXSSValue,omitempty"`
	// ContentSecurityPolicy is sent under that name; $NONCE becomes a random value.
	ContentSecurityPolicy string `json:"contentSecurityPolicy,omitempty"`
	// ContentSecurityPolicyReportOnly is sent under that name; $NONCE becomes a random value.
	ContentSecurityPolicyReportOnly string `json:"contentSecurityPolicyReportOnly,omitempty"`
	// PublicKey is sent as Public-Key-Pins over TLS.
	PublicKey string `json:"publicKey,omitempty"`
	// ReferrerPolicy is sent under that name.
	ReferrerPolicy string `json:"referrerPolicy,omitempty"`
	// PermissionsPolicy is sent under that name.
	PermissionsPolicy string `json:"permissionsPolicy,omitempty"`
	// IsDevelopment switches AllowedHosts, STS and PublicKey off.
	IsDevelopment bool `json:"isDevelopment,omitempty"`

	// FeaturePolicy is a leftover without effect.
	FeaturePolicy *string `json:"featurePolicy,omitempty" sluice:"v2"`
	// SSLRedirect is a leftover without effect: use redirectScheme.
	SSLRedirect *bool `json:"sslRedirect,omitempty" sluice:"v2"`
	// SSLTemporaryRedirect is a leftover without effect: use redirectScheme.
	SSLTemporaryRedirect *bool `json:"sslTemporaryRedirect,omitempty" sluice:"v2"`
	// SSLHost is a leftover without effect: use redirectRegex.
	SSLHost *string `json:"sslHost,omitempty" sluice:"v2"`
	// SSLForceHost is a leftover without effect: use redirectRegex.
	SSLForceHost *bool `json:"sslForceHost,omitempty" sluice:"v2"`
}

// PassTLSClientCert tells the server about the client's certificate.
type PassTLSClientCert struct {
	// PEM sends the certificates in X-Forwarded-Tls-Client-Cert.
	PEM bool `json:"pem,omitempty"`
	// Info sends selected fields in X-Forwarded-Tls-Client-Cert-Info.
	Info *ClientCertInfo `json:"info,omitempty"`
}

// ClientCertInfo selects fields of a client certificate.
type ClientCertInfo struct {
	// NotAfter is the end of validity.
	NotAfter bool `json:"notAfter,omitempty"`
	// NotBefore is the beginning of validity.
	NotBefore bool `json:"notBefore,omitempty"`
	// SANs are the alternative names.
	SANs bool `json:"sans,omitempty"`
	// SerialNumber of the certificate.
	SerialNumber bool `json:"serialNumber,omitempty"`
	// Subject selects parts of the subject's name.
	Subject *ClientCertSubject `json:"subject,omitempty"`
	// Issuer selects parts of the issuer's name.
	Issuer *ClientCertIssuer `json:"issuer,omitempty"`
}

// ClientCertSubject selects parts of a subject's name.
type ClientCertSubject struct {
	// Country is C.
	Country bool `json:"country,omitempty"`
	// Province is ST.
	Province bool `json:"province,omitempty"`
	// Locality is L.
	Locality bool `json:"locality,omitempty"`
	// Organization is O.
	Organization bool `json:"organization,omitempty"`
	// OrganizationalUnit is OU.
	OrganizationalUnit bool `json:"organizationalUnit,omitempty"`
	// CommonName is CN.
	CommonName bool `json:"commonName,omitempty"`
	// SerialNumber is SN.
	SerialNumber bool `json:"serialNumber,omitempty"`
	// DomainComponent is DC.
	DomainComponent bool `json:"domainComponent,omitempty"`
}

// ClientCertIssuer selects parts of an issuer's name.
type ClientCertIssuer struct {
	// Country is C.
	Country bool `json:"country,omitempty"`
	// Province is ST.
	Province bool `json:"province,omitempty"`
	// Locality is L.
	Locality bool `json:"locality,omitempty"`
	// Organization is O.
	Organization bool `json:"organization,omitempty"`
	// CommonName is CN.
	CommonName bool `json:"commonName,omitempty"`
	// SerialNumber is SN.
	SerialNumber bool `json:"serialNumber,omitempty"`
	// DomainComponent is DC.
	DomainComponent bool `json:"domainComponent,omitempty"`
}

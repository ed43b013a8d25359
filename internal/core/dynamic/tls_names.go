package dynamic

// TLS versions as minVersion and maxVersion name them.
const (
	VersionTLS10 = "VersionTLS10"
	VersionTLS11 = "VersionTLS11"
	VersionTLS12 = "VersionTLS12"
	VersionTLS13 = "VersionTLS13"
)

// ALPN protocols that mean something to us (RFC 7301; RFC 8737 for the ACME one).
const (
	ALPNHTTP2   = "h2"
	ALPNHTTP1   = "http/1.1"
	ALPNACMETLS = "acme-tls/1"
)

// TLSVersions returns the version names, the oldest first.
func TLSVersions() []string { return []string{VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13} }

// DefaultALPNProtocols returns what TLS options offer unless they say otherwise.
func DefaultALPNProtocols() []string { return []string{ALPNHTTP2, ALPNHTTP1, ALPNACMETLS} }

// CipherSuites returns the cipher suite names that configuration may use, those included that are insecure or, as the
// TLS 1.3 ones, cannot be chosen. The two spellings of the ChaCha20 suites mean the same.
func CipherSuites() []string {
	names := []string{
		"TLS_AES_128_GCM_SHA256",
		"TLS_AES_256_GCM_SHA384",
		"TLS_CHACHA20_POLY1305_SHA256",
		"TLS_FALLBACK_SCSV",
		"TLS_RSA_WITH_RC4_128_SHA",
		"TLS_RSA_WITH_3DES_EDE_CBC_SHA",
		"TLS_RSA_WITH_AES_128_CBC_SHA",
		"TLS_RSA_WITH_AES_256_CBC_SHA",
		"TLS_RSA_WITH_AES_128_CBC_SHA256",
		"TLS_RSA_WITH_AES_128_GCM_SHA256",
		"TLS_RSA_WITH_AES_256_GCM_SHA384",
	}
	for _, family := range [...]string{"TLS_ECDHE_ECDSA_WITH_", "TLS_ECDHE_RSA_WITH_"} {
		for _, cipher := range [...]string{
			"RC4_128_SHA",
			"AES_128_CBC_SHA",
			"AES_256_CBC_SHA",
			"AES_128_CBC_SHA256",
			"AES_128_GCM_SHA256",
			"AES_256_GCM_SHA384",
			"CHACHA20_POLY1305",
			"CHACHA20_POLY1305_SHA256",
		} {
			names = append(names, family+cipher)
		}
	}
	return append(names, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA")
}

// DefaultCipherSuites returns the suites of TLS options that name none: forward secrecy, no RC4, no 3DES.
func DefaultCipherSuites() []string {
	names := []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
	for _, family := range [...]string{"TLS_ECDHE_ECDSA_WITH_", "TLS_ECDHE_RSA_WITH_"} {
		for _, cipher := range [...]string{
			"AES_128_CBC_SHA",
			"AES_256_CBC_SHA",
			"AES_128_GCM_SHA256",
			"AES_256_GCM_SHA384",
			"CHACHA20_POLY1305_SHA256",
		} {
			names = append(names, family+cipher)
		}
	}
	return names
}

// Curves returns the key exchange group names that configuration may use. Each group has two spellings, which stand
// next to each other; case matters.
func Curves() []string {
	return []string{
		"CurveP256", "secp256r1",
		"CurveP384", "secp384r1",
		"CurveP521", "secp521r1",
		"X25519", "x25519",
		"X25519MLKEM768", "x25519mlkem768",
		"SecP256r1MLKEM768", "secp256r1mlkem768",
		"SecP384r1MLKEM1024", "secp384r1mlkem1024",
	}
}

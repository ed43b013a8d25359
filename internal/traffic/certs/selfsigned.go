package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"time"
)

// SelfSignedName is the common name of the certificate that is shown where there is no other. Clients test for it.
const SelfSignedName = "TRAEFIK DEFAULT CERT"

// selfSigned makes the certificate: good for a year, for one random name that nobody has.
func selfSigned() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("certs: self-signed certificate: " + err.Error()) // no randomness: the process cannot do TLS at all
	}
	random := make([]byte, 48)
	rand.Read(random) // never fails
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(random[32:]),
		Subject:               pkix.Name{CommonName: SelfSignedName},
		NotBefore:             now.Add(-time.Hour), // for clients whose clock is behind
		NotAfter:              now.Add(365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{hex.EncodeToString(random[:16]) + "." + hex.EncodeToString(random[16:32]) + ".traefik.default"},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic("certs: self-signed certificate: " + err.Error())
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic("certs: self-signed certificate: " + err.Error())
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

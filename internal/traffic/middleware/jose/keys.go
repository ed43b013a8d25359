package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeys is how many keys a set may have.
	maxKeys = 256
	// minRSA and maxRSA are the sizes of RSA keys that are used, in bits (RFC 7518 section 3.3). Beyond the upper one a
	// verification costs too much.
	minRSA, maxRSA = 2048, 8192
)

// Secret is a set of one shared secret.
func Secret(secret []byte) (*Set, error) {
	if len(secret) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return &Set{keys: []key{{algorithms: hmacs, material: secret}}, single: true}, nil
}

// PublicKeys is a set of the public keys in PEM: PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE blocks. Other blocks are errors,
// private keys above all.
func PublicKeys(text []byte) (*Set, error) {
	s := &Set{single: true}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		var public any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = c.PublicKey
			}
		default:
			return nil, fmt.Errorf("a block of type %q is no public key", block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("the block %s: %w", block.Type, err)
		}
		algorithms, err := algorithmsOf(public)
		if err != nil {
			return nil, err
		}
		if s.keys = append(s.keys, key{algorithms: algorithms, material: public}); len(s.keys) > maxTries {
			return nil, fmt.Errorf("there are more than %d keys", maxTries)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("there is no public key in PEM")
	}
	return s, nil
}

// algorithmsOf returns what a public key can be used with.
func algorithmsOf(public crypto.PublicKey) ([]string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, fmt.Errorf("an RSA key has %d bits, %d to %d can be used", n, minRSA, maxRSA)
		}
		return rsas, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
		return nil, errors.New("the curve of the key is not supported")
	case ed25519.PublicKey:
		return edwads, nil
	}
	return nil, fmt.Errorf("keys of type %T are not supported", public)
}

// ParseSet reads a key set. Keys that are of no use here (for encryption, of unknown kinds, malformed) are left out, as
// RFC 7517 section 5 has it; a set without any is an error. Shared secrets count only where the set itself is secret:
// published ones would let everybody sign.
func ParseSet(text []byte, secret bool) (*Set, error) {
	var document struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(text), &document); err != nil {
		return nil, errors.New("this is no JSON object with keys")
	}
	if document.Keys == nil {
		return nil, errors.New(`the key set has no "keys"`)
	}
	if len(*document.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	s := &Set{}
	for _, raw := range *document.Keys {
		if k, ok := parseKey(raw, secret); ok {
			s.keys = append(s.keys, k)
		}
	}
	if len(s.keys) == 0 {
		return nil, errors.New("the key set has no key that signatures can be verified with")
	}
	return s, nil
}

// parseKey reads one key. ok is false for those that are of no use.
func parseKey(raw json.RawMessage, secret bool) (k key, ok bool) {
	var purpose struct {
		Operations []string `json:"key_ops"`
	}
	if json.Unmarshal(raw, &purpose) != nil || purpose.Operations != nil && !slices.Contains(purpose.Operations, "verify") {
		return key{}, false
	}
	var j jose.JSONWebKey
	if j.UnmarshalJSON(raw) != nil || j.Use != "" && j.Use != "sig" || len(j.KeyID) > maxID {
		return key{}, false
	}
	k = key{id: j.KeyID, material: j.Key}
	if shared, is := j.Key.([]byte); is {
		if !secret || len(shared) == 0 {
			return key{}, false
		}
		k.algorithms = hmacs
	} else {
		public := j.Public() // a private key published by mistake verifies by its public half
		if !public.Valid() {
			return key{}, false
		}
		k.material = public.Key
		var err error
		if k.algorithms, err = algorithmsOf(public.Key); err != nil {
			return key{}, false
		}
	}
	if j.Algorithm != "" {
		if !slices.Contains(k.algorithms, j.Algorithm) {
			return key{}, false
		}
		k.algorithms = []string{j.Algorithm}
	}
	return k, true
}

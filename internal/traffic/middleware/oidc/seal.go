package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// sealer makes text of values that nobody else can read or change. Safe for concurrent use.
type sealer struct{ aead cipher.AEAD }

// newSealer derives a key from a secret, for one purpose of one middleware. All instances that have the secret agree.
func newSealer(secret []byte, purpose string) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, secret, []byte("sluice oidc"), purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	return &sealer{aead}, nil
}

var errSeal = errors.New("the sealed value is not ours")

// seal returns v as base64url. What was sealed under a label opens under that label only.
func (s *sealer) seal(label string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte(label))), nil
}

// open reads what seal made into v.
func (s *sealer) open(label, text string, v any) error {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errSeal
	}
	plain, err := s.aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return errSeal
	}
	if json.Unmarshal(plain, v) != nil {
		return errSeal
	}
	return nil
}

// random returns n random bytes as base64url.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

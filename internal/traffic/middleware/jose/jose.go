// Package jose verifies signed tokens (JWS, RFC 7515; JWT, RFC 7519) with sets of keys (JWK, RFC 7517): keys of the
// configuration, and key sets that servers publish and rotate. It is the doorway of the go-jose library.
//
// What a token says about how it is to be verified is never believed further than it must: an algorithm is used only with a
// key that is meant for it, so a public key is never taken for a shared secret, nothing is unsigned, and keys that a token
// brings along or points to are not looked at.
package jose

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxToken is the longest token, in bytes.
	maxToken = 64 << 10
	// maxID is the longest name of a key, in bytes.
	maxID = 512
	// maxTries is how many keys are tried for a token that names none.
	maxTries = 16
)

// Families of algorithms (RFC 7518 section 3.1, RFC 8037). "none" is in none of them.
var (
	hmacs  = []string{"HS256", "HS384", "HS512"}
	rsas   = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	edwads = []string{"EdDSA"}
	all    = append(append(slices.Clone(hmacs), rsas...), "ES256", "ES384", "ES512", "EdDSA")
)

// Algorithms returns the names of all algorithms.
func Algorithms() []string { return slices.Clone(all) }

// Asymmetric returns the names of the algorithms whose keys need not be secret.
func Asymmetric() []string { return slices.Clone(all[len(hmacs):]) }

// Errors of Verify.
var (
	// ErrMalformed is a token that is none.
	ErrMalformed = errors.New("this is no signed token")
	// ErrAlgorithm is a token signed in a way that is not allowed.
	ErrAlgorithm = errors.New("the algorithm of the token is not allowed")
	// ErrKey is a token whose key is not in the set. It may be in a newer one.
	ErrKey = errors.New("the key of the token is not known")
	// ErrSignature is a token that the key did not sign.
	ErrSignature = errors.New("the signature of the token is wrong")
)

// Token is a signed token that was read and not verified.
type Token struct {
	jws       *jose.JSONWebSignature
	algorithm string
	id        string // of the key, empty if none is named
}

// Parse reads a token in compact form whose algorithm is one of those allowed. Nothing in it is verified.
func Parse(text string, allowed []string) (*Token, error) {
	if len(text) > maxToken || strings.Count(text, ".") != 2 || strings.ContainsFunc(text, foreign) {
		return nil, ErrMalformed
	}
	algorithms := make([]jose.SignatureAlgorithm, len(all))
	for i, a := range all {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		var unexpected *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &unexpected) {
			return nil, ErrAlgorithm
		}
		return nil, ErrMalformed
	}
	head := jws.Signatures[0].Protected
	// No extension is understood, and one that must be (section 4.1.11) forbids to go on.
	if _, critical := head.ExtraHeaders["crit"]; critical || len(head.KeyID) > maxID {
		return nil, ErrMalformed
	}
	if !slices.Contains(allowed, head.Algorithm) {
		return nil, ErrAlgorithm
	}
	return &Token{jws: jws, algorithm: head.Algorithm, id: head.KeyID}, nil
}

// foreign reports whether a character has no place in a token (RFC 7515 section 3.1). The library passes over line ends.
func foreign(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
}

// Unverified returns the content of the token, for finding out whose keys it takes. Nothing in it may be believed.
func (t *Token) Unverified() []byte { return t.jws.UnsafePayloadWithoutVerification() }

// key is one key of a set, with the algorithms that it may be used with.
type key struct {
	id         string
	algorithms []string
	material   any
}

// Set is a set of keys. Immutable.
type Set struct {
	keys []key
	// single says that there is one source without names: what a token calls its key does not matter.
	single bool
}

// Len returns how many keys there are.
func (s *Set) Len() int { return len(s.keys) }

// Algorithms returns the algorithms that keys of the set can be used with.
func (s *Set) Algorithms() []string {
	var out []string
	for _, a := range all {
		if slices.ContainsFunc(s.keys, func(k key) bool { return slices.Contains(k.algorithms, a) }) {
			out = append(out, a)
		}
	}
	return out
}

// Verify returns the content of a token that one of the keys has signed. A token that names its key is verified with keys
// of that name only.
func (s *Set) Verify(t *Token) (payload []byte, err error) {
	err = ErrKey
	tries := 0
	for i := range s.keys {
		k := &s.keys[i]
		if t.id != "" && !s.single && k.id != t.id {
			continue
		}
		if !slices.Contains(k.algorithms, t.algorithm) {
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		if payload, bad := t.jws.Verify(k.material); bad == nil {
			return payload, nil
		}
		err = ErrSignature
	}
	return nil, err
}

// CheckAlgorithms returns what is wrong with a list of names, by position; nil when nothing is.
func CheckAlgorithms(names []string) map[int]error {
	var out map[int]error
	for i, name := range names {
		if slices.Contains(all, name) {
			continue
		}
		if out == nil {
			out = map[int]error{}
		}
		out[i] = fmt.Errorf("%q is none of %s", name, strings.Join(all, ", "))
	}
	return out
}

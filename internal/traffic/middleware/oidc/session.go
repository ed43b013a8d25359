package oidc

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"sluice/internal/traffic/middleware/claims"
)

// session is what a logged-in user has. It travels sealed, in cookies or to the store.
type session struct {
	// Key names the session in lists of those that were ended. It is random and never shown.
	Key string `json:"k"`
	// ID is the ID token, whose claims count.
	ID string `json:"i"`
	// Access is the access token, where its claims are asked for.
	Access string `json:"a,omitempty"`
	// Refresh renews the tokens, empty where the provider gave none.
	Refresh string `json:"r,omitempty"`
	// Expires is when the tokens run out, in seconds since 1970; 0 is unknown.
	Expires int64 `json:"e,omitempty"`
	// Begun is when the user logged in, Last when the cookies were written, in seconds since 1970.
	Begun int64 `json:"b"`
	Last  int64 `json:"l"`

	id, access claims.Set // what the tokens claim
	stored     string     // what the store calls the session; empty where it is in cookies
}

var errSession = errors.New("the session is malformed")

// decode reads the claims of the tokens. They have been verified when the session began, and have been sealed since.
func (s *session) decode() error {
	var err error
	if s.id, err = unverified(s.ID); err != nil {
		return errSession
	}
	if s.Access != "" {
		s.access, _ = unverified(s.Access) // not every access token is a JWT
	}
	return nil
}

// unverified reads the claims of a token without looking at its signature.
func unverified(token string) (claims.Set, error) {
	_, rest, ok := strings.Cut(token, ".")
	middle, _, more := strings.Cut(rest, ".")
	if !ok || !more {
		return nil, errSession
	}
	payload, err := base64.RawURLEncoding.DecodeString(middle)
	if err != nil {
		return nil, errSession
	}
	return claims.Decode(payload)
}

// Find implements claims.Source: a path that begins with id_token or access_token is looked for in that token, all others
// in the ID token.
func (s *session) Find(p claims.Path) (any, bool) {
	if len(p) > 1 {
		switch p[0] {
		case "id_token":
			return s.id.Find(p[1:])
		case "access_token":
			return s.access.Find(p[1:])
		}
	}
	return s.id.Find(p)
}

// asksAccess reports whether one of the paths is about the access token.
func asksAccess(paths []claims.Path) bool {
	for _, p := range paths {
		if len(p) > 1 && p[0] == "access_token" {
			return true
		}
	}
	return false
}

// sid is the name that the provider has for the session, sub that of the user.
func (s *session) sid() string { return s.id.String("sid") }
func (s *session) sub() string { return s.id.String("sub") }

// over reports whether the session has run out.
func (s *session) over(now time.Time, life time.Duration, sliding bool) bool {
	from := s.Begun
	if sliding {
		from = s.Last
	}
	return now.Unix() >= from+int64(life/time.Second) || s.Begun > now.Unix()+int64(skew/time.Second)
}

// stale reports whether the tokens have run out.
func (s *session) stale(now time.Time) bool { return s.Expires != 0 && now.Unix() >= s.Expires }

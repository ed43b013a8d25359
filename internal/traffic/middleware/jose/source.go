package jose

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"sluice/internal/traffic/middleware/outgoing"
)

// maxSet is the largest key set that is read from a server, in bytes.
const maxSet = 512 << 10

// Source gives keys. Safe for concurrent use.
type Source interface {
	// Keys returns the set as it is known.
	Keys(ctx context.Context) (*Set, error)
	// Renewed returns the set for somebody who misses a key in it.
	Renewed(ctx context.Context) (*Set, error)
}

// Keys implements Source: the set is all there is.
func (s *Set) Keys(context.Context) (*Set, error) { return s, nil }

// Renewed implements Source.
func (s *Set) Renewed(context.Context) (*Set, error) { return s, nil }

// Remote is a key set that a server publishes, see outgoing.Doc.
type Remote struct{ doc *outgoing.Doc[*Set] }

// NewRemote returns the key set at an address. Nothing is asked before it is wanted.
func NewRemote(a *outgoing.Asker, u *url.URL, log *slog.Logger) *Remote {
	q := outgoing.Question{Method: http.MethodGet, URL: u, Header: http.Header{"Accept": {"application/jwk-set+json, application/json"}}, Limit: maxSet}
	return &Remote{outgoing.NewDoc(a, q, log, func(answer *outgoing.Answer) (*Set, error) { return ParseSet(answer.Body, false) })}
}

// Keys implements Source.
func (r *Remote) Keys(ctx context.Context) (*Set, error) { return r.doc.Get(ctx) }

// Renewed implements Source.
func (r *Remote) Renewed(ctx context.Context) (*Set, error) { return r.doc.Renew(ctx) }

// Close ends what is under way, for middleware.State.
func (r *Remote) Close() { r.doc.Close() }

// Verify returns the content of a token that a key of the source has signed. Where its key is not among those known, newer
// ones are asked for. An error that is none of this package's says that no keys could be got: nothing is known about the
// token then.
func Verify(ctx context.Context, s Source, t *Token) (payload []byte, err error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	if payload, err = keys.Verify(t); err != ErrKey {
		return payload, err
	}
	newer, err := s.Renewed(ctx)
	if err != nil {
		return nil, err
	}
	if newer == keys {
		return nil, ErrKey
	}
	return newer.Verify(t)
}

// Refused reports whether err says that a token is not good, as opposed to nothing being known about it.
func Refused(err error) bool {
	switch err {
	case ErrMalformed, ErrAlgorithm, ErrKey, ErrSignature:
		return true
	}
	return false
}

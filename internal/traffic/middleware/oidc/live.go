package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"sync"
	"time"

	"sluice/internal/traffic/middleware/outgoing"
)

const (
	// holdGood is how long the outcome of a renewal is kept for requests that still come with the old session, holdBad how
	// long a failure of the provider is.
	holdGood, holdBad = time.Minute, time.Second
	// maxRenewals bounds how many outcomes are kept.
	maxRenewals = 10_000
)

// live is what outlives changes of the configuration: what is known of the provider, and renewals of sessions. It is shared
// by all routers. Safe for concurrent use.
type live struct {
	client *client
	doc    *outgoing.Doc[*provider]

	ctx    context.Context // of the renewals
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	renewals map[[sha256.Size]byte]*renewal // by refresh token
	closed   bool
}

// renewal is one use of a refresh token, under way or done.
type renewal struct {
	done  chan struct{}
	fresh *session
	err   error
	until time.Time // the outcome is kept; zero while under way
}

func newLive(c *client) *live {
	l := &live{client: c, doc: c.document(), renewals: map[[sha256.Size]byte]*renewal{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close ends what is under way, for middleware.State.
func (l *live) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
	l.doc.Close()
	l.client.close()
}

var errBusy = errors.New("too many sessions are being renewed")

// renew returns the session with new tokens. Requests that come with the same session share one use of its refresh token,
// since many providers take one only once; it goes on when they are gone, so that its outcome is not lost. Errors are
// errGrant, or say that the provider could not be asked.
func (l *live) renew(ctx context.Context, s *session) (*session, error) {
	key := sha256.Sum256([]byte(s.Refresh))
	l.mu.Lock()
	r := l.renewals[key]
	if r != nil && !r.until.IsZero() && time.Now().After(r.until) {
		r = nil
	}
	if r == nil {
		if l.closed || len(l.renewals) >= maxRenewals && l.tidy() {
			l.mu.Unlock()
			return nil, &unavailable{errBusy}
		}
		r = &renewal{done: make(chan struct{})}
		l.renewals[key] = r
		l.wg.Go(func() { l.run(r, s) })
	}
	l.mu.Unlock()
	select {
	case <-r.done:
		return r.fresh, r.err
	case <-ctx.Done():
		return nil, &unavailable{ctx.Err()}
	}
}

// tidy forgets outcomes that are old, and reports whether there are too many all the same; mu is held.
func (l *live) tidy() (full bool) {
	now := time.Now()
	for key, r := range l.renewals {
		if !r.until.IsZero() && now.After(r.until) {
			delete(l.renewals, key)
		}
	}
	return len(l.renewals) >= maxRenewals
}

func (l *live) run(r *renewal, s *session) {
	defer close(r.done)
	hold := holdGood
	defer func() {
		if p := recover(); p != nil { // nobody else could catch it
			r.err = &unavailable{errors.New("the answer of the provider broke the renewal")}
		}
		l.mu.Lock()
		r.until = time.Now().Add(hold)
		l.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(l.ctx, l.client.asker.Patience())
	defer cancel()
	r.fresh, r.err = l.use(ctx, s)
	if r.err != nil && r.err != errGrant {
		hold = holdBad
	}
}

// use gets new tokens for the refresh token of a session (OpenID Connect Core section 12).
func (l *live) use(ctx context.Context, s *session) (*session, error) {
	p, err := l.doc.Get(ctx)
	if err != nil {
		return nil, &unavailable{err}
	}
	t, err := l.client.grant(ctx, p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Refresh}})
	if err != nil {
		return nil, err
	}
	fresh := *s
	if t.refresh != "" {
		fresh.Refresh = t.refresh
	}
	fresh.Expires = 0
	if !t.expires.IsZero() {
		fresh.Expires = t.expires.Unix()
	}
	if s.Access != "" {
		fresh.Access = t.access
	}
	if t.id != "" {
		token, err := p.verifier.Verify(ctx, t.id)
		if err != nil {
			return nil, verdict(err)
		}
		// It must be about the same user (section 12.2).
		if token.Subject != s.sub() || token.VerifyAccessToken(t.access) != nil && token.AccessTokenHash != "" {
			return nil, errGrant
		}
		if fresh.ID = t.id; fresh.Expires == 0 {
			fresh.Expires = token.Expiry.Unix()
		}
	}
	return &fresh, fresh.decode()
}

// verdict is the error of a token that was not verified: errGrant if it is not good.
func verdict(err error) error {
	var u *unavailable
	if errors.As(err, &u) {
		return u
	}
	return errGrant
}

// maxEnded is how many ended sessions are remembered one by one.
const maxEnded = 100_000

// ended remembers which sessions were ended before their time: by their users, or by the provider. What sealed cookies say
// cannot be taken back otherwise. Safe for concurrent use.
type ended struct {
	mu   sync.Mutex
	at   map[string]int64 // when, in seconds since 1970, by kind and name
	life time.Duration    // longest life of a session
	// before is when all sessions were ended at once, since there were too many to remember.
	before int64
}

// Kinds of names.
const (
	byKey = "k"
	bySID = "s"
	bySub = "u"
)

// end ends the sessions with a name that had begun at a time, in seconds since 1970.
func (e *ended) end(kind, name string, at int64, life time.Duration) {
	if name == "" {
		return
	}
	now := time.Now().Unix()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = max(e.life, life)
	if e.at == nil {
		e.at = map[string]int64{}
	}
	if len(e.at) >= maxEnded {
		for key, when := range e.at {
			if now-when > int64(e.life/time.Second) {
				delete(e.at, key)
			}
		}
		if len(e.at) >= maxEnded {
			// Better that all log in again than that one who was logged out does not have to.
			e.before = now
			clear(e.at)
		}
	}
	e.at[kind+name] = max(e.at[kind+name], min(at, now))
}

// has reports whether a session was ended.
func (e *ended) has(s *session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Begun <= e.before {
		return true
	}
	for _, name := range [...]string{byKey + s.Key, bySID + s.sid(), bySub + s.sub()} {
		if at, there := e.at[name]; there && len(name) > 1 && s.Begun <= at {
			return true
		}
	}
	return false
}

package oidc

import (
	"context"
	"time"

	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/wire/httpmsg"
)

// renew gets new tokens for a session, and stores it where there is a store. changed tells whether cookies are to be written.
// Errors are errGrant, or say that the provider or the store could not be asked.
func (g *guard) renew(x *httpmsg.Exchange, s *session) (fresh *session, changed bool, err error) {
	ctx, end := outgoing.Within(x, g.patience)
	defer end()
	if g.store != nil {
		fresh, err = g.renewStored(ctx, s)
		return fresh, false, err
	}
	shared, err := g.live.renew(ctx, s)
	if err != nil {
		return nil, false, err
	}
	renewed := *shared
	return &renewed, true, nil
}

// renewStored has one request of all instances renew a session, and the others wait for it.
func (g *guard) renewStored(ctx context.Context, s *session) (*session, error) {
	for {
		mine, err := g.store.lock(ctx, s.stored, g.patience)
		if err != nil {
			return nil, &unavailable{err}
		}
		if mine {
			// Also for a client that leaves: what the provider gives instead of the old refresh token must reach the store.
			staying := context.WithoutCancel(ctx)
			renewing, cancel := context.WithTimeout(staying, g.patience)
			fresh, err := g.renewLocked(renewing, s)
			cancel()
			// A renewal that was given up has its time behind it. Where this fails, the lock ends by itself.
			late, cancel := context.WithTimeout(staying, time.Second)
			_ = g.store.unlock(late, s.stored)
			cancel()
			return fresh, err
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, &unavailable{ctx.Err()}
		}
		// Mostly the other has done it by now, so the lock is not even needed.
		if now, err := g.fetch(ctx, s.stored); err != nil {
			return nil, err
		} else if now.Refresh != s.Refresh || !now.stale(time.Now()) {
			return now, nil
		}
	}
}

// renewLocked renews a session that nobody else renews now. Somebody may have done so since s was read.
func (g *guard) renewLocked(ctx context.Context, s *session) (*session, error) {
	now, err := g.fetch(ctx, s.stored)
	if err != nil || now.Refresh != s.Refresh || !now.stale(time.Now()) {
		return now, err
	}
	shared, err := g.live.renew(ctx, now)
	if err != nil {
		return nil, err
	}
	renewed := *shared
	renewed.stored = s.stored // Last stays: current sees by it that a sliding session is to be written, cookies too
	if err := g.put(ctx, &renewed, false); err == errGrant {
		return nil, err
	} else if err != nil {
		return nil, &unavailable{err}
	}
	return &renewed, nil
}

// fetch reads a session from the store; errGrant says that it has ended.
func (g *guard) fetch(ctx context.Context, id string) (*session, error) {
	sealed, ok, err := g.store.load(ctx, id)
	if err != nil {
		return nil, &unavailable{err}
	}
	s := &session{stored: id}
	if !ok || g.seals.open(sealedIn(id), sealed, s) != nil || s.decode() != nil {
		return nil, errGrant
	}
	return s, nil
}

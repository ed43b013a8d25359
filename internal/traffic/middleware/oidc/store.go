package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/redisdb"
)

// lockPause is the time between looks whether another instance has renewed a session.
const lockPause = 50 * time.Millisecond

// store keeps sessions in Redis, for several instances and for sessions that have no room in cookies. Values are sealed, and
// keys are digests of what browsers and providers call a session, so whoever reads the store can neither read nor take over a
// session.
type store struct {
	db     *redisdb.DB
	prefix string
	life   time.Duration // longest life of a session
}

func checkStore(key string, s *dynamic.TokenStore) diag.List {
	if s == nil || s.Redis == nil {
		return nil
	}
	return redisdb.CheckStore(key+".redis", s.Redis)
}

// openStore returns the store of a configuration, nil where sessions are in cookies.
func openStore(env middleware.Env, s *dynamic.TokenStore, life time.Duration) (*store, error) {
	if s == nil || s.Redis == nil {
		return nil, nil
	}
	db, err := redisdb.Open(env, "oidc", redisdb.OfStore(s.Redis))
	if err != nil {
		return nil, err
	}
	return &store{db: db, prefix: orElse(s.KeyPrefix, "sluice:oidc:"+env.Name+":"), life: life}, nil
}

// key is the name of an entry of a kind.
func (s *store) key(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return s.prefix + kind + ":" + hex.EncodeToString(sum[:])
}

// save keeps a sealed session under id for life. One that is not fresh must be there still: errGrant says that it was ended
// meanwhile, and stays so.
func (s *store) save(ctx context.Context, id, sealed string, of *session, life time.Duration, fresh bool) error {
	key := s.key("session", id)
	if fresh {
		if err := s.db.Set(ctx, key, sealed, life); err != nil {
			return err
		}
	} else if there, err := s.db.SetPresent(ctx, key, sealed, life); err != nil {
		return err
	} else if !there {
		return errGrant
	}
	for kind, name := range map[string]string{"sid": of.sid(), "sub": of.sub()} {
		if name == "" {
			continue
		}
		if err := s.db.AddMember(ctx, s.key(kind, name), key, s.life); err != nil {
			return err
		}
	}
	return nil
}

// load returns what is kept under id.
func (s *store) load(ctx context.Context, id string) (sealed string, ok bool, err error) {
	return s.db.Get(ctx, s.key("session", id))
}

// drop forgets a session.
func (s *store) drop(ctx context.Context, id string) error {
	return s.db.Delete(ctx, s.key("session", id))
}

// dropNamed forgets the session that the provider calls sid, or if that is empty all of the user sub.
func (s *store) dropNamed(ctx context.Context, sid, sub string) error {
	list := s.key("sid", sid)
	if sid == "" {
		list = s.key("sub", sub)
	}
	keys, err := s.db.Members(ctx, list)
	if err != nil {
		return err
	}
	return s.db.Delete(ctx, append(keys, list)...)
}

// lock reports whether this request is the one that renews the session, for some time.
func (s *store) lock(ctx context.Context, id string, d time.Duration) (bool, error) {
	return s.db.SetAbsent(ctx, s.key("lock", id), "1", d)
}

// unlock ends lock.
func (s *store) unlock(ctx context.Context, id string) error {
	return s.db.Delete(ctx, s.key("lock", id))
}

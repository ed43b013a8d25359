package redisdb

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// Get returns the value of a key; ok is false where there is none.
func (d *DB) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	value, err = d.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(key).Build() }).ToString()
	if rueidis.IsRedisNil(err) {
		return "", false, nil
	}
	return value, err == nil, err
}

// Set makes value that of key, for life.
func (d *DB) Set(ctx context.Context, key, value string, life time.Duration) error {
	return d.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(key).Value(value).PxMilliseconds(millis(life)).Build()
	}).Error()
}

// SetAbsent makes value that of key for life, if it has none, and reports whether it had none.
func (d *DB) SetAbsent(ctx context.Context, key, value string, life time.Duration) (bool, error) {
	return d.whether(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(key).Value(value).Nx().PxMilliseconds(millis(life)).Build()
	})
}

// SetPresent makes value that of key for life, if it has one already, and reports whether it had one.
func (d *DB) SetPresent(ctx context.Context, key, value string, life time.Duration) (bool, error) {
	return d.whether(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(key).Value(value).Xx().PxMilliseconds(millis(life)).Build()
	})
}

// whether runs a command that answers nothing where its condition does not hold, and reports whether it holds.
func (d *DB) whether(ctx context.Context, build func(rueidis.Builder) rueidis.Completed) (bool, error) {
	err := d.do(ctx, build).Error()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	return err == nil, err
}

// Delete removes keys, those of sets too. What is not there is fine.
func (d *DB) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys { // one by one: in a cluster they stand on several servers
		if err := d.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Del().Key(key).Build() }).Error(); err != nil {
			return err
		}
	}
	return nil
}

// AddMember makes member one of the set of key, which lives for life from now on.
func (d *DB) AddMember(ctx context.Context, key, member string, life time.Duration) error {
	if err := d.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Sadd().Key(key).Member(member).Build() }).Error(); err != nil {
		return err
	}
	return d.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Pexpire().Key(key).Milliseconds(millis(life)).Build()
	}).Error()
}

// Members returns the set of key, none where there is none.
func (d *DB) Members(ctx context.Context, key string) ([]string, error) {
	return d.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Smembers().Key(key).Build() }).AsStrSlice()
}

func millis(life time.Duration) int64 { return max(life.Milliseconds(), 1) }

// do runs one command.
func (d *DB) do(ctx context.Context, build func(rueidis.Builder) rueidis.Completed) rueidis.RedisResult {
	client, err := d.client()
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return client.Do(ctx, build(client.B()))
}

// Package ratelimit bounds how many requests a source may send, by a token bucket for each. The middleware's key is
// rateLimit.
//
// A request that comes a little early waits for its token; others get 429 and are told when to come back. Buckets stand in
// the memory of this process, one set a router and middleware, or in Redis, shared by all that use the same name.
package ratelimit

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of rateLimit.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "rateLimit", Check: check, Build: build}
}

type limiter struct {
	source middleware.Source
	memory *store  // nil where buckets are in Redis
	remote *remote // nil where they are not
	next   httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	o := c.RateLimit
	l := middleware.CheckSource("rateLimit.sourceCriterion", o.SourceCriterion)
	if o.Average < 0 {
		l.Add(middleware.Bad("rateLimit.average", fmt.Sprintf("%d is less than zero", o.Average), "zero means no limit"))
	}
	if o.Period < 0 {
		l.Add(middleware.Bad("rateLimit.period", "a time cannot be less than zero", "the usual one is 1s"))
	}
	if o.Average == 0 {
		l.Add(middleware.Odd("rateLimit.average", "without an average there is no limit", "give the number of requests a period"))
	}
	if o.Redis != nil {
		l = append(l, checkRedis("rateLimit.redis", o.Redis)...)
	}
	return l
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.RateLimit
	if o.Average == 0 {
		return next, nil
	}
	source, err := middleware.NewSource(o.SourceCriterion, middleware.ByPeer)
	if err != nil {
		return nil, fmt.Errorf("rateLimit.sourceCriterion: %w", err)
	}
	period := o.Period.Std()
	if period == 0 {
		period = time.Second
	}
	l := &limiter{source: source, next: next}
	r := newRate(o.Average, period, o.Burst)
	if o.Redis != nil {
		l.remote, err = newRemote("rateLimit", redisOf(o.Redis), env, r, o.Average, period, o.Burst, byAddress(o.SourceCriterion))
		if err != nil {
			return nil, fmt.Errorf("rateLimit.redis.%w", err)
		}
		return l, nil
	}
	print, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("rateLimit: %w", err)
	}
	make := func() any { return newStore(r) }
	if env.State == nil {
		l.memory = make().(*store)
	} else {
		l.memory = env.State.Keep("rateLimit\x00"+env.Router+"\x00"+env.Name+"\x00"+string(print), make).(*store)
	}
	return l, nil
}

// Serve implements httpmsg.Handler.
func (l *limiter) Serve(x *httpmsg.Exchange) error {
	var buf [middleware.MaxKey]byte
	source := l.source.Key(x, buf[:0])
	var v verdict
	if l.memory != nil {
		v.wait, v.ok = l.memory.take(source)
	} else {
		var err error
		if v, err = l.remote.take(context.Background(), source); err != nil {
			return fault.New(fault.Internal, "rateLimit: asking Redis", err)
		}
	}
	return pass(x, &v, l.next)
}

// pass does with a request what was decided about it.
func pass(x *httpmsg.Exchange, v *verdict, next httpmsg.Handler) error {
	if !v.ok {
		refuse(x, v.wait)
		return nil
	}
	if v.wait > 0 {
		if cause := x.Sleep(v.wait); cause != nil {
			return fault.New(fault.ClientGone, "rateLimit: waiting for a token", cause)
		}
	}
	return next.Serve(x)
}

// limited is shared by all refusals and never changed.
var limited = fault.New(fault.TooManyRequests, "rateLimit: the source has sent too many requests", nil)

// refuse answers 429, and says when the request could pass.
func refuse(x *httpmsg.Exchange, wait time.Duration) {
	x.Fail(limited)
	seconds := int64((wait + time.Second - 1) / time.Second)
	h := &x.Res.Header
	h.AddID(httpmsg.HdrRetryAfter, strconv.AppendInt(x.Scratch(20)[:0], seconds, 10))
	text := wait.String()
	value := x.Scratch(len(text))
	copy(value, text)
	h.Append(httpmsg.Field{Name: httpmsg.Text("X-Retry-In"), Value: value})
}

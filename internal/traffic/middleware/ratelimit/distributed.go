package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/redisdb"
	"sluice/internal/wire/httpmsg"
)

// Distributed is the row of distributedRateLimit: the same buckets, always in a store, which may be a group that sentinels
// watch over.
func Distributed() middleware.Kind {
	return middleware.Kind{Name: "distributedRateLimit", Check: checkDistributed, Build: buildDistributed}
}

// quiet is the time between two words in the log about a store that cannot be asked.
const quiet = time.Minute

type distributed struct {
	source middleware.Source
	remote *remote
	// open tells that requests pass while the store cannot be asked.
	open  bool
	spoke atomic.Int64 // when that was said last, in Unix nanoseconds
	// tell is what goes into the response; nil for nothing.
	tell *allowance
	name string
	log  *slog.Logger
	next httpmsg.Handler
}

// allowance is what stays the same in the headers of all responses.
type allowance struct{ limit, period string }

func checkDistributed(c *dynamic.Middleware) diag.List {
	o := c.DistributedRateLimit
	const key = "distributedRateLimit"
	l := middleware.CheckSource(key+".sourceCriterion", o.SourceCriterion)
	if o.Limit < 0 {
		l.Add(middleware.Bad(key+".limit", fmt.Sprintf("%d is less than zero", o.Limit), "zero means no limit"))
	}
	if o.Limit == 0 {
		l.Add(middleware.Odd(key+".limit", "without a limit every request passes", "give the number of requests a period"))
	}
	if o.Period < 0 {
		l.Add(middleware.Bad(key+".period", "a time cannot be less than zero", "the usual one is 1s"))
	}
	if o.Store == nil || o.Store.Redis == nil {
		l.Add(middleware.Bad(key+".store", "there is no store", "give store.redis.endpoints"))
		return l
	}
	l = append(l, redisdb.CheckStore(key+".store.redis", o.Store.Redis)...)
	if s := o.Store.Redis; s.Database > 0 && s.Sentinel == nil && len(s.Endpoints) > 1 {
		l.Add(middleware.Bad(key+".store.redis.database", "several endpoints are a cluster, which has only database 0", "leave database out"))
	}
	return l
}

func buildDistributed(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(checkDistributed(c)); err != nil {
		return nil, err
	}
	o := c.DistributedRateLimit
	if o.Limit == 0 {
		return next, nil
	}
	source, err := middleware.NewSource(o.SourceCriterion, middleware.ByPeer)
	if err != nil {
		return nil, fmt.Errorf("distributedRateLimit.sourceCriterion: %w", err)
	}
	period := o.Period.Std()
	if period == 0 {
		period = time.Second
	}
	d := &distributed{source: source, open: o.DenyOnError != nil && !*o.DenyOnError, name: env.Name, log: env.Log, next: next}
	d.remote, err = newRemote("distributedRateLimit", redisdb.OfStore(o.Store.Redis), env, newRate(o.Limit, period, o.Burst), o.Limit, period, o.Burst,
		byAddress(o.SourceCriterion))
	if err != nil {
		return nil, fmt.Errorf("distributedRateLimit.store.redis.%w", err)
	}
	if o.ResponseHeaders {
		d.tell = &allowance{strconv.FormatInt(o.Limit, 10), strconv.FormatInt(int64((period+time.Second-1)/time.Second), 10)}
	}
	return d, nil
}

// Serve implements httpmsg.Handler.
func (d *distributed) Serve(x *httpmsg.Exchange) error {
	var buf [middleware.MaxKey]byte
	v, err := d.remote.take(context.Background(), d.source.Key(x, buf[:0]))
	if err != nil {
		if !d.open {
			return fault.New(fault.Internal, "distributedRateLimit: asking Redis", err)
		}
		d.complain(err)
		return d.next.Serve(x)
	}
	if d.tell != nil {
		x.OnCommit(&told{d.tell, v.left, v.full})
	}
	return pass(x, &v, d.next)
}

// complain says that requests pass uncounted, now and then.
func (d *distributed) complain(err error) {
	now := time.Now().UnixNano()
	last := d.spoke.Load()
	if d.log == nil || now-last < int64(quiet) || !d.spoke.CompareAndSwap(last, now) {
		return
	}
	d.log.Error("requests pass without a limit, for the store cannot be asked", "middleware", d.name, "err", err)
}

// told tells the client what is left.
type told struct {
	*allowance
	left int64
	full time.Duration
}

// EditResponse implements httpmsg.Edit. Reset is the time in whole seconds until the bucket is full again.
func (t *told) EditResponse(x *httpmsg.Exchange) {
	h := &x.Res.Header
	set := func(name string, n int64) {
		h.Del(name)
		h.Append(httpmsg.Field{Name: httpmsg.Text(name), Value: httpmsg.AppendInt(x.Scratch(20)[:0], n)})
	}
	h.Set("X-Rate-Limit-Limit", t.limit)
	h.Set("X-Rate-Limit-Period", t.period)
	set("X-Rate-Limit-Remaining", t.left)
	set("X-Rate-Limit-Reset", int64((t.full+time.Second-1)/time.Second))
}

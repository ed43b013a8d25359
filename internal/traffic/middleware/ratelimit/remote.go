package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/outgoing"
	"sluice/internal/traffic/middleware/redisdb"
)

// script asks for a token by the clock of the server, so that instances need not agree on the time. It does what rate.take
// does, in microseconds since 2025: Lua's numbers hold fractions of them all the better the smaller they are. KEYS: the
// bucket. ARGV: microseconds a token, microseconds a full bucket, most microseconds of waiting. It answers whether the
// request may pass, after how many microseconds, and in how many the bucket is full again.
var script = redisdb.NewScript(`
local clock = redis.call('TIME')
local now = (clock[1] - 1735689600) * 1000000 + clock[2]
local token, burst, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full == nil or full < now then full = now end
local after = full + token
local wait = after - burst - now
if wait > most then return {0, math.ceil(wait), math.ceil(full - now)} end
local life = math.ceil((after - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', string.format('%.0f', life))
return {1, math.max(0, math.ceil(wait)), math.ceil(after - now)}
`)

// longestLife bounds what a key may live, since stores refuse times beyond their arithmetic: ten years, in microseconds.
const longestLife = 10 * 365 * 24 * 3600 * 1e6

// remote keeps buckets in Redis.
type remote struct {
	db *redisdb.DB
	// prefix of keys. It is another than the reference's, whose buckets have another form: both may use one store while
	// somebody changes over.
	prefix  string
	address bool // sources are addresses
	args    []string
	// token and burst are microseconds, as in args.
	token, burst float64
}

func checkRedis(key string, o *dynamic.Redis) diag.List {
	var l diag.List
	l = append(l, redisdb.CheckEndpoints(key, o.Endpoints)...)
	for _, n := range []struct {
		name  string
		value int
	}{{"poolSize", o.PoolSize}, {"minIdleConns", o.MinIdleConns}, {"maxActiveConns", o.MaxActiveConns}} {
		if n.value < 0 {
			l.Add(middleware.Bad(key+"."+n.name, fmt.Sprintf("%d is less than zero", n.value), "leave it out for the default"))
		}
	}
	if o.DB < 0 {
		l.Add(middleware.Bad(key+".db", fmt.Sprintf("%d is less than zero", o.DB), ""))
	}
	if o.DB > 0 && len(o.Endpoints) > 1 {
		l.Add(middleware.Bad(key+".db", "a cluster has only database 0", "leave db out, or give one endpoint"))
	}
	return append(l, outgoing.CheckTLS(key+".tls", o.TLS)...)
}

// redisOf says how the store of a rateLimit is reached.
func redisOf(c *dynamic.Redis) redisdb.Options {
	return redisdb.Options{Endpoints: c.Endpoints, Username: c.Username, Password: c.Password, Database: c.DB, Dial: c.DialTimeout.Std(),
		Read: c.ReadTimeout.Std(), Write: c.WriteTimeout.Std(), TLS: c.TLS, Connections: c.PoolSize, MostConnections: c.MaxActiveConns}
}

// newRemote returns the buckets of a middleware in a store. kind is the middleware's; addresses tells that sources are addresses.
func newRemote(kind string, o redisdb.Options, env middleware.Env, r rate, average int64, period time.Duration, burst int64, addresses bool) (*remote, error) {
	// Shared by all routers; the rate does not matter to the connection.
	db, err := redisdb.Open(env, kind, o)
	if err != nil {
		return nil, err
	}
	m := &remote{db: db, prefix: "sluice:rate:" + env.Name + ":", address: addresses}
	m.token = float64(period) / 1e3 / float64(average)
	m.burst = min(m.token*float64(max(burst, 1)), longestLife)
	m.token = min(m.token, longestLife)
	for _, f := range []float64{m.token, m.burst, float64(r.maxDelay) / 1e3} {
		m.args = append(m.args, strconv.FormatFloat(f, 'f', 3, 64))
	}
	return m, nil
}

// byAddress reports whether a criterion makes sources of addresses.
func byAddress(c *dynamic.SourceCriterion) bool {
	return c == nil || c.RequestHeaderName == "" && !c.RequestHost
}

// verdict is what the store says to a request.
type verdict struct {
	ok   bool
	wait time.Duration // until the request may pass, or could
	// full is when the bucket is full again, left how many tokens are in it.
	full time.Duration
	left int64
}

// take asks for a token for a source.
func (m *remote) take(ctx context.Context, source []byte) (v verdict, err error) {
	answer, err := m.db.Run(ctx, script, []string{m.key(source)}, m.args)
	if err != nil {
		return v, err
	}
	if len(answer) != 3 {
		return v, errors.New("the store gave another answer than the script makes")
	}
	v = verdict{ok: answer[0] == 1, wait: time.Duration(answer[1]) * time.Microsecond, full: time.Duration(answer[2]) * time.Microsecond}
	v.left = max(0, int64((m.burst-float64(answer[2])+1)/m.token)) // the microsecond that was rounded up
	return v, nil
}

// key is the name of a source's bucket, with addresses as people write them.
func (m *remote) key(source []byte) string {
	if a, ok := netip.AddrFromSlice(source); ok && m.address {
		return m.prefix + a.String()
	}
	return m.prefix + string(source)
}

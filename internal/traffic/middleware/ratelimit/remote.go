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
// does, in microseconds since 2025: Lua's numbers hold fractions of them all the better the smaller they are. KEYS: the bucket. ARGV: microseconds a token, microseconds a full bucket, most microseconds of
// waiting. It answers whether the request may pass, and after how many microseconds.
var script = redisdb.NewScript(`
local clock = redis.call('TIME')
local now = (clock[1] - 1735689600) * 1000000 + clock[2]
local token, burst, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full == nil or full < now then full = now end
local after = full + token
local wait = after - burst - now
if wait > most then return {0, math.ceil(wait)} end
local life = math.ceil((after - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', string.format('%.0f', life))
return {1, math.max(0, math.ceil(wait))}
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
}

func checkRedis(key string, o *dynamic.Redis) diag.List {
	var l diag.List
	l = append(l, redisdb.CheckEndpoints(key, o.Endpoints)...)
	if o.DB < 0 {
		l.Add(middleware.Bad(key+".db", fmt.Sprintf("%d is less than zero", o.DB), ""))
	}
	if o.DB > 0 && len(o.Endpoints) > 1 {
		l.Add(middleware.Bad(key+".db", "a cluster has only database 0", "leave db out, or give one endpoint"))
	}
	return append(l, outgoing.CheckTLS(key+".tls", o.TLS)...)
}

func newRemote(o *dynamic.RateLimit, env middleware.Env, r rate, period time.Duration) (*remote, error) {
	c := o.Redis
	// Shared by all routers; the rate does not matter to the connection.
	db, err := redisdb.Open(env, "rateLimit", redisdb.Options{Endpoints: c.Endpoints, Username: c.Username, Password: c.Password, Database: c.DB,
		Dial: c.DialTimeout.Std(), Read: c.ReadTimeout.Std(), Write: c.WriteTimeout.Std(), TLS: c.TLS})
	if err != nil {
		return nil, fmt.Errorf("rateLimit.redis.%w", err)
	}
	m := &remote{db: db, prefix: "sluice:rate:" + env.Name + ":"}
	m.address = o.SourceCriterion == nil || o.SourceCriterion.RequestHeaderName == "" && !o.SourceCriterion.RequestHost
	micros := float64(period) / 1e3 / float64(o.Average)
	burst := min(micros*float64(max(o.Burst, 1)), longestLife)
	for _, f := range []float64{min(micros, longestLife), burst, float64(r.maxDelay) / 1e3} {
		m.args = append(m.args, strconv.FormatFloat(f, 'f', 3, 64))
	}
	return m, nil
}

// take asks for a token for a source.
func (m *remote) take(ctx context.Context, source []byte) (wait time.Duration, ok bool, err error) {
	answer, err := m.db.Run(ctx, script, []string{m.key(source)}, m.args)
	if err != nil {
		return 0, false, err
	}
	if len(answer) != 2 {
		return 0, false, errors.New("the store gave another answer than the script makes")
	}
	return time.Duration(answer[1]) * time.Microsecond, answer[0] == 1, nil
}

// key is the name of a source's bucket, with addresses as people write them.
func (m *remote) key(source []byte) string {
	if a, ok := netip.AddrFromSlice(source); ok && m.address {
		return m.prefix + a.String()
	}
	return m.prefix + string(source)
}

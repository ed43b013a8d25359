package ratelimit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/middleware"
)

const (
	// patience bounds commands whose timeout is switched off: no wait is endless.
	patience = 30 * time.Second
	// pause is the time after a failed connection in which no other one is tried.
	pause = time.Second
)

// script asks for a token by the clock of the server, so that instances need not agree on the time. It does what rate.take
// does, in microseconds since 2025: Lua's numbers hold fractions of them all the better the smaller they are. KEYS: the bucket. ARGV: microseconds a token, microseconds a full bucket, most microseconds of
// waiting. It answers whether the request may pass, and after how many microseconds.
var script = rueidis.NewLuaScript(`
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
	link *link
	// prefix of keys. It is another than the reference's, whose buckets have another form: both may use one store while
	// somebody changes over.
	prefix  string
	address bool // sources are addresses
	args    []string
	timeout time.Duration
}

func checkRedis(key string, o *dynamic.Redis) diag.List {
	var l diag.List
	for i, e := range o.Endpoints {
		if err := checkEndpoint(e); err != nil {
			l.Add(middleware.Bad(fmt.Sprintf("%s.endpoints[%d]", key, i), err.Error(), "write it like redis.example.com:6379"))
		}
	}
	if o.DB < 0 {
		l.Add(middleware.Bad(key+".db", fmt.Sprintf("%d is less than zero", o.DB), ""))
	}
	if o.DB > 0 && len(o.Endpoints) > 1 {
		l.Add(middleware.Bad(key+".db", "a cluster has only database 0", "leave db out, or give one endpoint"))
	}
	if o.TLS != nil {
		for _, f := range certs.ValidateClient(o.TLS) {
			f.Key = key + ".tls." + f.Key
			l.Add(f)
		}
	}
	return l
}

func checkEndpoint(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", text)
	}
	return nil
}

func newRemote(o *dynamic.RateLimit, env middleware.Env, r rate, period time.Duration) (*remote, error) {
	c := o.Redis
	endpoints := c.Endpoints
	if len(endpoints) == 0 {
		endpoints = []string{"localhost:6379"}
	}
	options := rueidis.ClientOption{
		InitAddress: endpoints, Username: c.Username, Password: c.Password.Reveal(), SelectDB: c.DB,
		Dialer:           net.Dialer{Timeout: orPatience(c.DialTimeout), KeepAlive: 15 * time.Second},
		ConnWriteTimeout: orPatience(max(c.WriteTimeout, c.ReadTimeout)), ForceSingleClient: len(endpoints) == 1,
		// The first two let old servers do; a command that may have been carried out must not be sent again.
		AlwaysRESP2: true, DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
	}
	if c.TLS != nil {
		var err error
		if options.TLSConfig, err = certs.Client(c.TLS); err != nil {
			return nil, fmt.Errorf("rateLimit.redis.tls: %w", err)
		}
	}
	m := &remote{prefix: "sluice:rate:" + env.Name + ":", timeout: orPatience(c.ReadTimeout)}
	m.address = o.SourceCriterion == nil || o.SourceCriterion.RequestHeaderName == "" && !o.SourceCriterion.RequestHost
	micros := float64(period) / 1e3 / float64(o.Average)
	burst := min(micros*float64(max(o.Burst, 1)), longestLife)
	for _, f := range []float64{min(micros, longestLife), burst, float64(r.maxDelay) / 1e3} {
		m.args = append(m.args, strconv.FormatFloat(f, 'f', 3, 64))
	}
	make := func() any { return &link{options: options, log: env.Log} }
	if env.State == nil {
		m.link = make().(*link)
	} else {
		// Shared by all routers; the rate does not matter to the connection.
		m.link = env.State.Keep("rateLimit redis\x00"+env.Name+"\x00"+redisPrint(c), make).(*link)
	}
	return m, nil
}

func orPatience(d dynamic.Duration) time.Duration {
	if d <= 0 {
		return patience
	}
	return d.Std()
}

// redisPrint tells ways to reach a store apart, secrets included, without showing them.
func redisPrint(c *dynamic.Redis) string {
	parts := append([]string{c.Username, c.Password.Reveal(), fmt.Sprint(c.DB, c.ReadTimeout, c.WriteTimeout, c.DialTimeout)}, c.Endpoints...)
	if t := c.TLS; t != nil {
		parts = append(parts, t.CA.Content.Reveal(), t.Cert.Content.Reveal(), t.Key.Content.Reveal(), fmt.Sprint(t.InsecureSkipVerify))
	}
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d %s\n", len(p), p)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// take asks for a token for a source.
func (m *remote) take(ctx context.Context, source []byte) (wait time.Duration, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	client, err := m.link.client()
	if err != nil {
		return 0, false, err
	}
	answer, err := script.Exec(ctx, client, []string{m.key(source)}, m.args).AsIntSlice()
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

// link is the connection to a store: made when first wanted, kept over changes of the configuration, and mended by the
// client library when it breaks. Safe for concurrent use.
type link struct {
	options rueidis.ClientOption
	log     *slog.Logger
	up      atomic.Pointer[rueidis.Client]
	mu      sync.Mutex
	err     error // of the last try
	tried   time.Time
	closed  bool
}

// client returns the client, connecting first if need be. Whoever comes while somebody connects waits for him; for a while
// after a failure all get its error.
func (l *link) client() (rueidis.Client, error) {
	if c := l.up.Load(); c != nil {
		return *c, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.up.Load(); c != nil {
		return *c, nil
	}
	switch {
	case l.closed:
		return nil, errors.New("the connection was given up")
	case l.err != nil && time.Since(l.tried) < pause:
		return nil, l.err
	}
	c, err := rueidis.NewClient(l.options)
	l.err, l.tried = err, time.Now()
	if err != nil {
		if l.log != nil {
			l.log.Error("rate limits cannot reach their Redis", "endpoints", l.options.InitAddress, "err", err)
		}
		return nil, err
	}
	l.up.Store(&c)
	return c, nil
}

// Close ends the connection, for State. Commands under way fail.
func (l *link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if c := l.up.Swap(nil); c != nil {
		(*c).Close()
	}
}

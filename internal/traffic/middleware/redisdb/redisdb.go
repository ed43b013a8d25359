// Package redisdb keeps what several instances share in Redis: buckets of rate limits, sessions. It is the doorway of the
// client library.
//
// A connection is made when it is first wanted, kept over changes of the configuration, and mended by the library when it
// breaks. No command waits for ever, and none is sent twice: it may have been carried out.
package redisdb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/outgoing"
)

const (
	// patience bounds commands whose timeout is switched off: no wait is endless.
	patience = 30 * time.Second
	// pause is the time after a failed connection in which no other one is tried.
	pause = time.Second
	// usualTimeout is that of stores whose configuration gives none.
	usualTimeout = 3 * time.Second
)

// Options say how a store is reached.
type Options struct {
	// Endpoints are host:port. Empty: localhost:6379.
	Endpoints         []string
	Username          string
	Password          secret.String
	Database          int
	Dial, Read, Write time.Duration // zero or less: 30 s
	Cluster           bool          // the endpoints are a cluster, also if there is only one
	Sentinel          *dynamic.RedisSentinel
	TLS               *dynamic.ClientTLS
	// Connections is among how many connections commands are spread, rounded up to a power of two of at most 256, and
	// MostConnections a bound of that. Zero: four, and no other bound. Connections stay open.
	Connections, MostConnections int
}

// OfStore returns the options of a store section.
func OfStore(s *dynamic.RedisStore) Options {
	timeout := s.Timeout.Std()
	if timeout <= 0 {
		timeout = usualTimeout
	}
	return Options{Endpoints: s.Endpoints, Username: s.Username, Password: s.Password, Database: s.Database, Dial: timeout, Read: timeout, Write: timeout,
		Cluster: s.Cluster != nil, Sentinel: s.Sentinel, TLS: s.TLS}
}

// CheckStore reports what is wrong with a store section; key is its path below the middleware.
func CheckStore(key string, s *dynamic.RedisStore) diag.List {
	var l diag.List
	if len(s.Endpoints) == 0 {
		l.Add(middleware.Bad(key+".endpoints", "there are no endpoints", "write them like redis.example.com:6379"))
	}
	l = append(l, CheckEndpoints(key, s.Endpoints)...)
	if s.Database < 0 {
		l.Add(middleware.Bad(key+".database", fmt.Sprintf("%d is less than zero", s.Database), ""))
	}
	if s.Database > 0 && s.Cluster != nil {
		l.Add(middleware.Odd(key+".database", "a cluster has only database 0", "leave database out"))
	}
	if s.Cluster != nil && s.Sentinel != nil {
		l.Add(middleware.Bad(key+".sentinel", "the endpoints are a cluster already", "leave cluster or sentinel out"))
	}
	if s.Sentinel != nil && s.Sentinel.MasterSet == "" {
		l.Add(middleware.Bad(key+".sentinel.masterSet", "the name of the group must be given", ""))
	}
	return append(l, outgoing.CheckTLS(key+".tls", s.TLS)...)
}

// CheckEndpoints reports endpoints that are no host:port.
func CheckEndpoints(key string, endpoints []string) diag.List {
	var l diag.List
	for i, e := range endpoints {
		if err := checkEndpoint(e); err != nil {
			l.Add(middleware.Bad(fmt.Sprintf("%s.endpoints[%d]", key, i), err.Error(), "write it like redis.example.com:6379"))
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

// DB is a store. Safe for concurrent use.
type DB struct {
	options rueidis.ClientOption
	timeout time.Duration // of a command
	log     *slog.Logger

	up     atomic.Pointer[rueidis.Client]
	mu     sync.Mutex
	err    error // of the last try
	tried  time.Time
	closed bool
}

// Open returns the store that o describes, the same for all routers whose middlewares have the name and kind of env and
// reach it in the same way. It connects to nobody yet.
func Open(env middleware.Env, kind string, o Options) (*DB, error) {
	endpoints := o.Endpoints
	if len(endpoints) == 0 {
		endpoints = []string{"localhost:6379"}
	}
	d := &DB{timeout: orPatience(o.Read), log: env.Log, options: rueidis.ClientOption{
		InitAddress: endpoints, Username: o.Username, Password: o.Password.Reveal(), SelectDB: o.Database,
		Dialer:           net.Dialer{Timeout: orPatience(o.Dial), KeepAlive: 15 * time.Second},
		ConnWriteTimeout: orPatience(max(o.Write, o.Read)), ForceSingleClient: len(endpoints) == 1 && !o.Cluster && o.Sentinel == nil,
		// The first two let old servers do; a command that may have been carried out must not be sent again.
		PipelineMultiplex: lanes(o.Connections, o.MostConnections), AlwaysRESP2: true, DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
	}}
	if o.TLS != nil {
		var err error
		if d.options.TLSConfig, err = certs.Client(o.TLS); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	if o.Cluster {
		d.options.SelectDB = 0
	}
	if s := o.Sentinel; s != nil {
		d.options.Sentinel = rueidis.SentinelOption{MasterSet: s.MasterSet, Username: s.Username, Password: s.Password.Reveal(), TLSConfig: d.options.TLSConfig,
			Dialer: d.options.Dialer, TopologyRefreshInterval: 5 * time.Second}
	}
	if env.State == nil {
		return d, nil
	}
	return env.State.Keep(kind+" redis\x00"+env.Name+"\x00"+print(o), func() any { return d }).(*DB), nil
}

// lanes chooses the number of connections as the library wants it: the exponent of a power of two, 0 for its own choice.
func lanes(pool, most int) int {
	if pool <= 0 && most <= 0 {
		return 0
	}
	n := 2
	if pool > 0 {
		n = bits.Len(uint(pool - 1))
	}
	if most > 0 {
		n = min(n, bits.Len(uint(most))-1)
	}
	if n = min(n, 8); n == 0 {
		return -1 // how the library spells one connection
	}
	return n
}

func orPatience(d time.Duration) time.Duration {
	if d <= 0 {
		return patience
	}
	return d
}

// print tells ways to reach a store apart, secrets included, without showing them.
func print(o Options) string {
	parts := append([]string{o.Username, o.Password.Reveal(), fmt.Sprint(o.Database, o.Read, o.Write, o.Dial, o.Cluster, o.Connections, o.MostConnections), outgoing.Print(o.TLS)}, o.Endpoints...)
	if s := o.Sentinel; s != nil {
		parts = append(parts, s.MasterSet, s.Username, s.Password.Reveal())
	}
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d %s\n", len(p), p)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// client returns the client, connecting first if need be. Whoever comes while somebody connects waits for him; for a while
// after a failure all get its error.
func (d *DB) client() (rueidis.Client, error) {
	if c := d.up.Load(); c != nil {
		return *c, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.up.Load(); c != nil {
		return *c, nil
	}
	switch {
	case d.closed:
		return nil, errors.New("the connection was given up")
	case d.err != nil && time.Since(d.tried) < pause:
		return nil, d.err
	}
	c, err := rueidis.NewClient(d.options)
	d.err, d.tried = err, time.Now()
	if err != nil {
		if d.log != nil {
			d.log.Error("Redis cannot be reached", "endpoints", d.options.InitAddress, "error", err)
		}
		return nil, err
	}
	d.up.Store(&c)
	return c, nil
}

// Close ends the connection, for middleware.State. Commands under way fail.
func (d *DB) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if c := d.up.Swap(nil); c != nil {
		(*c).Close()
	}
}

// Script is a Lua script that a server runs at once.
type Script struct{ lua *rueidis.Lua }

// NewScript returns a script with a text.
func NewScript(text string) *Script { return &Script{rueidis.NewLuaScript(text)} }

// Run runs a script that answers with whole numbers.
func (d *DB) Run(ctx context.Context, s *Script, keys, args []string) ([]int64, error) {
	client, err := d.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return s.lua.Exec(ctx, client, keys, args).AsIntSlice()
}

package ratelimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func spread(t *testing.T, env middleware.Env, o dynamic.DistributedRateLimit, addr string) httpmsg.Handler {
	t.Helper()
	if o.Store == nil {
		o.Store = &dynamic.RateStore{Redis: &dynamic.RedisStore{Endpoints: []string{addr}}}
	}
	h, err := Distributed().Build(&dynamic.Middleware{DistributedRateLimit: &o}, env, fine)
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := h.(*distributed); ok {
		t.Cleanup(d.remote.db.Close)
	}
	return h
}

func ask(h httpmsg.Handler) *httpmsg.Exchange {
	x := from("192.0.2.1:1")
	if err := h.Serve(x); err != nil {
		x.Fail(err)
	}
	x.RunEdits()
	return x
}

func TestDistributed(t *testing.T) {
	testkit.LeakCheck(t)
	server := miniredis.RunT(t)
	o := dynamic.DistributedRateLimit{Limit: 2, Period: dynamic.Seconds(3600), Burst: 3, ResponseHeaders: true}
	a, b := spread(t, middleware.Env{Name: "m@file"}, o, server.Addr()), spread(t, middleware.Env{Name: "m@file"}, o, server.Addr())
	for i, want := range []string{"200 2 1800", "200 1 3600", "200 0 5400", "429 0 5400", "429 0 5400"} {
		x := ask([]httpmsg.Handler{a, b}[i%2])
		h := &x.Res.Header
		got := fmt.Sprintf("%d %s %s", x.Res.Status, h.Lookup("X-Rate-Limit-Remaining"), h.Lookup("X-Rate-Limit-Reset"))
		if got != want || !h.Lookup("X-Rate-Limit-Limit").Is("2") || !h.Lookup("X-Rate-Limit-Period").Is("3600") {
			t.Errorf("request %d: got %s, want %s", i, got, want)
		}
		if x.Res.Status == 429 && !h.Lookup("Retry-After").Is("1800") {
			t.Errorf("request %d: Retry-After %s", i, h.Lookup("Retry-After"))
		}
	}
	// Without the option nothing is told, without a limit nothing is asked.
	o.ResponseHeaders = false
	if x := ask(spread(t, middleware.Env{Name: "n@file"}, o, server.Addr())); x.Res.Header.Lookup("X-Rate-Limit-Limit") != nil {
		t.Error("it is told all the same")
	}
	if x := ask(spread(t, middleware.Env{}, dynamic.DistributedRateLimit{}, "127.0.0.1:1")); x.Res.Status != 200 {
		t.Errorf("no limit: %d", x.Res.Status)
	}
}

// TestDistributedErrors holds that requests are refused while the store cannot be asked, unless that is switched off.
func TestDistributedErrors(t *testing.T) {
	testkit.LeakCheck(t)
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	addr := server.Addr()
	server.Close()
	var log bytes.Buffer
	env := middleware.Env{Name: "m@file", Log: slog.New(slog.NewTextHandler(&log, nil))}
	o := dynamic.DistributedRateLimit{Limit: 1, Burst: 1}
	for _, c := range []struct {
		deny *bool
		want int
	}{{nil, 500}, {new(true), 500}, {new(false), 200}} {
		o.DenyOnError = c.deny
		h := spread(t, env, o, addr)
		for range 3 {
			if x := ask(h); x.Res.Status != c.want {
				t.Errorf("got %d, want %d", x.Res.Status, c.want)
			}
		}
	}
	if n := strings.Count(log.String(), "requests pass without a limit"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
}

func TestDistributedUnbuildable(t *testing.T) {
	store := func(r dynamic.RedisStore) dynamic.DistributedRateLimit {
		return dynamic.DistributedRateLimit{Limit: 1, Store: &dynamic.RateStore{Redis: &r}}
	}
	good := []string{"127.0.0.1:6379"}
	for key, o := range map[string]dynamic.DistributedRateLimit{
		"distributedRateLimit.limit":                            {Limit: -1},
		"distributedRateLimit.period":                           {Limit: 1, Period: -1},
		"distributedRateLimit.store: ":                          {Limit: 1},
		"distributedRateLimit.store.redis.endpoints: ":          store(dynamic.RedisStore{}),
		"distributedRateLimit.store.redis.endpoints[1]":         store(dynamic.RedisStore{Endpoints: []string{"a:1", "b"}}),
		"distributedRateLimit.store.redis.database":             store(dynamic.RedisStore{Endpoints: append(good, good...), Database: 1}),
		"distributedRateLimit.store.redis.database: -1":         store(dynamic.RedisStore{Endpoints: good, Database: -1}),
		"distributedRateLimit.store.redis.sentinel: ":           store(dynamic.RedisStore{Endpoints: good, Cluster: &dynamic.RedisCluster{}, Sentinel: &dynamic.RedisSentinel{MasterSet: "m"}}),
		"distributedRateLimit.store.redis.sentinel.masterSet":   store(dynamic.RedisStore{Endpoints: good, Sentinel: &dynamic.RedisSentinel{}}),
		"distributedRateLimit.store.redis.tls.":                 store(dynamic.RedisStore{Endpoints: good, TLS: &dynamic.ClientTLS{CA: dynamic.Material{Written: "x", Content: secret.New("x")}}}),
		"distributedRateLimit.sourceCriterion.requestHeaderNam": {Limit: 1, SourceCriterion: &dynamic.SourceCriterion{RequestHeaderName: "a b"}},
	} {
		m := &dynamic.Middleware{DistributedRateLimit: &o}
		if err := middleware.Refusal(Distributed().Check(m)); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
		if h, err := Distributed().Build(m, middleware.Env{}, fine); err == nil || h != nil {
			t.Errorf("%s was built", key)
		}
	}
}

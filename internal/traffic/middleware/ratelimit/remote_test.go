package ratelimit

import (
	"context"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/core/secret"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func redisConfig(addr string) *dynamic.Redis {
	c := &dynamic.Redis{}
	c.SetDefaults()
	c.Endpoints = []string{addr}
	return c
}

func remoteLimiter(t *testing.T, o dynamic.RateLimit, name string) *limiter {
	t.Helper()
	l := handler(t, o, middleware.Env{Name: name}, fine).(*limiter)
	t.Cleanup(l.remote.db.Close)
	return l
}

// TestRemoteExactness compares the script with the model: they may differ by the microseconds of its clock.
func TestRemoteExactness(t *testing.T) {
	testkit.LeakCheck(t)
	server := miniredis.RunT(t)
	for _, r := range rates[:6] {
		rnd := rand.New(rand.NewPCG(11, 12))
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		began := now
		server.FlushAll()
		l := remoteLimiter(t, dynamic.RateLimit{Average: r.average, Period: dynamic.Duration(r.period), Burst: r.burst, Redis: redisConfig(server.Addr())}, "m@file")
		m := newModel(r.average, r.period, r.burst)
		token := max(int64(r.period)/r.average, 1000)
		for i := range 300 {
			step := time.Duration(rnd.Int64N(2*token+1000)) / 1000 * 1000
			now = now.Add(step)
			server.SetTime(now)
			server.FastForward(step)
			v, err := l.remote.take(context.Background(), []byte{192, 0, 2, 1})
			if err != nil {
				t.Fatal(err)
			}
			wait, ok := v.wait, v.ok
			before := *m
			before.tokens = m.tokens
			wantWait, want := m.take(now.Sub(began))
			if ok != want {
				if d := wantWait - m.maxDelay; d < 2*time.Microsecond && d > -2*time.Microsecond {
					break // a draw by the rounding of the clock; the two go apart from here
				}
				t.Fatalf("%+v, request %d: got %v %v, want %v %v", r, i, ok, wait, want, wantWait)
			}
			if left := new(big.Rat).Set(m.tokens); ok {
				whole := max(new(big.Int).Div(left.Num(), left.Denom()).Int64(), 0)
				if d := v.left - whole; d > 1 || d < -1 {
					t.Fatalf("%+v, request %d: %d are left, want %d", r, i, v.left, whole)
				}
			}
			if d := wait - wantWait; d > 10*time.Microsecond || d < -10*time.Microsecond {
				t.Fatalf("%+v, request %d: got %v, want %v", r, i, wait, wantWait)
			}
		}
	}
}

func TestInstancesShareBuckets(t *testing.T) {
	server := miniredis.RunT(t)
	o := dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(3600), Burst: 2, Redis: redisConfig(server.Addr())}
	a, b, other := remoteLimiter(t, o, "m@file"), remoteLimiter(t, o, "m@file"), remoteLimiter(t, o, "n@file")
	for i, c := range []struct {
		limiter *limiter
		peer    string
		want    int
	}{
		{a, "192.0.2.1:1", 200}, {b, "192.0.2.1:1", 200}, {a, "192.0.2.1:1", 429}, {b, "192.0.2.1:1", 429},
		{a, "192.0.2.2:1", 200}, {other, "192.0.2.1:1", 200},
	} {
		x := from(c.peer)
		if err := c.limiter.Serve(x); err != nil {
			t.Fatal(err)
		}
		if x.Res.Status != c.want {
			t.Errorf("request %d: got %d, want %d", i, x.Res.Status, c.want)
		}
	}
	keys := strings.Join(server.Keys(), " ")
	if keys != "sluice:rate:m@file:192.0.2.1 sluice:rate:m@file:192.0.2.2 sluice:rate:n@file:192.0.2.1" {
		t.Errorf("keys are %s", keys)
	}
	if ttl := server.TTL("sluice:rate:m@file:192.0.2.1"); ttl < time.Hour || ttl > 2*time.Hour+time.Second {
		t.Errorf("a bucket lives for %v", ttl)
	}
}

func TestRemoteFailures(t *testing.T) {
	testkit.LeakCheck(t)
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	addr := server.Addr()
	l := remoteLimiter(t, dynamic.RateLimit{Average: 1000, Burst: 1000, Redis: redisConfig(addr)}, "m@file")
	status := func() int {
		x := from("192.0.2.1:1")
		if err := l.Serve(x); err != nil {
			return fault.Status(err)
		}
		return x.Res.Status
	}
	if got := status(); got != 200 {
		t.Fatalf("got %d", got)
	}
	server.Close()
	if got := status(); got != 500 {
		t.Errorf("got %d from a store that is gone", got)
	}
	server = miniredis.NewMiniRedis()
	if err := server.StartAddr(addr); err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	defer server.Close()
	deadline := time.Now().Add(10 * time.Second)
	for status() != 200 {
		if time.Now().After(deadline) {
			t.Fatal("the store is back, and still refused")
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Another of the client's connections may still have to find out that the store was gone.
	for server.Set("sluice:rate:m@file:192.0.2.1", "junk"); status() != 200; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("junk in the store is not got over")
		}
	}
}

func TestRemoteOutOfReach(t *testing.T) {
	testkit.LeakCheck(t)
	silent := testkit.Listen(t, func(c *testkit.PeerConn, _ int) { c.ReadUntil("never") })
	for _, addr := range []string{"127.0.0.1:1", silent.Addr} {
		c := redisConfig(addr)
		c.ReadTimeout, c.WriteTimeout, c.DialTimeout = dynamic.Milliseconds(100), dynamic.Milliseconds(100), dynamic.Milliseconds(100)
		l := remoteLimiter(t, dynamic.RateLimit{Average: 1, Redis: c}, "m@file")
		for range 2 {
			if err := l.Serve(from("192.0.2.1:1")); err == nil || fault.Status(err) != 500 {
				t.Errorf("%s: got %v", addr, err)
			}
		}
	}
}

func TestPassword(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireUserAuth("user", "secret-word")
	for password, want := range map[string]int{"secret-word": 200, "wrong-word": 500} {
		c := redisConfig(server.Addr())
		c.Username, c.Password, c.DB = "user", secret.New(password), 3
		l := remoteLimiter(t, dynamic.RateLimit{Average: 1, Redis: c}, "m@file")
		x := from("192.0.2.1:1")
		err := l.Serve(x)
		got := x.Res.Status
		if err != nil {
			got = fault.Status(err)
			if strings.Contains(err.Error(), password) {
				t.Errorf("the error shows the password: %v", err)
			}
		}
		if got != want {
			t.Errorf("%s: got %d, %v", password, got, err)
		}
	}
	if got := server.DB(3).Keys(); len(got) != 1 {
		t.Errorf("database 3 has %v", got)
	}
}

func TestTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := ca.Leaf(t, "127.0.0.1")
	server := miniredis.NewMiniRedis()
	if err := server.StartTLS(leaf.ServerConfig()); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, c := range []struct {
		tls  *dynamic.ClientTLS
		want int
	}{
		{&dynamic.ClientTLS{InsecureSkipVerify: true}, 200},
		{&dynamic.ClientTLS{}, 500},
	} {
		o := redisConfig(server.Addr())
		o.TLS = c.tls
		l := remoteLimiter(t, dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(1), Redis: o}, "m@file")
		x := from("192.0.2.1:1")
		got := 0
		if err := l.Serve(x); err != nil {
			got = fault.Status(err)
		} else {
			got = x.Res.Status
		}
		if got != c.want {
			t.Errorf("%+v: got %d", c.tls, got)
		}
	}
}

func TestLinkIsShared(t *testing.T) {
	server := miniredis.RunT(t)
	var state middleware.State
	build := func(router, password string) *limiter {
		c := redisConfig(server.Addr())
		c.Password = secret.New(password)
		return handler(t, dynamic.RateLimit{Average: 1, Redis: c}, middleware.Env{Name: "m@file", Router: router, State: &state}, fine).(*limiter)
	}
	state.Begin()
	a, b, other := build("r", ""), build("s", ""), build("r", "x")
	if a.remote.db != b.remote.db || a.remote.db == other.remote.db {
		t.Error("routers share what reaches one store in one way")
	}
	a.Serve(from("192.0.2.1:1"))
	state.Begin()
	state.Sweep()
	if err := a.Serve(from("192.0.2.1:1")); err == nil {
		t.Error("the connection outlived its configuration")
	}
}

var _ httpmsg.Handler = (*limiter)(nil)

package ratelimit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func handler(t testing.TB, o dynamic.RateLimit, env middleware.Env, next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{RateLimit: &o}, env, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var fine = httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil })

func from(peer string, fields ...string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{Peer: netip.MustParseAddrPort(peer)}
	x.Req.Method, x.Req.Host = httpmsg.Text("GET"), httpmsg.Text("a.test")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Req.Header.Add(name, value)
	}
	return x
}

// model is a token bucket as the textbook has it, in exact numbers.
type model struct {
	perNano, burst, tokens *big.Rat
	last                   time.Duration
	maxDelay               time.Duration
}

func newModel(average int64, period time.Duration, burst int64) *model {
	m := &model{perNano: big.NewRat(average, int64(period)), burst: big.NewRat(burst, 1), tokens: big.NewRat(burst, 1), maxDelay: 500 * time.Millisecond}
	perSecond := new(big.Rat).Mul(m.perNano, big.NewRat(int64(time.Second), 1))
	if whole := new(big.Int).Quo(perSecond.Num(), perSecond.Denom()).Int64(); whole >= 1 {
		m.maxDelay = time.Second / time.Duration(2*whole)
	}
	return m
}

func (m *model) take(now time.Duration) (time.Duration, bool) {
	came := new(big.Rat).Mul(m.perNano, big.NewRat(int64(now-m.last), 1))
	m.last = now
	if m.tokens.Add(m.tokens, came); m.tokens.Cmp(m.burst) > 0 {
		m.tokens.Set(m.burst)
	}
	left := new(big.Rat).Sub(m.tokens, big.NewRat(1, 1))
	wait := time.Duration(0)
	if left.Sign() < 0 {
		missing := new(big.Rat).Quo(new(big.Rat).Neg(left), m.perNano)
		q, rest := new(big.Int).QuoRem(missing.Num(), missing.Denom(), new(big.Int))
		if wait = time.Duration(q.Int64()); rest.Sign() > 0 {
			wait++
		}
	}
	if wait > m.maxDelay {
		return wait, false
	}
	m.tokens = left
	return wait, true
}

// rates are averages, periods and bursts.
var rates = []struct {
	average int64
	period  time.Duration
	burst   int64
}{
	{1, time.Second, 1}, {3, time.Second, 1}, {7, time.Minute, 5}, {100, time.Second, 50}, {1, time.Hour, 3}, {1_000_003, time.Second, 10},
	{999_999_937, time.Second, 1000}, {13, 17 * time.Millisecond, 2}, {5, 3, 4},
}

// TestExactness compares every decision with the model, under a clock that stands still in between.
func TestExactness(t *testing.T) {
	for _, r := range rates {
		t.Run(fmt.Sprintf("%d in %v, burst %d", r.average, r.period, r.burst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(7, 8))
				s, m := newStore(newRate(r.average, r.period, r.burst)), newModel(r.average, r.period, r.burst)
				token := int64(r.period) / r.average
				for i := range 5000 {
					switch rnd.IntN(5) {
					case 0: // just when the next token is there, or one nanosecond off
						time.Sleep(time.Duration(max(token+rnd.Int64N(3)-1, 0)))
					case 1:
						time.Sleep(time.Duration(rnd.Int64N(2*token + 2)))
					case 2:
						time.Sleep(time.Duration(rnd.Int64N(token/4 + 2)))
					}
					now := time.Since(s.born)
					wait, ok := s.take([]byte("source"))
					wantWait, want := m.take(now)
					if ok != want || wait != wantWait {
						t.Fatalf("request %d at %v: got %v %v, want %v %v", i, now, ok, wait, want, wantWait)
					}
				}
			})
		})
	}
}

func TestHugeNumbers(t *testing.T) {
	const most = 1<<63 - 1
	for _, average := range []int64{1, 2, 1_000_000_007, most - 1, most} {
		for _, period := range []time.Duration{1, time.Second, most} {
			for _, burst := range []int64{1, 1000, most} {
				r := newRate(average, period, burst)
				if r.token.ns < 0 || r.burst.ns < 0 || r.maxDelay < 0 || r.token.part < 0 || r.token.part >= r.unit {
					t.Fatalf("%d in %d, burst %d: %+v", average, period, burst, r)
				}
				var full instant
				for i, now := range []int64{0, 0, 1, 1, 1e9, 1e18, 1e18} {
					next, wait, ok := r.take(full, now)
					if wait < 0 || next.part < 0 || next.part >= r.unit || next.ns < full.ns || i == 0 && !ok {
						t.Fatalf("%d in %d, burst %d, request %d: %+v %v %v", average, period, burst, i, next, wait, ok)
					}
					full = next
				}
			}
		}
	}
}

// TestManyClients holds that memory is bounded under a million distinct clients, and that the latest are still limited.
func TestManyClients(t *testing.T) {
	s := newStore(newRate(1, time.Hour, 1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var source [16]byte
	const clients = 1_000_000
	for i := range uint64(clients) {
		binary.BigEndian.PutUint64(source[:], i)
		if _, ok := s.take(source[:]); !ok {
			t.Fatalf("client %d was refused its first request", i)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := s.sources(); n != maxSources {
		t.Errorf("%d sources are kept", n)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 12<<20 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	refused := 0
	for i := range uint64(10_000) {
		binary.BigEndian.PutUint64(source[:], clients-1-i)
		if _, ok := s.take(source[:]); !ok {
			refused++
		}
	}
	if refused != 10_000 {
		t.Errorf("%d of the latest 10000 are still known", refused)
	}
}

// TestFullBucketsMakeRoom holds that who is at his limit is not forgotten while others are not, and that idle sources do not
// keep memory.
func TestFullBucketsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(newRate(1, time.Second, 10))
		greedy := []byte("greedy")
		for range 10 {
			s.take(greedy)
		}
		var source [8]byte
		for i := range uint64(3 * maxSources) {
			binary.BigEndian.PutUint64(source[:], i)
			s.take(source[:])
		}
		if _, ok := s.take(greedy); ok {
			t.Error("a source at its limit was forgotten before such as are not")
		}
		n := s.sources()
		time.Sleep(time.Hour)
		for i := range uint64(1000) {
			binary.BigEndian.PutUint64(source[:], 1<<40+i)
			s.take(source[:])
		}
		if s.sources() > n {
			t.Errorf("%d sources became %d", n, s.sources())
		}
	})
}

// TestStoreOracle compares the store with one model a source, where there is room for all.
func TestStoreOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(9, 10))
		s := newStore(newRate(2, time.Second, 3))
		models := map[string]*model{}
		for i := range 30_000 {
			source := fmt.Sprint(rnd.IntN(1000))
			m := models[source]
			if m == nil {
				m = newModel(2, time.Second, 3)
				m.last = time.Since(s.born)
				models[source] = m
			}
			_, ok := s.take([]byte(source))
			if _, want := m.take(time.Since(s.born)); ok != want {
				t.Fatalf("request %d of %s: got %v", i, source, ok)
			}
			if rnd.IntN(10) == 0 {
				time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Millisecond))))
			}
		}
	})
}

// TestFairness holds that many at once get what one alone would get, all of them together.
func TestFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passed := 0
		var mu sync.Mutex
		h := handler(t, dynamic.RateLimit{Average: 100, Burst: 20}, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			mu.Lock()
			passed++
			mu.Unlock()
			x.Respond(200, "", "")
			return nil
		}))
		var each [10]int
		var all sync.WaitGroup
		for g := range each {
			all.Go(func() {
				for range 1000 {
					x := from(fmt.Sprintf("192.0.2.1:%d", 1000+g))
					h.Serve(x)
					if x.Res.Status == 200 {
						each[g]++
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
		if passed < 1015 || passed > 1030 { // 10 s of 100, and the burst
			t.Errorf("%d passed", passed)
		}
		// Another client is not hurt by them.
		x := from("192.0.2.2:1")
		if h.Serve(x); x.Res.Status != 200 {
			t.Error("another client was refused")
		}
	})
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(1), Burst: 1}, middleware.Env{}, fine)
		ask := func() (int, time.Duration, *httpmsg.Exchange) {
			x := from("192.0.2.1:1")
			began := time.Now()
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			return x.Res.Status, time.Since(began), x
		}
		if status, took, _ := ask(); status != 200 || took != 0 {
			t.Errorf("first: %d after %v", status, took)
		}
		time.Sleep(400 * time.Millisecond)
		status, took, x := ask()
		if status != 429 || took != 0 || x.Res.Header.Get(httpmsg.HdrRetryAfter).String() != "1" || x.Res.Header.Lookup("X-Retry-In").String() != "600ms" {
			t.Errorf("much too early: %d after %v, %s, %s", status, took, x.Res.Header.Get(httpmsg.HdrRetryAfter), x.Res.Header.Lookup("X-Retry-In"))
		}
		if f := fault.Of(x.Facts.Err); f == nil || f.Kind != fault.TooManyRequests || !x.Res.Header.Get(httpmsg.HdrSluiceError).Is("TOO-MANY-REQUESTS") {
			t.Errorf("on record: %v", x.Facts.Err)
		}
		time.Sleep(100 * time.Millisecond)
		if status, took, _ := ask(); status != 200 || took != 500*time.Millisecond {
			t.Errorf("a little early: %d after %v", status, took)
		}
		// Refusals cost nothing.
		for range 10 {
			ask()
		}
		time.Sleep(time.Second)
		if status, took, _ := ask(); status != 200 || took != 0 {
			t.Errorf("in time: %d after %v", status, took)
		}
	})
}

func TestClientGoesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, dynamic.RateLimit{Average: 1}, middleware.Env{}, fine)
		h.Serve(from("192.0.2.1:1"))
		time.Sleep(600 * time.Millisecond)
		x := from("192.0.2.1:1")
		go func() { time.Sleep(100 * time.Millisecond); x.Cancel(errors.New("gone")) }()
		began := time.Now()
		if err := h.Serve(x); fault.Of(err).Kind != fault.ClientGone || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestSources(t *testing.T) {
	a, b := "192.0.2.1:1", "192.0.2.2:2"
	for _, c := range []struct {
		name      string
		criterion *dynamic.SourceCriterion
		first     *httpmsg.Exchange
		second    *httpmsg.Exchange
		same      bool
	}{
		{"peer, by default", nil, from(a), from(b), false},
		{"port does not matter", nil, from(a), from("192.0.2.1:99"), true},
		{"forwarded address does not matter", nil, from(a, "X-Forwarded-For: 1.1.1.1"), from(a, "X-Forwarded-For: 2.2.2.2"), true},
		{"empty criterion", &dynamic.SourceCriterion{}, from(a), from(b), false},
		{"host", &dynamic.SourceCriterion{RequestHost: true}, from(a), from(b), true},
		{"header", &dynamic.SourceCriterion{RequestHeaderName: "X-Key"}, from(a, "X-Key: 1"), from(a, "X-Key: 2"), false},
		{"header missing", &dynamic.SourceCriterion{RequestHeaderName: "X-Key"}, from(a), from(b), true},
		{"depth", &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{Depth: 1}}, from(a, "X-Forwarded-For: 3.3.3.3, 1.1.1.1"), from(b, "X-Forwarded-For: 4.4.4.4, 1.1.1.1"), true},
		{"subnet", &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{IPv6Subnet: new(64)}}, from("[2001:db8::1]:1"), from("[2001:db8::2]:1"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := handler(t, dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(3600), SourceCriterion: c.criterion}, middleware.Env{}, fine)
			h.Serve(c.first)
			h.Serve(c.second)
			if got := c.second.Res.Status == 429; got != c.same {
				t.Errorf("the second got %d", c.second.Res.Status)
			}
		})
	}
}

func TestUnlimited(t *testing.T) {
	for _, redis := range []*dynamic.Redis{nil, {Endpoints: []string{"127.0.0.1:1"}}} {
		if h := handler(t, dynamic.RateLimit{Burst: 1, Redis: redis}, middleware.Env{}, nil); h != nil {
			t.Errorf("an average of zero costs something")
		}
	}
}

func TestAnswers(t *testing.T) {
	trial.Each(t, handler(t, dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(3600), SourceCriterion: &dynamic.SourceCriterion{RequestHeaderName: "X-Key"}}, middleware.Env{}, fine),
		func(t *testing.T, f *trial.Front) {
			for _, want := range []int{200, 429} {
				// The body of a refused request is dropped, and the connection serves on.
				r, _ := http.NewRequest("POST", f.URL, strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
				r.Header.Set("X-Key", t.Name())
				res, err := f.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != want {
					t.Fatalf("got %d, want %d", res.StatusCode, want)
				}
				if want == 429 && (string(text) != "Too Many Requests" || res.Header.Get("Retry-After") == "" || res.Header.Get("X-Retry-In") == "") {
					t.Errorf("got %q %v", text, res.Header)
				}
			}
		})
}

func TestStateOutlivesReloads(t *testing.T) {
	var state middleware.State
	ask := func(router string, o dynamic.RateLimit) int {
		x := from("192.0.2.1:1")
		handler(t, o, middleware.Env{Name: "m@file", Router: router, State: &state}, fine).Serve(x)
		return x.Res.Status
	}
	one := dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(3600)}
	two := dynamic.RateLimit{Average: 1, Period: dynamic.Seconds(3600), Burst: 2}
	for i, c := range []struct {
		router string
		config dynamic.RateLimit
		want   int
	}{{"r", one, 200}, {"r", one, 429}, {"s", one, 200}, {"r", two, 200}, {"r", two, 200}, {"r", two, 429}} {
		if got := ask(c.router, c.config); got != c.want {
			t.Errorf("request %d got %d", i, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for key, o := range map[string]dynamic.RateLimit{
		"rateLimit.average":                    {Average: -1},
		"rateLimit.period":                     {Average: 1, Period: -1},
		"rateLimit.sourceCriterion":            {Average: 1, SourceCriterion: &dynamic.SourceCriterion{RequestHost: true, RequestHeaderName: "A"}},
		"rateLimit.redis.endpoints[1]":         {Average: 1, Redis: &dynamic.Redis{Endpoints: []string{"a:1", "a"}}},
		"rateLimit.redis.endpoints[0]":         {Average: 1, Redis: &dynamic.Redis{Endpoints: []string{"a:99999"}}},
		"rateLimit.redis.db":                   {Average: 1, Redis: &dynamic.Redis{DB: 1, Endpoints: []string{"a:1", "b:1"}}},
		"rateLimit.redis.tls.ca":               {Average: 1, Redis: &dynamic.Redis{TLS: &dynamic.ClientTLS{CA: dynamic.Material{Written: "missing"}}}},
		"rateLimit.sourceCriterion.ipStrategy": {Average: 1, SourceCriterion: &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{IPv6Subnet: new(200)}}},
	} {
		m := &dynamic.Middleware{RateLimit: &o}
		if err := middleware.Refusal(Kind().Check(m)); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
}

func TestPassingCostsNothing(t *testing.T) {
	h := handler(t, dynamic.RateLimit{Average: 1_000_000, Burst: 1_000_000}, middleware.Env{}, fine)
	x := from("192.0.2.1:1")
	run := func() { x.Reset(nil); h.Serve(x); x.Finish() }
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMiddlewaresPassing(b *testing.B) {
	h := handler(b, dynamic.RateLimit{Average: 1 << 40, Burst: 1 << 40}, middleware.Env{}, fine)
	var n atomic.Int32
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := from(fmt.Sprintf("192.0.2.%d:1", n.Add(1)))
		for pb.Next() {
			x.Reset(nil)
			h.Serve(x)
			x.Finish()
		}
	})
}

func BenchmarkDistinctClients(b *testing.B) {
	s := newStore(newRate(1, time.Second, 5))
	var source [8]byte
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		binary.BigEndian.PutUint64(source[:], i)
		s.take(source[:])
	}
}

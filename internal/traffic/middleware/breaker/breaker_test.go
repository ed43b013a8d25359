package breaker

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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

func TestMain(m *testing.M) { testkit.Main(m) }

func config(expression string) *dynamic.CircuitBreaker {
	c := &dynamic.CircuitBreaker{}
	c.SetDefaults()
	c.Expression = expression
	return c
}

func build1(t testing.TB, c *dynamic.CircuitBreaker, env middleware.Env, next httpmsg.Handler) *breaker {
	t.Helper()
	h, err := Kind().Build(&dynamic.Middleware{CircuitBreaker: c}, env, next)
	if err != nil {
		t.Fatal(err)
	}
	return h.(*breaker)
}

// service answers with a status after a time.
type service struct {
	status int
	takes  time.Duration
	calls  int
}

func (s *service) Serve(x *httpmsg.Exchange) error {
	s.calls++
	time.Sleep(s.takes)
	if s.status == 0 {
		return fault.New(fault.DialFailed, "dial", nil)
	}
	x.Respond(s.status, "", "answer")
	return nil
}

// ask returns the status of one request.
func ask(h httpmsg.Handler) int {
	x := &httpmsg.Exchange{}
	x.Req.Method = httpmsg.Text("GET")
	if err := h.Serve(x); err != nil {
		return fault.Status(err)
	}
	return x.Res.Status
}

func TestExpressions(t *testing.T) {
	for _, c := range []struct {
		name, expression string
		answers          []service // one after the other, half a second between
		trips            bool
	}{
		{"network errors", "NetworkErrorRatio() > 0.3", []service{{status: 200}, {status: 200}, {status: 200}, {status: 502}, {status: 504}}, true},
		{"few network errors", "NetworkErrorRatio() > 0.3", []service{{status: 200}, {status: 200}, {status: 200}, {status: 502}}, false},
		{"faults count", "NetworkErrorRatio() >= 1.0", []service{{}}, true},
		{"other errors are not the network's", "NetworkErrorRatio() > 0.0", []service{{status: 500}, {status: 503}}, false},
		{"codes", "ResponseCodeRatio(500, 600, 0, 600) > 0.25", []service{{status: 200}, {status: 200}, {status: 500}}, true},
		{"the end of a range is outside", "ResponseCodeRatio(500, 503, 0, 600) > 0.0", []service{{status: 503}}, false},
		{"part of the codes", "ResponseCodeRatio(500, 600, 400, 600) == 0.5", []service{{status: 200}, {status: 200}, {status: 404}, {status: 500}}, true},
		{"nothing to divide by", "ResponseCodeRatio(500, 600, 700, 800) > 0.0", []service{{status: 500}}, false},
		{"latency", "LatencyAtQuantileMS(50.0) >= 100", []service{{status: 200, takes: 100 * time.Millisecond}}, true},
		{"short latency", "LatencyAtQuantileMS(50.0) > 100", []service{{status: 200, takes: 100 * time.Millisecond}}, false},
		{"number of requests", "RequestThreshold() >= 3 && NetworkErrorRatio() > 0.5", []service{{status: 502}, {status: 502}}, false},
		{"enough requests", "RequestThreshold() >= 3 && NetworkErrorRatio() > 0.5", []service{{status: 502}, {status: 502}, {status: 502}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{}
				b := build1(t, config(c.expression), middleware.Env{}, s)
				for i, a := range c.answers {
					if got := b.circuit.state(); got != standby {
						t.Fatalf("%v after %d answers", got, i)
					}
					s.status, s.takes = a.status, a.takes
					ask(b)
					time.Sleep(500 * time.Millisecond)
				}
				if got := b.circuit.state() == tripped; got != c.trips {
					t.Errorf("tripped is %v", got)
				}
			})
		})
	}
}

func TestWindowForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 502}
		b := build1(t, config("NetworkErrorRatio() > 0.5 && RequestThreshold() > 10"), middleware.Env{}, s)
		for range 10 {
			ask(b)
		}
		time.Sleep(11 * time.Second)
		for range 10 {
			ask(b)
		}
		if b.circuit.state() != standby {
			t.Error("answers of eleven seconds ago still count")
		}
		time.Sleep(5 * time.Second)
		if ask(b); b.circuit.state() != tripped {
			t.Error("answers of five seconds ago do not count")
		}
	})
}

func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &service{status: 502}
		c := config("NetworkErrorRatio() > 0.5")
		c.ResponseCode = 418
		b := build1(t, c, middleware.Env{Name: "cb@file", Log: slog.New(slog.NewTextHandler(&log, nil))}, s)
		if got := ask(b); got != 502 || b.circuit.state() != tripped {
			t.Fatalf("got %d, %v", got, b.circuit.state())
		}
		// Tripped: the fallback answers for ten seconds.
		s.status, s.calls = 200, 0
		time.Sleep(10*time.Second - 1)
		if got := ask(b); got != 418 || s.calls != 0 {
			t.Fatalf("got %d after %d calls", got, s.calls)
		}
		time.Sleep(time.Nanosecond)
		// Recovering: a share that grows towards one half.
		var shares []float64
		for range 5 {
			passed := 0
			for range 200 {
				if ask(b) == 200 {
					passed++
				}
				time.Sleep(10 * time.Millisecond)
			}
			shares = append(shares, float64(passed)/200)
		}
		if !slices.IsSorted(shares) || shares[0] > 0.15 || shares[4] < 0.35 {
			t.Errorf("shares of two seconds each: %v", shares)
		}
		// Standby again.
		for range 100 {
			if got := ask(b); got != 200 {
				t.Fatalf("got %d after recovery", got)
			}
		}
		if b.circuit.state() != standby {
			t.Error(b.circuit.state())
		}
		for _, want := range []string{"tripped", "recovering", "standby", "cb@file"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %s:\n%s", want, log.String())
			}
		}
	})
}

func TestTripsAgainWhileRecovering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 502}
		b := build1(t, config("NetworkErrorRatio() > 0.5"), middleware.Env{}, s)
		ask(b)
		time.Sleep(10 * time.Second)
		ask(b) // begins to recover
		time.Sleep(5 * time.Second)
		for range 20 {
			ask(b)
		}
		if b.circuit.state() != tripped {
			t.Errorf("%v", b.circuit.state())
		}
	})
}

func TestCheckPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{status: 200}
		c := config("NetworkErrorRatio() > 0.1")
		c.CheckPeriod = dynamic.Seconds(2)
		b := build1(t, c, middleware.Env{}, s)
		ask(b)
		s.status = 502
		time.Sleep(time.Second)
		if ask(b); b.circuit.state() != standby {
			t.Error("was asked again within its period")
		}
		time.Sleep(time.Second)
		if ask(b); b.circuit.state() != tripped {
			t.Error("was not asked after its period")
		}
	})
}

func TestFallbackAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }))
	defer s.Close()
	b := build1(t, config("NetworkErrorRatio() > 0.5"), middleware.Env{}, trial.Service(t, s.URL))
	ask1 := func(t *testing.T, f *trial.Front) (int, string, string) {
		res, err := f.Client.Get(f.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text), res.Header.Get("Sluice-Error")
	}
	first := trial.HTTP1(t, b)
	if status, _, _ := ask1(t, first); status != 502 {
		t.Fatal(status)
	}
	trial.Each(t, b, func(t *testing.T, f *trial.Front) {
		status, text, code := ask1(t, f)
		if status != 503 || text != "Service Unavailable" || code != "BREAKER-OPEN" {
			t.Errorf("got %d %q %q", status, text, code)
		}
	})
}

func TestStateOutlivesReloads(t *testing.T) {
	var state middleware.State
	build := func(router string, c *dynamic.CircuitBreaker) *breaker {
		return build1(t, c, middleware.Env{Name: "m@file", Router: router, State: &state}, &service{})
	}
	a := build("r", config("NetworkErrorRatio() > 0.5"))
	other := config("NetworkErrorRatio() > 0.5")
	other.ResponseCode = 500
	if build("r", other).circuit != a.circuit {
		t.Error("another code is another circuit")
	}
	if build("s", config("NetworkErrorRatio() > 0.5")).circuit == a.circuit || build("r", config("NetworkErrorRatio() > 0.6")).circuit == a.circuit {
		t.Error("routers and expressions share a circuit")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*dynamic.CircuitBreaker)
	}{
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "" }},
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "NetworkErrorRatio() > 1" }},
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "LatencyAtQuantileMS(50) > 1" }},
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "LatencyAtQuantileMS(500.0) > 1" }},
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "LatencyAtQuantileMS(50.0) > 1.0" }},
		{"circuitBreaker.expression", func(c *dynamic.CircuitBreaker) { c.Expression = "!(NetworkErrorRatio() > 0.5)" }},
		{"circuitBreaker.checkPeriod", func(c *dynamic.CircuitBreaker) { c.CheckPeriod = -1 }},
		{"circuitBreaker.fallbackDuration", func(c *dynamic.CircuitBreaker) { c.FallbackDuration = -1 }},
		{"circuitBreaker.recoveryDuration", func(c *dynamic.CircuitBreaker) { c.RecoveryDuration = -1 }},
		{"circuitBreaker.responseCode", func(c *dynamic.CircuitBreaker) { c.ResponseCode = 99 }},
	} {
		o := config("NetworkErrorRatio() > 0.5")
		c.change(o)
		m := &dynamic.Middleware{CircuitBreaker: o}
		if l := Kind().Check(m); len(l) != 1 || l[0].Key != c.key {
			t.Errorf("%s: got %v", c.key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", c.key)
		}
	}
}

// TestQuantiles compares the histogram with sorted samples.
func TestQuantiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		var h histogram
		var all []time.Duration
		for range 1 + rnd.IntN(1000) {
			d := time.Duration(rnd.ExpFloat64() * float64(rnd.IntN(1000)+1) * float64(time.Millisecond))
			all = append(all, d)
			h.add(d)
		}
		slices.Sort(all)
		for _, p := range []float64{0, 1, 50, 90, 99, 100} {
			at := max(int(p/100*float64(len(all))+0.5), 1) - 1
			want, got := all[at], h.quantile(p)
			if got < want-time.Microsecond || float64(got) > float64(want)*1.01+float64(time.Microsecond) {
				t.Fatalf("%v of %d: got %v, want %v", p, len(all), got, want)
			}
		}
	}
	if (&histogram{}).quantile(50) != 0 {
		t.Error("nothing has a latency")
	}
	var h histogram
	h.add(100 * time.Hour)
	h.add(-1)
	if got := h.quantile(100); got < longest || got > longest+longest/100 {
		t.Error(got)
	}
}

func FuzzExpression(f *testing.F) {
	f.Add("NetworkErrorRatio() > 0.30 || LatencyAtQuantileMS(50.0) > 100")
	f.Add("ResponseCodeRatio(500, 600, 0, 600) > 0.25 && RequestThreshold() >= 10")
	f.Add("ResponseCodeRatio(0, 9223372036854775807, 5, 3) == 0.0")
	f.Fuzz(func(t *testing.T, text string) {
		m := &dynamic.Middleware{CircuitBreaker: config(text)}
		l := Kind().Check(m)
		h, err := Kind().Build(m, middleware.Env{}, &service{status: 502})
		if (len(l) > 0) != (err != nil) {
			t.Fatalf("%q: Check says %v, Build %v", text, l, err)
		}
		if err == nil {
			ask(h)
		}
	})
}

func TestPassingCostsNothing(t *testing.T) {
	b := build1(t, config("NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(50.0) > 1000 || ResponseCodeRatio(500, 600, 0, 600) > 0.5"), middleware.Env{},
		httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	x := &httpmsg.Exchange{}
	run := func() { x.Reset(nil); b.Serve(x); x.Finish() }
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations", n)
	}
	b.circuit.enter(tripped, time.Since(b.circuit.born))
	if n := testing.AllocsPerRun(100, run); n > 0 {
		t.Errorf("%v allocations while tripped", n)
	}
}

func BenchmarkMiddlewaresPassing(b *testing.B) {
	h := build1(b, config("NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(50.0) > 1000"), middleware.Env{},
		httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		x := &httpmsg.Exchange{}
		for pb.Next() {
			x.Reset(nil)
			h.Serve(x)
			x.Finish()
		}
	})
}

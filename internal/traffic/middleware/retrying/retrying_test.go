package retrying

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/buffering"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

func TestMain(m *testing.M) {
	httpmsg.SetPoison(true)
	testkit.Main(m)
}

func handler(t testing.TB, change func(*dynamic.Retry), next httpmsg.Handler) httpmsg.Handler {
	t.Helper()
	c := &dynamic.Retry{}
	c.SetDefaults()
	c.Attempts = 3
	if change != nil {
		change(c)
	}
	h, err := Kind().Build(&dynamic.Middleware{Retry: c}, middleware.Env{}, next)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// script answers with one outcome after the other; the last one stays.
type script struct {
	outcomes []any // a status, or an error
	calls    int
	times    []time.Time
	bodies   []string
	paths    []string
}

func (s *script) Serve(x *httpmsg.Exchange) error {
	s.times = append(s.times, time.Now())
	s.paths = append(s.paths, x.Req.Path.String())
	x.SetPath(httpmsg.Text("/edited")) // must not be seen by the next try
	text := ""
	for b := x.Req.Body; b != nil; {
		p, err := b.Next()
		if err != nil {
			break
		}
		text += string(p)
	}
	s.bodies = append(s.bodies, text)
	out := s.outcomes[min(s.calls, len(s.outcomes)-1)]
	s.calls++
	if err, ok := out.(error); ok {
		return err
	}
	x.Respond(out.(int), "", "answer")
	return nil
}

func refused(r fault.Retry) error { return fault.New(fault.DialFailed, "dial", nil).WithRetry(r) }

func request(method, body string) *httpmsg.Exchange {
	x := &httpmsg.Exchange{}
	x.Req.Method, x.Req.Path = httpmsg.Text(method), httpmsg.Text("/")
	if body != "" {
		x.Req.Body, x.Req.ContentLength = &source{[]byte(body)}, int64(len(body))
	}
	return x
}

// source can be read once.
type source struct{ text []byte }

func (s *source) Next() ([]byte, error) {
	if len(s.text) == 0 {
		return nil, io.EOF
	}
	p := s.text[:min(7000, len(s.text))]
	s.text = s.text[len(p):]
	return p, nil
}
func (s *source) Ready() bool              { return true }
func (s *source) Trailer() *httpmsg.Header { return nil }
func (s *source) Close()                   {}

func TestOutcomes(t *testing.T) {
	status := func(list ...string) func(*dynamic.Retry) { return func(c *dynamic.Retry) { c.Status = list } }
	for _, c := range []struct {
		name     string
		config   func(*dynamic.Retry)
		method   string
		body     string
		outcomes []any
		status   int
		calls    int
	}{
		{"fine", nil, "GET", "", []any{200}, 200, 1},
		{"answers are not retried", nil, "GET", "", []any{503}, 503, 1},
		{"nothing was sent", nil, "GET", "", []any{refused(fault.Always), 200}, 200, 2},
		{"nothing was sent, POST", nil, "POST", "", []any{refused(fault.Always), 200}, 200, 2},
		{"attempts count all tries", nil, "GET", "", []any{refused(fault.Always)}, 502, 3},
		{"no answer, GET", nil, "GET", "", []any{refused(fault.Idempotent), 200}, 200, 2},
		{"no answer, POST", nil, "POST", "", []any{refused(fault.Idempotent), 200}, 502, 1},
		{"bytes moved", nil, "GET", "", []any{refused(fault.Never), 200}, 502, 1},
		{"one attempt", func(c *dynamic.Retry) { c.Attempts = 1 }, "GET", "", []any{refused(fault.Always), 200}, 502, 1},
		{"listed status", status("503"), "GET", "", []any{503, 503, 200}, 200, 3},
		{"listed range", status("404", "500-599"), "GET", "", []any{599, 404, 200}, 200, 3},
		{"status outside", status("500-599"), "GET", "", []any{404, 200}, 404, 1},
		{"the last answer stands", status("503"), "GET", "", []any{503}, 503, 3},
		{"status of our own fault", status("503"), "GET", "", []any{fault.New(fault.NoServer, "", nil), 200}, 200, 2},
		{"client's fault", status("400-499"), "GET", "", []any{fault.New(fault.BodyTooLarge, "", nil), 200}, 413, 1},
		{"network and status", status("503"), "GET", "", []any{refused(fault.Always), 503, 200}, 200, 3},
		{"no network retries", func(c *dynamic.Retry) { c.Status, c.DisableRetryOnNetworkError = []string{"503"}, true }, "GET", "",
			[]any{refused(fault.Always), 200}, 502, 1},
		{"no network retries, but listed", func(c *dynamic.Retry) { c.Status, c.DisableRetryOnNetworkError = []string{"502"}, true }, "GET", "",
			[]any{refused(fault.Never), 200}, 200, 2},
		{"POST", status("503"), "POST", "", []any{503, 200}, 503, 1},
		{"PATCH", status("503"), "PATCH", "", []any{503, 200}, 503, 1},
		{"LOCK", status("503"), "LOCK", "", []any{503, 200}, 503, 1},
		{"PUT", status("503"), "PUT", "", []any{503, 200}, 200, 2},
		{"POST if allowed", func(c *dynamic.Retry) { c.Status, c.RetryNonIdempotentMethod = []string{"503"}, true }, "POST", "text", []any{503, 200}, 200, 2},
		{"body", status("503"), "PUT", "a text of some length", []any{503, 503, 200}, 200, 3},
		{"body at the limit", func(c *dynamic.Retry) { c.Status, c.MaxRequestBodyBytes = []string{"503"}, new(int64(5)) }, "PUT", "12345", []any{503, 200}, 200, 2},
		{"body beyond the limit", func(c *dynamic.Retry) { c.Status, c.MaxRequestBodyBytes = []string{"503"}, new(int64(4)) }, "PUT", "12345", []any{503, 200}, 503, 1},
		{"unlimited body", func(c *dynamic.Retry) { c.Status, c.MaxRequestBodyBytes = []string{"503"}, new(int64(-1)) }, "PUT",
			strings.Repeat("x", 3<<20), []any{503, 200}, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, length := range []string{"known", "unknown"} {
				s := &script{outcomes: c.outcomes}
				x := request(c.method, c.body)
				if length == "unknown" && c.body != "" {
					x.Req.ContentLength = -1
				}
				err := handler(t, c.config, s).Serve(x)
				got := x.Res.Status
				if err != nil {
					got = fault.Status(err)
				}
				if got != c.status || s.calls != c.calls || x.Facts.Retries != c.calls-1 {
					t.Fatalf("got %d after %d calls, %d retries on record", got, s.calls, x.Facts.Retries)
				}
				for i := range s.calls {
					if s.bodies[i] != c.body || s.paths[i] != "/" {
						t.Errorf("call %d had path %s and a body of %d bytes", i, s.paths[i], len(s.bodies[i]))
					}
				}
				x.Finish()
			}
		})
	}
}

// TestStreamsAreNotReadAhead holds that a conversation goes on while retries by status are configured.
func TestStreamsAreNotReadAhead(t *testing.T) {
	x := request("POST", "text")
	x.Req.ContentLength = -1
	x.Req.Header.AddID(httpmsg.HdrContentType, httpmsg.Text("application/grpc+proto"))
	body := x.Req.Body
	h := handler(t, func(c *dynamic.Retry) { c.Status, c.RetryNonIdempotentMethod = []string{"503"}, true },
		httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			if x.Req.Body != body {
				t.Error("the body was read ahead")
			}
			x.Respond(200, "", "")
			return nil
		}))
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
}

func TestWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*dynamic.Retry)
		random float64
		waits  []time.Duration
	}{
		{"at once", nil, 0.9, []time.Duration{0, 0}},
		// Factor 2^(1/2) for three attempts.
		{"growing", func(c *dynamic.Retry) { c.InitialInterval = dynamic.Seconds(1) }, 0.5, []time.Duration{time.Second, 1414213562}},
		{"least jitter", func(c *dynamic.Retry) { c.InitialInterval = dynamic.Seconds(1) }, 0, []time.Duration{500 * time.Millisecond, 707106781}},
		{"most jitter", func(c *dynamic.Retry) { c.InitialInterval = dynamic.Seconds(2) }, 1, []time.Duration{3 * time.Second, 4242640686}},
		{"two attempts", func(c *dynamic.Retry) { c.Attempts, c.InitialInterval = 2, dynamic.Seconds(1) }, 0.5, []time.Duration{time.Second}},
		{"timeout before the third try", func(c *dynamic.Retry) { c.InitialInterval, c.Timeout = dynamic.Seconds(1), dynamic.Seconds(2) }, 0.5,
			[]time.Duration{time.Second}},
		{"timeout just passed", func(c *dynamic.Retry) { c.InitialInterval, c.Timeout = dynamic.Seconds(1), dynamic.Milliseconds(999) }, 0.5, nil},
		{"never longer than 15 minutes", func(c *dynamic.Retry) { c.InitialInterval = dynamic.Seconds(800) }, 0.5, []time.Duration{800 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{outcomes: []any{refused(fault.Always)}}
				h := handler(t, c.config, s).(*retrier)
				h.random = func() float64 { return c.random }
				if err := h.Serve(request("GET", "")); fault.Status(err) != 502 {
					t.Fatal(err)
				}
				var waits []time.Duration
				for i := 1; i < len(s.times); i++ {
					waits = append(waits, s.times[i].Sub(s.times[i-1]))
				}
				if !slices.Equal(waits, c.waits) {
					t.Errorf("waited %v, want %v", waits, c.waits)
				}
			})
		})
	}
}

func TestSlowTriesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := handler(t, func(c *dynamic.Retry) { c.Attempts, c.Timeout = 10, dynamic.Seconds(5) }, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			calls++
			time.Sleep(2 * time.Second)
			return refused(fault.Always)
		}))
		h.Serve(request("GET", ""))
		if calls != 3 { // begun after 0, 2 and 4 seconds
			t.Errorf("%d tries", calls)
		}
	})
}

func TestClientGoesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{outcomes: []any{refused(fault.Always)}}
		x := request("GET", "")
		go func() {
			time.Sleep(time.Second)
			x.Cancel(errors.New("gone"))
		}()
		began := time.Now()
		err := handler(t, func(c *dynamic.Retry) { c.InitialInterval = dynamic.Seconds(60) }, s).Serve(x)
		if f := fault.Of(err); f.Kind != fault.ClientGone || time.Since(began) != time.Second || s.calls != 1 {
			t.Errorf("%v after %v and %d calls", err, time.Since(began), s.calls)
		}
		s.calls = 0
		if handler(t, nil, s).Serve(x); s.calls != 1 {
			t.Errorf("%d tries for nobody", s.calls)
		}
	})
}

// TestBudget holds that an outage is not answered with a multiple of the load: the first retry is free, of the others there
// is one for ten requests.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{outcomes: []any{refused(fault.Always)}}
		h := handler(t, func(c *dynamic.Retry) { c.Attempts = 10 }, s)
		const requests = 1000
		for range requests {
			h.Serve(request("GET", ""))
		}
		later := s.calls - 2*requests
		if want := saveStart/share + requests/share; later < want-1 || later > want {
			t.Errorf("%d second and later retries for %d requests, want %d", later, requests, want)
		}
		// Where there are few requests, one a second goes on.
		s.calls = 0
		for range 5 {
			time.Sleep(8 * time.Second)
			h.Serve(request("GET", ""))
		}
		if s.calls < 45 {
			t.Errorf("%d tries of 50 in quiet times", s.calls)
		}
	})
}

func TestBudgetOutlivesReloads(t *testing.T) {
	var state middleware.State
	s := &script{outcomes: []any{refused(fault.Always)}}
	build := func(router string) *retrier {
		h, err := Kind().Build(&dynamic.Middleware{Retry: &dynamic.Retry{Attempts: 5}}, middleware.Env{Name: "m@file", Router: router, State: &state}, s)
		if err != nil {
			t.Fatal(err)
		}
		return h.(*retrier)
	}
	if a, b, other := build("r"), build("r"), build("s"); a.budget != b.budget || a.budget == other.budget {
		t.Error("the budget belongs to router and middleware")
	}
}

func TestInterims(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*dynamic.Retry)
		sent   int
	}{
		{"kept back where an answer may be thrown away", func(c *dynamic.Retry) { c.Status = []string{"503"} }, 0},
		{"passed on where none is", nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := 0
			x := request("GET", "")
			x.Reset(func(int, *httpmsg.Header) error { sent++; return nil })
			x.Req.Method = httpmsg.Text("GET")
			h := handler(t, c.config, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
				x.Interim(103, nil)
				x.Respond(200, "", "")
				return nil
			}))
			h.Serve(x)
			x.Interim(102, nil)
			if sent != c.sent+1 {
				t.Errorf("%d interim responses", sent)
			}
		})
	}
}

// TestRealServers sends through real connections: a server that answers 503 twice, and one that nobody listens for.
func TestRealServers(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls.Add(1)%3 != 0 {
			w.WriteHeader(503)
		}
		fmt.Fprintf(w, "%s %s", r.Method, body)
	}))
	defer server.Close()
	service := trial.Service(t, server.URL)
	// One for all the versions would run out of its budget.
	fresh := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		return handler(t, func(c *dynamic.Retry) { c.Status = []string{"500-599"} }, service).Serve(x)
	})
	trial.Each(t, fresh, func(t *testing.T, f *trial.Front) {
		for _, size := range []int{0, 100, 200_000, 1 << 20} {
			text := strings.Repeat("x", size)
			r, _ := http.NewRequest("PUT", f.URL, strings.NewReader(text))
			res, err := f.Client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || string(got) != "PUT "+text {
				t.Errorf("%d bytes: got %d with %d bytes", size, res.StatusCode, len(got))
			}
			if facts := f.Last(t); facts.Retries != 2 {
				t.Errorf("%d retries on record", facts.Retries)
			}
		}
	})
	nobody := trial.HTTP1(t, handler(t, nil, trial.Service(t, trial.Refusing(t))))
	res, err := nobody.Client.Post(nobody.URL, "", strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if facts := nobody.Last(t); res.StatusCode != 502 || facts.Retries != 2 {
		t.Errorf("got %d after %d retries", res.StatusCode, facts.Retries)
	}
}

// TestBodyReadOnTheWay holds that a request whose body a middleware has read on the way to a server which refuses is not sent
// on without it, and that one whose body nobody read is still sent again.
func TestBodyReadOnTheWay(t *testing.T) {
	build := func(k middleware.Kind, c *dynamic.Middleware, next httpmsg.Handler) httpmsg.Handler {
		t.Helper()
		h, err := k.Build(c, middleware.Env{}, next)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	limit, _ := middleware.Light().Lookup("bodyLimit")
	limited := func(next httpmsg.Handler) httpmsg.Handler {
		return build(limit, &dynamic.Middleware{BodyLimit: &dynamic.BodyLimit{MaxBytes: 1 << 20}}, next)
	}
	buffered := func(next httpmsg.Handler) httpmsg.Handler {
		c := &dynamic.Buffering{}
		c.SetDefaults()
		return build(buffering.Kind(), &dynamic.Middleware{Buffering: c}, next)
	}
	status := func(c *dynamic.Retry) { c.Status, c.RetryNonIdempotentMethod = []string{"503"}, true }
	for _, c := range []struct {
		name   string
		config func(*dynamic.Retry)
		inner  func(httpmsg.Handler) httpmsg.Handler
		again  bool
	}{
		{"nobody reads it", nil, func(h httpmsg.Handler) httpmsg.Handler { return h }, true},
		{"bodyLimit", nil, limited, true},
		{"buffering", nil, buffered, false},
		{"buffering behind bodyLimit", nil, func(h httpmsg.Handler) httpmsg.Handler { return limited(buffered(h)) }, false},
		{"buffering, kept for a status", status, buffered, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, length := range []int64{4, -1} {
				tries := 0
				s := &script{outcomes: []any{200}}
				h := handler(t, c.config, c.inner(httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
					if tries++; tries == 1 {
						return refused(fault.Always) // without a look at the body
					}
					return s.Serve(x)
				})))
				x := request("POST", "text")
				x.Req.ContentLength = length
				err := h.Serve(x)
				if again := err == nil; again != c.again {
					t.Errorf("length %d: sent again: %v, %v", length, again, err)
				}
				if c.again && (len(s.bodies) != 1 || s.bodies[0] != "text") || !c.again && tries != 1 {
					t.Errorf("length %d: %d tries, %q arrived", length, tries, s.bodies)
				}
				x.Finish()
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for key, c := range map[string]dynamic.Retry{
		"retry.attempts":                   {},
		"retry.initialInterval":            {Attempts: 2, InitialInterval: -1},
		"retry.timeout":                    {Attempts: 2, Timeout: -1},
		"retry.maxRequestBodyBytes":        {Attempts: 2, MaxRequestBodyBytes: new(int64(-2))},
		"retry.status[1]":                  {Attempts: 2, Status: []string{"500", "500,503"}},
		"retry.disableRetryOnNetworkError": {Attempts: 2, DisableRetryOnNetworkError: true},
	} {
		m := &dynamic.Middleware{Retry: &c}
		if l := Kind().Check(m); len(l) != 1 || l[0].Key != key {
			t.Errorf("%s: got %v", key, l)
		}
		if _, err := Kind().Build(m, middleware.Env{}, nil); err == nil {
			t.Errorf("%s: was built", key)
		}
	}
}

func TestPassingCostsNothing(t *testing.T) {
	h := handler(t, func(c *dynamic.Retry) { c.Status = []string{"503"}; c.InitialInterval = dynamic.Seconds(1) },
		httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	x := &httpmsg.Exchange{}
	if n := testing.AllocsPerRun(100, func() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("GET")
		x.Req.Header.AddID(httpmsg.HdrAccept, httpmsg.Text("*/*"))
		h.Serve(x)
		x.Finish()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMiddlewaresPassing(b *testing.B) {
	h := handler(b, func(c *dynamic.Retry) { c.Status = []string{"503"} },
		httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(200, "", "ok"); return nil }))
	x := &httpmsg.Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(nil)
		x.Req.Method = httpmsg.Text("GET")
		h.Serve(x)
		x.Finish()
	}
}

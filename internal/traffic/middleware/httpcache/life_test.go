package httpcache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	"sluice/internal/traffic/middleware/compress"
	"sluice/internal/traffic/middleware/trial"
	"sluice/internal/wire/httpmsg"
)

// TestStaleWhileRevalidate holds that a stale answer is given at once, and that one question is asked in the background.
func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: counted("Cache-Control: max-age=10, stale-while-revalidate=60"), delay: time.Second}
		h := cached(t, nil, middleware.Env{}, o)
		get(h, "GET /x?q")
		time.Sleep(15 * time.Second)
		for range 5 {
			began := time.Now()
			if got := get(h, "GET /x?q", "Range: bytes=0-1", "Cookie: a=b", `If-None-Match: "z"`); got.body != "an" || time.Since(began) != 0 {
				t.Errorf("got %q after %v", got.body, time.Since(began))
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait() // what the question in the background wrote may be read from here on
		if o.calls != 2 {
			t.Errorf("%d calls", o.calls)
		}
		for _, f := range o.seen {
			t.Errorf("the background question had %q", f)
		}
		if got := get(h, "GET /x?q"); got.body != "answer 2" || !strings.HasPrefix(got.get("Cache-Status"), "Sluice; hit") {
			t.Errorf("then %q %v", got.body, got.fields)
		}
		// Too late for that.
		time.Sleep(100 * time.Second)
		if got := get(h, "GET /x?q"); got.body != "answer 3" {
			t.Errorf("much later %q", got.body)
		}
	})
}

// TestRefreshEnds holds that questions in the background end with the cache, with a server that does not answer, and with
// one that panics.
func TestRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		h := cached(t, nil, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			if x.Req.Path.Is("/panic") && !first {
				panic("test")
			}
			if !first {
				x.Sleep(time.Hour)
				return fault.New(fault.UpstreamSilent, "test", x.Cancelled())
			}
			return (&origin{answer: always("body", "Cache-Control: max-age=1, stale-while-revalidate=600")}).Serve(x)
		}))
		for _, path := range []string{"/panic", "/slow", "/closed"} {
			get(h, "GET "+path)
		}
		first = false
		time.Sleep(5 * time.Second)
		get(h, "GET /panic")
		get(h, "GET /slow")
		began := time.Now()
		time.Sleep(refreshLimit + time.Second)
		get(h, "GET /closed")
		synctest.Wait()
		if n := len(h.(*handler).all); n != 1 {
			t.Errorf("%d questions are open after %v", n, time.Since(began))
		}
		h.(*handler).Close()
		synctest.Wait()
		if n := len(h.(*handler).all); n != 0 {
			t.Errorf("%d questions are open after the end", n)
		}
	})
}

// TestCollapsing holds that one question is asked for many requests at once.
func TestCollapsing(t *testing.T) {
	const kept = "Cache-Control: max-age=60"
	for _, c := range []struct {
		name   string
		fields []string
		ask    []string
		body   func(i int) httpmsg.Body // of the leader, nil for the origin's own
		calls  int
		took   time.Duration
	}{
		{"kept", []string{kept}, nil, nil, 1, time.Second},
		{"not kept", []string{"Cache-Control: private"}, nil, nil, 50, 2 * time.Second},
		{"no-cache is not waited for", []string{kept}, []string{"Cache-Control: no-cache"}, nil, 50, time.Second},
		{"varies, all the same", []string{kept, "Vary: Accept"}, []string{"Accept: a"}, nil, 1, time.Second},
		{"always to be asked about", []string{"Cache-Control: no-cache", `ETag: "a"`}, nil, nil, 50, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: counted(c.fields...), delay: time.Second}
				h := cached(t, nil, middleware.Env{}, o)
				began := time.Now()
				var all sync.WaitGroup
				for i := range 50 {
					all.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						if got := get(h, "GET /x", c.ask...); got.status != 200 || !strings.HasPrefix(got.body, "answer") {
							t.Errorf("got %d %q", got.status, got.body)
						}
					})
				}
				all.Wait()
				if o.calls != c.calls {
					t.Errorf("%d calls", o.calls)
				}
				if took := time.Since(began).Truncate(time.Second); took != c.took {
					t.Errorf("took %v", took)
				}
				if n := len(h.(*handler).flights.all); n != 0 {
					t.Errorf("%d flights are left", n)
				}
				// What is known not to be kept is not waited for.
				if c.calls == 50 && c.ask == nil {
					began = time.Now()
					for i := range 5 {
						all.Go(func() { time.Sleep(time.Duration(i) * time.Millisecond); get(h, "GET /x") })
					}
					all.Wait()
					if took := time.Since(began).Truncate(time.Second); took != time.Second {
						t.Errorf("then it took %v", took)
					}
				}
			})
		})
	}
}

// TestWaitingIsBounded holds that nobody waits for long: neither for a silent server nor for another's slow client.
func TestWaitingIsBounded(t *testing.T) {
	for name, want := range map[string]time.Duration{"head": headPatience, "body": bodyPatience} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				h := cached(t, nil, middleware.Env{}, httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
					if calls.Add(1) == 1 && name == "head" {
						x.Sleep(time.Minute)
					}
					return (&origin{answer: always("body of some length", "Cache-Control: max-age=60")}).Serve(x)
				}))
				go func() {
					x := request("GET /x")
					if err := h.Serve(x); err != nil {
						t.Error(err)
					}
					if name == "body" {
						x.Res.Body.Next()
						time.Sleep(time.Minute)
					}
					x.Finish()
				}()
				synctest.Wait()
				for i := range 3 {
					began := time.Now()
					got := get(h, "GET /x")
					if took := time.Since(began); got.body != "body of some length" || i == 0 && took != want || i > 0 && took != 0 {
						t.Errorf("request %d: %q after %v", i, got.body, took)
					}
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

func TestClientGoesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := cached(t, nil, middleware.Env{}, &origin{answer: always("body", "Cache-Control: max-age=60"), delay: 3 * time.Second})
		go get(h, "GET /x")
		time.Sleep(time.Second)
		x := request("GET /x")
		go func() { time.Sleep(time.Second); x.Cancel(io.ErrClosedPipe) }()
		if err := h.Serve(x); fault.Of(err).Kind != fault.ClientGone {
			t.Errorf("got %v", err)
		}
		x.Finish()
		time.Sleep(time.Minute)
	})
}

// TestMemoryIsBounded fills a cache with far more than it may hold, and looks at the budget as well.
func TestMemoryIsBounded(t *testing.T) {
	testkit.LeakCheck(t)
	budget := httpmsg.NewBudget(3 << 20)
	body := strings.Repeat("x", 10_000)
	h := cached(t, func(o *dynamic.HTTPCache) { o.MaxBytes = 2 << 20 }, middleware.Env{Budget: budget}, &origin{answer: always(body, "Cache-Control: max-age=60")})
	for i := range 5000 {
		if got := get(h, fmt.Sprintf("GET /%d", i)); got.body != body {
			t.Fatal("a wrong body")
		}
	}
	c := h.(*handler).cache
	settled(t, func() bool {
		c.memory.CleanUp()
		return c.memory.WeightedSize() <= 2<<20 && budget.Used() <= 2<<20 && c.targets.WeightedSize() <= 2<<20/indexShare
	})
	if n := c.memory.EstimatedSize(); n < 50 {
		t.Errorf("only %d responses are kept", n)
	}
	c.Close()
	settled(t, func() bool { return budget.Used() == 0 })
	// Whoever still has the handler is served all the same, and nothing is kept.
	get(h, "GET /late")
	settled(t, func() bool { return budget.Used() == 0 })
}

func TestNoBudgetNothingKept(t *testing.T) {
	o := &origin{answer: counted("Cache-Control: max-age=60")}
	h := cached(t, nil, middleware.Env{Budget: httpmsg.NewBudget(100)}, o)
	for i := range 3 {
		if got := get(h, "GET /x"); got.body != fmt.Sprintf("answer %d", i+1) {
			t.Errorf("got %q", got.body)
		}
	}
}

// settled waits until what goes on in the background is done.
func settled(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("it does not come to rest")
}

// TestDisk holds that what memory has no room for is found again, that the file is bounded and that nothing is left of it.
func TestDisk(t *testing.T) {
	dir := t.TempDir()
	calls := map[string]int{}
	o := &origin{answer: func(r *httpmsg.Request, _ int) ([]string, string, error) {
		calls[string(r.Path)]++
		return []string{"Cache-Control: max-age=600", `ETag: "` + string(r.Path) + `"`, "Vary: Accept"}, strings.Repeat(string(r.Path)+" ", 2000), nil
	}}
	h := cached(t, func(c *dynamic.HTTPCache) { c.MaxBytes, c.Directory, c.MaxDirectoryBytes = 1<<20, dir, 8<<20 }, middleware.Env{}, o)
	c := h.(*handler).cache
	for i := range 300 { // 300 * 10 KB: three times the memory
		get(h, fmt.Sprintf("GET /%d", i))
	}
	settled(t, func() bool {
		c.memory.CleanUp()
		c.disk.mu.Lock()
		defer c.disk.mu.Unlock()
		return len(c.disk.where)+c.memory.EstimatedSize() >= 300
	})
	missed := 0
	for i := range 300 {
		got := get(h, fmt.Sprintf("GET /%d", i))
		if want := strings.Repeat(fmt.Sprintf("/%d ", i), 2000); got.body != want {
			t.Fatalf("%d: %d bytes %v", i, len(got.body), got.fields)
		}
		if !strings.HasPrefix(got.get("Cache-Status"), "Sluice; hit") {
			missed++ // just on its way from memory to disk
		}
	}
	if missed > 30 {
		t.Errorf("%d of 300 were not found", missed)
	}
	// A change is heard by what is on disk too.
	get(h, "POST /7")
	if got := get(h, "GET /7"); !strings.Contains(got.get("Cache-Status"), "fwd=") {
		t.Errorf("after a change: %v", got.fields)
	}
	for i := range 3000 {
		get(h, fmt.Sprintf("GET /more/%d", i))
	}
	c.disk.mu.Lock()
	info, err := c.disk.file.Stat()
	c.disk.mu.Unlock()
	if err != nil || info.Size() > 8<<20 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
		t.Errorf("there is %v", names)
	}
	c.Close()
	get(h, "GET /late")
}

func TestDiskThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	h := cached(t, func(c *dynamic.HTTPCache) { c.MaxBytes, c.Directory = 100<<10, dir }, middleware.Env{}, &origin{answer: always(strings.Repeat("x", 9000), "Cache-Control: max-age=60")})
	for i := range 100 {
		if got := get(h, fmt.Sprintf("GET /%d", i)); got.status != 200 {
			t.Fatal(got.status)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

// TestRing compares the file with a map, over many rounds of writing and forgetting.
func TestRing(t *testing.T) {
	r := newRing(t.TempDir(), 100_000, 64, nil)
	defer r.close()
	rnd := rand.New(rand.NewPCG(1, 2))
	latest := map[key]string{}
	found := 0
	for i := range 5000 {
		k := key{byte(rnd.IntN(200))}
		switch rnd.IntN(4) {
		case 0:
			r.forget(k)
			delete(latest, k)
		case 1, 2:
			text := fmt.Sprintf("%d %s", i, strings.Repeat("x", rnd.IntN(3000)))
			e := &entry{status: 200, body: []byte(text), came: time.Unix(int64(i), 0)}
			e.header.Add("A", "b")
			r.put(k, e)
			latest[k] = text
		default:
			e := r.get(k)
			if e == nil {
				continue
			}
			found++
			if string(e.body) != latest[k] || !e.header.Lookup("a").Is("b") {
				t.Fatalf("round %d: %q, want %q", i, e.body[:9], latest[k])
			}
		}
		if len(r.queue)-r.first > 64 || len(r.where) > 64 {
			t.Fatalf("%d records", len(r.queue))
		}
	}
	if found < 100 {
		t.Errorf("only %d were found", found)
	}
}

func FuzzDecode(f *testing.F) {
	e := &entry{status: 200, body: []byte("body"), came: time.Unix(1, 2), policy: policy{lifetime: time.Minute, shared: true}}
	e.header.Add("ETag", `"a"`)
	f.Add(e.encode(key{1})[20:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e := decodeEntry(b); e != nil && e.header.Len() > len(b) {
			t.Error("more fields than bytes")
		}
	})
}

func FuzzDirectives(f *testing.F) {
	for _, s := range []string{"max-age=60", `private="a, b", no-cache`, `no-cache="x\"y",s-maxage="1"`, `a="`, " , ,max-stale", "=1", "max-age=1 2", `x="\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var h httpmsg.Header
		h.Add("Cache-Control", s)
		d := parseDirectives(&h)
		if strings.EqualFold(strings.TrimSpace(s), "no-store") != d.noStore && !strings.ContainsAny(s, ",=\"") {
			t.Errorf("no-store is %v", d.noStore)
		}
		for _, n := range []int64{d.maxAge, d.sMaxAge, d.minFresh, d.maxStale, d.staleIfError, d.staleWhileRevalidate} {
			if n < unset || n > forever {
				t.Errorf("%d seconds", n)
			}
		}
		d.hides(httpmsg.Text("x"))
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=5-2", "bytes=", "bytes=-", "Bytes=1-99999999999999999999"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		size &= 1<<40 - 1
		where, verdict := parseRange(httpmsg.Text(s), size)
		if verdict == rangeGood && (where.from < 0 || where.from >= where.to || where.to > size) {
			t.Errorf("%q of %d is %v", s, size, where)
		}
		for list := httpmsg.Text(s); len(list) > 0; {
			_, list = cutTag(list)
		}
	})
}

// TestOverTheWire runs a cache between real clients and a real server, on every version of HTTP, with compression inside and
// outside of it.
func TestOverTheWire(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, strings.Repeat("compressible ", 500))
	}))
	defer server.Close()
	for _, where := range []string{"none", "inside", "outside"} {
		t.Run(where, func(t *testing.T) {
			trial.Each(t, around(t, where, trial.Service(t, server.URL)), func(t *testing.T, f *trial.Front) {
				before := calls.Load()
				for i := range 3 {
					for _, encoding := range []string{"gzip", "identity"} {
						r, _ := http.NewRequest("GET", f.URL+"/"+strings.ReplaceAll(t.Name(), "/", "-"), nil)
						r.Host = "a.test"
						r.Header.Set("Accept-Encoding", encoding)
						res, err := f.Client.Do(r)
						if err != nil {
							t.Fatal(err)
						}
						text, err := io.ReadAll(res.Body)
						res.Body.Close()
						zipped := where != "none" && encoding == "gzip"
						if err != nil || res.StatusCode != 200 || zipped != (res.Header.Get("Content-Encoding") == "gzip") || !zipped && len(text) != 6500 || zipped && len(text) > 1000 {
							t.Fatalf("%s: %d, %d bytes, %v %v", encoding, res.StatusCode, len(text), res.Header, err)
						}
						if hit := strings.HasPrefix(res.Header.Get("Cache-Status"), "Sluice; hit"); i > 0 && !hit {
							t.Errorf("%s, round %d: %v", encoding, i, res.Header)
						}
					}
				}
				want := map[string]int32{"none": 1, "inside": 2, "outside": 1}[where]
				if n := calls.Load() - before; n != want {
					t.Errorf("the server was asked %d times, want %d", n, want)
				}
			})
		})
	}
}

// around puts a cache before a service, and compression before or behind it.
func around(t *testing.T, where string, service httpmsg.Handler) httpmsg.Handler {
	zip := func(next httpmsg.Handler) httpmsg.Handler {
		c := &dynamic.Compress{}
		c.SetDefaults()
		h, err := compress.Kind().Build(&dynamic.Middleware{Compress: c}, middleware.Env{}, next)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	switch where {
	case "inside":
		return cached(t, nil, middleware.Env{}, zip(service))
	case "outside":
		return zip(cached(t, nil, middleware.Env{}, service))
	}
	return cached(t, nil, middleware.Env{}, service)
}

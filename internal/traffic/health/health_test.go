package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/testkit"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is a network in memory whose only server answers what it is told to.
type world struct {
	tr   *upstream.Transport
	stop func()

	mu     sync.Mutex
	answer func(address, head string) string // "" says nothing
	asked  []string                          // address, a space, and the head of each request
	start  time.Time
	at     []time.Duration // when each request came
}

func newWorld(answer func(address, head string) string) *world {
	w := &world{answer: answer, start: time.Now()}
	clock := watch.New()
	clock.Start()
	o := upstream.Defaults()
	o.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		client, server := testkit.Pipe()
		go w.serve(server, address)
		return client, nil
	}
	w.tr = upstream.New(o, clock)
	w.stop = func() { w.tr.CloseIdle(); clock.Stop() }
	return w
}

func (w *world) serve(c *testkit.PipeConn, address string) {
	defer c.Close()
	for {
		head, err := testkit.ReadUntil(c, "\r\n\r\n")
		if err != nil {
			return
		}
		w.mu.Lock()
		w.asked = append(w.asked, address+" "+head)
		w.at = append(w.at, time.Since(w.start))
		reply := w.answer(address, head)
		w.mu.Unlock()
		if reply == "" {
			io.Copy(io.Discard, c)
			return
		}
		io.WriteString(c, reply)
	}
}

// seen returns what was asked so far, and when.
func (w *world) seen() ([]string, []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked), slices.Clone(w.at)
}

func (w *world) set(answer func(address, head string) string) {
	w.mu.Lock()
	w.answer = answer
	w.mu.Unlock()
}

func status(code int, fields ...string) func(string, string) string {
	return func(string, string) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: 0\r\n\r\n", code, strings.Join(append(fields, ""), "\r\n"))
	}
}

func silent(string, string) string { return "" }

func check() *dynamic.HealthCheck {
	c := &dynamic.HealthCheck{Path: "/health", Interval: dynamic.Seconds(10), Timeout: dynamic.Seconds(2)}
	return c
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name   string
		server string
		edit   func(*dynamic.HealthCheck)
		answer func(string, string) string
		want   string // part of the error; empty: well
		asked  string // prefix of the last request; empty: any
	}{
		{"plain", "http://10.0.0.1:8080", nil, status(200), "", "10.0.0.1:8080 GET /health HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\r\n"},
		{"default port", "http://a.test", nil, status(204), "", "a.test:80 GET /health HTTP/1.1\r\nHost: a.test\r\n"},
		{"399", "http://a", nil, status(399), "", ""},
		{"400", "http://a", nil, status(400), "status 400 is not in 200 to 399", ""},
		{"500", "http://a", nil, status(500), "status 500", ""},
		{"exact status", "http://a", func(c *dynamic.HealthCheck) { c.Status = 418 }, status(418), "", ""},
		{"other than the exact status", "http://a", func(c *dynamic.HealthCheck) { c.Status = 418 }, status(200), "want 418", ""},
		{"query", "http://a", func(c *dynamic.HealthCheck) { c.Path = "/h?deep=1" }, status(200), "", "a:80 GET /h?deep=1 HTTP/1.1\r\n"},
		{"no path", "http://a/base", func(c *dynamic.HealthCheck) { c.Path = "" }, status(200), "", "a:80 GET /base HTTP/1.1\r\n"},
		{"no path at all", "http://a", func(c *dynamic.HealthCheck) { c.Path = "" }, status(200), "", "a:80 GET / HTTP/1.1\r\n"},
		{"relative path", "http://a/base/", func(c *dynamic.HealthCheck) { c.Path = "h" }, status(200), "", "a:80 GET /base/h HTTP/1.1\r\n"},
		{"port", "http://a:1", func(c *dynamic.HealthCheck) { c.Port = 99 }, status(200), "", "a:99 GET /health HTTP/1.1\r\nHost: a:99\r\n"},
		{"scheme", "https://a:1", func(c *dynamic.HealthCheck) { c.Scheme = "HTTP" }, status(200), "", "a:1 GET"},
		{"hostname", "http://a", func(c *dynamic.HealthCheck) { c.Hostname = "b.test" }, status(200), "", "a:80 GET /health HTTP/1.1\r\nHost: b.test\r\n"},
		{"method", "http://a", func(c *dynamic.HealthCheck) { c.Method = "HEAD" }, status(200), "", "a:80 HEAD /health"},
		{"headers", "http://a", func(c *dynamic.HealthCheck) { c.Headers = map[string]string{"X-A": "1", "host": "evil"} }, status(200), "",
			"a:80 GET /health HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n"},
		{"user in the URL", "http://u:p@a", nil, status(200), "", "a:80 GET /health HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"redirection not followed", "http://a", func(c *dynamic.HealthCheck) { c.FollowRedirects = new(false) },
			status(302, "Location: http://b/"), "", "a:80"},
		{"redirection in circles", "http://a", nil, status(302, "Location: /health"), "more than 10 redirections", ""},
		{"silence", "http://a", nil, silent, "no answer within 2s", ""},
		{"garbage", "http://a", nil, func(string, string) string { return "garbage\r\n\r\n" }, "malformed", ""},
		{"large body", "http://a", nil, func(string, string) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 200_000)
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(c.answer)
				defer w.stop()
				h := check()
				if c.edit != nil {
					c.edit(h)
				}
				k, err := New(h, nil, w.tr, nil)
				if err != nil {
					t.Fatal(err)
				}
				err = k.Probe(t.Context(), c.server)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if asked, _ := w.seen(); len(asked) == 0 || !strings.HasPrefix(asked[len(asked)-1], c.asked) {
					t.Errorf("asked %q, want %q", asked, c.asked)
				}
			})
		})
	}
}

func TestProbeFollowsRedirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(func(address, head string) string {
			switch {
			case address == "a:80" && strings.HasPrefix(head, "POST /health "):
				return status(302, "Location: http://b.test:81/x?y")(address, head)
			case address == "b.test:81" && strings.HasPrefix(head, "GET /x?y HTTP/1.1\r\nHost: b.test:81\r\n"):
				return status(200)(address, head)
			}
			return status(500)(address, head)
		})
		defer w.stop()
		h := check()
		h.Method, h.Hostname = "POST", "named.test"
		k, _ := New(h, nil, w.tr, nil)
		if err := k.Probe(t.Context(), "http://a"); err != nil {
			asked, _ := w.seen()
			t.Errorf("%v; asked %q", err, asked)
		}
	})
}

func TestCheckerTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(status(500))
		defer w.stop()
		h := check()
		h.UnhealthyInterval = new(dynamic.Seconds(3))
		s := Server{URL: "http://a", State: new(balance.State), Schedule: new(Schedule)}
		var changes []string
		k, err := New(h, []Server{s}, w.tr, func(url string, up bool, why error) {
			if url != "http://a" || up == (why != nil) {
				t.Errorf("change of %s to %v because of %v", url, up, why)
			}
			changes = append(changes, fmt.Sprintf("%v at %v", up, time.Since(w.start)))
		})
		if err != nil {
			t.Fatal(err)
		}
		k.Start()
		defer k.Stop()
		sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		sleep(9 * time.Second)
		if asked, _ := w.seen(); len(asked) != 0 || !s.State.Up() {
			t.Fatalf("probed %d times before the first interval, up %v", len(asked), s.State.Up())
		}
		sleep(2 * time.Second) // 11 s: down since 10 s
		if s.State.Up() {
			t.Fatal("up after a failed probe")
		}
		sleep(3 * time.Second) // 14 s: probed again at 13 s
		w.set(status(200))
		sleep(3 * time.Second) // 17 s: well at 16 s
		if !s.State.Up() {
			t.Fatal("down after a good probe")
		}
		w.set(silent)
		sleep(12 * time.Second) // 29 s: asked at 26 s, given up at 28 s
		if s.State.Up() {
			t.Fatal("up although it says nothing")
		}
		_, at := w.seen()
		if got := fmt.Sprint(at); got != "[10s 13s 16s 26s]" {
			t.Errorf("probed at %s", got)
		}
		if got := strings.Join(changes, ", "); got != "false at 10s, true at 16s, false at 28s" {
			t.Errorf("changes %s", got)
		}
	})
}

// A new checker for the same servers goes on with the schedule instead of starting it anew.
func TestCheckerSurvivesReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(status(200))
		defer w.stop()
		s := Server{URL: "http://a", State: new(balance.State), Schedule: new(Schedule)}
		var last *Checker
		for range 10 { // a change every 3.7 s, an interval of 10 s
			k, _ := New(check(), []Server{s}, w.tr, nil)
			k.Start()
			if last != nil {
				last.Stop()
			}
			last = k
			time.Sleep(3700 * time.Millisecond)
		}
		last.Stop()
		_, at := w.seen()
		if got := fmt.Sprint(at); got != "[10s 20s 30s]" {
			t.Errorf("probed at %s in 37 s", got)
		}
	})
}

func TestCheckerStopsInAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(silent)
		defer w.stop()
		h := check()
		h.Timeout = dynamic.Seconds(3600)
		s := Server{URL: "http://a", State: new(balance.State), Schedule: new(Schedule)}
		k, _ := New(h, []Server{s}, w.tr, nil)
		k.Start()
		time.Sleep(11 * time.Second)
		k.Stop()
		if at := time.Since(w.start); at > 12*time.Second || !s.State.Up() {
			t.Errorf("stopped at %v, up %v", at, s.State.Up())
		}
		k2, _ := New(h, nil, w.tr, nil)
		k2.Stop()
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*dynamic.HealthCheck)
		want string
	}{
		{"sound", func(*dynamic.HealthCheck) {}, ""},
		{"absolute path", func(c *dynamic.HealthCheck) { c.Path = "http://evil/" }, "name no host"},
		{"path with a host", func(c *dynamic.HealthCheck) { c.Path = "//evil/" }, "name no host"},
		{"broken path", func(c *dynamic.HealthCheck) { c.Path = "/%zz" }, "path"},
		{"scheme", func(c *dynamic.HealthCheck) { c.Scheme = "ftp" }, "scheme"},
		{"port", func(c *dynamic.HealthCheck) { c.Port = 70000 }, "port"},
		{"grpc", func(c *dynamic.HealthCheck) { c.Mode = "grpc" }, ""},
		{"any other mode is http", func(c *dynamic.HealthCheck) { c.Mode = "x" }, ""},
		{"negative times", func(c *dynamic.HealthCheck) {
			c.Interval, c.Timeout = -1, -1
			c.UnhealthyInterval = new(dynamic.Duration(-1))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := check()
			c.edit(h)
			if err := Validate(h); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	o, _ := resolve(&dynamic.HealthCheck{UnhealthyInterval: new(dynamic.Duration(0))})
	if o.interval != 30*time.Second || o.unhealthy != 30*time.Second || o.timeout != 5*time.Second {
		t.Errorf("defaults %v %v %v", o.interval, o.unhealthy, o.timeout)
	}
}

func TestPassive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPassive(&dynamic.PassiveHealthCheck{FailureWindow: dynamic.Seconds(10), MaxFailedAttempts: 3}, false)
		var f Failures
		var s balance.State
		fail := func(n int) {
			for range n {
				f.Failed(p, &s)
			}
		}
		fail(2)
		f.Fine()
		fail(2)
		if !s.Up() {
			t.Error("out although a request succeeded in between")
		}
		time.Sleep(11 * time.Second)
		fail(2)
		if !s.Up() {
			t.Error("out although the first failures are older than the window")
		}
		fail(1)
		if s.Up() {
			t.Error("not out after three failures")
		}
		time.Sleep(10*time.Second + 1)
		if !s.Up() {
			t.Error("not back after the window")
		}
		active := NewPassive(&dynamic.PassiveHealthCheck{}, true)
		f.Failed(active, &s)
		time.Sleep(time.Hour)
		if s.Up() {
			t.Error("came back although that is up to the active check")
		}
	})
}

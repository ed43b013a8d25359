package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// scripted is a provider whose runs a test writes.
type scripted struct {
	name string
	runs []func(ctx context.Context, publish func(dynamic.Snapshot)) error
	n    int
}

func (s *scripted) Name() string { return s.name }

func (s *scripted) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	run := s.runs[min(s.n, len(s.runs)-1)]
	s.n++
	return run(ctx, publish)
}

// snap makes a snapshot with one router per rule.
func snap(rules ...string) dynamic.Snapshot {
	var s dynamic.Snapshot
	for i, rule := range rules {
		s.Fragments = append(s.Fragments, &dynamic.Fragment{
			Name:   fmt.Sprintf("f%d", i),
			Config: &dynamic.Config{HTTP: &dynamic.HTTP{Routers: map[string]*dynamic.Router{"r": {Rule: rule}}}},
		})
	}
	return s
}

// text shows snapshots as PROVIDER:RULE,RULE.
func text(all []dynamic.Snapshot) string {
	var out []string
	for _, s := range all {
		var rules []string
		for _, f := range s.Fragments {
			rules = append(rules, f.Config.HTTP.Routers["r"].Rule)
		}
		out = append(out, s.Provider+":"+strings.Join(rules, ","))
	}
	return strings.Join(out, " ")
}

// log collects what happens with the time since the beginning.
type log struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%v ", time.Since(l.start))+fmt.Sprintf(format, args...))
}

func (l *log) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got, want := strings.Join(l.lines, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	l.lines = nil
}

// supervise starts s in a bubble and returns its log and how to stop it.
func supervise(s *Supervisor) (l *log, stop func()) {
	l = &log{start: time.Now()}
	s.Consume = func(all []dynamic.Snapshot) { l.add("%s", text(all)) }
	if s.Failed == nil {
		s.Failed = func(f Failure) { l.add("%s failed: %v", f.Provider, f.Err) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return l, func() {
		cancel()
		<-done
	}
}

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{Throttle: 2 * time.Second, Providers: []Provider{&scripted{name: "a", runs: []func(context.Context, func(dynamic.Snapshot)) error{
			func(ctx context.Context, publish func(dynamic.Snapshot)) error {
				publish(snap("1"))
				time.Sleep(500 * time.Millisecond)
				publish(snap("2"))
				time.Sleep(500 * time.Millisecond)
				publish(snap("3"))
				time.Sleep(500 * time.Millisecond)
				publish(snap("3"))
				time.Sleep(10 * time.Second)
				publish(snap("4"))
				publish(snap("4"))
				time.Sleep(10 * time.Second)
				publish(snap("5"))
				time.Sleep(time.Second)
				publish(snap("4"))
				publish(snap("5"))
				return untilDone(ctx)
			},
		}}}}
		l, stop := supervise(s)
		time.Sleep(time.Minute)
		stop()
		l.want(t, "0s a:1", "2s a:3", "11.5s a:4", "21.5s a:5", "23.5s a:5")
	})
}

// TestUrgent checks that an urgent change does not wait, neither by itself nor behind one that waits already.
func TestUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		urgent := func(rule string) dynamic.Snapshot {
			s := snap(rule)
			s.Urgent = true
			return s
		}
		s := &Supervisor{Throttle: 2 * time.Second, Providers: []Provider{&scripted{name: "a", runs: []func(context.Context, func(dynamic.Snapshot)) error{
			func(ctx context.Context, publish func(dynamic.Snapshot)) error {
				publish(snap("1"))
				time.Sleep(500 * time.Millisecond)
				publish(snap("2"))
				time.Sleep(500 * time.Millisecond)
				publish(urgent("3"))
				publish(snap("4"))
				time.Sleep(500 * time.Millisecond)
				publish(snap("5"))
				return untilDone(ctx)
			},
		}}}}
		l, stop := supervise(s)
		time.Sleep(time.Minute)
		stop()
		l.want(t, "0s a:1", "1s a:4", "3s a:5")
	})
}

func TestUnthrottledAndNone(t *testing.T) {
	run := func(ctx context.Context, publish func(dynamic.Snapshot)) error {
		for i := range 3 {
			publish(snap(fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		return untilDone(ctx)
	}
	for _, s := range []*Supervisor{
		{Throttle: time.Hour, Unthrottled: []string{"a"}},
		{},
	} {
		synctest.Test(t, func(t *testing.T) {
			s.Providers = []Provider{&scripted{name: "a", runs: []func(context.Context, func(dynamic.Snapshot)) error{run}}}
			l, stop := supervise(s)
			time.Sleep(time.Second)
			stop()
			l.want(t, "0s a:0", "1ms a:1", "2ms a:2")
		})
	}
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		var runs atomic.Int32
		s := &Supervisor{
			Failed: func(f Failure) { waits = append(waits, f.Retry) },
			Providers: []Provider{&scripted{name: "a", runs: []func(context.Context, func(dynamic.Snapshot)) error{
				func(_ context.Context, publish func(dynamic.Snapshot)) error {
					publish(snap("1"))
					if runs.Add(1) == 20 {
						time.Sleep(steadyRun)
					}
					return errors.New("no")
				},
			}}},
		}
		l, stop := supervise(s)
		for runs.Load() < 22 {
			time.Sleep(time.Second)
		}
		stop()
		l.want(t, "0s a:1")
		mean := firstRetry
		for i, w := range waits {
			if i == 19 {
				mean = firstRetry // after a steady run
			}
			if w < mean/2 || w > mean*3/2 {
				t.Errorf("wait %d: %v, mean %v", i, w, mean)
			}
			mean = min(mean*3/2, retryCap)
		}
	})
}

func TestEndsOfRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{Providers: []Provider{
			&scripted{name: "done", runs: []func(context.Context, func(dynamic.Snapshot)) error{
				func(_ context.Context, publish func(dynamic.Snapshot)) error { publish(snap("d")); return nil },
			}},
			&scripted{name: "bad", runs: []func(context.Context, func(dynamic.Snapshot)) error{
				func(context.Context, func(dynamic.Snapshot)) error { return Permanent(errors.New("no endpoint")) },
			}},
			&scripted{name: "panics", runs: []func(context.Context, func(dynamic.Snapshot)) error{
				func(_ context.Context, publish func(dynamic.Snapshot)) error {
					publish(snap("p"))
					time.Sleep(time.Second)
					panic("oh")
				},
				func(ctx context.Context, publish func(dynamic.Snapshot)) error {
					publish(snap("q"))
					return untilDone(ctx)
				},
			}},
		}}
		var failures []string
		var mu sync.Mutex
		s.Failed = func(f Failure) {
			mu.Lock()
			defer mu.Unlock()
			line, _, _ := strings.Cut(f.Err.Error(), "\n")
			failures = append(failures, fmt.Sprintf("%s: %s (again: %v)", f.Provider, line, f.Retry > 0))
		}
		l, stop := supervise(s)
		time.Sleep(time.Hour)
		stop()
		if got := strings.Join(failures, "\n"); got != "bad: no endpoint (again: false)\npanics: panic: oh (again: true)" {
			t.Errorf("failures:\n%s", got)
		}
		if last := l.lines[len(l.lines)-1]; !strings.HasSuffix(last, " done:d panics:q") {
			t.Errorf("last: %s", last)
		}
	})
}

func TestFirst(t *testing.T) {
	for name, c := range map[string]struct {
		file func(context.Context, func(dynamic.Snapshot)) error
		want []string
	}{
		"speaks": {func(ctx context.Context, publish func(dynamic.Snapshot)) error {
			time.Sleep(3 * time.Second)
			publish(snap("f"))
			return untilDone(ctx)
		}, []string{"3s file:f", "4s docker:d file:f"}},
		"fails": {func(context.Context, func(dynamic.Snapshot)) error { return Permanent(errors.New("no")) },
			[]string{"1s docker:d"}},
		"hangs": {func(ctx context.Context, _ func(dynamic.Snapshot)) error { return untilDone(ctx) },
			[]string{"11s docker:d"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Supervisor{First: []string{"file"}, Failed: func(Failure) {}, Providers: []Provider{
					&scripted{name: "docker", runs: []func(context.Context, func(dynamic.Snapshot)) error{
						func(ctx context.Context, publish func(dynamic.Snapshot)) error {
							time.Sleep(time.Second)
							publish(snap("d"))
							return untilDone(ctx)
						},
					}},
					&scripted{name: "file", runs: []func(context.Context, func(dynamic.Snapshot)) error{c.file}},
				}}
				l, stop := supervise(s)
				time.Sleep(time.Minute)
				stop()
				l.want(t, c.want...)
			})
		})
	}
}

// TestSlowConsumer checks that changes gather while the consumer works, and that its calls do not overlap.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{start: time.Now()}
		busy := false
		s := &Supervisor{
			Providers: []Provider{&scripted{name: "a", runs: []func(context.Context, func(dynamic.Snapshot)) error{
				func(ctx context.Context, publish func(dynamic.Snapshot)) error {
					for i := range 100 {
						publish(snap(fmt.Sprint(i)))
						time.Sleep(100 * time.Millisecond)
					}
					return untilDone(ctx)
				},
			}}},
			Consume: func(all []dynamic.Snapshot) {
				if busy {
					t.Error("two calls at once")
				}
				busy = true
				time.Sleep(6050 * time.Millisecond)
				busy = false
				l.add("%s", text(all))
			},
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
		l.want(t, "6.05s a:0", "12.1s a:60", "18.15s a:99")
	})
}

type places string

func (p places) Locate(...string) diag.Place { return diag.Place{Source: string(p)} }

func (p places) SamePlaces(o dynamic.Locator) bool { return p == o }

func TestReuse(t *testing.T) {
	old := snap("1", "2", "3").Fragments
	for name, c := range map[string]struct {
		next    []*dynamic.Fragment
		changed bool
		kept    string // 1: the old pointer
	}{
		"same pointers":  {old, false, "111"},
		"equal":          {snap("1", "2", "3").Fragments, false, "111"},
		"one differs":    {snap("1", "x", "3").Fragments, true, "101"},
		"one more":       {snap("1", "2", "3", "4").Fragments, true, "1110"},
		"one less":       {snap("1", "2").Fragments, true, "11"},
		"other order":    {[]*dynamic.Fragment{old[1], old[0], old[2]}, true, "001"},
		"finding":        {[]*dynamic.Fragment{old[0], old[1], {Name: "f2", Config: old[2].Config, Findings: diag.List{{Message: "x"}}}}, true, "110"},
		"places":         {[]*dynamic.Fragment{old[0], old[1], {Name: "f2", Config: old[2].Config, Where: places("x")}}, true, "110"},
		"first one lost": {snap("1", "2", "3").Fragments[1:], true, "00"},
	} {
		t.Run(name, func(t *testing.T) {
			out, changed := reuse(old, c.next)
			if changed != c.changed {
				t.Errorf("changed: %v", changed)
			}
			kept := ""
			for i, f := range out {
				if i < len(old) && f == old[i] {
					kept += "1"
				} else {
					kept += "0"
				}
			}
			if kept != c.kept {
				t.Errorf("kept: got %s, want %s", kept, c.kept)
			}
		})
	}
	a := &dynamic.Fragment{Name: "a", Config: &dynamic.Config{}, Where: places("x")}
	b := &dynamic.Fragment{Name: "a", Config: &dynamic.Config{}, Where: places("x")}
	if out, changed := reuse([]*dynamic.Fragment{a}, []*dynamic.Fragment{b}); changed || out[0] != a {
		t.Error("equal places count as a change")
	}
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "/foo.bar": "foo-bar", "web_my_proj": "web-my-proj", "--a..b--": "a-b", "": "", "Grüße 1": "Grüße-1",
	} {
		if got := Normalize(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

package watch

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type probe struct {
	Entry
	expired  atomic.Int32
	checked  atomic.Int32
	at       atomic.Int64 // unix nanoseconds of the last Expire
	onExpire func()
}

func (p *probe) Expire() {
	p.at.Store(time.Now().UnixNano())
	p.expired.Add(1)
	if p.onExpire != nil {
		p.onExpire()
	}
}
func (p *probe) CheckPeer() { p.checked.Add(1) }

func started(t testing.TB) *Watch {
	t.Helper()
	w := New()
	w.Start()
	return w
}

func TestExpiresOnceNeverEarlyAndWithin50ms(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 5 * time.Millisecond, 19 * time.Millisecond, 20 * time.Millisecond,
		100 * time.Millisecond, 980 * time.Millisecond, 999 * time.Millisecond, time.Second, 1001 * time.Millisecond,
		1500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 180 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := started(t)
				defer w.Stop()
				time.Sleep(7 * time.Millisecond)
				var p probe
				w.Add(&p.Entry, &p)
				defer w.Remove(&p.Entry)
				began := time.Now()
				if p.Arm(d) {
					t.Error("first Arm reports a replaced deadline")
				}
				time.Sleep(d + 2*time.Second)
				if n := p.expired.Load(); n != 1 {
					t.Fatalf("got %d expiries, want 1", n)
				}
				took := time.Unix(0, p.at.Load()).Sub(began)
				if took < d || took > max(d, 0)+50*time.Millisecond {
					t.Errorf("expired after %v, want %v to 50ms later", took, d)
				}
				if p.Disarm() || p.Armed() {
					t.Error("still armed after the expiry")
				}
			})
		})
	}
}

func TestRearmingInTimeNeverExpires(t *testing.T) {
	for _, d := range []time.Duration{50 * time.Millisecond, time.Second, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := started(t)
			defer w.Stop()
			var p probe
			w.Add(&p.Entry, &p)
			defer w.Remove(&p.Entry)
			p.Arm(d)
			for range 40 {
				time.Sleep(d * 9 / 10)
				if !p.Arm(d) {
					t.Fatal("Arm found the deadline gone")
				}
			}
			if !p.Disarm() {
				t.Error("Disarm found the deadline gone")
			}
			time.Sleep(3 * d)
			if n := p.expired.Load(); n != 0 {
				t.Errorf("got %d expiries, want none", n)
			}
		})
	}
}

// A deadline that is brought forward must not wait for the slot of the old one.
func TestArmEarlierAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		defer w.Stop()
		var p probe
		w.Add(&p.Entry, &p)
		defer w.Remove(&p.Entry)
		p.Arm(time.Hour)
		time.Sleep(700 * time.Millisecond)
		p.Arm(100 * time.Millisecond)
		time.Sleep(150 * time.Millisecond)
		if n := p.expired.Load(); n != 1 {
			t.Fatalf("got %d expiries after bringing it forward, want 1", n)
		}
		p.Arm(100 * time.Millisecond)
		time.Sleep(30 * time.Millisecond)
		p.Arm(2 * time.Second)
		time.Sleep(1900 * time.Millisecond)
		if n := p.expired.Load(); n != 1 {
			t.Fatalf("got %d expiries after putting it off, want 1", n)
		}
		time.Sleep(200 * time.Millisecond)
		if n := p.expired.Load(); n != 2 {
			t.Fatalf("got %d expiries in the end, want 2", n)
		}
	})
}

func TestArmFromExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		defer w.Stop()
		var p probe
		p.onExpire = func() { p.Arm(200 * time.Millisecond) }
		w.Add(&p.Entry, &p)
		defer w.Remove(&p.Entry)
		p.Arm(1)
		time.Sleep(2100 * time.Millisecond)
		if n := p.expired.Load(); n < 9 || n > 11 {
			t.Errorf("got %d expiries in 2.1s with a period of 200 to 240ms", n)
		}
	})
}

func TestChecksEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		defer w.Stop()
		var p probe
		w.Add(&p.Entry, &p)
		defer w.Remove(&p.Entry)
		p.StartChecks()
		time.Sleep(990 * time.Millisecond)
		if n := p.checked.Load(); n != 0 {
			t.Errorf("got %d checks within the first second", n)
		}
		time.Sleep(10 * time.Second)
		if n := p.checked.Load(); n < 9 || n > 10 {
			t.Errorf("got %d checks in 11s, want 9 or 10", n)
		}
		p.StopChecks()
		n := p.checked.Load()
		time.Sleep(3 * time.Second)
		if p.checked.Load() != n {
			t.Error("checked after StopChecks")
		}
	})
}

// The goroutine sleeps while nothing is armed, and an Arm at any moment of falling asleep is not lost.
func TestSleepsAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		defer w.Stop()
		var p probe
		w.Add(&p.Entry, &p)
		defer w.Remove(&p.Entry)
		time.Sleep(5 * time.Second)
		if w.now.Load() != 0 {
			t.Fatal("still ticking with nothing armed")
		}
		before := w.Now()
		time.Sleep(time.Second)
		if got := time.Duration(w.Now() - before); got != time.Second {
			t.Errorf("clock moved %v in 1s of sleep", got)
		}
		for i := range 200 {
			d := time.Duration(1+i%3) * 600 * time.Millisecond
			began := time.Now()
			p.Arm(d)
			time.Sleep(d + 60*time.Millisecond)
			if n := p.expired.Load(); int(n) != i+1 {
				t.Fatalf("got %d expiries, want %d", n, i+1)
			}
			if took := time.Unix(0, p.at.Load()).Sub(began); took < d || took > d+50*time.Millisecond {
				t.Fatalf("expired after %v, want %v", took, d)
			}
			time.Sleep(900*time.Millisecond + time.Duration(i)*time.Millisecond)
		}
		p.StartChecks()
		time.Sleep(3 * time.Second)
		if p.checked.Load() == 0 {
			t.Error("StartChecks did not wake the goroutine")
		}
	})
}

func TestRemoveAndReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, other := started(t), started(t)
		defer w.Stop()
		defer other.Stop()
		var p probe
		w.Remove(&p.Entry) // not registered: nothing happens
		for range 100 {
			for _, w := range []*Watch{w, other} {
				w.Add(&p.Entry, &p)
				p.Arm(10 * time.Millisecond)
				w.Remove(&p.Entry)
			}
		}
		time.Sleep(3 * time.Second)
		if n := p.expired.Load(); n != 0 {
			t.Errorf("got %d expiries of a removed entry", n)
		}
		if w.Len() != 0 || other.Len() != 0 {
			t.Errorf("got %d and %d entries left", w.Len(), other.Len())
		}
	})
}

func TestStopAndStartAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		var p probe
		w.Add(&p.Entry, &p)
		p.Arm(2 * time.Second)
		w.Stop()
		w.Stop()
		time.Sleep(10 * time.Second)
		if p.expired.Load() != 0 {
			t.Fatal("expired while stopped")
		}
		w.Start()
		w.Start()
		time.Sleep(1100 * time.Millisecond)
		if p.expired.Load() != 1 {
			t.Error("overdue entry did not expire after the restart")
		}
		w.Remove(&p.Entry)
		w.Stop()
	})
}

// Many entries with deadlines of every length, armed, put off and removed at random, against what a plain list says.
func TestManyAgainstOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := started(t)
		defer w.Stop()
		rnd := rand.New(rand.NewPCG(1, 2))
		const n = 2000
		ps := make([]*probe, n)
		due := make([]time.Time, n)
		for i := range ps {
			ps[i] = new(probe)
			w.Add(&ps[i].Entry, ps[i])
		}
		for range 600 {
			for range 20 {
				i := rnd.IntN(n)
				p := ps[i]
				switch rnd.IntN(6) {
				case 0:
					if p.Disarm() {
						due[i] = time.Time{}
					}
				case 1:
					w.Remove(&p.Entry)
					p.expired.Store(0)
					due[i] = time.Time{}
					w.Add(&p.Entry, p)
				default:
					if p.expired.Load() == 0 {
						d := time.Duration(rnd.Int64N(int64(4 * time.Second)))
						p.Arm(d)
						due[i] = time.Now().Add(d)
					}
				}
			}
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
			synctest.Wait()
			for i, p := range ps {
				if due[i].IsZero() {
					continue
				}
				over := time.Since(due[i])
				switch n := p.expired.Load(); {
				case n > 1:
					t.Fatalf("entry %d expired %d times", i, n)
				case n == 1 && over < 0:
					t.Fatalf("entry %d expired %v early", i, -over)
				case n == 0 && over > 50*time.Millisecond:
					t.Fatalf("entry %d is %v late", i, over)
				case n == 1:
					p.expired.Store(0)
					due[i] = time.Time{}
				}
			}
		}
		for _, p := range ps {
			w.Remove(&p.Entry)
		}
	})
}

// Arming an entry that another goroutine removes is harmless.
func TestArmAgainstRemove(t *testing.T) {
	w := started(t)
	defer w.Stop()
	for range 300 {
		p := new(probe)
		w.Add(&p.Entry, p)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { p.Arm(time.Millisecond); p.StartChecks(); p.Arm(time.Hour) })
			wg.Go(func() { w.Remove(&p.Entry) })
		}
		wg.Wait()
		w.Remove(&p.Entry)
	}
	if n := w.Len(); n != 0 {
		t.Errorf("got %d entries left", n)
	}
	var p probe
	if p.Arm(time.Second) {
		t.Error("armed an entry that was never added")
	}
	p.StartChecks()
}

// For the race detector: all methods at once, on the real clock.
func TestConcurrentUse(t *testing.T) {
	w := started(t)
	defer w.Stop()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var p probe
			for i := range 300 {
				w.Add(&p.Entry, &p)
				p.StartChecks()
				p.Arm(time.Duration(i%7) * time.Millisecond)
				if g%2 == 0 {
					time.Sleep(time.Duration(i%3) * time.Millisecond)
				}
				p.Disarm()
				p.StopChecks()
				w.Remove(&p.Entry)
			}
		})
	}
	wg.Wait()
	if n := w.Len(); n != 0 {
		t.Errorf("got %d entries left", n)
	}
}

func TestNoAllocation(t *testing.T) {
	w := started(t)
	defer w.Stop()
	var p probe
	w.Add(&p.Entry, &p)
	defer w.Remove(&p.Entry)
	if n := testing.AllocsPerRun(1000, func() { p.Arm(10 * time.Second); p.Disarm() }); n != 0 {
		t.Errorf("got %v allocations per arming", n)
	}
}

func BenchmarkArmDisarm(b *testing.B) {
	w := started(b)
	defer w.Stop()
	b.RunParallel(func(pb *testing.PB) {
		var p probe
		w.Add(&p.Entry, &p)
		defer w.Remove(&p.Entry)
		for pb.Next() {
			p.Arm(10 * time.Second)
			p.Disarm()
		}
	})
}

package balance

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

var client = netip.MustParseAddr("192.0.2.7")

// endpoints builds a list from words such as "a:3" (key and weight) and "b:1!" (fenced).
func endpoints(words ...string) (list []*Endpoint) {
	for _, w := range words {
		e := &Endpoint{Weight: 1, State: new(State)}
		w, e.Fenced = strings.CutSuffix(w, "!")
		e.Key = w
		if key, weight, ok := strings.Cut(w, ":"); ok {
			e.Key = key
			fmt.Sscan(weight, &e.Weight)
		}
		list = append(list, e)
	}
	return list
}

func picks(p Picker, n int) string {
	var b strings.Builder
	for range n {
		if e := p.Pick(client, nil); e != nil {
			b.WriteString(e.Key)
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

func shares(p Picker, n int) map[string]int {
	got := map[string]int{}
	for range n {
		got[p.Pick(client, nil).Key]++
	}
	return got
}

func TestWRROrder(t *testing.T) {
	for _, c := range []struct {
		name string
		list []*Endpoint
		want string
	}{
		{"equal", endpoints("a", "b", "c"), "abcabc"},
		{"weighted", endpoints("a:3", "b:1"), "aaabaaab"},
		{"spread", endpoints("a:5", "b:3", "c:2"), "abacabaabc"},
		{"one", endpoints("a:7"), "aaa"},
		{"none", nil, "--"},
		{"zero weight", endpoints("a:0", "b"), "bbb"},
		{"negative weight", endpoints("a:-1", "b"), "bbb"},
		{"only zero weights", endpoints("a:0", "b:0"), "--"},
		{"only fenced", endpoints("a!", "b!"), "--"},
		{"fenced", endpoints("a!", "b"), "bb"},
		{"same key twice", endpoints("a", "a", "b"), "aabaab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewWRR(nil)
			p.Update(c.list)
			if got := picks(p, len(c.want)); got != c.want {
				t.Errorf("picks %s, want %s", got, c.want)
			}
		})
	}
}

// After any number of picks each endpoint is within one pick of its share.
func TestWRRExactShares(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 1 + r.IntN(12)
		list, total := make([]*Endpoint, n), 0
		for i := range list {
			list[i] = &Endpoint{Key: fmt.Sprint(i), Weight: 1 + r.IntN(20), State: new(State)}
			total += list[i].Weight
		}
		p := NewWRR(r.IntN)
		p.Update(list)
		got := map[string]int{}
		for k := 1; k <= 3*total; k++ {
			got[p.Pick(client, nil).Key]++
			for _, e := range list {
				if share := float64(k*e.Weight) / float64(total); math.Abs(share-float64(got[e.Key])) >= float64(n) {
					t.Fatalf("after %d picks endpoint %s of weight %d has %d, share %.1f", k, e.Key, e.Weight, got[e.Key], share)
				}
			}
		}
		for _, e := range list {
			if got[e.Key] != 3*e.Weight {
				t.Errorf("after three rounds endpoint %s has %d picks, want %d", e.Key, got[e.Key], 3*e.Weight)
			}
		}
	}
}

func TestWRRDownAndBack(t *testing.T) {
	list := endpoints("a", "b")
	p := NewWRR(nil)
	p.Update(list)
	list[0].State.SetUp(false)
	if got := picks(p, 4); got != "bbbb" {
		t.Errorf("while a is down: %s", got)
	}
	list[0].State.SetUp(true)
	got := picks(p, 10)
	if strings.Count(got, "a") != 5 || strings.Contains(got, "aa") {
		t.Errorf("a came back with %s, want it to take turns", got)
	}
	list[0].State.SetUp(false)
	list[1].State.SetUp(false)
	if got := picks(p, 2); got != "--" {
		t.Errorf("all down: %s", got)
	}
}

func TestWRRUpdateKeepsPosition(t *testing.T) {
	p := NewWRR(nil)
	p.Update(endpoints("a", "b", "c"))
	picks(p, 1)
	p.Update(endpoints("a", "b", "c"))
	if got := picks(p, 3); got != "bca" {
		t.Errorf("an equal list restarted the round: %s, want bca", got)
	}
	p.Update(endpoints("c", "a", "b", "d"))
	if got := picks(p, 10); got != "bcabcdabcd" {
		t.Errorf("after adding d: %s, want the round to go on at b, then to have d in it", got)
	}
	p.Update(endpoints("d"))
	if got := picks(p, 2); got != "dd" {
		t.Errorf("after removing all but d: %s", got)
	}
	p.Update(nil)
	if got := picks(p, 1); got != "-" {
		t.Errorf("after removing all: %s", got)
	}
}

func TestWRRUpdateChangesWeight(t *testing.T) {
	p := NewWRR(nil)
	p.Update(endpoints("a:1", "b:1"))
	picks(p, 1001)
	p.Update(endpoints("a:3", "b:1"))
	if got := shares(p, 400); got["a"] < 299 || got["a"] > 301 {
		t.Errorf("a:3 b:1 after a change of weight: %v", got)
	}
}

func TestWRRStart(t *testing.T) {
	p := NewWRR(func(n int) int { return 0 })
	p.Update(endpoints("a", "b", "c"))
	if got := picks(p, 3); got != "bca" {
		t.Errorf("shuffled start %s, want bca", got)
	}
}

func TestTried(t *testing.T) {
	for name, p := range map[string]Picker{
		"wrr": NewWRR(nil), "p2c": NewP2C(nil), "hrw": NewHRW(), "leasttime": NewLeastTime(nil),
	} {
		t.Run(name, func(t *testing.T) {
			p.Update(endpoints("a", "b", "b", "c"))
			var tried Tried
			seen := map[string]bool{}
			for range 3 {
				e := p.Pick(client, &tried)
				if e == nil || seen[e.Key] {
					t.Fatalf("picked %v after %v", e, seen)
				}
				seen[e.Key] = true
				tried.Add(e)
			}
			if e := p.Pick(client, &tried); e != nil {
				t.Errorf("picked %s when all were tried", e.Key)
			}
		})
	}
}

func TestP2C(t *testing.T) {
	list := endpoints("a", "b", "c:0")
	draws := []int{0, 1, 1, 2, 0, 1}
	p := NewP2C(func(int) int { d := draws[0]; draws = draws[1:]; return d })
	p.Update(list)
	list[0].State.Begin()
	if got := picks(p, 3); got != "bbb" {
		// a is busier than b; b and c are equal, the first drawn wins; a again loses.
		t.Errorf("picks %s, want bbb", got)
	}
	q := NewP2C(nil)
	q.Update(list)
	list[1].State.SetUp(false)
	got := shares(q, 3000)
	if got["b"] != 0 || got["c"] < got["a"] {
		t.Errorf("b is down and a busy: %v", got)
	}
	list[2].State.SetUp(false)
	if got := picks(q, 3); got != "aaa" {
		t.Errorf("only a is up: %s", got)
	}
	list[0].State.SetUp(false)
	if got := picks(q, 1); got != "-" {
		t.Errorf("none is up: %s", got)
	}
}

// With k of n endpoints up, each gets an equal part, wherever the others stand in the list.
func TestP2CIsFair(t *testing.T) {
	list := endpoints("a", "b", "c", "d", "e", "f", "g", "h")
	for _, i := range []int{0, 1, 2, 3, 5} {
		list[i].State.SetUp(false)
	}
	p := NewP2C(rand.New(rand.NewPCG(3, 4)).IntN)
	p.Update(list)
	for key, n := range shares(p, 9000) {
		if n < 2800 || n > 3200 {
			t.Errorf("%s got %d of 9000", key, n)
		}
	}
}

func TestHRW(t *testing.T) {
	list := endpoints("a", "b", "c:2")
	for _, e := range list {
		e.Key = "http://10.0.0.1/" + e.Key // names that differ at their end are the hard ones
	}
	p := NewHRW()
	p.Update(list)
	got := map[string]int{}
	home := map[netip.Addr]*Endpoint{}
	for i := range 4000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		e := p.Pick(addr, nil)
		home[addr] = e
		got[e.Key]++
		if want := naiveHRW(list, addr); e != want {
			t.Fatalf("%s goes to %s, want %s", addr, e.Key, want.Key)
		}
		if again := p.Pick(netip.AddrFrom16(addr.As16()), nil); again != e {
			t.Fatalf("%s moved when written as IPv6", addr)
		}
	}
	// The sums are fixed, so these are no chances: each share to within two in a hundred.
	for i, want := range []int{1000, 1000, 2000} {
		if n := got[list[i].Key]; n < want-80 || n > want+80 {
			t.Errorf("%s has weight %d of 4 and got %d of 4000", list[i].Key, list[i].Weight, n)
		}
	}
	list[0].State.SetUp(false)
	for addr, was := range home {
		if now := p.Pick(addr, nil); was != list[0] && now != was {
			t.Fatalf("%s moved although its endpoint is up", addr)
		}
	}
	if s := score(math.MaxUint64, 1); !math.IsInf(s, 1) {
		t.Errorf("score of the highest hash is %v", s)
	}
}

func naiveHRW(list []*Endpoint, addr netip.Addr) *Endpoint {
	var best *Endpoint
	bestScore := 0.0
	for _, e := range list {
		h := fnv.New64a()
		h.Write([]byte(addr.String() + e.Key))
		if s := float64(e.Weight) / -math.Log(float64(spread(h.Sum64()))/math.Pow(2, 64)); s > bestScore {
			best, bestScore = e, s
		}
	}
	return best
}

func TestLeastTime(t *testing.T) {
	list := endpoints("a", "b", "c:2")
	p := NewLeastTime(nil)
	p.Update(list)
	if got := picks(p, 8); strings.Count(got, "c") != 4 || strings.Count(got, "a") != 2 {
		t.Errorf("untested endpoints: %s, want a round robin by weight", got)
	}
	list[0].State.Took(10 * time.Millisecond)
	list[1].State.Took(30 * time.Millisecond)
	if got := picks(p, 3); got != "ccc" {
		t.Errorf("c is untested: %s", got)
	}
	for range 3 { // 10 * 4 / 2 = 20
		list[2].State.Begin()
	}
	if got := picks(p, 3); got != "aaa" {
		t.Errorf("c owes its first answers: %s", got)
	}
	for range 3 {
		list[2].State.End()
	}
	list[2].State.Took(30 * time.Millisecond) // 30/2 = 15
	if got := picks(p, 3); got != "aaa" {
		t.Errorf("a is fastest: %s", got)
	}
	list[0].State.Begin() // 10 * 2 = 20
	if got := picks(p, 3); got != "ccc" {
		t.Errorf("a is busy, c scores 15: %s", got)
	}
	list[0].State.End()
	for range 2 * samples {
		list[0].State.Took(999*time.Millisecond + 900*time.Microsecond)
	}
	if avg, _ := list[0].State.average(); avg != 999 {
		t.Errorf("average of the last samples %v, want 999 whole milliseconds", avg)
	}
}

func TestStateDownFor(t *testing.T) {
	var s State
	if !s.DownFor(time.Hour) || s.Up() || s.DownFor(time.Hour) {
		t.Error("DownFor does not hold or does not report the change")
	}
	s.DownFor(-time.Second)
	if !s.Up() {
		t.Error("down after the time was over")
	}
	if !s.SetUp(false) || s.SetUp(false) || s.Up() || !s.SetUp(true) || !s.Up() {
		t.Error("SetUp does not hold or does not report the change")
	}
}

type childHealth bool

func (c childHealth) Up() bool { return bool(c) }

func TestChildHealth(t *testing.T) {
	list := endpoints("a", "b")
	list[0].Child, list[1].Child = childHealth(false), childHealth(true)
	p := NewWRR(nil)
	p.Update(list)
	if got := picks(p, 2); got != "bb" {
		t.Errorf("child of a is down: %s", got)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	list := endpoints("a:2", "b", "c", "d!")
	list[1].State.SetUp(false)
	for name, p := range map[string]Picker{
		"wrr": NewWRR(rand.IntN), "p2c": NewP2C(nil), "hrw": NewHRW(), "leasttime": NewLeastTime(nil),
	} {
		p.Update(list)
		tried := new(Tried) // a request makes one only when it is tried again
		tried.Add(p.Pick(client, tried))
		if n := testing.AllocsPerRun(200, func() {
			p.Pick(client, nil)
			p.Pick(client, tried)
		}); n != 0 {
			t.Errorf("%s: %v allocations per pick", name, n)
		}
	}
}

func TestConcurrentUpdate(t *testing.T) {
	for name, p := range map[string]Picker{
		"wrr": NewWRR(rand.IntN), "p2c": NewP2C(nil), "hrw": NewHRW(), "leasttime": NewLeastTime(nil),
	} {
		t.Run(name, func(t *testing.T) {
			p.Update(endpoints("a", "b"))
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 500 {
						if p.Pick(client, nil) == nil {
							t.Error("no endpoint although one is always there")
							return
						}
					}
				})
			}
			for i := range 200 {
				p.Update(endpoints([]string{"a", "b", "c"}[:1+i%3]...))
			}
			wg.Wait()
		})
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 4, 100} {
		list := make([]*Endpoint, n)
		for i := range list {
			list[i] = &Endpoint{Key: fmt.Sprint("http://10.0.0.", i), Weight: 1, State: new(State)}
		}
		for _, p := range []Picker{NewWRR(nil), NewP2C(nil), NewHRW(), NewLeastTime(nil)} {
			p.Update(list)
			b.Run(fmt.Sprintf("%T/%d", p, n)[9:], func(b *testing.B) {
				for b.Loop() {
					p.Pick(client, nil)
				}
			})
		}
	}
}

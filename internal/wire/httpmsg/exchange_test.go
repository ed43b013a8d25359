package httpmsg_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	. "sluice/internal/wire/httpmsg"
)

func TestFinishOrder(t *testing.T) {
	var log []string
	say := func(s string) { log = append(log, s) }
	x := &Exchange{}
	x.Reset(nil)
	x.OnFinish(finishing(func(*Exchange) { say("outer") }))
	x.OnRelease(releasing(func() { say("memory") }))
	m := x.Mark()
	x.OnFinish(finishing(func(*Exchange) { say("attempt") }))
	x.OnRelease(releasing(func() { say("memory of the attempt") }))
	x.Rewind(&m)
	x.OnFinish(finishing(func(*Exchange) { say("inner") }))
	x.Res.Body = closing(func() { say("body") })
	x.AddFilter(&telling{say: say})
	x.Finish()
	if got, want := strings.Join(log, ", "), "attempt, body, filter, inner, outer, memory, memory of the attempt"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	x.Finish()
	if len(log) != 7 {
		t.Errorf("a second Finish did something: %q", log[7:])
	}
}

// A hook that panics does not keep the others from being run.
func TestFinishGoesOnBehindAPanic(t *testing.T) {
	var log []string
	x := &Exchange{}
	x.Reset(nil)
	x.OnRelease(releasing(func() { log = append(log, "memory") }))
	x.OnFinish(finishing(func(*Exchange) { log = append(log, "outer") }))
	x.OnFinish(finishing(func(*Exchange) { panic("inner") }))
	x.Res.Body = closing(func() { log = append(log, "body"); panic("body") })
	for range 3 {
		func() {
			defer func() { recover() }()
			x.Finish()
		}()
	}
	if got, want := strings.Join(log, ", "), "body, outer, memory"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

type closing func()

func (closing) Next() ([]byte, error) { return nil, errors.New("unused") }
func (closing) Ready() bool           { return true }
func (closing) Trailer() *Header      { return nil }
func (c closing) Close()              { c() }

type telling struct {
	quiet
	say func(string)
}

func (t *telling) Close() { t.say("filter") }

func TestHoldInterim(t *testing.T) {
	l := &loop{}
	x := l.begin("GET", "/", nil)
	x.Interim(103, nil)
	outer := x.HoldInterim()
	inner := x.HoldInterim()
	x.Interim(104, nil)
	inner()
	x.Interim(105, nil)
	m := x.Mark()
	x.HoldInterim()
	x.Rewind(&m)
	outer()
	x.Interim(106, nil)
	if got, want := strings.Join(l.log, ", "), "interim 103, interim 106"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	x.Reset(nil)
	if err := x.Interim(103, nil); err != nil {
		t.Error(err)
	}
}

func TestMarksNest(t *testing.T) {
	x := &Exchange{}
	x.Reset(nil)
	x.Req.Path = Text("/a")
	x.Req.Header.Add("A", "1")
	outer := x.Mark()
	x.Req.Path = Text("/b")
	x.Req.Header.Add("B", "2")
	inner := x.Mark()
	x.Req.Header.Del("A")
	x.Req.Header.Set("B", "3")
	x.Rewind(&inner)
	if got := show(&x.Req.Header); got != "A=1 B=2" || !x.Req.Path.Is("/b") {
		t.Errorf("inner: %s %s", x.Req.Path, got)
	}
	for range 2 {
		x.Req.Header.Add("C", "4")
		x.Rewind(&outer)
		if got := show(&x.Req.Header); got != "A=1" || !x.Req.Path.Is("/a") {
			t.Errorf("outer: %s %s", x.Req.Path, got)
		}
	}
}

func show(h *Header) string {
	var s []string
	for i := range h.Len() {
		s = append(s, fmt.Sprintf("%s=%s", h.At(i).Name, h.At(i).Value))
	}
	return strings.Join(s, " ")
}

func TestCancel(t *testing.T) {
	x := &Exchange{}
	x.Reset(nil)
	var mu sync.Mutex
	var got []error
	f := func(err error) { mu.Lock(); got = append(got, err); mu.Unlock() }
	x.OnCancel(&f)
	first := errors.New("first")
	var wg sync.WaitGroup
	wg.Go(func() { x.Cancel(first) })
	wg.Wait()
	x.Cancel(errors.New("second"))
	x.OnCancel(&f)
	if len(got) != 2 || got[0] != first || got[1] != first || x.Cancelled() != first {
		t.Errorf("got %v, cancelled %v", got, x.Cancelled())
	}
	x.OnCancel(nil)
	x.Reset(nil)
	if x.Cancelled() != nil {
		t.Error("the next exchange is cancelled from the start")
	}
}

// Memory of the exchange stays what it was when more is taken.
func TestScratch(t *testing.T) {
	x := &Exchange{}
	x.Reset(nil)
	var all [][]byte
	for i := range 100 {
		b := x.Scratch(i * 7)
		for j := range b {
			b[j] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		if len(b) != i*7 || bytes.Count(b, []byte{byte(i)}) != len(b) && i > 0 {
			t.Fatalf("piece %d was overwritten", i)
		}
		if cap(b) != len(b) {
			t.Fatalf("piece %d can grow into the next", i)
		}
	}
}

func TestSetPath(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b": "/a/b", "a": "/a", "": "/", "/a%2Fb": "/a%2Fb", "/a?b": "/a%3Fb", "/a#b": "/a%23b", "/a b": "/a%20b", "/a\r\nX: y": "/a%0D%0AX:%20y", "/\xc3\xa4": "/%C3%A4",
		"/a\\b": "/a%5Cb", "/{}|\"": "/{}|\"", "/\x7f": "/%7F",
	} {
		x := &Exchange{}
		x.Reset(nil)
		x.SetPath(Text(in))
		if got := x.Req.Path.String(); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestPoison(t *testing.T) {
	SetPoison(true)
	defer SetPoison(false)
	x := &Exchange{}
	x.Reset(nil)
	kept := View(x.Scratch(4))
	copy(kept, "name")
	clone := kept.Clone()
	x.Finish()
	x.Reset(nil)
	if kept.Is("name") || !clone.Is("name") {
		t.Errorf("kept %q, clone %q", kept, clone)
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget(10)
	if !b.Take(6) || b.Take(5) || !b.Take(4) || b.Take(1) || b.Used() != 10 {
		t.Errorf("used %d", b.Used())
	}
	b.Give(10)
	if b.Used() != 0 || b.Take(1<<63-1) {
		t.Errorf("used %d", b.Used())
	}
	var none *Budget
	if !none.Take(1 << 40) {
		t.Error("no budget is no limit")
	}
	none.Give(1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if b.Take(3) {
					if b.Used() > 10+8*3 {
						t.Error("more than the limit")
					}
					b.Give(3)
				}
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("used %d", b.Used())
	}
}

func TestHeader(t *testing.T) {
	var h Header
	h.Add("Accept", "a")
	h.Add("X-One", "1")
	h.Add("accept", "b")
	h.Add("x-one", "2")
	if show(&h) != "Accept=a X-One=1 accept=b x-one=2" || !h.Get(HdrAccept).Is("a") || !h.Lookup("X-ONE").Is("1") || h.Lookup("none") != nil {
		t.Errorf("got %s", show(&h))
	}
	if i := h.Index("x-One", 2); i != 3 {
		t.Errorf("index %d", i)
	}
	kept := h.Clone()
	h.Set("Accept", "c")
	h.Set("X-One", "3")
	h.Set("New", "4")
	if got := show(&h); got != "Accept=c X-One=3 New=4" {
		t.Errorf("got %s", got)
	}
	if got := show(&kept); got != "Accept=a X-One=1 accept=b x-one=2" {
		t.Errorf("the clone changed: %s", got)
	}
	h.SetID(HdrAccept, Text("d"))
	h.AddID(HdrVary, Text("e"))
	h.Del("new")
	h.DelID(HdrXRealIP)
	if got := show(&h); got != "Accept=d X-One=3 Vary=e" {
		t.Errorf("got %s", got)
	}
	h.Reset()
	if h.Len() != 0 || h.Has(HdrAccept) {
		t.Error("not empty")
	}
	s := SetOf(HdrTE, HdrUpgrade)
	if !s.Has(HdrTE) || s.Has(HdrHost) || s.Has(HdrOther) {
		t.Error("set")
	}
}

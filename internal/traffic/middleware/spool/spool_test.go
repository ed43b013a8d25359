package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// source is a body in pieces that ends with err.
type source struct {
	data    []byte
	step    int
	err     error
	trailer *httpmsg.Header
	stopped bool
}

func (s *source) Next() ([]byte, error) {
	if len(s.data) == 0 {
		return nil, s.err
	}
	p := s.data[:min(s.step, len(s.data))]
	s.data = s.data[len(p):]
	return bytes.Clone(p), nil
}
func (s *source) Ready() bool              { return false }
func (s *source) Trailer() *httpmsg.Header { return s.trailer }
func (s *source) Close()                   {}
func (s *source) Interrupt()               { s.stopped = true }

func drain(t *testing.T, b httpmsg.Body) []byte {
	t.Helper()
	var out []byte
	for b != nil {
		p, err := b.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p...)
	}
	return out
}

func TestRead(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		data := make([]byte, rnd.IntN(200_000))
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		limits := Limits{Memory: int64(1 + rnd.IntN(100_000)), Max: -1}
		if round%3 == 0 {
			limits.Max = int64(rnd.IntN(200_000))
		}
		length := int64(-1)
		if round%2 == 0 {
			length = int64(len(data))
		}
		b, whole, err := Read(&source{data: data, step: 1 + rnd.IntN(50_000), err: io.EOF}, length, limits)
		if err != nil {
			t.Fatal(err)
		}
		if want := limits.Max < 0 || int64(len(data)) <= limits.Max; whole != want {
			t.Fatalf("%d bytes, at most %d: whole is %v", len(data), limits.Max, whole)
		}
		if got := drain(t, b.Source()); !bytes.Equal(got, data) {
			t.Fatalf("round %d: %d bytes became %d", round, len(data), len(got))
		}
		if whole {
			b.Rewind()
			if got := drain(t, b); !bytes.Equal(got, data) || b.Size() != int64(len(data)) {
				t.Fatalf("round %d: the second reading gave %d bytes of %d", round, len(got), len(data))
			}
			if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("round %d: a reader gave %d bytes, %v", round, len(got), err)
			}
			b.Close()
			b.Rewind()
			if got := drain(t, b.Source()); !bytes.Equal(got, data) {
				t.Fatalf("round %d: after Close there were %d bytes", round, len(got))
			}
		}
		b.Finish(nil)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestForms(t *testing.T) {
	read := func(s *source, l Limits) *Body {
		t.Helper()
		s.step = 10
		b, _, err := Read(s, -1, l)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := read(&source{err: io.EOF}, Limits{Max: -1}); b.Source() != nil {
		t.Error("an empty body is something")
	}
	if b := read(&source{data: []byte("abc"), err: io.EOF}, Limits{Max: -1}); b.Bytes() == nil {
		t.Error("a short body is not in memory")
	}
	trailer := &httpmsg.Header{}
	trailer.Add("X-Sum", "1")
	b := read(&source{data: []byte("abc"), err: io.EOF, trailer: trailer}, Limits{Max: -1})
	if b.Bytes() != nil || b.Trailer() != nil {
		t.Error("a body with a trailer is only bytes, or shows it too early")
	}
	if drain(t, b.Source()); b.Trailer() == nil || b.Trailer().Lookup("X-Sum").String() != "1" {
		t.Error("the trailer is lost")
	}
	long := &source{data: make([]byte, 100), err: io.EOF}
	b = read(long, Limits{Max: 15})
	if b.Size() != 20 || !b.Ready() {
		t.Errorf("read %d bytes ahead", b.Size())
	}
	if b.Interrupt(); !long.stopped {
		t.Error("the source was not told")
	}
	// A limit of zero is one.
	if b := read(&source{data: []byte("a"), err: io.EOF}, Limits{Max: 0}); b.rest == nil {
		t.Error("one byte fits into none")
	}
}

func TestFaults(t *testing.T) {
	cut := fault.New(fault.BodyCut, "cut", nil)
	if b, _, err := Read(&source{data: []byte("abc"), step: 1, err: cut}, -1, Limits{Max: -1}); b != nil || !errors.Is(err, cut) {
		t.Errorf("got %v", err)
	}
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	_, _, err := Read(&source{data: []byte("abc"), step: 1, err: io.EOF}, -1, Limits{Memory: 1, Max: -1})
	if err == nil || fault.Status(err) != 500 {
		t.Errorf("got %v", err)
	}
}

// TestBudget holds that memory is accounted for and given back, and that the file begins where none is left.
func TestBudget(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	budget := httpmsg.NewBudget(100_000)
	data := bytes.Repeat([]byte("x"), 90_000)
	var open []*Body
	for range 5 {
		for _, length := range []int64{-1, int64(len(data))} {
			b, whole, err := Read(&source{data: data, step: 7000, err: io.EOF}, length, Limits{Memory: 1 << 20, Max: -1, Budget: budget})
			if err != nil || !whole {
				t.Fatal(whole, err)
			}
			if budget.Used() > 100_000 {
				t.Fatalf("%d bytes are taken", budget.Used())
			}
			if got := drain(t, b); !bytes.Equal(got, data) {
				t.Errorf("got %d bytes", len(got))
			}
			open = append(open, b)
		}
	}
	if budget.Used() < 50_000 || open[9].file == nil {
		t.Errorf("%d bytes are taken, the last file is %v", budget.Used(), open[9].file)
	}
	for _, b := range open {
		b.Finish(nil)
		b.Finish(nil)
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes are left", budget.Used())
	}
}

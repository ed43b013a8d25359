package middleware

import "testing"

type closer struct{ closed *bool }

func (c closer) Close() { *c.closed = true }

func TestStateOutlivesRounds(t *testing.T) {
	var s State
	made, closed := 0, false
	one := func() any { made++; return new(int) }
	s.Begin()
	first := s.Keep("a", one)
	s.Keep("b", func() any { return closer{&closed} })
	s.Sweep()
	s.Begin()
	if s.Keep("a", one) != first || made != 1 {
		t.Error("state was made anew")
	}
	s.Sweep()
	if !closed {
		t.Error("what nobody asked for was kept")
	}
	s.Begin()
	s.Sweep()
	if s.Keep("a", one) == first {
		t.Error("forgotten state came back")
	}
}

// A handler that is built inside of another one keeps its own keys, and the outer one goes on with its own.
func TestRecordsNest(t *testing.T) {
	var s State
	make := func() any { return new(int) }
	outer := s.Record()
	s.Keep("a", make)
	inner := s.Record()
	s.Keep("b", make)
	if got := inner(); len(got) != 1 || got[0] != "b" {
		t.Errorf("the inner record has %v", got)
	}
	s.Keep("c", make)
	if got := outer(); len(got) != 2 || got[0] != "a" || got[1] != "c" {
		t.Errorf("the outer record has %v", got)
	}
	s.Keep("d", make) // nobody records
}

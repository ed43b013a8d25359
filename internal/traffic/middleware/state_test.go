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

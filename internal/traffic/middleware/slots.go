package middleware

import (
	"runtime"
	"time"
)

// Slots bound how many requests are at the same work at the same time, over all middlewares of the process, where the work
// is what an attacker would make us do. Safe for concurrent use.
type Slots struct{ free chan struct{} }

// slotWait is how long a request waits for a slot at most.
const slotWait = 5 * time.Second

// NewSlots leaves half of the processors to other traffic.
func NewSlots() *Slots { return &Slots{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))} }

// SlotsOf returns the slots for a kind of work, which all middlewares with one State share.
func SlotsOf(env Env, work string) *Slots { return live(env, "slots "+work, NewSlots) }

// Take waits for a slot, and reports whether there was one in time. Who got one gives it back.
func (s *Slots) Take() bool {
	select {
	case s.free <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case s.free <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// Give gives a slot back.
func (s *Slots) Give() { <-s.free }

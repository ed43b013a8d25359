package watch

import (
	"sync/atomic"
	"time"
)

// Entry is one deadline and one peer check, embedded in a connection. The zero value is ready for Watch.Add; it must not be
// copied afterwards.
type Entry struct {
	deadline atomic.Int64 // on the clock of Watch.Now; 0 is none
	check    atomic.Int64 // when CheckPeer is due; 0 is off

	w          atomic.Pointer[Watch] // nil while not registered
	target     Target                // guarded by the shard's lock, as are prev and next
	prev, next *Entry
	shard      uint8
	inSoon     bool // guarded by Watch.soonMu
}

// Arm sets the deadline to d from now, in place of one that was armed. It reports whether it replaced a deadline that was
// still armed; false after a first Arm, a Disarm, or an expiry. d <= 0 is due at the next tick. On an entry that is not
// registered, or was removed meanwhile, it does nothing.
func (e *Entry) Arm(d time.Duration) bool {
	w := e.w.Load()
	if w == nil {
		return false
	}
	if d >= turn {
		// The tick added keeps the lag of the coarse clock from making the deadline early. Durations near the end of
		// time must not wrap around.
		old := e.deadline.Swap(w.Now() + int64(min(d, 1<<62)) + int64(Tick))
		if w.now.Load() == 0 {
			w.rouse()
		}
		return old != 0
	}
	old := e.deadline.Swap(w.exact() + int64(max(d, 0)))
	w.soonMu.Lock()
	if !e.inSoon {
		e.inSoon = true
		w.soon = append(w.soon, e)
	}
	w.soonMu.Unlock()
	if w.now.Load() == 0 {
		w.rouse()
	}
	return old != 0
}

// Disarm takes the deadline away. It reports whether one was armed: false, where Arm came before, means that it expired and
// Expire was called or is being called right now; a read or write that succeeded nevertheless came too late, and
// the past deadline that Expire sets may still appear on the connection.
func (e *Entry) Disarm() bool { return e.deadline.Swap(0) != 0 }

// Armed reports whether a deadline is set and has not expired.
func (e *Entry) Armed() bool { return e.deadline.Load() != 0 }

// StartChecks asks for CheckPeer about each second, for the first time when one second has passed. On an entry that is not
// registered it does nothing.
func (e *Entry) StartChecks() {
	w := e.w.Load()
	if w == nil {
		return
	}
	e.check.Store(w.Now() + int64(turn))
	if w.now.Load() == 0 {
		w.rouse()
	}
}

// StopChecks ends the checks. One that is running at this moment may still finish.
func (e *Entry) StopChecks() { e.check.Store(0) }

func (w *Watch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (e *Entry) link(head *Entry) {
	e.prev, e.next = head.prev, head
	head.prev.next = e
	head.prev = e
}

func (e *Entry) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

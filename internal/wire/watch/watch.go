// Package watch holds the deadlines of many connections with one goroutine and without a system call per request.
//
// A connection embeds an Entry, is added once and from then on arms and disarms its deadline by an atomic store. The goroutine
// of the Watch looks at every entry about once a second, at those that are due sooner exactly when they are due, and calls the
// target's Expire, which usually sets a past deadline on the net.Conn: whoever is blocked in a read or write there comes
// back with os.ErrDeadlineExceeded.
//
// Time is coarse: a deadline never fires before its duration has passed on the coarse clock and at most two ticks of 20 ms
// later on a machine that has time to run us. That is the trade: net.Conn.SetReadDeadline is exact and costs a timer
// update under a lock for every phase of every request; this costs one atomic store.
package watch

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Tick is the resolution of deadlines and of Now.
	Tick = 20 * time.Millisecond

	slots = 50           // ticks in a turn; each entry is looked at once in a turn
	turn  = slots * Tick // one second, also the period of peer checks

	shards = 8
)

// Target is told what happened to its entry. Both methods run on the goroutine of the Watch while it holds a lock: they must
// return at once, and must not call Add, Remove or Stop. They may arm and disarm the entry.
type Target interface {
	// Expire is called once for each arming whose deadline passed.
	Expire()
	// CheckPeer is called about once a second between StartChecks and StopChecks.
	CheckPeer()
}

// Watch is a set of entries and the goroutine that looks at them. Create it with New. All methods may be called from any
// goroutine.
type Watch struct {
	// now is the coarse clock in nanoseconds since start, never 0 while the goroutine ticks and 0 while it sleeps. Arm reads
	// it after it stored a deadline; the goroutine stores 0 and then looks at every entry once more before it sleeps. So one
	// of the two always sees the other.
	now   atomic.Int64
	start time.Time

	shards [shards]shard
	next   atomic.Uint32 // round robin over shards
	count  atomic.Int64  // entries registered

	soonMu sync.Mutex
	soon   []*Entry // armed for less than a turn: to be moved to the slot of their deadline

	cursor int64 // number of the last tick that was handled; goroutine only

	wake    chan struct{}
	quit    chan struct{}
	running sync.WaitGroup
	startMu sync.Mutex
}

type shard struct {
	mu    sync.Mutex
	slots [slots]Entry // list heads
	_     [64]byte     // keep the locks of neighbours on different cache lines
}

// New returns an empty Watch. It does nothing until Start.
func New() *Watch {
	w := &Watch{start: time.Now(), wake: make(chan struct{}, 1)}
	for i := range w.shards {
		s := &w.shards[i]
		for j := range s.slots {
			head := &s.slots[j]
			head.prev, head.next = head, head
		}
	}
	return w
}

// Now returns coarse monotonic nanoseconds since New, plus one turn so that it is never near 0. It lags behind the real clock
// by at most a tick while the Watch runs.
func (w *Watch) Now() int64 {
	if now := w.now.Load(); now != 0 {
		return now
	}
	return w.exact()
}

func (w *Watch) exact() int64 { return int64(time.Since(w.start)) + int64(turn) }

// Start starts the goroutine. Calling it on a running Watch does nothing.
func (w *Watch) Start() {
	w.startMu.Lock()
	defer w.startMu.Unlock()
	if w.quit != nil {
		return
	}
	w.quit = make(chan struct{})
	quit := w.quit
	w.running.Go(func() { w.run(quit) })
}

// Stop ends the goroutine and waits for it. Entries stay registered; no Expire comes until the next Start.
func (w *Watch) Stop() {
	w.startMu.Lock()
	defer w.startMu.Unlock()
	if w.quit == nil {
		return
	}
	close(w.quit)
	w.quit = nil
	w.running.Wait()
}

// Add registers e for target. An entry belongs to at most one Watch at a time. It starts disarmed.
func (w *Watch) Add(e *Entry, target Target) {
	if e.w.Load() != nil {
		panic("watch: entry added twice")
	}
	e.deadline.Store(0)
	e.check.Store(0)
	n := w.next.Add(1)
	e.shard = uint8(n % shards)
	s := &w.shards[e.shard]
	s.mu.Lock()
	e.target = target
	// Optimization: spread new entries over the turn, so that thousands accepted in one tick are not looked at in one tick.
	e.link(&s.slots[(n/shards)%slots])
	s.mu.Unlock()
	w.count.Add(1)
	e.w.Store(w)
}

// Remove takes e out. When it has returned, no method of the target is running or will be called. An Arm at the same time or
// afterwards does nothing, as long as e is not added again. Removing an entry that is not registered, or that another goroutine
// is removing, does nothing.
func (w *Watch) Remove(e *Entry) {
	if !e.w.CompareAndSwap(w, nil) {
		return
	}
	w.soonMu.Lock()
	if e.inSoon {
		e.inSoon = false
		for i, o := range w.soon {
			if o == e {
				last := len(w.soon) - 1
				w.soon[i], w.soon[last] = w.soon[last], nil
				w.soon = w.soon[:last]
				break
			}
		}
	}
	w.soonMu.Unlock()
	s := &w.shards[e.shard]
	s.mu.Lock()
	e.unlink()
	e.target = nil
	s.mu.Unlock()
	w.count.Add(-1)
}

// Len returns the number of entries registered.
func (w *Watch) Len() int { return int(w.count.Load()) }

func (w *Watch) run(quit chan struct{}) {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	defer w.now.Store(0)
	w.now.Store(w.exact())
	w.cursor = w.now.Load() / int64(Tick)
	idle := 0 // ticks in a row that met nothing armed
	for {
		select {
		case <-quit:
			return
		case <-w.wake:
			// Only there to end a sleep; one that arrives while we tick is late news.
			continue
		case <-ticker.C:
		}
		now := w.exact()
		w.now.Store(now)
		if w.advance(now) {
			idle = 0
			continue
		}
		if idle++; idle < slots {
			continue
		}
		idle = 0
		w.now.Store(0)
		if w.anyArmed() {
			w.now.Store(w.exact())
			continue
		}
		ticker.Stop()
		select {
		case <-quit:
			return
		case <-w.wake:
		}
		w.now.Store(w.exact())
		w.cursor = w.now.Load() / int64(Tick)
		ticker.Reset(Tick)
	}
}

// advance handles all ticks up to now and reports whether it met an armed entry.
func (w *Watch) advance(now int64) (armed bool) {
	armed = w.placeSoon(now)
	to := now / int64(Tick)
	from := max(w.cursor+1, to-slots+1)
	for t := from; t <= to; t++ {
		for i := range w.shards {
			if w.visit(&w.shards[i], int(t%slots), to, now) {
				armed = true
			}
		}
	}
	w.cursor = to
	return armed
}

// placeSoon moves entries with a short deadline into the slot of that deadline.
func (w *Watch) placeSoon(now int64) bool {
	w.soonMu.Lock()
	defer w.soonMu.Unlock()
	for i, e := range w.soon {
		e.inSoon = false
		w.soon[i] = nil
		s := &w.shards[e.shard]
		s.mu.Lock()
		// Arm and Remove may have met: then e is in this list and in no slot.
		if dl := e.deadline.Load(); dl != 0 && e.prev != nil {
			// A deadline that has passed already goes into the first slot that advance visits now.
			tick := min(max(ceilTick(dl), w.cursor+1), w.cursor+slots)
			e.unlink()
			e.link(&s.slots[tick%slots])
		}
		s.mu.Unlock()
	}
	met := len(w.soon) > 0
	w.soon = w.soon[:0]
	return met
}

func ceilTick(ns int64) int64 { return (ns + int64(Tick) - 1) / int64(Tick) }

// visit looks at the entries of one slot. last is the newest tick that this round handles.
func (w *Watch) visit(s *shard, slot int, last, now int64) (armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := &s.slots[slot]
	for e := head.next; e != head; {
		next := e.next
		if dl := e.deadline.Load(); dl != 0 {
			armed = true
			if dl <= now {
				if e.deadline.CompareAndSwap(dl, 0) {
					e.target.Expire()
				}
			} else if dl < now+int64(turn) {
				// Due before the next regular look: move it to the slot of its own tick, which lies behind this round.
				if tick := max(ceilTick(dl), last+1); int(tick%slots) != slot {
					e.unlink()
					e.link(&s.slots[tick%slots])
				}
			}
		}
		if at := e.check.Load(); at != 0 {
			armed = true
			if at <= now && e.check.CompareAndSwap(at, now+int64(turn-Tick)) {
				e.target.CheckPeer()
			}
		}
		e = next
	}
	return armed
}

func (w *Watch) anyArmed() bool {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for j := range s.slots {
			head := &s.slots[j]
			for e := head.next; e != head; e = e.next {
				if e.deadline.Load() != 0 || e.check.Load() != 0 {
					s.mu.Unlock()
					return true
				}
			}
		}
		s.mu.Unlock()
	}
	return false
}

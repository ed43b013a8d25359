package http2

import "sync"

// event wakes one goroutine. A wake that comes before the wait is kept, several count as one: who is woken looks again at what
// it waits for. It does what a channel with room for one does, but belongs to nothing that a pooled value must not be tied to.
type event struct {
	mu   sync.Mutex
	cond sync.Cond
	set  bool
}

func (e *event) init() { e.cond.L = &e.mu }

func (e *event) wake() {
	e.mu.Lock()
	if !e.set {
		e.set = true
		e.cond.Signal()
	}
	e.mu.Unlock()
}

func (e *event) wait() {
	e.mu.Lock()
	for !e.set {
		e.cond.Wait()
	}
	e.set = false
	e.mu.Unlock()
}

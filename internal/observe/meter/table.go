package meter

import (
	"sync"
	"sync/atomic"
	"time"
)

// Table holds the series of one kind. Its methods are safe for concurrent use.
type Table[K comparable, V any] struct {
	limit int
	fill  func(*V) // makes a new element ready; may be nil

	mu     sync.RWMutex
	series map[K]*element[V]
}

type element[V any] struct {
	value V
	// retired is set when its subject has gone; it goes with the next Each.
	retired bool
}

// at returns the series of key, making it where there is room, else that of other.
func (t *Table[K, V]) at(key, other K) *V {
	t.mu.RLock()
	e := t.series[key]
	t.mu.RUnlock()
	if e != nil {
		return &e.value
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e = t.series[key]; e == nil && len(t.series) >= t.limit {
		key = other // which may exceed the limit by a few
		e = t.series[key]
	}
	if e == nil {
		if t.series == nil {
			t.series = map[K]*element[V]{}
		}
		e = &element[V]{}
		if t.fill != nil {
			t.fill(&e.value)
		}
		t.series[key] = e
	}
	e.retired = false
	return &e.value
}

// Each calls f with all series, those that have been retired for the last time.
func (t *Table[K, V]) Each(f func(key K, value *V)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.series {
		f(k, &e.value)
		if e.retired {
			delete(t.series, k)
		}
	}
}

// Peek calls f with all series and changes nothing.
func (t *Table[K, V]) Peek(f func(key K, value *V)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for k, e := range t.series {
		f(k, &e.value)
	}
}

// Len returns the number of series.
func (t *Table[K, V]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.series)
}

// retire marks the series whose subject has gone.
func (t *Table[K, V]) retire(gone func(K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.series {
		e.retired = gone(k)
	}
}

// Histogram counts durations by their size. It is safe for concurrent use.
type Histogram struct {
	bounds  []time.Duration
	buckets []atomic.Uint64 // one more than bounds
	sum     atomic.Int64
}

func (h *Histogram) init(seconds []float64) {
	h.bounds = make([]time.Duration, len(seconds))
	for i, s := range seconds {
		h.bounds[i] = time.Duration(s * float64(time.Second))
	}
	h.buckets = make([]atomic.Uint64, len(seconds)+1)
}

// Observe adds one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Read returns how many durations there were, their sum, and how many were at most as long as each bound, in the order of
// the bounds.
func (h *Histogram) Read() (count uint64, sum time.Duration, upTo []uint64) {
	upTo = make([]uint64, len(h.bounds))
	for i := range h.buckets {
		count += h.buckets[i].Load()
		if i < len(upTo) {
			upTo[i] = count
		}
	}
	return count, time.Duration(h.sum.Load()), upTo
}

// Bounds returns the upper bounds of the buckets.
func (h *Histogram) Bounds() []time.Duration { return h.bounds }

package httpmsg

import "sync/atomic"

// Budget is the memory that buffers beyond the pooled sizes may take together: large heads, buffered bodies, caches. Whoever
// cannot get its share gives up at once (431, 413 or 503) and never waits. A nil Budget has no limit. All methods are safe
// for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Take takes n bytes, or none and reports false if fewer are left. n must not be negative.
func (b *Budget) Take(n int64) bool {
	if b == nil {
		return true
	}
	// Adding first and looking afterwards may refuse somebody who would just have fitted beside a refusal under way; it never
	// grants more than the limit.
	if used := b.used.Add(n); used > b.limit || used < 0 {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give returns n bytes that were taken.
func (b *Budget) Give(n int64) {
	if b == nil {
		return
	}
	if b.used.Add(-n) < 0 {
		panic("httpmsg: more memory given back than taken")
	}
}

// Used returns what is taken now.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

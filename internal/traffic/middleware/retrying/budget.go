package retrying

import (
	"sync/atomic"
	"time"
)

const (
	share     = 10          // requests that pay for one retry
	saveMax   = 100 * share // of retries saved up
	saveStart = 10 * share
	perSecond = share // one retry a second is allowed however few requests there are
)

// budget bounds second and later retries to a tenth of the requests, and to one a second where there are few. It counts in
// requests: each one adds one, a retry takes share. It is safe for concurrent use.
type budget struct {
	saved  atomic.Int64
	start  time.Time
	filled atomic.Int64 // seconds since start that have been added
}

func newBudget() *budget {
	b := &budget{start: time.Now()}
	b.saved.Store(saveStart)
	return b
}

// asked adds what a request pays.
func (b *budget) asked() {
	// Full is the usual state, and costs one load.
	if b.saved.Load() < saveMax {
		b.saved.Add(1)
	}
}

// take reports whether a retry is allowed, and counts it.
func (b *budget) take() bool {
	if now, last := int64(time.Since(b.start)/time.Second), b.filled.Load(); now > last && b.filled.CompareAndSwap(last, now) {
		b.add((now - last) * perSecond)
	}
	for {
		n := b.saved.Load()
		if n < share {
			return false
		}
		if b.saved.CompareAndSwap(n, n-share) {
			return true
		}
	}
}

func (b *budget) add(n int64) {
	for {
		old := b.saved.Load()
		if b.saved.CompareAndSwap(old, min(old+n, saveMax)) {
			return
		}
	}
}

package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards     = 64
	perShard   = 1024
	maxSources = shards * perShard
)

// store keeps the buckets of at most maxSources sources in a fixed amount of memory, whatever clients send. A bucket that is
// full again is as good as none and makes room; where there is no full one, that which will be full first is forgotten.
// Safe for concurrent use.
type store struct {
	rate   rate
	born   time.Time
	seeds  [2]maphash.Seed
	shards [shards]shard
}

// key stands for a source: two hashes with secret seeds, so that keys cannot be made to meet.
type key [2]uint64

type shard struct {
	mu    sync.Mutex
	place map[key]uint32
	all   []entry
	// heap has the places of all, the one with the least due first. due may be less than full.ns, never more: it is
	// brought up to date only where it matters.
	heap []uint32
	_    [40]byte // keeps locks of two shards off one cache line
}

type entry struct {
	key  key
	full instant
	due  int64
}

func newStore(r rate) *store {
	return &store{rate: r, born: time.Now(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// take asks for a token for a source.
func (s *store) take(source []byte) (wait time.Duration, ok bool) {
	k := key{maphash.Bytes(s.seeds[0], source), maphash.Bytes(s.seeds[1], source)}
	h := &s.shards[k[0]%shards]
	h.mu.Lock()
	defer h.mu.Unlock()
	// Under the lock, so that time does not run backwards for a source.
	now := int64(time.Since(s.born))
	at, known := h.place[k]
	if known {
		e := &h.all[at]
		e.full, wait, ok = s.rate.take(e.full, now)
		return wait, ok
	}
	full, wait, ok := s.rate.take(instant{}, now)
	if ok {
		h.insert(entry{key: k, full: full, due: full.ns}, now)
	}
	return wait, ok
}

// insert adds an entry in the place of one that is over, in a new one, or in that of the one that will be over first.
func (h *shard) insert(e entry, now int64) {
	if h.place == nil {
		h.place = map[key]uint32{}
	}
	for len(h.heap) > 0 {
		first := &h.all[h.heap[0]]
		if first.due < first.full.ns {
			first.due = first.full.ns
			h.sink(0)
			continue
		}
		if first.full.ns < now || len(h.all) == perShard {
			delete(h.place, first.key)
			*first = e
			h.place[e.key] = h.heap[0]
			h.sink(0)
			return
		}
		break
	}
	at := uint32(len(h.all))
	h.all = append(h.all, e)
	h.place[e.key] = at
	h.heap = append(h.heap, at)
	h.rise(len(h.heap) - 1)
}

func (h *shard) less(i, j int) bool { return h.all[h.heap[i]].due < h.all[h.heap[j]].due }

func (h *shard) rise(i int) {
	for i > 0 {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		h.heap[i], h.heap[up] = h.heap[up], h.heap[i]
		i = up
	}
}

func (h *shard) sink(i int) {
	for {
		down := 2*i + 1
		if down >= len(h.heap) {
			return
		}
		if down+1 < len(h.heap) && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			return
		}
		h.heap[i], h.heap[down] = h.heap[down], h.heap[i]
		i = down
	}
}

// sources is how many there are.
func (s *store) sources() int {
	n := 0
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		n += len(h.all)
		h.mu.Unlock()
	}
	return n
}

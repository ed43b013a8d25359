package httpcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"sluice/internal/wire/httpmsg"
)

const (
	// maxSpecs is how many different Vary fields of one target are remembered.
	maxSpecs = 4
	// targetCost is what a target takes besides its text, in bytes.
	targetCost = 200
	// indexShare of the memory is for targets, the rest for responses.
	indexShare = 8
	// epochs are counters that invalidations advance, each for a share of all targets.
	epochs = 1024
)

// store keeps responses by key, within a bounded amount of memory, and what it has to drop from there on disk where it may.
// Above the keys stand the targets: a target that is forgotten takes all its responses with it, since their keys hold its
// number and the next one has another. Safe for concurrent use.
type store struct {
	secret  [32]byte
	targets *otter.Cache[key, *target]
	memory  *otter.Cache[key, *entry]
	disk    *ring // nil without
	budget  *httpmsg.Budget
	last    atomic.Uint64 // number of the last target
	epochs  [epochs]atomic.Uint32
	closed  atomic.Bool
}

// target is something that requests ask for: a scheme, host, path and query.
type target struct {
	number uint64
	text   string
	// specs are the Vary fields of its responses, the latest first.
	specs atomic.Pointer[[][]string]
}

func newStore(maxBytes int64, disk *ring, budget *httpmsg.Budget) *store {
	s := &store{disk: disk, budget: budget}
	rand.Read(s.secret[:]) // never fails: it ends the process instead
	s.last.Store(binary.BigEndian.Uint64(s.secret[:]))
	index := max(maxBytes/indexShare, 1)
	s.targets = otter.Must(&otter.Options[key, *target]{MaximumWeight: uint64(index), Weigher: func(_ key, t *target) uint32 {
		return clamped(int64(targetCost + len(t.text)))
	}})
	s.memory = otter.Must(&otter.Options[key, *entry]{MaximumWeight: uint64(max(maxBytes-index, 1)),
		Weigher:    func(_ key, e *entry) uint32 { return clamped(e.size()) },
		OnDeletion: s.dropped,
	})
	return s
}

func clamped(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// dropped is told what the memory does not hold any more. It runs on a goroutine of the memory's.
func (s *store) dropped(e otter.DeletionEvent[key, *entry]) {
	if e.WasEvicted() && s.disk != nil && !s.closed.Load() {
		s.disk.put(e.Key, e.Value)
	}
	e.Value.release()
}

// aim is a target as a request found it.
type aim struct {
	key    key
	text   []byte // good as long as the request
	target *target
	epoch  uint32
}

// aim finds the target with a text.
func (s *store) aim(text []byte) aim {
	h := hashings.Get().(*hashing)
	h.buf = append(h.buf, s.secret[:]...)
	h.add(text)
	a := aim{key: h.key(), text: text}
	hashings.Put(h)
	// The epoch first: an invalidation in between is then noticed.
	a.epoch = s.epoch(a.key).Load()
	a.target, _ = s.targets.GetIfPresent(a.key)
	return a
}

func (s *store) epoch(k key) *atomic.Uint32 { return &s.epochs[binary.BigEndian.Uint16(k[:])%epochs] }

// get returns the response under a key, nil if there is none.
func (s *store) get(k key) *entry {
	if e, ok := s.memory.GetIfPresent(k); ok {
		return e
	}
	if s.disk == nil {
		return nil
	}
	e := s.disk.get(k)
	if e != nil && e.take(s.budget, e.size()) {
		s.set(k, e)
	}
	return e
}

// set puts an entry that has taken its part of the budget into memory.
func (s *store) set(k key, e *entry) {
	s.memory.Set(k, e)
	if s.closed.Load() {
		s.memory.InvalidateAll() // it was closed meanwhile, and nobody would give the memory back
	}
}

// claim returns the target of an aim, made if need be, and what a response of it with a Vary is kept by: that Vary, and what
// earlier responses had in theirs, since many servers name a field only where it made a difference. The target is nil if it
// was invalidated since the aim was taken: what was asked for before is out of date then.
func (s *store) claim(a *aim, vary []string) (*target, []string) {
	if s.epoch(a.key).Load() != a.epoch {
		return nil, nil
	}
	t := a.target
	if t == nil {
		t = &target{number: s.last.Add(1), text: string(a.text)}
		t.specs.Store(&[][]string{vary})
		t, _ = s.targets.SetIfAbsent(a.key, t)
	} else if now, ok := s.targets.GetIfPresent(a.key); !ok {
		t, _ = s.targets.SetIfAbsent(a.key, t) // it was pushed out of memory
	} else {
		t = now
	}
	vary = t.admit(vary)
	if s.epoch(a.key).Load() != a.epoch {
		s.targets.Invalidate(a.key)
		return nil, nil
	}
	return t, vary
}

// admit puts a Vary among the target's, to be tried first, together with the one before it. It returns what was put there.
func (t *target) admit(vary []string) []string {
	for {
		old := t.specs.Load()
		if all := union(vary, (*old)[0]); len(all) <= maxVarying {
			vary = all
		}
		if slices.Equal((*old)[0], vary) {
			return vary
		}
		next := [][]string{vary}
		for _, v := range *old {
			if !slices.Equal(v, vary) && len(next) < maxSpecs {
				next = append(next, v)
			}
		}
		if t.specs.CompareAndSwap(old, &next) {
			return vary
		}
	}
}

// union returns the names of both lists, in order.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// put keeps a response under a key, and reports whether there was memory for it.
func (s *store) put(k key, e *entry) bool {
	if s.closed.Load() || !e.take(s.budget, e.size()) {
		return false
	}
	if s.disk != nil {
		s.disk.forget(k)
	}
	s.set(k, e)
	return true
}

// drop forgets the response under a key.
func (s *store) drop(k key) {
	s.memory.Invalidate(k)
	if s.disk != nil {
		s.disk.forget(k)
	}
}

// invalidate forgets all responses of a target, and reports whether it was known.
func (s *store) invalidate(text []byte) bool {
	a := s.aim(text)
	s.epoch(a.key).Add(1)
	_, known := s.targets.Invalidate(a.key)
	return known
}

// invalidateBelow forgets all responses of the targets whose text begins with prefix, and returns how many targets these
// were.
func (s *store) invalidateBelow(prefix string) int {
	for i := range s.epochs {
		s.epochs[i].Add(1)
	}
	n := 0
	for k, t := range s.targets.All() {
		if strings.HasPrefix(t.text, prefix) {
			s.targets.Invalidate(k)
			n++
		}
	}
	return n
}

// close gives everything back.
func (s *store) close() {
	s.closed.Store(true)
	s.targets.InvalidateAll()
	s.memory.InvalidateAll()
	if s.disk != nil {
		s.disk.close()
	}
}

var _ [sha256.Size - len(key{})]struct{} // a key is a piece of the hash

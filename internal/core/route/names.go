package route

import (
	"hash/maphash"
	"slices"
)

// names is a hash table from names to values that can be changed by copying only the part that changes: the table is cut
// into many small shards, and a changed table shares all shards but those it writes to. It also saves the second hashing
// and the allocation-free tricks that a map of shards would need. The zero names is empty.
type names[V any] struct {
	seed   maphash.Seed
	shards [][]nameSlot[V] // the number of shards is a power of two
	n      int
}

type nameSlot[V any] struct {
	hash  uint64
	name  string
	value V
}

// slotsPerShard is the mean number of names in a shard after a build; it may double before the table is built anew.
const slotsPerShard = 4

// find returns the slot of name, or nil.
func (t *names[V]) find(name string) *nameSlot[V] {
	if t.n == 0 {
		return nil
	}
	h := maphash.String(t.seed, name)
	shard := t.shards[h&uint64(len(t.shards)-1)]
	for i := range shard {
		if shard[i].hash == h && shard[i].name == name {
			return &shard[i]
		}
	}
	return nil
}

// nameEdit changes a copy of a table. Until done, slots that it returns may be written to.
type nameEdit[V any] struct {
	table names[V]
	// owned tells which shards are no longer those of the original; nil means all.
	owned []bool
}

func (t *names[V]) edit() *nameEdit[V] {
	e := &nameEdit[V]{table: *t}
	e.table.shards = slices.Clone(t.shards)
	e.owned = make([]bool, len(t.shards))
	return e
}

// reserve prepares an empty table for n names.
func (e *nameEdit[V]) reserve(n int) {
	if e.table.n == 0 && n > 0 {
		e.grow(n)
	}
}

// grow spreads all names over shards for n names.
func (e *nameEdit[V]) grow(n int) {
	size := 1
	for size*slotsPerShard < n {
		size *= 2
	}
	if e.table.n == 0 {
		e.table.seed = maphash.MakeSeed()
	}
	old := e.table.shards
	e.table.shards = make([][]nameSlot[V], size)
	e.owned = nil
	for _, shard := range old {
		for _, s := range shard {
			at := &e.table.shards[s.hash&uint64(size-1)]
			*at = append(*at, s)
		}
	}
}

// slot returns the slot of name for writing. A missing one is made if create is set, else the result is nil. The value of a
// slot that stood in the original table shares its memory with it.
func (e *nameEdit[V]) slot(name string, create bool) *nameSlot[V] {
	if create && e.table.n >= len(e.table.shards)*slotsPerShard*2 {
		e.grow(2 * max(e.table.n, slotsPerShard))
	}
	if len(e.table.shards) == 0 {
		return nil
	}
	h := maphash.String(e.table.seed, name)
	shard := e.own(h)
	for i := range *shard {
		if s := &(*shard)[i]; s.hash == h && s.name == name {
			return s
		}
	}
	if !create {
		return nil
	}
	*shard = append(*shard, nameSlot[V]{hash: h, name: name})
	e.table.n++
	return &(*shard)[len(*shard)-1]
}

// remove drops a name.
func (e *nameEdit[V]) remove(name string) {
	if len(e.table.shards) == 0 {
		return
	}
	h := maphash.String(e.table.seed, name)
	shard := e.own(h)
	if i := slices.IndexFunc(*shard, func(s nameSlot[V]) bool { return s.hash == h && s.name == name }); i >= 0 {
		*shard = slices.Delete(*shard, i, i+1)
		e.table.n--
	}
}

// own returns the shard of a hash, copied if it is still the original's.
func (e *nameEdit[V]) own(h uint64) *[]nameSlot[V] {
	i := h & uint64(len(e.table.shards)-1)
	if e.owned != nil && !e.owned[i] {
		e.table.shards[i] = slices.Clone(e.table.shards[i])
		e.owned[i] = true
	}
	return &e.table.shards[i]
}

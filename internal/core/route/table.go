package route

import (
	"slices"

	"sluice/internal/core/rule"
)

// Entry is a router's part in a table.
type Entry struct {
	// Rule must not be nil. An entry of the next table is the same entry only if it has the same pointer here.
	Rule *rule.Rule
	// Priority: the higher one wins.
	Priority int
	// Tie decides between equal priorities: the smaller text wins. No two entries of a table should have both in common;
	// if they have, one of them wins, and which is not said.
	Tie string
}

func (a *Entry) compare(b *Entry) int {
	switch {
	case a.Priority > b.Priority:
		return -1
	case a.Priority < b.Priority:
		return 1
	case a.Tie < b.Tie:
		return -1
	case a.Tie > b.Tie:
		return 1
	}
	return 0
}

// table is the index of one layer.
type table struct {
	// sorted are all entries in order of precedence.
	sorted []placed
	// index maps a slot to the position of its entry in the list that the table was compiled from; -1 is a free slot.
	index []int32

	// hosts and wilds are the places of exact names and of what follows a wildcard; every subject also visits common.
	hosts, wilds names[place]
	common       place
}

type placed struct {
	Entry
	slot int32
	at   int32
}

// compile builds the index of entries, from that of prev (or nil) if most of it stays.
func compile(prev *table, entries []Entry) *table {
	t := &table{sorted: make([]placed, len(entries))}
	for i, e := range entries {
		t.sorted[i] = placed{Entry: e, at: int32(i)}
	}
	byPrecedence := func(a, b placed) int { return a.compare(&b.Entry) }
	if !slices.IsSortedFunc(t.sorted, byPrecedence) {
		slices.SortStableFunc(t.sorted, byPrecedence)
	}
	var gone []placed
	var fresh []int
	if prev != nil {
		gone, fresh = t.diff(prev)
	}
	if prev == nil || len(gone)+len(fresh) > len(entries)/2 {
		t.build()
	} else {
		t.change(prev, gone, fresh)
	}
	return t
}

// diff finds out which entries of prev are gone and which of t (by position in sorted) are new, and gives the others their
// slots. Both lists are in the same order, so one walk does it.
func (t *table) diff(prev *table) (gone []placed, fresh []int) {
	old := prev.sorted
	for i := range t.sorted {
		s := &t.sorted[i]
		for len(old) > 0 && old[0].Entry != s.Entry && old[0].compare(&s.Entry) <= 0 {
			gone = append(gone, old[0])
			old = old[1:]
		}
		if len(old) > 0 && old[0].Entry == s.Entry {
			s.slot = old[0].slot
			old = old[1:]
		} else {
			fresh = append(fresh, i)
		}
	}
	return append(gone, old...), fresh
}

// build makes the whole index.
func (t *table) build() {
	t.index = make([]int32, len(t.sorted))
	keys := make([][]key, len(t.sorted))
	var exact, wild int
	for i := range t.sorted {
		keys[i] = keysOf(t.sorted[i].Rule.Root, false)
		for _, k := range keys[i] {
			switch {
			case k.host == "":
			case k.wild:
				wild++
			default:
				exact++
			}
		}
	}
	w := t.writer(&table{})
	w.hosts.reserve(exact)
	w.wilds.reserve(wild)
	for i := range t.sorted {
		s := &t.sorted[i]
		s.slot = int32(i)
		t.index[i] = s.at
		w.insert(s, keys[i])
	}
	w.done()
}

// change makes the index from prev's.
func (t *table) change(prev *table, gone []placed, fresh []int) {
	w := t.writer(prev)
	t.index = make([]int32, len(prev.index), len(prev.index)+len(fresh))
	for i := range t.index {
		t.index[i] = -1
	}
	for _, g := range gone {
		w.remove(&g, keysOf(g.Rule.Root, false))
	}
	isFresh := make(map[int]bool, len(fresh))
	for _, i := range fresh {
		isFresh[i] = true
	}
	for i := range t.sorted {
		if len(fresh) == 0 || !isFresh[i] {
			t.index[t.sorted[i].slot] = t.sorted[i].at
		}
	}
	free := 0
	for _, i := range fresh {
		for free < len(t.index) && t.index[free] >= 0 {
			free++
		}
		if free == len(t.index) {
			t.index = append(t.index, -1)
		}
		s := &t.sorted[i]
		s.slot = int32(free)
		t.index[free] = s.at
		w.insert(s, keysOf(s.Rule.Root, false))
	}
	w.done()
}

// writer changes a copy of the index of a table.
type writer struct {
	t            *table
	edit         *edit
	hosts, wilds *nameEdit[place]
	common       place
}

func (t *table) writer(from *table) *writer {
	return &writer{t: t, edit: &edit{}, hosts: from.hosts.edit(), wilds: from.wilds.edit(), common: from.common}
}

func (w *writer) done() {
	w.t.hosts, w.t.wilds, w.t.common = w.hosts.table, w.wilds.table, w.common
}

func (w *writer) names(k key) *nameEdit[place] {
	if k.wild {
		return w.wilds
	}
	return w.hosts
}

func (w *writer) insert(s *placed, keys []key) {
	for _, k := range keys {
		p := &w.common
		if k.host != "" {
			p = &w.names(k).slot(k.host, true).value
		}
		p.insert(candidate{
			priority: s.Priority, tie: s.Tie, slot: s.slot, mode: k.mode, path: k.path, rest: k.rest(s.Rule.Root), rule: s.Rule.Root,
		}, w.edit)
	}
}

func (w *writer) remove(s *placed, keys []key) {
	for _, k := range keys {
		if k.host == "" {
			w.common.remove(s.slot, k, w.edit)
			continue
		}
		n := w.names(k)
		if slot := n.slot(k.host, false); slot != nil {
			if slot.value.remove(s.slot, k, w.edit); slot.value.n == 0 {
				n.remove(k.host)
			}
		}
	}
}

// lookup returns the position of the entry that wins.
func (t *table) lookup(v *view) (int, bool) {
	var best *candidate
	if v.host != "" {
		best = t.named(v, v.host, best)
	}
	if v.cname != "" {
		best = t.named(v, v.cname, best)
	}
	best = v.search(&t.common, best)
	if best == nil {
		return 0, false
	}
	return int(t.index[best.slot]), true
}

func (t *table) named(v *view, name string, best *candidate) *candidate {
	if s := t.hosts.find(name); s != nil {
		best = v.search(&s.value, best)
	}
	if t.wilds.n > 0 {
		if after, ok := afterLabel(name); ok {
			if s := t.wilds.find(after); s != nil {
				best = v.search(&s.value, best)
			}
		}
	}
	return best
}

// search returns the best of best and the candidates of a place that hold.
func (v *view) search(p *place, best *candidate) *candidate {
	if p.tree == nil {
		return v.first(p.few, best, true)
	}
	// The longest paths have mostly the highest priority, so they are asked first; those that find no room here are asked
	// on the way down, which costs some time and changes nothing.
	var stack [32]*node
	depth := 0
	n, path := p.tree, v.path
	for {
		if len(n.starts) > 0 {
			if depth < len(stack) {
				stack[depth] = n
				depth++
			} else {
				best = v.first(n.starts, best, false)
			}
		}
		if path == "" {
			best = v.first(n.whole, best, false)
			break
		}
		i := -1
		for j := 0; j < len(n.heads); j++ {
			if n.heads[j] == path[0] {
				i = j
				break
			}
		}
		if i < 0 {
			break
		}
		n = n.kids[i]
		if len(path) < len(n.label) || path[:len(n.label)] != n.label {
			break
		}
		path = path[len(n.label):]
	}
	for depth > 0 {
		depth--
		best = v.first(stack[depth].starts, best, false)
	}
	return best
}

// first returns the first candidate of a sorted list that holds and comes before best, else best.
func (v *view) first(list []candidate, best *candidate, checkPath bool) *candidate {
next:
	for i := range list {
		c := &list[i]
		if best != nil && !c.before(best) {
			return best
		}
		if checkPath && c.mode != noPath {
			if len(v.path) < len(c.path) || v.path[:len(c.path)] != c.path || c.mode == wholePath && len(v.path) != len(c.path) {
				continue
			}
		}
		for _, n := range c.rest {
			if !v.holds(n) {
				continue next
			}
		}
		if v.owner && !v.owns(c.rule, false) {
			continue
		}
		return c
	}
	return best
}

// scan asks every entry in order of precedence. It is what lookup must agree with.
func (t *table) scan(v *view) (int, bool) {
	for i := range t.sorted {
		if v.holds(t.sorted[i].Rule.Root) {
			return int(t.sorted[i].at), true
		}
	}
	return 0, false
}

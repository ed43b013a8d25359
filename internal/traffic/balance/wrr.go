package balance

import (
	"net/netip"
	"sync"
)

// WRR is weighted round robin by earliest deadline: endpoint i is due at (picks+1)/weight on a virtual clock, and the one
// that is due first is next. Over any stretch each endpoint gets its share to within one pick, and the picks of a heavy
// endpoint are spread instead of bunched.
//
// Deadlines are computed from the count of picks, not summed up, so that equal ones stay equal and the distribution
// is exact for ever.
type WRR struct {
	rand Rand
	list endpointList

	mu   sync.Mutex
	ring []turn
	now  float64 // the deadline of the last pick
}

// turn is an endpoint's place in the round.
type turn struct {
	due    float64 // (picks+1)/weight
	picks  float64 // whole number; exact up to 2^53
	weight float64
	e      *Endpoint
}

// NewWRR returns an empty picker. rand shuffles new endpoints, so that the first pick after a start is not always
// the same one; nil keeps the order given.
func NewWRR(rand Rand) *WRR { return &WRR{rand: rand} }

// Pick returns the endpoint that is due.
func (w *WRR) Pick(_ netip.Addr, tried *Tried) *Endpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	best := -1
	for i := range w.ring {
		if t := &w.ring[i]; (best < 0 || t.due < w.ring[best].due) && t.e.eligible(tried) {
			w.catchUp(t)
			if best < 0 || t.due < w.ring[best].due {
				best = i
			}
		}
	}
	if best < 0 {
		return nil
	}
	return w.take(best)
}

// catchUp moves an endpoint that was down (or tried) for a while to the present, as if its turns had been called and
// skipped meanwhile. Otherwise it would get them all at once when it returns.
func (w *WRR) catchUp(t *turn) {
	if t.due < w.now {
		t.picks = float64(uint64(w.now * t.weight))
		t.due = (t.picks + 1) / t.weight
	}
}

func (w *WRR) take(i int) *Endpoint {
	t := &w.ring[i]
	w.now = t.due
	t.picks++
	t.due = (t.picks + 1) / t.weight
	if t.picks >= 1<<52 {
		w.rebase()
	}
	return t.e
}

// rebase starts the clock anew before counts lose precision: once in four quadrillion picks.
func (w *WRR) rebase() {
	for i := range w.ring {
		w.ring[i].picks = 0
		w.ring[i].due = 1 / w.ring[i].weight
	}
	w.now = 0
}

// Update replaces the list; see Picker.
func (w *WRR) Update(endpoints []*Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list.store(endpoints)
	old := w.ring
	next := make([]turn, 0, len(endpoints))
	fresh := make([]*Endpoint, 0, len(endpoints))
	// What was there keeps its place in the ring, so that ties go on being broken the same way.
	pending := map[string][]*Endpoint{}
	for _, e := range endpoints {
		if e.Weight > 0 {
			pending[e.Key] = append(pending[e.Key], e)
		}
	}
	for i := range old {
		if same := pending[old[i].e.Key]; len(same) > 0 {
			pending[old[i].e.Key] = same[1:]
			next = append(next, w.moved(old[i], same[0]))
		}
	}
	for _, e := range endpoints {
		if same := pending[e.Key]; len(same) > 0 && same[0] == e {
			pending[e.Key] = same[1:]
			fresh = append(fresh, e)
		}
	}
	if w.rand != nil {
		for i := len(fresh) - 1; i > 0; i-- {
			j := w.rand(i + 1)
			fresh[i], fresh[j] = fresh[j], fresh[i]
		}
	}
	for _, e := range fresh {
		t := turn{weight: float64(e.Weight), e: e, due: -1}
		w.catchUp(&t)
		next = append(next, t)
	}
	w.ring = next
}

// moved is the turn of an endpoint under its new weight: the wait until it is due scales with it.
func (w *WRR) moved(t turn, e *Endpoint) turn {
	t.e = e
	if weight := float64(e.Weight); weight != t.weight {
		t.weight = weight
		t.due = -1
		w.catchUp(&t)
	}
	return t
}

// Endpoints returns the list as given to Update.
func (w *WRR) Endpoints() []*Endpoint { return w.list.load() }

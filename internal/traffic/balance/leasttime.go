package balance

import "net/netip"

// LeastTime picks the endpoint whose average time to first byte, multiplied by one more than its requests in flight and
// divided by its weight, is the smallest. Untested endpoints score 0 and so are tried first. Ties go by WRR.
//
// The owner calls State.Took for requests that were picked here, not for those that a cookie sent.
type LeastTime struct{ wrr WRR }

// NewLeastTime returns an empty picker; rand is as for NewWRR.
func NewLeastTime(rand Rand) *LeastTime { return &LeastTime{wrr: WRR{rand: rand}} }

// Pick returns the endpoint with the smallest score.
func (l *LeastTime) Pick(_ netip.Addr, tried *Tried) *Endpoint {
	w := &l.wrr
	w.mu.Lock()
	defer w.mu.Unlock()
	best, bestScore := -1, 0.0
	for i := range w.ring {
		t := &w.ring[i]
		if !t.e.eligible(tried) {
			continue
		}
		w.catchUp(t)
		score := t.e.State.average() * float64(1+max(t.e.State.InFlight(), 0)) / t.weight
		if best < 0 || score < bestScore || score == bestScore && t.due < w.ring[best].due {
			best, bestScore = i, score
		}
	}
	if best < 0 {
		return nil
	}
	return l.take(best)
}

// take advances the round of the ties. The clock stays at the earliest deadline rather than jumping to that of the pick,
// since picks here do not come in the order of deadlines.
func (l *LeastTime) take(best int) *Endpoint {
	w := &l.wrr
	now := w.now
	e := w.take(best)
	w.now = now
	for i := range w.ring {
		if i == 0 || w.ring[i].due < w.now {
			w.now = w.ring[i].due
		}
	}
	return e
}

// Update replaces the list; see Picker.
func (l *LeastTime) Update(endpoints []*Endpoint) { l.wrr.Update(endpoints) }

// Endpoints returns the list as given to Update.
func (l *LeastTime) Endpoints() []*Endpoint { return l.wrr.Endpoints() }

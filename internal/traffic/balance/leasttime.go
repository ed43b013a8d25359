package balance

import "net/netip"

// LeastTime picks the endpoint whose average time to first byte, multiplied by one more than its requests in flight and
// divided by its weight, is the smallest. An untested endpoint scores 0, so it is tried first; while it owes its first answer it
// counts as no faster than the fastest of the others, so that one which never answers does not draw every request. Ties go
// by WRR.
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
	fastest := l.fastest(tried)
	for i := range w.ring {
		t := &w.ring[i]
		if !t.e.eligible(tried) {
			continue
		}
		w.catchUp(t)
		average, tested := t.e.State.average()
		inFlight := max(t.e.State.InFlight(), 0)
		if !tested && inFlight > 0 {
			average = fastest
		}
		score := average * float64(1+inFlight) / t.weight
		if best < 0 || score < bestScore || score == bestScore && t.due < w.ring[best].due {
			best, bestScore = i, score
		}
	}
	if best < 0 {
		return nil
	}
	return l.take(best)
}

// fastest is the smallest average of the endpoints that have been tested, 0 if there are none.
func (l *LeastTime) fastest(tried *Tried) float64 {
	found, fastest := false, 0.0
	for i := range l.wrr.ring {
		e := l.wrr.ring[i].e
		if average, tested := e.State.average(); tested && (!found || average < fastest) && e.eligible(tried) {
			found, fastest = true, average
		}
	}
	return fastest
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

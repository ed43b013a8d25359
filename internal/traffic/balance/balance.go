// Package balance chooses one endpoint among several: round robin by weight, power of two choices, highest random weight and
// least time, and the cookie that brings a client back to the endpoint it had.
//
// Endpoints are servers of a load balancer or services of a weighted one; the package does not care which. A picker is
// live state: when the configuration changes, Update puts the new list in place and what stays keeps its position, so that
// adding one server to a round robin does not start the round anew.
//
// Nothing here allocates on the way of a request, and locks are held for a scan over the endpoints at most.
package balance

import (
	"net/netip"
	"sync/atomic"
	"time"

	"sluice/internal/wire/httpmsg"
)

// Health tells whether something can take traffic.
type Health interface {
	// Up must be cheap and safe for concurrent use.
	Up() bool
}

// Endpoint is one choice of a picker. It is immutable; what changes while it lives is in State.
type Endpoint struct {
	// Key names the endpoint: the server's URL text, or the child service's name, exactly as configured. Sticky cookies
	// and highest random weight are computed from it, and it tells Update which endpoint of the old list this is.
	Key string
	// Weight is the share of traffic. An endpoint with a weight of 0 or less is never picked, except by P2C, which
	// knows no weights.
	Weight int
	// Fenced endpoints take no new clients, but a sticky cookie still reaches them.
	Fenced bool
	// State is the live state; two endpoints with one key may share it. Never nil.
	State *State
	// Child is asked as well as State, for endpoints that are services; nil means up.
	Child Health
	// Target is what the picker's owner wants back. The package does not look at it.
	Target any
}

// Up reports whether the endpoint can take traffic.
func (e *Endpoint) Up() bool { return e.State.Up() && (e.Child == nil || e.Child.Up()) }

// eligible is Up for a new client that has not tried the endpoint yet.
func (e *Endpoint) eligible(tried *Tried) bool { return !e.Fenced && e.Up() && !tried.has(e) }

// Picker chooses endpoints. All methods are safe for concurrent use.
type Picker interface {
	// Pick returns an endpoint that is up, not fenced and not in tried, or nil if there is none. client is the peer's
	// address, for strategies that look at it. tried may be nil.
	Pick(client netip.Addr, tried *Tried) *Endpoint
	// Update replaces the list. Endpoints that were there before (same key, the n-th of it) keep their position.
	Update(endpoints []*Endpoint)
	// Endpoints returns the list as it was given. It must not be changed.
	Endpoints() []*Endpoint
}

// MaxTried is how many endpoints a Tried remembers.
const MaxTried = 8

// Tried is the set of endpoints that one request has been sent to. The zero value is empty. It remembers the last MaxTried;
// whoever goes on behind that begins anew.
type Tried struct {
	list [MaxTried]*Endpoint
	n    int
}

// Add puts e into the set.
func (t *Tried) Add(e *Endpoint) {
	t.list[t.n%len(t.list)] = e
	t.n++
}

// Len is how many times Add was called.
func (t *Tried) Len() int { return t.n }

// has compares keys, so that a second entry of the same server is not taken for another server.
func (t *Tried) has(e *Endpoint) bool {
	if t == nil {
		return false
	}
	for i := range min(t.n, len(t.list)) {
		if t.list[i] == e || t.list[i].Key == e.Key {
			return true
		}
	}
	return false
}

// samples is how many response times an average is taken over.
const samples = 100

// State is the live state of an endpoint. It outlives reloads of the configuration. The zero value is up and idle.
type State struct {
	down      atomic.Bool
	downUntil atomic.Int64 // unix nanoseconds after which a passive mark no longer counts; 0 is for ever
	inFlight  atomic.Int64

	// times holds the last samples as whole milliseconds plus one, so that 0 is an empty slot. Writers race benignly
	// for the slots; the sum is kept beside, and readers divide.
	times [samples]atomic.Uint32
	next  atomic.Uint32
	sum   atomic.Int64
	taken atomic.Int64
}

// Up reports whether the endpoint is believed to work.
func (s *State) Up() bool {
	if !s.down.Load() {
		return true
	}
	until := s.downUntil.Load()
	if until == 0 || time.Now().UnixNano() < until {
		return false
	}
	// The passive mark is over. Who marks it down again at this very moment wins or loses; both are right.
	s.down.Store(false)
	return true
}

// SetUp marks the endpoint up or down until further notice. It reports whether that was a change.
func (s *State) SetUp(up bool) (changed bool) {
	s.downUntil.Store(0)
	return s.down.Swap(!up) == up
}

// DownFor marks the endpoint down for d. It reports whether it was up.
func (s *State) DownFor(d time.Duration) (changed bool) {
	s.downUntil.Store(time.Now().Add(d).UnixNano())
	return !s.down.Swap(true)
}

// Begin counts a request in flight; every Begin needs an End.
func (s *State) Begin() { s.inFlight.Add(1) }

// End takes the request out again.
func (s *State) End() { s.inFlight.Add(-1) }

// InFlight returns the number of requests in flight.
func (s *State) InFlight() int64 { return s.inFlight.Load() }

// Took records the time to first byte of one request. Only whole milliseconds count.
func (s *State) Took(d time.Duration) {
	ms := min(max(d.Milliseconds(), 0), 1<<31)
	slot := &s.times[(s.next.Add(1)-1)%samples]
	old := slot.Swap(uint32(ms) + 1)
	if old == 0 {
		s.taken.Add(1)
		s.sum.Add(ms)
		return
	}
	s.sum.Add(ms - int64(old-1))
}

// average is the mean of the samples in milliseconds; there is none before the first.
func (s *State) average() (ms float64, tested bool) {
	n := s.taken.Load()
	if n == 0 {
		return 0, false
	}
	return float64(s.sum.Load()) / float64(n), true
}

// Rand draws an integer in [0, n). It must be safe for concurrent use; rand.IntN of math/rand/v2 is what serves.
type Rand func(n int) int

var _ httpmsg.Edit = (*stick)(nil)

// New returns a picker of the strategy with that name (see core/dynamic), nil if there is none. rand may be nil, see the
// pickers.
func New(strategy string, rand Rand) Picker {
	switch strategy {
	case "", "wrr", "RoundRobin":
		return NewWRR(rand)
	case "p2c":
		return NewP2C(rand)
	case "hrw":
		return NewHRW()
	case "leasttime":
		return NewLeastTime(rand)
	}
	return nil
}

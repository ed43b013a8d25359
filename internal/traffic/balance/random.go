package balance

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

// endpointList is a list that is replaced as a whole.
type endpointList struct{ p atomic.Pointer[[]*Endpoint] }

func (l *endpointList) store(list []*Endpoint) { l.p.Store(&list) }

func (l *endpointList) load() []*Endpoint {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// P2C draws two endpoints that can take traffic and takes the one with fewer requests in flight, the first if they are
// equal. It knows no weights.
type P2C struct {
	rand Rand
	list endpointList
}

// NewP2C returns an empty picker; nil stands for math/rand/v2.
func NewP2C(r Rand) *P2C {
	if r == nil {
		r = rand.IntN
	}
	return &P2C{rand: r}
}

// Pick draws.
func (p *P2C) Pick(_ netip.Addr, tried *Tried) *Endpoint {
	list := p.list.load()
	first := p.draw(list, tried, nil)
	if first == nil {
		return nil
	}
	second := p.draw(list, tried, first)
	if second != nil && second.State.InFlight() < first.State.InFlight() {
		return second
	}
	return first
}

// draw returns an eligible endpoint other than not, each with equal chance.
func (p *P2C) draw(list []*Endpoint, tried *Tried, not *Endpoint) *Endpoint {
	// Optimization: most endpoints are up most of the time, so drawing blindly a few times nearly always hits and
	// looks at one or two endpoints instead of all.
	for range min(4, len(list)) {
		if e := list[p.rand(len(list))]; e != not && e.eligible(tried) {
			return e
		}
	}
	n := 0
	var chosen *Endpoint
	for _, e := range list {
		if e != not && e.eligible(tried) {
			if n++; p.rand(n) == 0 {
				chosen = e
			}
		}
	}
	return chosen
}

// Update replaces the list.
func (p *P2C) Update(endpoints []*Endpoint) { p.list.store(endpoints) }

// Endpoints returns the list as given to Update.
func (p *P2C) Endpoints() []*Endpoint { return p.list.load() }

// HRW gives each client address the endpoint with the highest score weight / -ln(hash), so that a client stays where it
// is as long as that endpoint is there, and only the clients of a lost endpoint move. No state, no cookie.
type HRW struct{ list endpointList }

// NewHRW returns an empty picker.
func NewHRW() *HRW { return &HRW{} }

// Pick returns the endpoint of client.
func (h *HRW) Pick(client netip.Addr, tried *Tried) *Endpoint {
	var buf [64]byte
	prefix := fnv1a(fnvOffset, client.Unmap().AppendTo(buf[:0]))
	var best *Endpoint
	bestScore := math.Inf(-1)
	for _, e := range h.list.load() {
		if e.Weight <= 0 || !e.eligible(tried) {
			continue
		}
		if s := score(spread(fnv1a(prefix, e.Key)), e.Weight); s > bestScore {
			best, bestScore = e, s
		}
	}
	return best
}

// spread makes every bit of a sum depend on every other (the finalizer of MurmurHash3). The last bytes of what FNV-1a sums up
// hardly reach its upper bits: without this, names that differ at their end only have nearly the same sum, and the one
// with the largest weight gets every client.
func spread(sum uint64) uint64 {
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	sum *= 0xc4ceb9fe1a85ec53
	return sum ^ sum>>33
}

func score(sum uint64, weight int) float64 {
	log := -math.Log(float64(sum) / (1 << 64))
	if log <= 0 {
		return math.Inf(1) // the hash rounds to 1
	}
	return float64(weight) / log
}

// Update replaces the list.
func (h *HRW) Update(endpoints []*Endpoint) { h.list.store(endpoints) }

// Endpoints returns the list as given to Update.
func (h *HRW) Endpoints() []*Endpoint { return h.list.load() }

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv1a continues a 64-bit FNV-1a sum. hash/fnv would cost an allocation per request.
func fnv1a[T string | []byte](sum uint64, s T) uint64 {
	for i := 0; i < len(s); i++ {
		sum = (sum ^ uint64(s[i])) * fnvPrime
	}
	return sum
}

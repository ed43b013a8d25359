package httpcache

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// headPatience is how long a request waits for the head of an answer that another one is getting already, bodyPatience
	// how long then for its body, which may depend on the other's client.
	headPatience = 5 * time.Second
	bodyPatience = time.Second
)

// flight is an answer that one request is getting and others wait for.
type flight struct {
	head  chan struct{} // closed when the head is here and is to be kept
	done  chan struct{} // closed when it is known whether there is an entry
	once  [2]sync.Once
	place // good once head is closed
	// entry is good once done is closed; nil where nothing is kept.
	entry *entry
}

// place is where a response stands in the store, and what found it.
type place struct {
	key    key
	target uint64
	vary   []string
}

// result is a response and its place.
type result struct {
	entry *entry
	place
}

// announce tells those who wait where the answer will stand, of which only the body is missing now.
func (f *flight) announce(p place) {
	f.once[0].Do(func() {
		f.place = p
		close(f.head)
	})
}

// announced reports whether the place is known.
func (f *flight) announced() bool {
	select {
	case <-f.head:
		return true
	default:
		return false
	}
}

// flights are the answers under way, by what requests for them have in common. Safe for concurrent use.
type flights struct {
	mu  sync.Mutex
	all map[key]*flight
}

// join returns the flight under a key. leads tells that it is the caller's own: it must call land.
func (s *flights) join(k key) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.all[k]; f != nil {
		return f, false
	}
	if s.all == nil {
		s.all = map[key]*flight{}
	}
	f = &flight{head: make(chan struct{}), done: make(chan struct{})}
	s.all[k] = f
	return f, true
}

// peek returns the flight under a key, nil if there is none.
func (s *flights) peek(k key) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[k]
}

// leave makes others not wait for a flight that one has waited for too long.
func (s *flights) leave(k key, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[k] == f {
		delete(s.all, k)
	}
}

// land ends a flight, with what became of it: nil for nothing. Only the first word counts.
func (s *flights) land(k key, f *flight, r *result) {
	f.once[1].Do(func() {
		s.leave(k, f)
		if r != nil {
			f.announce(r.place)
			f.entry = r.entry
		}
		f.announce(place{})
		close(f.done)
	})
}

// passes remembers for a while which answers are not to be kept, so that requests for them do not wait for each other. Two
// that meet in one place forget one another, which costs a wait. Safe for concurrent use.
type passes struct {
	born time.Time
	all  [4096]atomic.Uint64
}

// passTime is how long a pass is remembered.
const passTime = time.Minute

func newPasses() *passes { return &passes{born: time.Now()} }

// place returns where a key stands, and what stands there: half of it the key's, half the second when it ends.
func (p *passes) place(k key) (*atomic.Uint64, uint64) {
	n := uint64(k[4])<<56 | uint64(k[5])<<48 | uint64(k[6])<<40 | uint64(k[7])<<32
	return &p.all[(uint(k[0])<<8|uint(k[1]))%uint(len(p.all))], n
}

func (p *passes) add(k key) {
	at, half := p.place(k)
	at.Store(half | uint64(uint32((time.Since(p.born)+passTime)/time.Second)))
}

func (p *passes) has(k key) bool {
	at, half := p.place(k)
	v := at.Load()
	return v>>32<<32 == half && v != 0 && uint64(uint32(v)) > uint64(time.Since(p.born)/time.Second)
}

package middleware

import "sync"

// State keeps live state of middlewares (buckets, counters, bans, caches) over changes of the configuration, by a key that
// the middleware chooses. What its key leaves alone lives on: router, middleware name and a fingerprint of the
// configuration for state of one router; name and fingerprint for state that routers share.
//
// A generation asks with Keep for all it needs while it is built; when it is in force, Sweep forgets what it did not ask
// for. Safe for concurrent use; the zero State is ready.
type State struct {
	mu    sync.Mutex
	round uint64
	kept  map[string]*kept
}

type kept struct {
	value any
	round uint64
}

// Keep returns the value under key, made by make on first use. Values that have a Close method are closed when they are
// forgotten.
func (s *State) Keep(key string, make func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]*kept{}
	}
	k, ok := s.kept[key]
	if !ok {
		k = &kept{value: make()}
		s.kept[key] = k
	}
	k.round = s.round
	return k.value
}

// Begin starts a round: what is not asked for from here on is forgotten by the next Sweep.
func (s *State) Begin() {
	s.mu.Lock()
	s.round++
	s.mu.Unlock()
}

// Sweep forgets what was not asked for since Begin.
func (s *State) Sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.kept {
		if k.round == s.round {
			continue
		}
		delete(s.kept, key)
		if c, ok := k.value.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

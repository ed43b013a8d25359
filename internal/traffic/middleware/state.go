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
	// keys collects what Keep is asked for while a Record is open.
	keys *[]string
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
	if s.keys != nil {
		*s.keys = append(*s.keys, key)
	}
	return k.value
}

// Record notes the keys that Keep is asked for until done is called, which returns them. Whoever keeps a handler from one
// generation to the next gives its keys to Touch. Records nest: a key goes to the innermost one that is open.
func (s *State) Record() (done func() []string) {
	var keys []string
	s.mu.Lock()
	outer := s.keys
	s.keys = &keys
	s.mu.Unlock()
	return func() []string {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys = outer
		return keys
	}
}

// Touch says that the values under keys are still in use.
func (s *State) Touch(keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if k, ok := s.kept[key]; ok {
			k.round = s.round
		}
	}
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

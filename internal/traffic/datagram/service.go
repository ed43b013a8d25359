// Package datagram has the entry points and services of UDP.
//
// Who sends datagrams from one address and port has a session: it is given a server by its first datagram, and a socket of its
// own to that server, so that answers find their way back. A session ends when nothing has been sent either way for the
// entry point's timeout, when its server cannot be reached, or when the configuration takes its server away; the next
// datagram begins another one.
package datagram

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"time"

	"sluice/internal/traffic/balance"
)

// passedOver is for how long a server that could not be reached gets no new sessions while there are others.
const passedOver = 3 * time.Second

// Child is a service below a weighted one.
type Child struct {
	Name    string
	Weight  int
	Service *Service
}

// Service is a UDP service; immutable, safe for concurrent use.
type Service struct {
	name      string
	live      *Live
	endpoints []*balance.Endpoint
	servers   map[*server]bool // all that are here or below, also those that no new session comes to
}

// NewService makes a service of servers, given as host:port. It serves those of the generation before until Publish.
func NewService(name string, servers []string, live *Live) *Service {
	s := &Service{name: name, live: live, servers: map[*server]bool{}}
	for _, address := range servers {
		t := live.server(address)
		s.servers[t] = true
		s.endpoints = append(s.endpoints, &balance.Endpoint{Key: address, Weight: 1, State: &t.state, Target: t})
	}
	return s
}

// NewWeighted makes a service of services.
func NewWeighted(name string, children []Child, live *Live) *Service {
	s := &Service{name: name, live: live, servers: map[*server]bool{}}
	for _, c := range children {
		maps.Copy(s.servers, c.Service.servers)
		s.endpoints = append(s.endpoints, &balance.Endpoint{Key: c.Name, Weight: c.Weight, State: &balance.State{}, Child: c.Service, Target: c.Service})
	}
	return s
}

// Publish makes this generation's servers the ones that are chosen from now on.
func (s *Service) Publish() {
	s.live.picker.Update(s.endpoints)
	s.live.retain(s.endpoints)
}

// Up implements balance.Health: there is a server that could be reached, as far as is known.
func (s *Service) Up() bool {
	for _, e := range s.endpoints {
		if e.Weight > 0 && e.Up() {
			return true
		}
	}
	return false
}

// choose returns the server that is next for a client. When none is known to work it may be any: nothing but trying tells
// that one is back. nil means that there is none at all.
func (s *Service) choose(client netip.Addr) *server {
	if t := s.pick(client); t != nil {
		return t
	}
	s.hope()
	return s.pick(client)
}

func (s *Service) pick(client netip.Addr) *server {
	e := s.live.picker.Pick(client, nil)
	if e == nil {
		return nil
	}
	if child, ok := e.Target.(*Service); ok {
		return child.pick(client)
	}
	return e.Target.(*server)
}

// hope forgets which servers could not be reached.
func (s *Service) hope() {
	for t := range s.servers {
		t.state.SetUp(true)
	}
}

// Route is what becomes of the sessions of one entry point; immutable.
type Route struct {
	// Router is the qualified name of the router, for the record.
	Router string
	// Service is nil where nobody wants them: datagrams are dropped then.
	Service *Service
}

// Generation is what is in force on all entry points.
type Generation struct {
	// Routes by the position of the entry point.
	Routes []*Route
}

// newPicker returns the picker of a service: round robin that does not begin at the same server after each start.
func newPicker() balance.Picker { return balance.NewWRR(rand.IntN) }

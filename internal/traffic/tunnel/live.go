package tunnel

import (
	"encoding/json"
	"math/rand/v2"
	"sync"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
)

// Live is what outlives changes of the configuration: the place in the round, and the health of servers. There is one per
// service name. Safe for concurrent use.
type Live struct {
	// Changed, if set before the first service is built, is told when a check finds a server up or down.
	Changed func(address string, up bool, why error)

	picker balance.Picker

	mu      sync.Mutex
	servers map[serverKey]*liveServer
}

// serverKey is the key of a server's health: the server, and the check that the health was found by.
type serverKey struct {
	Server
	checks string
}

type liveServer struct {
	state    balance.State
	schedule health.Schedule
}

// NewLive returns the state of a service that has not been there before.
func NewLive() *Live {
	return &Live{picker: balance.NewWRR(rand.IntN), servers: map[serverKey]*liveServer{}}
}

// healthKey says by which check health is found. Another check makes health start anew.
func healthKey(c *dynamic.TCPHealthCheck) string {
	if c == nil {
		return ""
	}
	key, err := json.Marshal(c)
	if err != nil {
		panic("tunnel: " + err.Error()) // plain data always encodes
	}
	return string(key)
}

func (l *Live) server(server Server, checks string) *liveServer {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := serverKey{server, checks}
	s := l.servers[k]
	if s == nil {
		s = new(liveServer)
		l.servers[k] = s
	}
	return s
}

func (l *Live) changed(address string, up bool, why error) {
	if l.Changed != nil {
		l.Changed(address, up, why)
	}
}

// publish puts endpoints in place and forgets the servers that are not among them.
func (l *Live) publish(endpoints []*balance.Endpoint) {
	l.picker.Update(endpoints)
	l.mu.Lock()
	defer l.mu.Unlock()
	used := make(map[*balance.State]bool, len(endpoints))
	for _, e := range endpoints {
		used[e.State] = true
	}
	for k, s := range l.servers {
		if !used[&s.state] {
			delete(l.servers, k)
		}
	}
}

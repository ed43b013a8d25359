package forward

import (
	"encoding/json"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/health"
)

// Live is what of a service outlives changes of the configuration. There is one for each service name and kind. Safe for
// concurrent use.
type Live struct {
	// Changed, if set before the first load balancer is built, is told when an active check finds a server up or down.
	Changed func(url string, up bool, why error)

	budget budget
	copies atomic.Int64 // of requests that are at mirrors

	mu       sync.Mutex
	tally    *tally // of a mirroring service
	strategy string
	picker   balance.Picker
	servers  map[serverKey]*liveServer
}

// serverKey is the key of a server's health: its URL, and the checks that the health was found by.
type serverKey struct{ url, checks string }

type liveServer struct {
	state    balance.State
	failures health.Failures
	schedule health.Schedule
}

// NewLive returns the state of a service that has not been there before.
func NewLive() *Live {
	l := &Live{servers: map[serverKey]*liveServer{}}
	l.budget.fill()
	return l
}

// pickerFor returns the picker of a strategy: the one there is, or a new one when the strategy has changed.
func (l *Live) pickerFor(strategy string) balance.Picker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.picker == nil || l.strategy != strategy {
		l.strategy, l.picker = strategy, balance.New(strategy, rand.IntN)
	}
	return l.picker
}

// tallyFor returns the counts of a list of mirrors: those there are, or new ones when the list has changed.
func (l *Live) tallyFor(mirrors []*dynamic.Mirror) *tally {
	key := mirrorsKey(mirrors)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tally == nil || l.tally.key != key {
		l.tally = &tally{key: key, sent: make([]uint64, len(mirrors))}
		for _, m := range mirrors {
			l.tally.percents = append(l.tally.percents, m.Percent)
		}
	}
	return l.tally
}

// healthKey says by which checks health is found. Other checks make health start anew.
func (l *Live) healthKey(c *dynamic.LoadBalancer) string {
	if c.HealthCheck == nil && c.PassiveHealthCheck == nil {
		return ""
	}
	key, err := json.Marshal(struct {
		Active  *dynamic.HealthCheck
		Passive *dynamic.PassiveHealthCheck
	}{c.HealthCheck, c.PassiveHealthCheck})
	if err != nil {
		panic("forward: " + err.Error()) // plain data always encodes
	}
	return string(key)
}

func (l *Live) server(url, checks string) *liveServer {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := serverKey{url, checks}
	s := l.servers[k]
	if s == nil {
		s = new(liveServer)
		l.servers[k] = s
	}
	return s
}

func (l *Live) checked(url, checks string) health.Server {
	s := l.server(url, checks)
	return health.Server{URL: url, State: &s.state, Schedule: &s.schedule}
}

func (l *Live) changed(url string, up bool, why error) {
	if l.Changed != nil {
		l.Changed(url, up, why)
	}
}

// publish puts the servers of b in place and forgets those that nobody has any more.
func (l *Live) publish(b *LoadBalancer) {
	b.picker.Update(b.endpoints)
	l.mu.Lock()
	defer l.mu.Unlock()
	used := make(map[*balance.State]bool, len(b.endpoints))
	for _, e := range b.endpoints {
		used[e.State] = true
	}
	for k, s := range l.servers {
		if !used[&s.state] {
			delete(l.servers, k)
		}
	}
}

const (
	budgetShare = 10                // one retry for so many requests
	budgetMax   = 100 * budgetShare // retries saved up, in tenths
	budgetStart = 10 * budgetShare
)

// budget bounds the second and later retries of requests to a tenth of all requests, so that an outage is not answered with
// a multiple of the load. It counts in requests: each one adds one, a retry takes budgetShare.
type budget struct{ saved atomic.Int64 }

func (b *budget) fill() { b.saved.Store(budgetStart) }

// asked adds what a request allows.
func (b *budget) asked() {
	// Full is the usual state, and costs one load.
	if n := b.saved.Load(); n < budgetMax {
		b.saved.Add(1)
	}
}

// take reports whether a retry is allowed, and counts it.
func (b *budget) take() bool {
	for {
		n := b.saved.Load()
		if n < budgetShare {
			return false
		}
		if b.saved.CompareAndSwap(n, n-budgetShare) {
			return true
		}
	}
}

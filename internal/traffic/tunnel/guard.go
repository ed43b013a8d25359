package tunnel

import (
	"fmt"
	"net/netip"
	"sync"

	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
)

// Guard decides whether a client is let in. Guards stand before the handshake with the client ends and before any server
// is dialled. Safe for concurrent use.
type Guard interface {
	// Enter lets the client in, in which case leave is called when its connection ends, or says why not.
	Enter(client netip.Addr) (leave func(), f *fault.Fault)
}

// AllowList lets in clients from some ranges.
type AllowList struct{ ranges *middleware.Ranges }

// NewAllowList reads addresses and CIDR blocks; none at all, or one that cannot be read, is an error.
func NewAllowList(list []string) (*AllowList, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("sourceRange is empty: nobody would be let in")
	}
	r, err := middleware.ParseRanges(list)
	if err != nil {
		return nil, fmt.Errorf("sourceRange: %w", err)
	}
	return &AllowList{r}, nil
}

// Enter implements Guard.
func (a *AllowList) Enter(client netip.Addr) (leave func(), f *fault.Fault) {
	if a.ranges.Contains(client) {
		return func() {}, nil
	}
	return nil, fault.New(fault.Forbidden, "the client's address is not in the allow list", nil)
}

// InFlight bounds the connections of one client at a time.
type InFlight struct {
	mu     sync.Mutex
	limit  int64
	counts map[netip.Addr]int64
}

// NewInFlight lets in limit connections of each address; 0 or less lets in none.
func NewInFlight(limit int64) *InFlight {
	return &InFlight{limit: limit, counts: map[netip.Addr]int64{}}
}

// Enter implements Guard. What it remembers is bounded by the open connections.
func (i *InFlight) Enter(client netip.Addr) (leave func(), f *fault.Fault) {
	client = client.Unmap().WithZone("")
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counts[client] >= i.limit {
		return nil, fault.New(fault.TooManyRequests, "the client has too many connections", nil)
	}
	i.counts[client]++
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.counts[client]--; i.counts[client] == 0 {
			delete(i.counts, client)
		}
	}, nil
}

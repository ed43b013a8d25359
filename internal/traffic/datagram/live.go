package datagram

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"sluice/internal/traffic/balance"
)

const (
	// lookupTime bounds one look-up of a name, fresh is for how long what it found is used without another.
	lookupTime = 5 * time.Second
	fresh      = 5 * time.Second
	// maxHeld and maxHeldBytes bound the datagrams of one session, and the bytes for one server, that wait for a look-up.
	maxHeld      = 8
	maxHeldBytes = 1 << 20
)

// Live is what of a service outlives changes of the configuration: the place in the round, and what is known about each
// server. Safe for concurrent use.
type Live struct {
	picker  balance.Picker
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	stop    context.CancelFunc
	ctx     context.Context
	lookups sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	servers map[string]*server
}

// NewLive returns the state of a service that has not been there before. lookup finds the addresses of a name; nil asks the
// system.
func NewLive(lookup func(ctx context.Context, host string) ([]netip.Addr, error)) *Live {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	l := &Live{picker: newPicker(), lookup: lookup, servers: map[string]*server{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// Close ends look-ups that are under way and waits for them. Sessions that wait for one end.
func (l *Live) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.lookups.Wait()
}

// look starts a look-up, unless they have come to their end.
func (l *Live) look(t *server) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.lookups.Go(t.look)
	}
	return !l.closed
}

func (l *Live) server(address string) *server {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.servers[address]
	if t == nil {
		t = newServer(address, l)
		l.servers[address] = t
	}
	return t
}

// retain forgets the servers that are not among endpoints. Sessions keep what they hold.
func (l *Live) retain(endpoints []*balance.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make(map[string]*server, len(endpoints))
	for _, e := range endpoints {
		if t, ok := e.Target.(*server); ok {
			kept[t.address] = t
		}
	}
	l.servers = kept
}

// server is one server of a service.
type server struct {
	address string
	host    string
	port    uint16
	live    *Live
	state   balance.State

	mu      sync.Mutex
	found   netip.AddrPort // what the address means; invalid as long as that is not known
	until   time.Time      // when the name is to be looked up again; zero for what is no name
	looking bool
	waiting []*session
	held    int // bytes
}

func newServer(address string, l *Live) *server {
	t := &server{address: address, live: l}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return t // plan has said so; it is looked up in vain
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		t.port = uint16(n)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.found = netip.AddrPortFrom(ip, t.port)
	} else {
		t.host = host
	}
	return t
}

// resolve returns where the server is. Where its name has to be looked up first, it returns false, and s is connected when
// that is done. What an earlier look-up found is used while a new one is under way.
func (t *server) resolve(s *session) (netip.AddrPort, bool) {
	if t.host == "" && t.found.IsValid() {
		return t.found, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.looking && time.Now().After(t.until) {
		t.looking = t.live.look(t)
	}
	if t.found.IsValid() {
		return t.found, true
	}
	t.waiting = append(t.waiting, s)
	return netip.AddrPort{}, false
}

// look looks the name up once.
func (t *server) look() {
	ctx, cancel := context.WithTimeout(t.live.ctx, lookupTime)
	defer cancel()
	list, err := t.live.lookup(ctx, t.host)
	if err == nil && len(list) == 0 {
		err = &net.DNSError{Err: "no address", Name: t.host, IsNotFound: true}
	}
	t.mu.Lock()
	t.looking = false
	if err == nil {
		t.found = netip.AddrPortFrom(list[0].Unmap(), t.port)
	}
	if t.found.IsValid() {
		t.until = time.Now().Add(fresh) // otherwise who comes next waits for a look-up, and has to start it
	}
	waiting := t.waiting
	t.waiting = nil
	t.mu.Unlock()
	for _, s := range waiting {
		s.resolved(err)
	}
}

// failed notes that the server cannot be reached: others come first, and a name may mean another address by now.
func (t *server) failed() {
	t.state.DownFor(passedOver)
	if t.host != "" {
		t.mu.Lock()
		t.until = time.Time{}
		t.mu.Unlock()
	}
}

// hold asks for room for n bytes that wait.
func (t *server) hold(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held+n > maxHeldBytes {
		return false
	}
	t.held += n
	return true
}

// release gives room back.
func (t *server) release(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held -= n
}

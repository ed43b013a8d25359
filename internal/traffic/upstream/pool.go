package upstream

import (
	"net/url"
	"sync"
	"sync/atomic"

	"sluice/internal/core/fault"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
)

var _ RoundTripper = (*Pool)(nil)

// Pool has the connections to one address. Of HTTP/1 connections the one used last is used next, so that as few as possible
// stay open; HTTP/2 connections are shared, and another one is opened when all are full. Safe for concurrent use.
type Pool struct {
	t    *Transport
	addr Address
	held int // guarded by Transport.mu

	// proxy is the proxy that leads to the server, nil for none; viaProxy is what requests carry that go to it as such.
	proxy      *url.URL
	proxyError error
	viaProxy   *httpmsg.Proxy

	speaks atomic.Int32 // see shared.go

	mu      sync.Mutex
	idle    []*http1.ClientConn        // unused, oldest first
	shared  []*http2.ClientConn        // those that take exchanges, oldest first
	dialing *dialing                   // the one attempt to get another of those
	pins    map[any]*pin               // by client connection; see pin.go
	private map[*http1.ClientConn]*pin // connections that belong to a pin
	closed  bool

	pinned atomic.Int32 // length of pins
	open   atomic.Int64
}

func newPool(t *Transport, a Address) *Pool {
	p := &Pool{t: t, addr: a}
	switch {
	case a.Scheme == "h2c":
		p.speaks.Store(speaksHTTP2)
	case a.Scheme == "http" || t.opts.DisableHTTP2:
		p.speaks.Store(speaksHTTP1)
	}
	p.findProxy()
	return p
}

// Address returns where the pool's server listens.
func (p *Pool) Address() Address { return p.addr }

// Release lets go of the pool. The last holder's call closes what is unused; exchanges under way finish.
func (p *Pool) Release() {
	p.t.mu.Lock()
	p.held--
	last := p.held == 0
	if p.held < 0 {
		panic("upstream: pool released more often than acquired")
	}
	if last {
		delete(p.t.pools, p.addr)
	}
	p.t.mu.Unlock()
	if last {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.closeIdle()
	}
}

// Idle returns the number of unused connections.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	for _, own := range p.pins {
		n += len(own.idle)
	}
	for _, c := range p.shared {
		if c.Unused() {
			n++
		}
	}
	return n
}

// Open returns the number of connections, used and unused.
func (p *Pool) Open() int { return int(p.open.Load()) }

// RoundTrip sends x over an unused connection, or a new one. A connection that turns out to have ended is replaced
// silently: always if nothing was sent yet, and once if the server closed it instead of answering a request that may
// be repeated.
func (p *Pool) RoundTrip(x *httpmsg.Exchange, t *httpmsg.Target) error {
	hops := own.hops(x)
	if hops > maxHops {
		return fault.New(fault.LoopDetected, "this request comes from ourselves, again and again", nil)
	}
	// An upgrade needs a connection for itself, of the version of HTTP that has upgrades.
	only1 := len(x.Req.UpgradeTo) > 0
	mine := p.mine(x)
	if mine != nil && p.addr.Scheme == "https" {
		only1 = true
	}
	if !only1 && p.speaks.Load() != speaksHTTP1 {
		if err := p.roundTrip2(x, t, hops, nil); err != errHTTP1 {
			return err
		}
		only1 = p.speaks.Load() != speaksHTTP1
	}
	err := p.roundTrip1(x, t, hops, mine, only1)
	if err == nil && x.Res.Status == 401 && mine == nil {
		p.challenged(x)
	}
	return err
}

// roundTrip1 sends x over a connection that it has for itself. With only1 the server is not offered HTTP/2.
func (p *Pool) roundTrip1(x *httpmsg.Exchange, t *httpmsg.Target, hops uint32, mine *pin, only1 bool) error {
	if p.viaProxy != nil {
		via := *t
		via.Proxy = p.viaProxy
		t = &via
	}
	again := false
	for {
		c := (*http1.ClientConn)(nil)
		if !again {
			c = p.take(mine)
		}
		reused := c != nil
		if !reused {
			var two *http2.ClientConn
			var err error
			if c, two, err = p.dial(x, hops, only1); err != nil {
				return err
			}
			if two != nil {
				// The server has learned HTTP/2 since it was asked last.
				if err := p.roundTrip2(x, t, hops, p.join(two)); err != errHTTP1 {
					return err
				}
				only1 = true
				continue
			}
			if mine != nil {
				p.keepApart(c, mine)
			}
		}
		if c.Hops.Load() != hops {
			c.Hops.Store(hops)
		}
		err := c.RoundTrip(x, t)
		switch {
		case err == nil:
			return nil
		case err == http1.ErrStale && reused:
			continue
		case err == http1.ErrStale:
			return fault.New(fault.UpstreamClosed, "server closed a new connection at once", nil).WithRetry(fault.Always)
		}
		f := fault.Of(err)
		if again && f.Retry == fault.Idempotent {
			f.Retry = fault.Never // it has been sent twice, which is enough
		}
		if !reused || f.Kind != fault.UpstreamClosed || !Repeatable(x, f) {
			return f
		}
		// RFC 9112 section 9.3.1: the server may close an idle connection at any time, also at the moment we use it.
		again = true
		x.Facts.Retries++
	}
}

// Repeatable reports whether x, which ended with f, may be sent again.
func Repeatable(x *httpmsg.Exchange, f *fault.Fault) bool {
	switch f.Retry {
	case fault.Always:
		return true
	case fault.Idempotent:
		return Idempotent(x.Req.Method)
	default:
		return false
	}
}

// Idempotent reports whether a request with the method may be repeated (RFC 9110 section 9.2.2).
func Idempotent(method httpmsg.View) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// take returns the unused connection that was used last, nil if there is none: one of mine if that is not nil.
func (p *Pool) take(mine *pin) *http1.ClientConn {
	list := &p.idle
	if mine != nil {
		list = &mine.idle
	}
	for {
		p.mu.Lock()
		n := len(*list)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := (*list)[n-1]
		(*list)[n-1] = nil
		*list = (*list)[:n-1]
		p.mu.Unlock()
		if c.DisarmIdle(p.t.opts.IdleConnTimeout) {
			return c
		}
		p.drop(c)
	}
}

// keepApart makes c a connection of n only.
func (p *Pool) keepApart(c *http1.ClientConn, n *pin) {
	p.mu.Lock()
	if p.private == nil {
		p.private = map[*http1.ClientConn]*pin{}
	}
	p.private[c] = n
	p.mu.Unlock()
}

// keeper is the pool as its HTTP/1 connections see it.
type keeper Pool

var _ http1.Keeper = (*keeper)(nil)

// Idle takes c back; it makes room by closing the one unused for longest.
func (k *keeper) Idle(c *http1.ClientConn) {
	p := (*Pool)(k)
	// Armed before anybody else can take it: arming afterwards could hit its next exchange.
	c.ArmIdle(p.t.opts.IdleConnTimeout)
	p.mu.Lock()
	list, apart := &p.idle, false
	if len(p.private) > 0 {
		if n := p.private[c]; n != nil {
			list, apart = &n.idle, n.closed
		}
	}
	if p.closed || apart || p.t.opts.MaxIdlePerHost <= 0 && list == &p.idle {
		p.mu.Unlock()
		p.drop(c)
		return
	}
	var oldest *http1.ClientConn
	if len(*list) >= max(p.t.opts.MaxIdlePerHost, 1) {
		oldest = (*list)[0]
		copy(*list, (*list)[1:])
		*list = (*list)[:len(*list)-1]
	}
	*list = append(*list, c)
	p.mu.Unlock()
	if oldest != nil {
		p.drop(oldest)
	}
}

// Gone counts a connection that was closed while it was in use.
func (k *keeper) Gone(c *http1.ClientConn) { (*Pool)(k).gone(c) }

// Expired removes an unused connection whose time is over. Closing may have to write (TLS), so it is left to a goroutine
// of its own.
func (k *keeper) Expired(c *http1.ClientConn) {
	p := (*Pool)(k)
	p.mu.Lock()
	list := &p.idle
	if n := p.private[c]; n != nil {
		list = &n.idle
	}
	found := false
	for i, o := range *list {
		if o == c {
			*list = append((*list)[:i], (*list)[i+1:]...)
			found = true
			break
		}
	}
	p.mu.Unlock()
	// Not found: somebody has just taken it and learns from DisarmIdle that it is over.
	if found {
		go p.drop(c)
	}
}

func (p *Pool) drop(c *http1.ClientConn) {
	c.Close()
	p.gone(c)
}

func (p *Pool) gone(c *http1.ClientConn) {
	own.remove(c.Conn(), &c.Hops)
	p.mu.Lock()
	if len(p.private) > 0 {
		delete(p.private, c)
	}
	p.mu.Unlock()
	p.open.Add(-1)
}

func (p *Pool) closeIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	for _, n := range p.pins {
		idle = append(idle, n.idle...)
		n.idle = nil
	}
	var unused []*http2.ClientConn
	for _, c := range p.shared {
		if c.Unused() {
			unused = append(unused, c)
		}
	}
	for _, c := range unused {
		p.forget(c)
	}
	p.mu.Unlock()
	for _, c := range idle {
		p.drop(c)
	}
	for _, c := range unused {
		c.Close()
	}
}

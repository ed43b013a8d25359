package upstream

import (
	"sync"
	"sync/atomic"

	"sluice/internal/core/fault"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/httpmsg"
)

var _ RoundTripper = (*Pool)(nil)

// Pool has the connections to one address. The connection used last is used next, so that as few as possible stay open.
// Safe for concurrent use.
type Pool struct {
	t    *Transport
	addr Address
	held int // guarded by Transport.mu

	mu     sync.Mutex
	idle   []*http1.ClientConn // oldest first
	closed bool

	open atomic.Int64
}

func newPool(t *Transport, a Address) *Pool { return &Pool{t: t, addr: a} }

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
	return len(p.idle)
}

// Open returns the number of connections, used and unused.
func (p *Pool) Open() int { return int(p.open.Load()) }

// RoundTrip sends x over an unused connection, or a new one. A connection that turns out to have ended is replaced
// silently: always if nothing was sent yet, and once if the server closed it instead of answering a request that may
// be repeated.
func (p *Pool) RoundTrip(x *httpmsg.Exchange, t *http1.Target) error {
	hops := own.hops(x)
	if hops > maxHops {
		return fault.New(fault.LoopDetected, "this request comes from ourselves, again and again", nil)
	}
	again := false
	for {
		c := (*http1.ClientConn)(nil)
		if !again {
			c = p.take()
		}
		reused := c != nil
		if !reused {
			var err error
			if c, err = p.dial(x); err != nil {
				return err
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

// take returns the unused connection that was used last, nil if there is none.
func (p *Pool) take() *http1.ClientConn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if c.DisarmIdle(p.t.opts.IdleConnTimeout) {
			return c
		}
		p.drop(c)
	}
}

// Idle takes c back; it makes room by closing the one unused for longest.
func (k *keeper) Idle(c *http1.ClientConn) {
	p := (*Pool)(k)
	// Armed before anybody else can take it: arming afterwards could hit its next exchange.
	c.ArmIdle(p.t.opts.IdleConnTimeout)
	p.mu.Lock()
	if p.closed || p.t.opts.MaxIdlePerHost <= 0 {
		p.mu.Unlock()
		p.drop(c)
		return
	}
	var oldest *http1.ClientConn
	if len(p.idle) >= p.t.opts.MaxIdlePerHost {
		oldest = p.idle[0]
		copy(p.idle, p.idle[1:])
		p.idle = p.idle[:len(p.idle)-1]
	}
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	if oldest != nil {
		p.drop(oldest)
	}
}

// keeper is the pool as its connections see it.
type keeper Pool

// Gone counts a connection that was closed while it was in use.
func (k *keeper) Gone(c *http1.ClientConn) {
	own.remove(c)
	(*Pool)(k).open.Add(-1)
}

// Expired removes an unused connection whose time is over. Closing may have to write (TLS), so it is left to a goroutine
// of its own.
func (k *keeper) Expired(c *http1.ClientConn) {
	p := (*Pool)(k)
	p.mu.Lock()
	found := false
	for i, o := range p.idle {
		if o == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
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
	own.remove(c)
	p.open.Add(-1)
}

func (p *Pool) closeIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.drop(c)
	}
}

package upstream

import (
	"context"
	"errors"

	"sluice/internal/core/fault"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/httpmsg"
)

// maxTries is how often one request is put on a connection before another server may try.
const maxTries = 4

// What the server of a pool speaks, as far as is known.
const (
	unknown = iota
	speaksHTTP1
	speaksHTTP2
)

// errHTTP1 is how roundTrip2 tells that the server speaks HTTP/1. The exchange is untouched.
var errHTTP1 = errors.New("server speaks HTTP/1")

// dialing is an attempt to connect that several exchanges wait for. It belongs to none of them: the one that came first may
// leave. Everything but done is guarded by Pool.mu.
type dialing struct {
	done    chan struct{}
	waiting int
	c       *http2.ClientConn // what came of it
	granted int               // streams reserved on c for those who wait
	f       *fault.Fault      // why it failed
}

// roundTrip2 sends x over a connection that it shares; over first, where a stream is reserved, if that is not nil. Requests
// that the server has certainly not processed are sent again, and once those that may be repeated and were lost with a
// connection that had been used before.
func (p *Pool) roundTrip2(x *httpmsg.Exchange, t *httpmsg.Target, hops uint32, first *http2.ClientConn) error {
	again := false
	for tries := 1; ; tries++ {
		c := first
		first = nil
		if c == nil {
			var err error
			if c, err = p.borrow(x, hops); err != nil {
				return err
			}
		}
		reused := c.Used()
		err := c.RoundTrip(x, t)
		switch {
		case err == nil:
			return nil
		case err == http2.ErrHTTP1Required && p.addr.Scheme == "https":
			return errHTTP1
		case err == http2.ErrHTTP1Required:
			return fault.New(fault.UpstreamProtocol, "the server wants HTTP/1.1 although its scheme is h2c", nil)
		case err == http2.ErrStale && tries < maxTries:
			continue
		case err == http2.ErrStale:
			return closesAtOnce()
		}
		f := fault.Of(err)
		if again && f.Retry == fault.Idempotent {
			f.Retry = fault.Never // it has been sent twice, which is enough
		}
		lost := f.Kind == fault.UpstreamClosed && (f.Retry == fault.Always || reused && c.Ended())
		if !lost || tries >= maxTries || x.Cancelled() != nil || !Repeatable(x, f) {
			return f
		}
		again = again || f.Retry == fault.Idempotent
		x.Facts.Retries++
	}
}

func closesAtOnce() *fault.Fault {
	return fault.New(fault.UpstreamClosed, "server closes each connection at once", nil).WithRetry(fault.Always)
}

// borrow returns a connection on which a stream is reserved, or errHTTP1 where the server does not speak HTTP/2.
func (p *Pool) borrow(x *httpmsg.Exchange, hops uint32) (*http2.ClientConn, error) {
	ended := 0 // connections that did not live until they were used
	for {
		p.mu.Lock()
		for _, c := range p.shared {
			// Requests that have come back to us keep to connections of their own: the connection tells their count.
			if c.Hops.Load() == hops && c.Reserve() {
				c.DisarmIdle()
				p.mu.Unlock()
				return c, nil
			}
		}
		if p.speaks.Load() == speaksHTTP1 {
			p.mu.Unlock()
			return nil, errHTTP1
		}
		d := p.dialing
		if d == nil {
			d = &dialing{done: make(chan struct{})}
			p.dialing = d
			go p.dialShared(d, hops)
		}
		d.waiting++
		p.mu.Unlock()

		_, err := x.Await(d.done, -1)
		p.mu.Lock()
		d.waiting--
		var c, left *http2.ClientConn
		switch {
		case err == nil && d.granted > 0:
			d.granted--
			c = d.c
		case d.granted > d.waiting: // who was to have it has left
			d.granted--
			left = d.c
		}
		p.mu.Unlock()
		switch {
		case left != nil:
			left.Unreserve()
		case c != nil && c.Hops.Load() != hops:
			c.Unreserve()
			c = nil
		}
		switch {
		case err != nil:
			return nil, httpmsg.GoneFault("connecting to the server", err)
		case c != nil:
			return c, nil
		case d.f != nil:
			f := *d.f // each its own: verdicts are changed on the way
			return nil, &f
		case d.c != nil && d.c.Leaving():
			if ended++; ended == maxTries {
				return nil, closesAtOnce()
			}
		}
	}
}

// dialShared opens one connection for everybody who waits, so that a burst of requests is no burst of handshakes.
func (p *Pool) dialShared(d *dialing, hops uint32) {
	nc, two, err := p.reach(context.Background(), false)
	var c *http2.ClientConn
	switch {
	case err != nil:
	case two:
		c = p.newConn2(nc, hops)
	default:
		p.speaks.Store(speaksHTTP1)
		(*keeper)(p).Idle(p.newConn1(nc))
	}
	p.mu.Lock()
	if err != nil {
		d.f = fault.Of(err)
	}
	if d.c = c; c != nil {
		p.speaks.Store(speaksHTTP2)
		p.share(c)
		for d.granted < d.waiting && c.Reserve() {
			d.granted++
		}
	}
	p.dialing = nil
	p.mu.Unlock()
	close(d.done)
	if c != nil {
		(*keeper2)(p).Idle(c) // if everybody has left
	}
}

// join adds an HTTP/2 connection that was not asked for as one, and reserves a stream on it.
func (p *Pool) join(c *http2.ClientConn) *http2.ClientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.speaks.Store(speaksHTTP2)
	p.share(c)
	if !c.Reserve() {
		return nil
	}
	return c
}

// share puts c among the connections that are handed out, unless it has ended already: then nobody would take it out again.
// p.mu is held.
func (p *Pool) share(c *http2.ClientConn) {
	if !c.Leaving() {
		p.shared = append(p.shared, c)
	}
}

// keeper2 is the pool as its HTTP/2 connections see it.
type keeper2 Pool

var _ http2.Keeper = (*keeper2)(nil)

// Idle begins the time that an unused connection is kept, and makes room by closing the one unused for longest.
func (k *keeper2) Idle(c *http2.ClientConn) {
	p := (*Pool)(k)
	p.mu.Lock()
	if !c.Unused() {
		p.mu.Unlock()
		return // somebody was faster
	}
	c.ArmIdle(p.t.opts.IdleConnTimeout)
	surplus := c
	if !p.closed && p.t.opts.MaxIdlePerHost > 0 {
		surplus = p.surplus()
	}
	if surplus != nil {
		p.forget(surplus)
	}
	p.mu.Unlock()
	if surplus != nil {
		surplus.Close()
	}
}

// surplus returns the oldest unused connection if there are more of them than are kept. p.mu is held.
func (p *Pool) surplus() (oldest *http2.ClientConn) {
	unused := 0
	for _, c := range p.shared {
		if c.Unused() {
			if unused++; oldest == nil {
				oldest = c
			}
		}
	}
	if unused <= p.t.opts.MaxIdlePerHost {
		return nil
	}
	return oldest
}

// forget takes a connection out of those that are handed out. p.mu is held.
func (p *Pool) forget(c *http2.ClientConn) (found bool) {
	for i, o := range p.shared {
		if o == c {
			p.shared = append(p.shared[:i], p.shared[i+1:]...)
			return true
		}
	}
	return false
}

// Leaving takes a connection out that takes no more exchanges.
func (k *keeper2) Leaving(c *http2.ClientConn) {
	p := (*Pool)(k)
	p.mu.Lock()
	p.forget(c)
	p.mu.Unlock()
}

// Gone counts a connection that is closed.
func (k *keeper2) Gone(c *http2.ClientConn) {
	own.remove(c.Conn(), &c.Hops)
	(*Pool)(k).open.Add(-1)
}

// Expired closes an unused connection whose time is over. Closing may have to write, so it is left to a goroutine of its own.
func (k *keeper2) Expired(c *http2.ClientConn) {
	p := (*Pool)(k)
	p.mu.Lock()
	found := c.Unused() && p.forget(c)
	p.mu.Unlock()
	if found {
		go c.Close()
	}
}

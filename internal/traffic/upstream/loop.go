package upstream

import (
	"net"
	"net/netip"
	"sync/atomic"

	"sluice/internal/wire/httpmsg"
)

// maxHops is how often one request may come back to us (FLD-11).
const maxHops = 10

// own are the connections that this process has to servers, by local port. A request that arrives over one of them was
// sent by ourselves: some server's address is an address of ours.
//
// The usual way to see that is to count Via fields. But Via changes what servers do (some stop compressing), users did not
// ask for it, and a client could forge it; who is at the other end of a connection cannot be forged. The price is
// that loops through another proxy are not seen. One port may be in use towards several addresses; the newest
// connection is remembered, so a loop may be noticed some rounds later.
//
// It is one for the process: a loop may go through any two transports.
var own connections

type connections struct {
	byPort [1 << 16]atomic.Pointer[ownConn]
}

type ownConn struct {
	hops  *atomic.Uint32 // of the connection, which it stands for
	local netip.AddrPort
}

func localOf(c net.Conn) (local netip.AddrPort, ok bool) {
	tcp, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return local, false
	}
	local = tcp.AddrPort()
	return netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), true
}

func (o *connections) add(c net.Conn, hops *atomic.Uint32) {
	if local, ok := localOf(c); ok {
		o.byPort[local.Port()].Store(&ownConn{hops: hops, local: local})
	}
}

func (o *connections) remove(c net.Conn, hops *atomic.Uint32) {
	local, ok := localOf(c)
	if !ok {
		return
	}
	slot := &o.byPort[local.Port()]
	if e := slot.Load(); e != nil && e.hops == hops {
		slot.CompareAndSwap(e, nil)
	}
}

// hops returns how often x has come back to us: 0 for what a client sent.
func (o *connections) hops(x *httpmsg.Exchange) uint32 {
	peer := x.Peer.Addr().Unmap()
	// Optimization: whoever connects to an address of its own machine appears under that address or the loopback one, so
	// the table is not looked at for clients from elsewhere.
	if !peer.IsLoopback() && peer != x.Local.Addr().Unmap() {
		return 0
	}
	e := o.byPort[x.Peer.Port()].Load()
	if e == nil || e.local != netip.AddrPortFrom(peer, x.Peer.Port()) {
		return 0
	}
	return e.hops.Load() + 1
}

// Package sock is the edge between the router and the operating system: sockets that listen, and the connections that
// they accept.
//
// A Conn is a net.Conn whose first bytes can be looked at before anybody consumes them, that knows the client behind a
// PROXY header, and that can be waited on, asked about its peer and closed politely.
package sock

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/internal/wire/watch"
)

// Conn is an accepted connection. Reads first give what was peeked. Peek, Read, Discard and WaitReadable belong to
// one goroutine at a time, as do writes; Close, deadlines, PeerState and the addresses may be used from any, the addresses once
// the PROXY header is read.
type Conn struct {
	nc  net.Conn
	tcp *net.TCPConn    // nc, if it is one
	raw syscall.RawConn // of tcp; nil where the system offers nothing to wait on

	head       *Buffer // peeked bytes are head.Bytes[from:to]
	class      int     // which pool head is from
	from, to   int
	headReader *Reader

	socketPeer, socketLocal netip.AddrPort
	peer, local             netip.AddrPort

	watch *watch.Watch // nil: Arm falls back to the connection's own deadlines
	entry watch.Entry
	armed bool
	until time.Time // of Arm without a watch

	sentFIN, gone, closed atomic.Bool

	owner      *Listener // nil for a Conn made by New
	prev, next *Conn     // guarded by owner.mu
}

var past = time.Unix(1, 0)

// New wraps nc, which becomes the Conn's own. w keeps the deadlines of Arm; with nil they are set on nc itself.
func New(nc net.Conn, w *watch.Watch) *Conn {
	c := &Conn{nc: nc}
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.tcp = tcp
		c.raw = waitable(tcp)
	}
	c.socketPeer, c.socketLocal = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	c.peer, c.local = c.socketPeer, c.socketLocal
	if w != nil {
		c.watch = w
		w.Add(&c.entry, (*expiry)(c))
	}
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil:
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Peer returns the client: the source of a believed PROXY header, else the other end of the socket. IPv4 is never in IPv6
// form. It is invalid for connections without IP addresses, such as pipes in tests.
func (c *Conn) Peer() netip.AddrPort { return c.peer }

// Local returns the address the client connected to, according to a believed PROXY header, else the socket's.
func (c *Conn) Local() netip.AddrPort { return c.local }

// SocketPeer returns the other end of the socket, whatever a PROXY header says.
func (c *Conn) SocketPeer() netip.AddrPort { return c.socketPeer }

// SocketLocal returns this end of the socket.
func (c *Conn) SocketLocal() netip.AddrPort { return c.socketLocal }

// RemoteAddr implements net.Conn with Peer.
func (c *Conn) RemoteAddr() net.Addr {
	if c.peer != c.socketPeer {
		return net.TCPAddrFromAddrPort(c.peer)
	}
	return c.nc.RemoteAddr()
}

// LocalAddr implements net.Conn with Local.
func (c *Conn) LocalAddr() net.Addr {
	if c.local != c.socketLocal {
		return net.TCPAddrFromAddrPort(c.local)
	}
	return c.nc.LocalAddr()
}

// NetConn returns the connection below. Bytes that were peeked are not to be read there.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Sock returns c. A type that embeds a *Conn has this method too, and is then read as the *Conn itself is: without a
// detour through its Read. One that changes the bytes must hide it, as it must hide io.WriterTo of what it embeds.
func (c *Conn) Sock() *Conn { return c }

// TCP returns the socket below, nil if it is none.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if c.Buffered() > 0 {
		return c.takeBuffered(b), nil
	}
	return c.nc.Read(b)
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) { return c.nc.Write(b) }

// CloseWrite sends a FIN; reading goes on. Connections that cannot do that return errors.ErrUnsupported.
func (c *Conn) CloseWrite() error {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	c.sentFIN.Store(true)
	return half.CloseWrite()
}

// Close implements net.Conn. On bytes that were not read the system answers with a reset; see Linger. Closing again does
// nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.watch != nil {
		c.watch.Remove(&c.entry)
	}
	err := c.nc.Close()
	if c.owner != nil {
		c.owner.forget(c)
	}
	return err
}

// Reset closes the connection with an RST, so that the peer cannot take what it got for complete.
func (c *Conn) Reset() error {
	if c.tcp != nil {
		// Without lingering the system drops what is queued and resets. An error leaves an ordinary close.
		_ = c.tcp.SetLinger(0)
	}
	return c.Close()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// Arm gives everything until Disarm or the next Arm d to finish: when it is over, reads and writes fail with
// os.ErrDeadlineExceeded. d <= 0 arms nothing. Only the goroutine that reads may call it.
func (c *Conn) Arm(d time.Duration) {
	if d <= 0 {
		c.Disarm()
		return
	}
	c.armed = true
	if c.watch == nil {
		c.until = time.Now().Add(d)
		_ = c.nc.SetDeadline(c.until)
		return
	}
	c.entry.Arm(d)
}

// Disarm takes back the deadline of Arm. It returns false if that has expired: the connection is then to be ended, whatever
// the last read said.
func (c *Conn) Disarm() bool {
	if !c.armed {
		return true
	}
	c.armed = false
	if c.watch == nil {
		return time.Now().Before(c.until) && c.nc.SetDeadline(time.Time{}) == nil
	}
	return c.entry.Disarm()
}

// expiry is a Conn as its Watch sees it.
type expiry Conn

// Expire implements watch.Target.
func (e *expiry) Expire() { _ = e.nc.SetDeadline(past) }

// CheckPeer implements watch.Target; a Conn asks for no checks.
func (e *expiry) CheckPeer() {}

package sock

import (
	"net"
	"net/netip"
)

// MaxDatagram is the size of the largest UDP datagram there can be.
const MaxDatagram = 65535

// Datagrams is a bound UDP socket. Where it is bound to all addresses it answers from the one that was asked, as far as the
// system lets it: a client takes no answer from another. Read belongs to one goroutine; Write may be used from any.
type Datagrams struct {
	conn  *net.UDPConn
	local localAddresses
}

// NewDatagrams returns a Datagrams on conn, which becomes its own.
func NewDatagrams(conn *net.UDPConn) *Datagrams {
	d := &Datagrams{conn: conn}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok && a.IP.IsUnspecified() {
		d.local.ask(conn)
	}
	return d
}

// Addr returns the address that is bound.
func (d *Datagrams) Addr() net.Addr { return d.conn.LocalAddr() }

// Read waits for a datagram and reads it into p; what does not fit is lost, so p has MaxDatagram bytes. local is the
// address that it was sent to, where the socket is bound to all of them and the system tells; else it is invalid. IPv4 is never
// in IPv6 form.
func (d *Datagrams) Read(p []byte) (n int, peer netip.AddrPort, local netip.Addr, err error) {
	n, oobn, _, peer, err := d.conn.ReadMsgUDPAddrPort(p, d.local.oob)
	if err != nil {
		return 0, netip.AddrPort{}, netip.Addr{}, err
	}
	if d.local.on {
		local = d.local.read(oobn)
	}
	return n, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), local, nil
}

// Source says which address datagrams are sent from. The zero value leaves it to the system.
type Source struct{ oob []byte }

// Source returns what makes Write send from local, an address that Read returned.
func (d *Datagrams) Source(local netip.Addr) Source {
	if !d.local.on || !local.IsValid() {
		return Source{}
	}
	return Source{d.local.source(local)}
}

// Write sends p to peer.
func (d *Datagrams) Write(p []byte, peer netip.AddrPort, from Source) error {
	_, _, err := d.conn.WriteMsgUDPAddrPort(p, from.oob, peer)
	if err != nil && from.oob != nil {
		// The address may be one that nothing can be sent from: a broadcast, or one that this machine had.
		_, err = d.conn.WriteToUDPAddrPort(p, peer)
	}
	return err
}

// Close closes the socket; Read returns net.ErrClosed then.
func (d *Datagrams) Close() error { return d.conn.Close() }

package sock

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// localAddresses tells, of a socket that is bound to all addresses, which one a datagram was sent to (IP_PKTINFO of ip(7),
// IPV6_PKTINFO of ipv6(7)).
type localAddresses struct {
	on   bool
	ipv4 bool // the socket is of IPv4 alone
	oob  []byte
}

// ask switches the control messages on.
func (l *localAddresses) ask(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	controlErr := raw.Control(func(fd uintptr) {
		var domain int
		if domain, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return
		}
		if l.ipv4 = domain == unix.AF_INET; l.ipv4 {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		} else {
			// For the IPv4 datagrams that the socket gets as well, with their addresses in IPv6 form.
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	})
	if controlErr == nil && err == nil {
		l.on, l.oob = true, make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	}
}

// read finds the address in the control messages of a datagram, which are the first n bytes of oob; it is invalid where
// there is none that could be answered from. A link-local address has the index of its interface as zone.
func (l *localAddresses) read(n int) netip.Addr {
	for oob := l.oob[:n]; len(oob) >= unix.CmsgLen(0); {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_spec_dst, which is an address of this machine also for what was sent to a group.
			return netip.AddrFrom4([4]byte(data[4:8]))
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a := netip.AddrFrom16([16]byte(data[:16])).Unmap()
			if a.IsMulticast() {
				return netip.Addr{}
			}
			if a.IsLinkLocalUnicast() && a.Is6() {
				return a.WithZone(strconv.FormatUint(uint64(binary.NativeEndian.Uint32(data[16:])), 10))
			}
			return a
		}
		oob = rest
	}
	return netip.Addr{}
}

// source makes the control message that sends from local.
func (l *localAddresses) source(local netip.Addr) []byte {
	if l.ipv4 {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	info := unix.Inet6Pktinfo{Addr: local.As16()}
	if zone, err := strconv.ParseUint(local.Zone(), 10, 32); err == nil {
		info.Ifindex = uint32(zone)
	}
	return unix.PktInfo6(&info)
}

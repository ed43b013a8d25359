package proxyproto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append appends a header of version 1 or 2 to b: a connection from source, accepted at destination. If either address is
// invalid, as for connections of our own such as health checks, the header says so (v1 UNKNOWN, v2 LOCAL). If only one of
// them is IPv4, it is written in IPv6 form, since a header has one family; zones are left out. Append panics on another
// version.
func Append(b []byte, version int, source, destination netip.AddrPort) []byte {
	src, dst := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	known := src.IsValid() && dst.IsValid()
	if known && src.Is4() != dst.Is4() {
		src, dst = netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16())
	}
	switch version {
	case 1:
		if !known {
			return append(b, "PROXY UNKNOWN\r\n"...)
		}
		family := "TCP6 "
		if src.Is4() {
			family = "TCP4 "
		}
		b = append(b, signature1...)
		b = append(b, family...)
		b = append(src.AppendTo(b), ' ')
		b = append(dst.AppendTo(b), ' ')
		b = append(strconv.AppendUint(b, uint64(source.Port()), 10), ' ')
		b = strconv.AppendUint(b, uint64(destination.Port()), 10)
		return append(b, "\r\n"...)
	case 2:
		b = append(b, signature2...)
		if !known {
			return append(b, 0x20, 0x00, 0, 0)
		}
		if src.Is4() {
			b = append(b, 0x21, 0x11, 0, 12)
		} else {
			b = append(b, 0x21, 0x21, 0, 36)
		}
		b = append(b, src.AsSlice()...)
		b = append(b, dst.AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, source.Port())
		return binary.BigEndian.AppendUint16(b, destination.Port())
	}
	panic("proxyproto: no version " + strconv.Itoa(version))
}

// Package proxyproto reads and writes the headers of the PROXY protocol, versions 1 and 2: who the client of a connection is
// when the peer is a load balancer.
//
// Parsing is strict, because a header decides which address rules, limits and logs see: what other programs repair or
// misread is refused. Nothing here knows whom to believe; that is for the caller.
package proxyproto

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"

	maxV1    = 107 // with CRLF, as the specification has it
	headerV2 = 16

	// MaxLength is the greatest header that is read. Version 2 could claim 64 KiB; the addresses and all TLVs in use
	// fit in far less.
	MaxLength = 4 << 10
)

// Header is one parsed header.
type Header struct {
	// Version is 1 or 2.
	Version int
	// Source is the client and Destination the address it connected to. Both are invalid if the header says nothing that
	// concerns a TCP connection (v1 UNKNOWN; v2 LOCAL, UNSPEC or a UNIX socket): the socket's own addresses stay. IPv4
	// addresses in IPv6 form are unmapped.
	Source, Destination netip.AddrPort
	// Length is the number of bytes that the header takes.
	Length int
}

// ErrAbsent says that the bytes begin with no PROXY header.
var ErrAbsent = errors.New("no PROXY header")

// Malformed says why a header that has begun can't be read. The connection is to be closed without an answer.
type Malformed struct{ Reason string }

// Error implements error.
func (m *Malformed) Error() string { return "malformed PROXY header: " + m.Reason }

var (
	errLineEnd   = &Malformed{"line does not end with CR LF"}
	errLineLong  = &Malformed{"line longer than 107 bytes"}
	errFamily    = &Malformed{"unknown protocol family"}
	errFields    = &Malformed{"wrong number of fields"}
	errAddress   = &Malformed{"address is not of the family announced"}
	errPort      = &Malformed{"port is not a number up to 65535"}
	errVersion   = &Malformed{"unknown version or command"}
	errTransport = &Malformed{"datagram protocol on a stream"}
	errShort     = &Malformed{"shorter than its addresses"}
	errLong      = &Malformed{"longer than 4 KiB"}
	errTLV       = &Malformed{"a TLV runs over the end"}
	errChecksum  = &Malformed{"wrong checksum"}
)

// Parse reads the header at the start of b. If b ends too early, need is the least length of b with which it is worth calling
// again and err is nil; otherwise need is 0. err is ErrAbsent, as soon as that is certain, or a *Malformed. Bytes behind the
// header are not looked at: a second header is payload.
func Parse(b []byte) (h Header, need int, err error) {
	switch {
	case len(b) == 0:
		return h, 1, nil
	case b[0] == signature1[0]:
		if absent, need := compare(b, signature1); absent {
			return h, 0, ErrAbsent
		} else if need > 0 {
			return h, need, nil
		}
		return parse1(b)
	case b[0] == signature2[0]:
		if absent, need := compare(b, signature2); absent {
			return h, 0, ErrAbsent
		} else if need > 0 {
			return h, need, nil
		}
		return parse2(b)
	}
	return h, 0, ErrAbsent
}

// compare reports that b does not begin with the signature, or how many bytes it takes to find out more.
func compare(b []byte, signature string) (absent bool, need int) {
	n := min(len(b), len(signature))
	if string(b[:n]) != signature[:n] {
		return true, 0
	}
	if n < len(signature) {
		return false, n + 1
	}
	return false, 0
}

func parse1(b []byte) (h Header, need int, err error) {
	end := -1
	for i, c := range b[:min(len(b), maxV1)] {
		if c != '\r' && c != '\n' {
			continue
		}
		if c == '\n' || i+1 < len(b) && b[i+1] != '\n' {
			return h, 0, errLineEnd
		}
		end = i
		break
	}
	switch {
	case end > maxV1-2 || end < 0 && len(b) >= maxV1:
		return h, 0, errLineLong
	case end < 0 || end+1 == len(b):
		return h, len(b) + 1, nil
	}
	h.Version = 1
	h.Length = end + 2
	line := string(b[len(signature1):end])
	family, rest, _ := strings.Cut(line, " ")
	if family == "UNKNOWN" {
		return h, 0, nil // whatever follows is to be ignored
	}
	if family != "TCP4" && family != "TCP6" {
		return Header{}, 0, errFamily
	}
	fields := strings.Split(rest, " ")
	if len(fields) != 4 {
		return Header{}, 0, errFields
	}
	if h.Source, err = addrPort1(family, fields[0], fields[2]); err == nil {
		h.Destination, err = addrPort1(family, fields[1], fields[3])
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, 0, nil
}

func addrPort1(family, addr, port string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Is4() != (family == "TCP4") || ip.Zone() != "" {
		return netip.AddrPort{}, errAddress
	}
	n, err := strconv.ParseUint(port, 10, 16)
	// ParseUint takes leading zeros, which the specification forbids; a sign it does not take.
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, errPort
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

func parse2(b []byte) (h Header, need int, err error) {
	if len(b) < len(signature2)+1 {
		return h, len(signature2) + 1, nil
	}
	const local, proxy = 0x20, 0x21
	command := b[12]
	if command != local && command != proxy {
		return h, 0, errVersion
	}
	if len(b) < headerV2 {
		return h, headerV2, nil
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if headerV2+size > MaxLength {
		return h, 0, errLong
	}
	addresses := 0
	if command == proxy {
		switch family := b[13]; family {
		case 0x00: // unspecified
		case 0x11:
			addresses = 2*4 + 2*2
		case 0x21:
			addresses = 2*16 + 2*2
		case 0x31:
			addresses = 2 * 108
		case 0x12, 0x22, 0x32:
			return h, 0, errTransport
		default:
			return h, 0, errFamily
		}
	}
	if size < addresses {
		return h, 0, errShort
	}
	if len(b) < headerV2+size {
		return h, headerV2 + size, nil
	}
	h = Header{Version: 2, Length: headerV2 + size}
	if addresses == 0 {
		return h, 0, nil // LOCAL or unspecified: the rest is to be ignored
	}
	body := b[headerV2:h.Length]
	if err := checkTLVs(b[:h.Length], headerV2+addresses); err != nil {
		return Header{}, 0, err
	}
	switch b[13] {
	case 0x11:
		h.Source = addrPort2(body[:4], body[8:])
		h.Destination = addrPort2(body[4:8], body[10:])
	case 0x21:
		h.Source = addrPort2(body[:16], body[32:])
		h.Destination = addrPort2(body[16:32], body[34:])
	}
	return h, 0, nil
}

func addrPort2(ip, port []byte) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(port))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkTLVs walks over the type-length-value fields from offset off to the end of header, and verifies the checksum if one is
// among them.
func checkTLVs(header []byte, off int) error {
	const typeCRC32C = 0x03
	for off < len(header) {
		if len(header)-off < 3 {
			return errTLV
		}
		kind, size := header[off], int(binary.BigEndian.Uint16(header[off+1:]))
		off += 3
		if size > len(header)-off {
			return errTLV
		}
		if kind == typeCRC32C {
			if size != 4 {
				return errChecksum
			}
			// The sum is over the whole header with this field as zero.
			sum := crc32.Update(0, castagnoli, header[:off])
			sum = crc32.Update(sum, castagnoli, make([]byte, 4))
			sum = crc32.Update(sum, castagnoli, header[off+4:])
			if sum != binary.BigEndian.Uint32(header[off:]) {
				return errChecksum
			}
		}
		off += size
	}
	return nil
}

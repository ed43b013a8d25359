package http1

import (
	"net/netip"
	"unsafe"

	"sluice/internal/wire/httpmsg"
)

const maxHost = 255

// validHost reports whether v is a host with an optional port as a Host field or a target may have it: RFC 3986 section
// 3.2.2 without userinfo, percent-encoding, zones and future literals; no empty label but the one behind a final dot; a port
// that is empty or in 1 to 65535. The comma, which a name could hold, is refused: it would look like two hosts.
func validHost(v httpmsg.View) bool {
	if len(v) == 0 {
		return false
	}
	name := v
	port := httpmsg.View(nil)
	if v[0] == '[' {
		end := -1
		for i, c := range v {
			if c == ']' {
				end = i
				break
			}
		}
		if end < 0 || !validIPv6(v[1:end]) {
			return false
		}
		if rest := v[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return false
			}
			port = rest[1:]
		}
		return validPort(port)
	}
	label := 0 // length of the label so far
	for i, c := range v {
		if c == ':' {
			name, port = v[:i], v[i+1:]
			break
		}
		if c == '.' {
			if label == 0 {
				return false
			}
			label = 0
			continue
		}
		if !isHostByte[c] {
			return false
		}
		label++
	}
	return len(name) > 0 && len(name) <= maxHost && validPort(port) && !hexAddress(name)
}

var isHostByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "-_~!$&'()*+;=" {
		t[c] = true
	}
	return t
}()

func validPort(p httpmsg.View) bool {
	if len(p) > 5 {
		return false
	}
	n := 0
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return len(p) == 0 || n >= 1 && n <= 65535
}

func validIPv6(v httpmsg.View) bool {
	for _, c := range v {
		if c == '%' {
			return false
		}
	}
	if len(v) == 0 {
		return false
	}
	// The parser keeps the string only for a zone, which was excluded.
	a, err := netip.ParseAddr(unsafe.String(&v[0], len(v)))
	return err == nil && a.Is6()
}

// hexAddress reports whether the last label is a number in hexadecimal, which some resolvers read as an IPv4 address.
func hexAddress(name httpmsg.View) bool {
	if name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	from := len(name)
	for from > 0 && name[from-1] != '.' {
		from--
	}
	l := name[from:]
	if len(l) < 3 || l[0] != '0' || l[1]|0x20 != 'x' {
		return false
	}
	for _, c := range l[2:] {
		if unhex(c) < 0 {
			return false
		}
	}
	return true
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

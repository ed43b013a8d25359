package route

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
)

// Errors of CanonicalHost. Each means that the request is answered with 400.
var (
	ErrHostLong   = errors.New("the host is longer than 255 bytes")
	ErrHostSyntax = errors.New("the host holds a character that no host has")
	ErrHostLabel  = errors.New("the host has an empty label")
	ErrHostPort   = errors.New("the port of the host is not a number from 1 to 65535")
	ErrHostIPv6   = errors.New("the host is not a valid IPv6 address")
)

const maxHost = 255

// CanonicalHost brings the authority of a request (RFC 3986 3.2.2: host and optional port, no userinfo) into the form
// that rules compare: lower-case, without port, without one final dot, IPv6 without brackets. An empty authority is an
// empty host. The result is a part of authority where that needs no change, else it is appended to dst[:0].
func CanonicalHost(dst, authority []byte) ([]byte, error) {
	host := authority
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		if end < 0 {
			return nil, ErrHostIPv6
		}
		if rest := host[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return nil, ErrHostIPv6
			}
			if !validPort(rest[1:]) {
				return nil, ErrHostPort
			}
		}
		host = host[1:end]
		if len(host) > 45 { // the longest text of an address
			return nil, ErrHostIPv6
		}
		if a, err := netip.ParseAddr(text(host)); err != nil || !a.Is6() || a.Zone() != "" {
			return nil, ErrHostIPv6
		}
		return lower(dst, host), nil
	}
	if colon := bytes.IndexByte(host, ':'); colon >= 0 {
		if !validPort(host[colon+1:]) {
			return nil, ErrHostPort
		}
		if host = host[:colon]; colon == 0 {
			return nil, ErrHostLabel
		}
	}
	if len(host) > maxHost {
		return nil, ErrHostLong
	}
	label := 0
	for i, c := range host {
		if !hostByte[c] {
			return nil, ErrHostSyntax
		}
		if c != '.' {
			label++
			continue
		}
		if label == 0 {
			return nil, ErrHostLabel
		}
		if label = 0; i == len(host)-1 {
			host = host[:i]
		}
	}
	return lower(dst, host), nil
}

// validPort accepts what may stand behind the colon: nothing, or a number from 1 to 65535.
func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
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
	return n >= 1 && n <= 65535
}

// hostByte holds the unreserved characters and sub-delims of RFC 3986 without the comma, which in a host is always two
// hosts in one field. Percent codes are refused too: DNS names have none.
var hostByte = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+;=", byte(c)) >= 0
	}
	return t
}()

// lower returns b in lower case, in dst's memory where a letter changes.
func lower(dst, b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			dst = append(dst[:0], b...)
			for ; i < len(dst); i++ {
				if c := dst[i]; 'A' <= c && c <= 'Z' {
					dst[i] = c | 0x20
				}
			}
			return dst
		}
	}
	return b
}

// canonicalName is the form of a server name: lower-case, one final dot dropped. It allocates only for upper case.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// afterLabel returns what follows the first label of a name, and whether there is such a label and something behind it.
func afterLabel(name string) (string, bool) {
	dot := strings.IndexByte(name, '.')
	if dot <= 0 || dot == len(name)-1 {
		return "", false
	}
	return name[dot+1:], true
}

package static

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Address is the parsed address of an entry point.
type Address struct {
	// Host is an IP address without brackets or a name. Empty: all interfaces.
	Host string
	// Port to listen on. Zero: one that the system picks.
	Port uint16
	// UDP says that the entry point takes datagrams; else it takes TCP connections.
	UDP bool
}

// ParseAddress reads [host]:port with an optional /tcp or /udp behind, in any case. An empty text is a TCP port that the
// system picks. The error says what would be right.
func ParseAddress(text string) (Address, error) {
	var a Address
	hostPort := text
	if i := strings.LastIndexByte(text, '/'); i >= 0 {
		hostPort = text[:i]
		switch proto := strings.ToLower(text[i+1:]); proto {
		case "tcp":
		case "udp":
			a.UDP = true
		default:
			return Address{}, fmt.Errorf("unknown protocol %q: want /tcp or /udp", text[i+1:])
		}
	}
	if hostPort == "" {
		return a, nil
	}
	colon := strings.LastIndexByte(hostPort, ':')
	if colon < 0 || strings.HasSuffix(hostPort, "]") {
		if _, err := parsePort(hostPort); err == nil {
			return Address{}, fmt.Errorf("%q has no port: did you mean %q?", hostPort, ":"+hostPort)
		}
		return Address{}, fmt.Errorf("%q has no port: want [host]:port", hostPort)
	}
	port, err := parsePort(hostPort[colon+1:])
	if err != nil {
		return Address{}, err
	}
	host, err := parseHost(hostPort[:colon])
	if err != nil {
		return Address{}, err
	}
	a.Host, a.Port = host, port
	return a, nil
}

// parseHost takes the brackets off an IPv6 address and refuses what cannot be a host.
func parseHost(text string) (string, error) {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		inner := text[1 : len(text)-1]
		if ip, err := netip.ParseAddr(inner); err != nil || !ip.Is6() {
			return "", fmt.Errorf("%q is no IPv6 address", inner)
		}
		return inner, nil
	}
	if strings.ContainsRune(text, ':') {
		return "", fmt.Errorf("%q is no host: an IPv6 address stands in brackets, as [::1]:80", text)
	}
	if strings.ContainsAny(text, "[]/@ \t\r\n") {
		return "", fmt.Errorf("%q is no host", text)
	}
	return text, nil
}

// parsePort reads a port number, or one of the two service names that entry points are given in practice.
func parsePort(text string) (uint16, error) {
	switch text {
	case "http":
		return 80, nil
	case "https":
		return 443, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port: want a number up to 65535", text)
	}
	return uint16(n), nil
}

// Network returns tcp or udp.
func (a Address) Network() string {
	if a.UDP {
		return "udp"
	}
	return "tcp"
}

// String returns host:port as the net package takes it, without the protocol.
func (a Address) String() string {
	port := strconv.FormatUint(uint64(a.Port), 10)
	if strings.ContainsRune(a.Host, ':') {
		return "[" + a.Host + "]:" + port
	}
	return a.Host + ":" + port
}

// IsLoopback reports whether only this machine can reach the address. Of names, localhost is one.
func (a Address) IsLoopback() bool {
	if strings.EqualFold(a.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

// overlaps reports whether two sockets of these addresses could not both be bound.
func (a Address) overlaps(b Address) bool {
	if a.Port == 0 || a.Port != b.Port || a.UDP != b.UDP {
		return false
	}
	return a.Host == "" || b.Host == "" || strings.EqualFold(a.Host, b.Host)
}

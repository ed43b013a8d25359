package middleware

import (
	"bytes"
	"fmt"
	"net/netip"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// Client finds the address of a request's client, as an ipStrategy says; the zero value takes the peer's. Middlewares see
// X-Forwarded-For as the entry point leaves it: what an untrusted peer said is gone (XFF-01), several lines are one, and
// the peer itself is not in it yet. Immutable; nothing is allocated per request.
type Client struct {
	depth    int
	excluded *Ranges
	bits     int // length of the prefix that IPv6 addresses are cut to; 0 is uncut
}

// CheckIPStrategy reports what NewClient would refuse; key is the path of the strategy below the middleware.
func CheckIPStrategy(key string, s *dynamic.IPStrategy) diag.List {
	var l diag.List
	if s == nil {
		return nil
	}
	if s.Depth < 0 {
		l.Add(Bad(key+".depth", fmt.Sprintf("%d is less than zero", s.Depth), "count entries of X-Forwarded-For from the right, from 1 on"))
	}
	if _, err := ParseRanges(s.ExcludedIPs); err != nil {
		l.Add(Bad(key+".excludedIPs", err.Error(), ""))
	}
	if s.Depth > 0 && len(s.ExcludedIPs) > 0 {
		l.Add(Odd(key+".excludedIPs", "excludedIPs has no effect beside depth", "remove one of them"))
	}
	if n := s.IPv6Subnet; n != nil && (*n < 1 || *n > 128) {
		l.Add(Bad(key+".ipv6Subnet", fmt.Sprintf("%d is not a prefix length from 1 to 128", *n), "a usual one is 64"))
	}
	return l
}

// NewClient builds a strategy; nil takes the peer's address.
func NewClient(s *dynamic.IPStrategy) (Client, error) {
	if s == nil {
		return Client{}, nil
	}
	if err := Refusal(CheckIPStrategy("ipStrategy", s)); err != nil {
		return Client{}, err
	}
	c := Client{depth: s.Depth}
	if s.IPv6Subnet != nil {
		c.bits = *s.IPv6Subnet
	}
	if s.Depth == 0 && len(s.ExcludedIPs) > 0 {
		c.excluded, _ = ParseRanges(s.ExcludedIPs)
	}
	return c, nil
}

// Addr returns the client's address, unmapped and without zone. ok is false where the strategy finds none: who decides
// about access refuses then. The address may be valid all the same, being the last good one to the right of an entry that
// is none (XFF-03): who only groups requests may use that.
func (c *Client) Addr(x *httpmsg.Exchange) (addr netip.Addr, ok bool) {
	switch {
	case c.depth > 0:
		addr, ok = c.nth(x.Req.Header.Get(httpmsg.HdrXForwardedFor))
	case c.excluded != nil:
		// The reference cuts no addresses here, and an allow-list that did would let more in.
		return c.rightmost(x.Req.Header.Get(httpmsg.HdrXForwardedFor))
	default:
		addr = x.Peer.Addr().Unmap().WithZone("")
		ok = addr.IsValid()
	}
	return c.cut(addr), ok
}

// cut returns the first address of the block that an IPv6 address is cut to.
func (c *Client) cut(a netip.Addr) netip.Addr {
	if c.bits == 0 || !a.Is6() {
		return a
	}
	p, _ := a.Prefix(c.bits)
	return p.Addr()
}

// nth returns entry number depth from the right.
func (c *Client) nth(list httpmsg.View) (netip.Addr, bool) {
	for range c.depth - 1 {
		i := bytes.LastIndexByte(list, ',')
		if i < 0 {
			return netip.Addr{}, false
		}
		list = list[:i]
	}
	return parseHop(list[bytes.LastIndexByte(list, ',')+1:])
}

// rightmost returns the first entry from the right that is not excluded.
func (c *Client) rightmost(list httpmsg.View) (last netip.Addr, ok bool) {
	for len(list) > 0 {
		i := bytes.LastIndexByte(list, ',')
		hop := bytes.TrimSpace(list[i+1:])
		list = list[:max(i, 0)]
		if len(hop) == 0 {
			continue
		}
		a, good := parseHop(hop)
		switch {
		case !good:
			return last, false
		case !c.excluded.Contains(a):
			return a, true
		}
		last = a
	}
	// All were excluded, so none is the client's.
	return netip.Addr{}, false
}

// parseHop reads an entry of X-Forwarded-For: an address, perhaps with the port that some proxies add.
func parseHop(v []byte) (netip.Addr, bool) {
	v = bytes.TrimSpace(v)
	if len(v) > 0 && v[0] == '[' {
		end := bytes.IndexByte(v, ']')
		if end < 0 || !isPortSuffix(v[end+1:]) {
			return netip.Addr{}, false
		}
		v = v[1:end]
	} else if i := bytes.IndexByte(v, ':'); i > 0 && bytes.IndexByte(v, '.') > 0 && isPortSuffix(v[i:]) {
		v = v[:i]
	}
	if len(v) > 64 { // longer than any address and zone
		return netip.Addr{}, false
	}
	// Optimization: a string made by copying would be an allocation, since errors of ParseAddr hold it. Nobody keeps them.
	a, err := netip.ParseAddr(viewText(v))
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// isPortSuffix reports whether v is empty or a colon and digits.
func isPortSuffix(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	for _, c := range v[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return v[0] == ':' && len(v) > 1 && len(v) < 7
}

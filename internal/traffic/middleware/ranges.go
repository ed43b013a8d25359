package middleware

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Ranges is an immutable set of IP addresses. IPv4 addresses written as IPv6 (::ffff:10.0.0.1) equal the plain ones, and
// zones count for nothing. The zero value is empty. Contains takes time in proportion to the logarithm of the number of ranges and
// allocates nothing.
type Ranges struct {
	spans []span // disjoint, ascending
}

type span struct{ first, last netip.Addr }

// ParseRanges reads addresses and CIDR blocks. Bits behind the length of a block are ignored, empty texts are errors.
func ParseRanges(texts []string) (*Ranges, error) {
	spans := make([]span, 0, len(texts))
	for _, text := range texts {
		s, err := parseSpan(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	r := &Ranges{}
	for _, s := range spans {
		n := len(r.spans)
		if n > 0 && s.first.BitLen() == r.spans[n-1].last.BitLen() && s.first.Compare(r.spans[n-1].last) <= 0 {
			if s.last.Compare(r.spans[n-1].last) > 0 {
				r.spans[n-1].last = s.last
			}
			continue
		}
		r.spans = append(r.spans, s)
	}
	return r, nil
}

func parseSpan(text string) (span, error) {
	if text == "" {
		return span{}, errors.New("an entry is empty")
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return span{}, fmt.Errorf("%q is neither an address nor a CIDR block", text)
		}
		a = a.Unmap().WithZone("")
		return span{a, a}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return span{}, fmt.Errorf("%q is neither an address nor a CIDR block", text)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	return span{p.Addr(), lastOf(p)}, nil
}

// lastOf returns the last address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Contains reports whether a is in the set.
func (r *Ranges) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	low, high := 0, len(r.spans)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if r.spans[mid].last.Compare(a) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(r.spans) && a.IsValid() && r.spans[low].first.Compare(a) <= 0
}

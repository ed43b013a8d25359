// Package statuses reads lists of HTTP status codes and ranges of them, as retry, errors and ipBan take them.
package statuses

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range holds the codes from Low to High, both included.
type Range struct{ Low, High int }

// Set is a list of ranges. The nil Set holds nothing.
type Set []Range

// ParseRange reads "503" or "500-599". Codes have three digits (RFC 9110 section 15).
func ParseRange(text string) (Range, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	r := Range{code(low), code(high)}
	if r.Low == 0 || r.High == 0 {
		return Range{}, fmt.Errorf("%q is no status code or range, such as 503 or 500-599", text)
	}
	if r.Low > r.High {
		return Range{}, fmt.Errorf("the range %q ends before it begins", text)
	}
	return r, nil
}

// code reads three digits, of which the first is not 0; 0 if they are something else.
func code(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 100 || n > 999 {
		return 0
	}
	return n
}

// Parse reads a list. The error is that of the first element which cannot be read, and at says which that is.
func Parse(list []string) (s Set, at int, err error) {
	for i, text := range list {
		r, err := ParseRange(text)
		if err != nil {
			return nil, i, err
		}
		s = append(s, r)
	}
	return s, 0, nil
}

// Has reports whether a code is in the set.
func (s Set) Has(code int) bool {
	for _, r := range s {
		if r.Low <= code && code <= r.High {
			return true
		}
	}
	return false
}

// Rewrites gives codes other ones.
type Rewrites []rewrite

type rewrite struct {
	Range
	to int
}

// ParseRewrites reads a map from codes and ranges to codes. Where ranges overlap the narrowest wins, then the lowest, so
// that the order of the map does not matter.
func ParseRewrites(list map[string]int) (Rewrites, error) {
	var all Rewrites
	for text, to := range list {
		r, err := ParseRange(text)
		if err != nil {
			return nil, err
		}
		if to < 200 || to > 999 {
			return nil, fmt.Errorf("%s cannot become %d, which is no final status code", text, to)
		}
		all = append(all, rewrite{r, to})
	}
	slices.SortFunc(all, func(a, b rewrite) int {
		return cmp.Or(cmp.Compare(a.High-a.Low, b.High-b.Low), cmp.Compare(a.Low, b.Low), cmp.Compare(a.to, b.to))
	})
	return all, nil
}

// Of returns the code that stands for code.
func (l Rewrites) Of(code int) int {
	for _, r := range l {
		if r.Low <= code && code <= r.High {
			return r.to
		}
	}
	return code
}

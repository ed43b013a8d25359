package jose

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"sluice/internal/traffic/middleware/claims"
)

// Errors of CheckTimes.
var (
	// ErrExpired is a token that is no longer good.
	ErrExpired = errors.New("the token has expired")
	// ErrTooEarly is a token that is not good yet.
	ErrTooEarly = errors.New("the token is not valid yet")
	// ErrTimes is a token whose times are none.
	ErrTimes = errors.New("the token has times that are no numbers")
)

// CheckTimes holds a token to what its claims exp, nbf and iat say, where they are there (RFC 7519 section 4.1). Clocks may
// differ by leeway.
func CheckTimes(c claims.Set, now time.Time, leeway time.Duration) error {
	for _, row := range [...]struct {
		claim string
		bad   func(at time.Time) bool
		err   error
	}{
		{"exp", func(at time.Time) bool { return !now.Before(at.Add(leeway)) }, ErrExpired},
		{"nbf", func(at time.Time) bool { return now.Before(at.Add(-leeway)) }, ErrTooEarly},
		{"iat", func(at time.Time) bool { return now.Before(at.Add(-leeway)) }, ErrTooEarly},
	} {
		v, there := c[row.claim]
		if !there {
			continue
		}
		at, ok := Time(v)
		if !ok {
			return ErrTimes
		}
		if row.bad(at) {
			return row.err
		}
	}
	return nil
}

// latest is the end of the year 9999, in seconds since 1970. Later times could not be calculated with.
const latest = 253402300799

// Time reads a NumericDate.
func Time(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsNaN(f) {
		return time.Time{}, false
	}
	f = min(max(f, 0), latest)
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

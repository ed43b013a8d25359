package ratelimit

import (
	"math"
	"math/bits"
	"time"
)

// rate is a token bucket in the form that needs no arithmetic while nothing happens (the generic cell rate algorithm): of
// each source only the time is kept at which its bucket will be full again. All times are nanoseconds and a fraction, so
// that nothing is lost by rounding however many requests there are.
type rate struct {
	// unit is how many parts a fraction counts to: the average.
	unit int64
	// token is the time in which one token comes, burst that in which an empty bucket fills.
	token, burst instant
	// maxDelay is how long a request may wait for its token.
	maxDelay time.Duration
}

// instant is a time since some origin: ns + part/unit nanoseconds, with 0 <= part < unit.
type instant struct{ ns, part int64 }

// farthest bounds times, so that sums of a few never overflow: more than 30 years.
const farthest = 1 << 60

// newRate returns the rate of average tokens a period. average and period are more than zero, burst less than one counts
// as one.
func newRate(average int64, period time.Duration, burst int64) rate {
	r := rate{unit: average}
	r.token = r.span(1, period)
	r.burst = r.span(max(burst, 1), period)
	// The reference's bounds of waits: half of a token's time, the rate rounded down, and no more than half a second.
	r.maxDelay = 500 * time.Millisecond
	if high, low := bits.Mul64(uint64(average), uint64(time.Second)); high >= uint64(period) {
		r.maxDelay = 0
	} else if perSecond, _ := bits.Div64(high, low, uint64(period)); perSecond > uint64(time.Second) {
		r.maxDelay = 0
	} else if perSecond >= 1 {
		r.maxDelay = time.Second / time.Duration(2*perSecond)
	}
	return r
}

// span returns the time in which n tokens come.
func (r *rate) span(n int64, period time.Duration) instant {
	high, low := bits.Mul64(uint64(n), uint64(period))
	if high >= uint64(r.unit) {
		return instant{ns: farthest}
	}
	ns, part := bits.Div64(high, low, uint64(r.unit))
	if ns >= farthest {
		return instant{ns: farthest}
	}
	return instant{int64(ns), int64(part)}
}

// take asks for a token at time now for a source whose bucket is full at full. If the request may pass, at once or after
// wait, the bucket is full at next. Otherwise it could pass after wait, and nothing changes.
func (r *rate) take(full instant, now int64) (next instant, wait time.Duration, ok bool) {
	if full.ns < now {
		full = instant{ns: now}
	}
	next = r.add(full, r.token)
	w := r.sub(next, r.burst)
	w.ns -= now
	if w.ns < 0 {
		return next, 0, true
	}
	wait = time.Duration(w.ns)
	if w.part > 0 {
		wait++
	}
	if w.ns > int64(r.maxDelay) || w.ns == int64(r.maxDelay) && w.part > 0 {
		return full, wait, false
	}
	return next, wait, true
}

func (r *rate) add(a, b instant) instant {
	s := instant{a.ns + b.ns, a.part}
	// Without overflow, for unit may be near the largest number.
	if s.part >= r.unit-b.part {
		s.part -= r.unit - b.part
		s.ns++
	} else {
		s.part += b.part
	}
	if s.ns > math.MaxInt64/2 {
		s = instant{ns: math.MaxInt64 / 2}
	}
	return s
}

func (r *rate) sub(a, b instant) instant {
	s := instant{a.ns - b.ns, a.part - b.part}
	if s.part < 0 {
		s.part += r.unit
		s.ns--
	}
	return s
}

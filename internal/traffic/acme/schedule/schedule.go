// Package schedule holds the times by which the ACME manager acts, as tables and functions without a clock: when a failed
// attempt is repeated, when a certificate is renewed, and how long an order waits so that the CA's published limits are
// never met. Callers give the time, and a chance between 0 and 1 where instances must not act all at once.
package schedule

import (
	"fmt"
	"hash/fnv"
	"time"
)

// retries are the pauses behind the first, second, ... failed attempt that a CA heard of; the last one repeats. The elapsed
// time is 0:01, 0:06, 0:21, 1:21, 3:21, 7:21, 15:21, then every eight hours: four failures in the first hour, where Let's Encrypt
// blocks a name at five, and few enough per day for its count of consecutive ones to shrink faster than it grows to matter.
var retries = [...]time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
}

// Times of attempts that reach no CA. They cost nobody anything, so they are close at first.
const (
	firstProbe = time.Second
	longProbe  = 30 * time.Second
	probing    = 10 * time.Minute
)

// longest is the longest pause that we believe, whoever asks for it.
const longest = 7 * 24 * time.Hour

// Retry returns the pause behind the failures-th failed attempt (1 is the first), with up to a fifth added by chance. left is
// how long a certificate that is in use stays valid, zero without one: the pause is at most a tenth of that, so that
// certificates of some days get their share of attempts, and at least a minute.
func Retry(failures int, left time.Duration, chance float64) time.Duration {
	pause := retries[min(max(failures, 1), len(retries))-1]
	if left > 0 {
		pause = min(pause, max(left/10, time.Minute))
	}
	return pause + time.Duration(chance*float64(pause)/5)
}

// Probe returns the pause behind the n-th attempt in a row that reached no CA, the first of which was at since: a second,
// doubling to thirty for ten minutes, then as Retry counts on from there.
func Probe(n int, since, now time.Time, chance float64) time.Duration {
	if now.Sub(since) < probing {
		pause := longProbe
		if n < 6 {
			pause = min(longProbe, firstProbe<<max(n-1, 0))
		}
		return pause
	}
	// 1, 2, 4, 8, 16 and from there 30 seconds take 24 attempts for ten minutes.
	return Retry(n-24, 0, chance)
}

// Believe bounds a time that a CA named or that stands in the storage: nothing is put off for longer than a week, whatever
// became of the clock.
func Believe(until, now time.Time) time.Time {
	if last := now.Add(longest); until.After(last) {
		return last
	}
	return until
}

// Renewal returns when a certificate is renewed whose CA has nothing to say about it: at two thirds of its lifetime, minus
// up to a fiftieth of it by spread, so that those issued together are not renewed together.
func Renewal(notBefore, notAfter time.Time, spread float64) time.Time {
	life := notAfter.Sub(notBefore)
	return notBefore.Add(life*2/3 - time.Duration(spread*float64(life)/50))
}

// Within returns the moment in a window that belongs to spread (RFC 9773, section 4.2).
func Within(begin, end time.Time, spread float64) time.Time {
	return begin.Add(time.Duration(spread * float64(end.Sub(begin))))
}

// AskAgain bounds what a CA says about when to ask it for a renewal window again: once per hour to once per day, and more often
// for certificates that live less than that allows.
func AskAgain(after, life time.Duration) time.Duration {
	const usual = 6 * time.Hour
	if after <= 0 {
		after = usual
	}
	low, high := time.Hour, 24*time.Hour
	if life > 0 {
		low, high = min(low, life/24), min(high, life/6)
	}
	return min(max(after, low), high)
}

// Spread turns a text into a number between 0 and 1 that is always the same for it.
func Spread(text string) float64 {
	h := fnv.New64a()
	h.Write([]byte(text)) // never fails
	return float64(h.Sum64()>>11) / (1 << 53)
}

// Rate is how much of something is allowed in how long.
type Rate struct {
	N      int
	Window time.Duration
}

// wait returns when one more of what happened at times is allowed, in the past if now.
func (r Rate) wait(times []time.Time, now time.Time) time.Time {
	if r.N <= 0 {
		return time.Time{}
	}
	recent := within(times, now, r.Window)
	if len(recent) < r.N {
		return time.Time{}
	}
	return recent[len(recent)-r.N].Add(r.Window)
}

// String tells the rate in words.
func (r Rate) String() string { return fmt.Sprintf("%d in %s", r.N, Span(r.Window)) }

// within returns the times that are younger than window. What lies in the future, since the clock went back, counts as now.
func within(times []time.Time, now time.Time, window time.Duration) []time.Time {
	var out []time.Time
	for _, t := range times {
		if now.Sub(t) < window {
			out = append(out, t)
		}
	}
	return out
}

// Span writes a duration in its largest unit, for people.
func Span(d time.Duration) string {
	unit := func(n int64, name string) string {
		if n == 1 {
			return "1 " + name
		}
		return fmt.Sprintf("%d %ss", n, name)
	}
	switch {
	case d >= 48*time.Hour:
		return unit(int64(d.Round(24*time.Hour)/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return unit(int64(d.Round(time.Hour)/time.Hour), "hour")
	case d >= 2*time.Minute:
		return unit(int64(d.Round(time.Minute)/time.Minute), "minute")
	default:
		return unit(int64(max(d.Round(time.Second), time.Second)/time.Second), "second")
	}
}

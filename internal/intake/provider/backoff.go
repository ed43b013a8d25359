package provider

import (
	"math/rand/v2"
	"time"
)

// Waits between the runs of what fails.
const (
	firstRetry = 500 * time.Millisecond
	retryCap   = time.Minute
	// A run that lasted this long was a success: the next failure begins with firstRetry again.
	steadyRun = 30 * time.Second
)

// Backoff is the wait after the failures of one source: half a second at first, half as much again after each further one,
// a minute at most. The zero value is ready. It is used by one goroutine at a time.
type Backoff struct{ mean time.Duration }

// Next returns how long to wait after a run that lasted for ran and then failed: half to one and a half times what is due,
// so that many instances do not come back at the same moment. A run of 30 seconds or more begins anew.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	if b.mean == 0 || ran >= steadyRun {
		b.mean = firstRetry
	}
	wait := time.Duration(float64(b.mean) * (0.5 + rand.Float64()))
	b.mean = min(b.mean*3/2, retryCap)
	return wait
}

package httpmsg

import "time"

// Sleep waits for d, or until the exchange is cancelled, and returns the cause of a cancellation. It takes the place of
// OnCancel while it waits: call it where nobody else works for the exchange.
func (x *Exchange) Sleep(d time.Duration) error {
	if d <= 0 {
		return x.Cancelled()
	}
	gone := make(chan struct{}, 1)
	cancel := func(error) {
		select {
		case gone <- struct{}{}:
		default:
		}
	}
	x.OnCancel(&cancel)
	defer x.OnCancel(nil)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
	}
	return x.Cancelled()
}

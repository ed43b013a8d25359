package httpmsg

import "time"

// Sleep waits for d, or until the exchange is cancelled, and returns the cause of a cancellation. It takes the place of
// OnCancel while it waits: call it where nobody else works for the exchange.
func (x *Exchange) Sleep(d time.Duration) error {
	if d <= 0 {
		return x.Cancelled()
	}
	_, err := x.Await(nil, d)
	return err
}

// Await waits until done is closed, for d at most (d < 0 is no limit), and reports whether it was. It ends like Sleep when the
// exchange is cancelled, and takes the place of OnCancel like it.
func (x *Exchange) Await(done <-chan struct{}, d time.Duration) (closed bool, err error) {
	gone := make(chan struct{}, 1)
	cancel := func(error) {
		select {
		case gone <- struct{}{}:
		default:
		}
	}
	x.OnCancel(&cancel)
	defer x.OnCancel(nil)
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-done:
		closed = true
	case <-over:
	case <-gone:
	}
	return closed, x.Cancelled()
}

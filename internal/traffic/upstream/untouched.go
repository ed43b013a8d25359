package upstream

import "sluice/internal/wire/httpmsg"

// Untouched reports whether the request of x can be sent again from the beginning with before, the body that it had ahead of
// an attempt: nobody has read of it since. A body that is in memory counts as unread, since Exchange.Rewind starts it again.
//
// A body that took the place of another one has read that one, unless it has a method Unread() httpmsg.Body, which
// returns the one below while nothing of it was read, and nil afterwards.
func Untouched(x *httpmsg.Exchange, before httpmsg.Body) bool {
	if _, ok := before.(*httpmsg.Bytes); ok || before == nil {
		return true
	}
	body := x.Req.Body
	for body != nil && body != before {
		over, ok := body.(interface{ Unread() httpmsg.Body })
		if !ok {
			return false
		}
		body = over.Unread()
	}
	return body != nil
}

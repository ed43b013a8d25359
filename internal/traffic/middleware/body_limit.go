package middleware

import (
	"sync"
	"sync/atomic"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// bodyLimit refuses request bodies that are too large. It keeps none of them: one that tells its length is refused before
// it is sent, another one is cut when it has passed the limit.
type bodyLimit struct {
	max  int64
	next httpmsg.Handler
}

func checkBodyLimit(c *dynamic.Middleware) diag.List {
	var l diag.List
	if c.BodyLimit.MaxBytes <= 0 {
		l.Add(Bad("bodyLimit.maxBytes", "maxBytes is not more than zero", "write the size of the largest body in bytes"))
	}
	return l
}

func buildBodyLimit(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	return &bodyLimit{max: c.BodyLimit.MaxBytes, next: next}, nil
}

var errBodyTooLarge = fault.New(fault.BodyTooLarge, "the request body is larger than bodyLimit.maxBytes", nil)

// Serve bounds the request's body.
func (b *bodyLimit) Serve(x *httpmsg.Exchange) error {
	switch {
	case x.Req.Body == nil:
	case x.Req.ContentLength > b.max:
		return errBodyTooLarge
	case x.Req.ContentLength < 0:
		l := limitedBodies.Get().(*limitedBody)
		l.body, l.left, l.read = x.Req.Body, b.max, false
		l.over.Store(false)
		x.Req.Body = l
		x.OnRelease(l)
		err := b.next.Serve(x)
		// Whoever sent the body on may have taken the cut for a fault of its own.
		if err != nil && l.over.Load() && fault.Of(err).Kind != fault.BodyTooLarge {
			return errBodyTooLarge
		}
		return err
	}
	return b.next.Serve(x)
}

// limitedBody is a request body that breaks beyond its limit. It belongs to whoever reads the body.
type limitedBody struct {
	body httpmsg.Body
	left int64
	read bool        // Next was called
	over atomic.Bool // read by the serving goroutine while a pump may hold the body
}

var limitedBodies = sync.Pool{New: func() any { return new(limitedBody) }}

// Next returns errBodyTooLarge in place of the bytes that pass the limit.
func (l *limitedBody) Next() ([]byte, error) {
	if l.over.Load() {
		return nil, errBodyTooLarge
	}
	l.read = true
	p, err := l.body.Next()
	if l.left -= int64(len(p)); l.left < 0 {
		l.over.Store(true)
		return nil, errBodyTooLarge
	}
	return p, err
}

// Unread returns the body below while nothing of it was read, see upstream.Untouched.
func (l *limitedBody) Unread() httpmsg.Body {
	if l.read {
		return nil
	}
	return l.body
}

// Ready reports whether Next would return without waiting.
func (l *limitedBody) Ready() bool { return l.over.Load() || l.body.Ready() }

// Trailer returns the fields behind the body.
func (l *limitedBody) Trailer() *httpmsg.Header { return l.body.Trailer() }

// Close gives the body up.
func (l *limitedBody) Close() { l.body.Close() }

// Interrupt calls off a Next that waits.
func (l *limitedBody) Interrupt() {
	if i, ok := l.body.(httpmsg.Interrupter); ok {
		i.Interrupt()
	}
}

// Release takes the memory back when nobody reads the body any more.
func (l *limitedBody) Release() {
	l.body = nil
	limitedBodies.Put(l)
}

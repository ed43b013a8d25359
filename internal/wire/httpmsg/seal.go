package httpmsg

import "io"

// Seal makes what handlers registered since the mark a part of the response: their edits are run now, and the body becomes
// what their filters make of it. So the response stands as a value at this place of the chain, to be kept or to be judged
// by what it will say. Call it when the handler has returned without error and has not switched protocols. It reads as much
// of the body as the filters need to settle the head; an error is that of the body or of a filter.
func (x *Exchange) Seal(m *Mark) error {
	for i := len(x.edits) - 1; i >= m.edits; i-- {
		x.edits[i].EditResponse(x)
	}
	clear(x.edits[m.edits:])
	x.edits = x.edits[:m.edits]
	own := x.filters[m.filters:]
	if len(own) == 0 {
		return nil
	}
	b := &sealedBody{x: x, src: x.Res.Body, filters: append([]Filter{}, own...)}
	clear(own)
	x.filters = x.filters[:m.filters]
	if x.Bodiless() {
		for _, f := range b.filters {
			f.Head(x)
		}
		b.Close()
		x.Res.Body = nil
		return nil
	}
	b.d.inside = true
	b.d.begin(x, b.filters, b)
	if err := b.d.settle(0); err != nil {
		b.err = err
	}
	for !b.d.whole() && b.err == nil {
		b.move()
	}
	x.Res.Body = b // not before: filters may look at the one there is
	if b.err != nil && b.err != io.EOF {
		return b.err
	}
	return nil
}

// sealedBody is a body behind its filters, to be read instead of being pushed. It is its own outlet.
type sealedBody struct {
	x       *Exchange
	src     Body // nil for an empty body
	filters []Filter
	d       delivery
	out     []byte // emitted and not returned yet
	last    []byte // returned by the last Next; its memory is used again by the one after it
	err     error
	closed  bool
}

// move reads on once.
func (b *sealedBody) move() {
	err := io.EOF
	if b.src != nil {
		err = b.d.step(b.src)
	}
	if err == io.EOF {
		if err = b.d.end(); err == nil {
			err = io.EOF
		}
	}
	b.err = err
}

// Next implements Body.
func (b *sealedBody) Next() ([]byte, error) {
	for len(b.out) == 0 && b.err == nil && !b.closed {
		b.move()
	}
	switch {
	case b.closed:
		return nil, io.EOF
	case len(b.out) > 0:
		p := b.out
		b.out, b.last = b.last[:0], p
		// Whoever reads it counts it once more; what the server sent was counted before the filters.
		b.x.Facts.OriginBytes -= int64(len(p))
		return p, nil
	}
	return nil, b.err
}

// Ready implements Body.
func (b *sealedBody) Ready() bool {
	return len(b.out) > 0 || b.err != nil || b.src == nil || b.src.Ready()
}

// Trailer implements Body.
func (b *sealedBody) Trailer() *Header {
	if b.src == nil || b.err != io.EOF || len(b.out) > 0 {
		return nil
	}
	return b.src.Trailer()
}

// Close implements Body.
func (b *sealedBody) Close() {
	if b.closed {
		return
	}
	b.closed = true
	if b.src != nil {
		b.src.Close()
	}
	for i := len(b.filters) - 1; i >= 0; i-- {
		b.filters[i].Close()
	}
}

// Head implements Outlet.
func (b *sealedBody) Head(*Exchange, bool) error { return nil }

// Body implements Outlet.
func (b *sealedBody) Body(p []byte) error {
	b.out = append(b.out, p...)
	return nil
}

// Flush implements Outlet.
func (b *sealedBody) Flush() error { return nil }

// End implements Outlet.
func (b *sealedBody) End(*Header) error { return nil }

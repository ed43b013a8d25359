package http1

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// requestBody is the body of the request under way, read from the client's connection. One goroutine at a time uses it;
// Interrupt may be called from any.
type requestBody struct {
	stream
	k    *conn
	err  error // what ended it
	buf  *[bodyBuffer]byte
	lent bool // stream.in is part of buf and no longer of the head's buffer

	behind int64 // how much of the body did not come with the head; -1 where that cannot be known

	started     atomic.Bool // somebody has asked for bytes
	interrupted atomic.Bool

	// Progress: at least bodyProgress bytes must come while we wait for Timeouts.Read in all.
	waited time.Duration
	got    int
}

// begin makes b stand before a body.
func (b *requestBody) begin(f framing, size int64, rest []byte) {
	b.stream.begin(f, size, rest)
	b.err, b.lent, b.waited, b.got = nil, false, 0, 0
	b.behind = 0
	switch f {
	case counted:
		b.behind = max(size-int64(len(rest)), 0)
	case chunked:
		b.behind = -1
	}
	if b.started.Load() {
		b.started.Store(false)
	}
	if b.interrupted.Load() {
		b.interrupted.Store(false) // of an exchange on a connection that has ended since
	}
}

// release gives the buffer back.
func (b *requestBody) release() {
	if b.buf != nil {
		httpmsg.Poison(b.buf[:])
		bodies.Put(b.buf)
		b.buf = nil
	}
	b.in = nil
}

// Next implements httpmsg.Body.
func (b *requestBody) Next() ([]byte, error) {
	if !b.started.Load() {
		b.started.Store(true)
	}
	for b.err == nil {
		p, what, reason := b.take()
		switch what {
		case pieceData:
			b.k.w.x.Facts.BytesIn += int64(len(p))
			return p, nil
		case pieceEnd:
			b.err = io.EOF
		case pieceBad:
			b.err = fault.New(fault.BadRequest, "request body: "+reason, nil)
		case pieceMore:
			if b.interrupted.Load() {
				return nil, httpmsg.ErrInterrupted
			}
			if b.k.w.x.Req.Continue {
				b.k.w.send.interim(100, nil)
			}
			if err := b.fill(b.k.s.Timeouts.Read); err != nil {
				if b.interrupted.Load() {
					return nil, httpmsg.ErrInterrupted
				}
				b.err = err
			}
		}
	}
	return nil, b.err
}

// fill reads more of the body. limit is the time that waiting may take in all until there is progress again.
func (b *requestBody) fill(limit time.Duration) error {
	if b.buf == nil {
		b.buf = bodies.Get().(*[bodyBuffer]byte)
	}
	room := b.buf[:]
	if b.framing == counted && int64(len(room)) > b.left {
		room = room[:b.left] // what follows belongs to the next head
	}
	w := b.k.s.Watch
	var from int64
	if limit > 0 {
		from = w.Now()
		b.k.in.Arm(max(limit-b.waited, 0))
	}
	n, err := b.k.c.Read(room)
	if limit > 0 && !b.k.in.Disarm() {
		return fault.New(fault.BodyStalled, "the request body came too slowly", nil)
	}
	if n > 0 {
		if limit > 0 {
			b.waited += time.Duration(w.Now() - from)
			if b.got += n; b.got >= bodyProgress {
				b.got, b.waited = 0, 0
			}
		}
		b.feed(room[:n])
		b.lent = true
		return nil
	}
	switch {
	case err == nil:
		return nil
	case err == io.EOF:
		return fault.New(fault.BodyCut, "the client ended the connection inside the request body", nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.BodyStalled, "the request body came too slowly", nil)
	}
	return fault.New(fault.ClientGone, "reading the request body", err)
}

// Ready implements httpmsg.Body.
func (b *requestBody) Ready() bool { return b.err != nil || b.ready() }

// Trailer implements httpmsg.Body. Request trailers are checked and dropped (RFC 9110 section 6.5.1 leaves their use to
// those who know them; nobody does).
func (b *requestBody) Trailer() *httpmsg.Header { return nil }

// Close implements httpmsg.Body. What has not been read is left to the connection's loop.
func (b *requestBody) Close() {
	if b.err == nil {
		b.err = fault.New(fault.Internal, "request body read after Close", nil)
		if b.ended() {
			b.err = io.EOF
		}
	}
}

// Interrupt implements httpmsg.Interrupter.
func (b *requestBody) Interrupt() {
	b.interrupted.Store(true)
	b.k.c.SetReadDeadline(past)
}

// resume takes an Interrupt back, when nobody else reads any more.
func (b *requestBody) resume() {
	if b.interrupted.Load() {
		b.interrupted.Store(false)
		b.k.c.SetReadDeadline(time.Time{})
	}
}

// broken reports whether the place of the next message is lost.
func (b *requestBody) broken() bool {
	f, ok := b.err.(*fault.Fault)
	return ok && f.Kind != fault.Internal
}

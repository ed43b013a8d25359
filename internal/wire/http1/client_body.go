package http1

import (
	"errors"
	"io"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

var _ httpmsg.Body = (*call)(nil)

var errClosed = errors.New("response body was closed")

// Next returns the next piece of the response body, straight out of the buffer that the socket was read into.
func (k *call) Next() ([]byte, error) {
	for k.err == nil {
		p, what, reason := k.stream.take()
		switch what {
		case pieceData:
			if k.head.framing == counted && k.stream.left == 0 {
				// The connection is free before the client has taken the last piece.
				k.leave(k.reusable())
			}
			return p, nil
		case pieceEnd:
			k.err = io.EOF
			k.leave(k.reusable())
		case pieceBad:
			k.breakOff(fault.New(fault.UpstreamProtocol, "response body: "+reason, nil))
		case pieceMore:
			k.read()
		}
	}
	k.putBig()
	return nil, k.err
}

func (k *call) reusable() bool { return k.head.persist && len(k.stream.in) == 0 }

// read feeds the stream with what the socket has next.
func (k *call) read() {
	window := k.window()
	c := k.c
	limit := c.opts.BodyIdleTimeout
	if c.watched(limit) {
		c.entry.Arm(limit)
	}
	n, err := c.nc.Read(window)
	if c.watched(limit) {
		c.entry.Disarm()
	}
	if n > 0 {
		k.filled = n == len(window)
		k.stream.feed(window[:n])
		return
	}
	if err == io.EOF && k.head.framing == toClose {
		k.err = io.EOF
		k.leave(false)
		return
	}
	f := k.broken(fault.UpstreamCut, "response body was cut", err)
	k.breakOff(f)
}

// breakOff ends a body that cannot be read to its end.
func (k *call) breakOff(f *fault.Fault) {
	k.err = f
	k.leave(false)
}

// window is where the next bytes of the body go: behind the head while that is enough, else into a buffer of its own.
func (k *call) window() []byte {
	if k.big != nil {
		return k.big[:]
	}
	tail := k.buf[k.head.pos:cap(k.buf)]
	switch {
	case k.head.framing == counted && k.stream.left <= int64(len(tail)):
		return tail
	case k.head.framing != counted && !k.filled && len(tail) >= callBuffer/2:
		return tail
	}
	k.big = bodies.Get().(*[bodyBuffer]byte)
	return k.big[:]
}

func (k *call) putBig() {
	if k.big != nil {
		httpmsg.Poison(k.big[:])
		bodies.Put(k.big)
		k.big = nil
	}
}

// Ready reports whether Next has something without reading.
func (k *call) Ready() bool { return k.err != nil || k.stream.ready() }

// Trailer returns the fields behind a chunked body.
func (k *call) Trailer() *httpmsg.Header {
	if k.err != io.EOF {
		return nil
	}
	return k.stream.trailer()
}

// Close gives the rest of the body up.
func (k *call) Close() {
	if k.err == nil {
		k.err = errClosed
		k.leave(false)
	}
	k.putBig()
}

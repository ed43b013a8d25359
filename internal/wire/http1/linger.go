package http1

import (
	"time"

	"sluice/internal/wire/httpmsg"
)

// nextMessage makes the connection stand at the beginning of the next request: what was left of the last one's body is read
// and thrown away, within limits; its bytes are never parsed as a request. It reports false if the connection must end.
func (k *conn) nextMessage() bool {
	w := k.w
	b := &w.body
	b.resume()
	if b.broken() || !b.ended() && !k.discard() {
		return false
	}
	rest := b.in
	if b.framing == noBody {
		rest = w.buf[w.start:w.end]
	}
	from := w.head.start
	if b.lent {
		// Pipelined bytes were read along with the end of the body.
		if len(rest) > len(w.buf) && !k.growBuffer(len(rest)) {
			return false
		}
		httpmsg.Poison(w.buf)
		w.start, w.end = 0, copy(w.buf, rest)
	} else {
		w.start = w.end - len(rest)
		httpmsg.Poison(w.buf[from:w.start])
		if w.start == w.end {
			w.start, w.end = 0, 0
		}
	}
	b.release()
	return true
}

// discard reads the rest of the body within drainBytes and drainTime.
func (k *conn) discard() bool {
	b := &k.w.body
	if b.framing == counted && b.left-int64(len(b.in)) > drainBytes {
		return false
	}
	end := k.s.Watch.Now() + int64(drainTime)
	for left := drainBytes; ; {
		p, what, _ := b.take()
		switch what {
		case pieceEnd:
			return true
		case pieceBad:
			return false
		case pieceData:
			if left -= len(p); left < 0 {
				return false
			}
		case pieceMore:
			now := k.s.Watch.Now()
			if now >= end {
				return false
			}
			b.waited, b.got = 0, 0
			if b.fill(time.Duration(end-now)) != nil {
				return false
			}
		}
	}
}

// unread reports whether the client has sent, or may still send, what we have not read.
func (k *conn) unread() bool {
	b := &k.w.body
	if b.framing == noBody {
		return k.w.start < k.w.end
	}
	return b.broken() || !b.ended() || len(b.in) > 0
}

// linger ends our direction and reads what the client has sent or still sends for a while, so that the reset for unread
// bytes does not destroy the answer on its way (RFC 9112 section 9.6).
func (k *conn) linger(d time.Duration) {
	if k.c.CloseWrite() != nil || k.c.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	mem := bodies.Get().(*[bodyBuffer]byte)
	defer bodies.Put(mem)
	for left := drainBytes; left > 0; {
		n, err := k.c.Read(mem[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// abort closes the connection so that the client sees an error.
func (k *conn) abort() {
	if a, ok := k.c.(interface{ Reset() error }); ok {
		a.Reset()
		return
	}
	k.c.Close()
}

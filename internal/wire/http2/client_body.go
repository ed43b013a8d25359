package http2

import (
	"errors"
	"io"
	"sync"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

var _ httpmsg.Body = (*call)(nil)

var errClosed = errors.New("response body was closed")

const chunkSize = 16 << 10

// chunk holds bytes of a body between reader and client. Bytes before r have been given out.
type chunk struct {
	r, w int
	next *chunk
	b    [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// inbox is a body on its way. Small frames share a chunk, so that what is held stays near what came.
type inbox struct {
	first, last *chunk
	room        int  // what the server may still send
	size        int  // of the window that it gets
	owed        int  // taken by the client, and not yet given back to the server
	waited      bool // the client waited for bytes since it was last given back
}

// add appends p.
func (q *inbox) add(p []byte) {
	for len(p) > 0 {
		if q.last == nil || q.last.w == chunkSize {
			c := chunks.Get().(*chunk)
			c.r, c.w, c.next = 0, 0, nil
			if q.last == nil {
				q.first = c
			} else {
				q.last.next = c
			}
			q.last = c
		}
		n := copy(q.last.b[q.last.w:], p)
		q.last.w += n
		p = p[n:]
	}
}

// drop frees the chunks that have been given out to their end. Nobody may look at them any more.
func (q *inbox) drop() {
	for c := q.first; c != nil && c.r == c.w; c = q.first {
		q.pop()
	}
}

func (q *inbox) pop() {
	c := q.first
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	httpmsg.Poison(c.b[:c.w])
	chunks.Put(c)
}

func (q *inbox) empty() {
	for q.first != nil {
		q.pop()
	}
}

// admit looks at a DATA frame of a stream before its bytes come: length counts against the window, data is body. A code other
// than ErrCodeNo resets the stream.
func (k *call) admit(c *ClientConn, id uint32, length, data int) (frames.ErrCode, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.owner != c || k.id != id:
		return frames.ErrCodeNo, ""
	case k.status == 0:
		return frames.ErrCodeProtocol, "a body before its head"
	case k.ended:
		return frames.ErrCodeStreamClosed, "a body behind its end"
	}
	if k.room -= length; k.room < 0 {
		return frames.ErrCodeFlowControl, "more DATA than the stream's window allows"
	}
	k.owed += length - data // padding is consumed here
	if k.bodiless {
		k.owed += data
		return frames.ErrCodeNo, ""
	}
	if k.received += int64(data); k.declared >= 0 && k.received > k.declared {
		return frames.ErrCodeProtocol, "the response is longer than its Content-Length"
	}
	return frames.ErrCodeNo, ""
}

// push takes bytes of the body.
func (k *call) push(c *ClientConn, id uint32, p []byte) {
	k.mu.Lock()
	if k.owner == c && k.id == id && !k.bodiless {
		k.add(p)
		k.event.wake()
	}
	k.mu.Unlock()
}

// deliver takes a head or a trailer. It returns what is wrong with it.
func (k *call) deliver(c *ClientConn, id uint32, h *head) (wrong string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.owner != c || k.id != id:
		return ""
	case k.ended:
		return "a head behind the end"
	case k.status != 0:
		if !h.end || h.status != 0 {
			return "a second head within the body"
		}
		k.trailer = append(k.trailer[:0], h.fields...)
		return ""
	case h.status == 0:
		return "a head without :status"
	case h.status == 101:
		return "101 does not exist in HTTP/2" // RFC 9113 section 8.6
	case h.status < 200:
		if h.end {
			return "the stream ended with a 1xx"
		}
		if len(k.interims) < maxInterim {
			from := len(k.fields)
			k.fields = append(k.fields, h.fields...)
			k.interims = append(k.interims, interim{h.status, from, len(k.fields)})
			k.event.wake()
		}
		return ""
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.ID == httpmsg.HdrContentLength {
			n, ok := httpmsg.ParseLength(f.Value)
			if !ok || k.declared >= 0 {
				return "Content-Length is not one number"
			}
			k.declared = n
		}
	}
	k.bodiless = k.isHead || h.status == 204 || h.status == 304
	if h.end && k.declared > 0 && !k.bodiless {
		return "the response is shorter than its Content-Length"
	}
	k.head = len(k.fields)
	k.fields = append(k.fields, h.fields...)
	k.status, k.ended = h.status, h.end
	k.event.wake()
	return ""
}

// complete notes END_STREAM.
func (k *call) complete(c *ClientConn, id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.owner != c || k.id != id {
		return
	}
	k.ended = true
	if k.declared >= 0 && k.received < k.declared && !k.bodiless && k.lost.reason == "" {
		k.lost = ending{kind: fault.UpstreamCut, reason: "the response is shorter than its Content-Length"}
	}
	k.event.wake()
}

// lose ends the stream for those who wait. The lock of the connection is held, and the stream is among its streams.
func (k *call) lose(e ending) {
	k.mu.Lock()
	if !k.ended && k.lost.reason == "" {
		k.lost = e
	}
	k.mu.Unlock()
	k.event.wake()
	k.upload.event.wake()
}

// Next returns the next piece of the response body.
func (k *call) Next() ([]byte, error) {
	for k.err == nil {
		k.mu.Lock()
		k.drop()
		if q := k.first; q != nil {
			p := q.b[q.r:q.w]
			q.r = q.w
			n := k.consumed(len(p))
			k.mu.Unlock()
			if n > 0 {
				k.c.credit(k.number, n)
			}
			return p, nil
		}
		ended, lost := k.ended, k.lost
		k.waited = true
		k.mu.Unlock()
		switch {
		case lost.reason != "":
			k.breakOff(k.cut(lost))
		case ended:
			k.err = io.EOF
			if k.upload.done == nil {
				k.leave()
			}
		default:
			k.wait()
		}
	}
	return nil, k.err
}

// consumed counts n bytes that the client takes, and returns how many the server may send for it. k.mu is held.
func (k *call) consumed(n int) (credit int) {
	k.owed += n
	if k.ended || k.lost.reason != "" || k.owed < k.size/2 {
		return 0
	}
	credit = k.owed
	if k.waited && k.size < maxStreamWindow {
		// The client is faster than the window lets the server be.
		credit += k.size
		k.size *= 2
	}
	k.owed, k.waited = 0, false
	k.room += credit
	return credit
}

// wait waits for more of the body.
func (k *call) wait() {
	const doing = "reading the response body"
	if f := k.interrupted(doing); f != nil {
		k.breakOff(f)
		return
	}
	limit := k.opts.BodyIdleTimeout
	if k.watched && limit > 0 {
		k.entry.Arm(limit)
	}
	k.event.wait()
	if k.watched && limit > 0 {
		k.entry.Disarm()
	}
}

// cut is the fault of a body that did not come to its end.
func (k *call) cut(e ending) *fault.Fault {
	if e.kind == fault.UpstreamClosed {
		e.kind, e.reason = fault.UpstreamCut, "response body was cut: "+e.reason
	}
	return fault.New(e.kind, e.reason, e.err)
}

// breakOff ends a body that cannot be read to its end.
func (k *call) breakOff(f *fault.Fault) {
	k.err = f
	k.leave()
}

// Ready reports whether Next has something without waiting.
func (k *call) Ready() bool {
	if k.err != nil {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := k.first; c != nil; c = c.next {
		if c.r < c.w {
			return true
		}
	}
	return k.ended || k.lost.reason != ""
}

// Trailer returns the fields behind the body.
func (k *call) Trailer() *httpmsg.Header {
	if k.err != io.EOF {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trail.Len() == 0 {
		k.take(&k.trail, k.trailer)
	}
	if k.trail.Len() == 0 {
		return nil
	}
	return &k.trail
}

// Close gives the rest of the body up.
func (k *call) Close() {
	if k.err == nil {
		k.err = errClosed
		k.leave()
	}
	k.mu.Lock()
	k.empty()
	k.mu.Unlock()
}

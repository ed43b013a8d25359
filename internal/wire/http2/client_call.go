package http2

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

const (
	// maxInterim is how many 1xx responses of one exchange are passed on; more are dropped.
	maxInterim = 20
	// keptFields is how many fields a pooled call remembers the memory of.
	keptFields = 256
)

// call is one exchange on one stream. It belongs to the exchange and goes back to the pool when that is released; the stream
// may have ended long before. The locks order: that of the connection, then that of the call.
type call struct {
	c    *ClientConn // until leave; for the serving goroutine and the upload
	x    *httpmsg.Exchange
	opts *ClientOptions

	encoder *encoder
	upload  upload
	number  uint32 // of the stream; 0 before it is opened
	err     error  // what Next returns from now on
	names   []byte // canonical field names
	trail   httpmsg.Header
	entry   watch.Entry
	watched bool // entry is registered
	expired atomic.Bool
	event   event       // something that the serving goroutine waits for may have happened
	cancel  func(error) // made once

	// Guarded by the lock of the connection.
	window   int64  // what we may send
	start    uint64 // bytes that the connection had put out before the head
	sent     bool   // we have ended our side
	answered bool   // the server has ended its side
	gone     bool   // the stream was reset or refused, or the connection broke
	blocked  bool   // the upload waits for a window or for the writer

	mu sync.Mutex
	response
}

// response is what has come of a response. It is guarded by call.mu; the reader fills it and the serving goroutine takes from it.
type response struct {
	owner *ClientConn // nil when nobody waits for more
	id    uint32

	isHead   bool // the request was HEAD
	interims []interim
	seen     int             // of them
	fields   []httpmsg.Field // of interims and final head
	trailer  []httpmsg.Field
	status   int // of the final head
	head     int // where its fields begin
	bodiless bool
	declared int64 // Content-Length, -1 without one
	received int64 // of the body
	ended    bool  // END_STREAM
	lost     ending

	inbox
}

// interim is a 1xx head within response.fields.
type interim struct{ status, from, to int }

// ending says how a stream ended that did not end well. The zero value is one that goes on.
type ending struct {
	kind   fault.Kind
	reason string // not empty
	err    error
	retry  fault.Retry
	http1  bool
}

var calls = sync.Pool{New: func() any {
	k := &call{encoder: newEncoder()}
	k.event.init()
	k.upload.event.init()
	k.cancel = func(error) { k.event.wake() } // who waits looks at the exchange; too late a call does no harm
	return k
}}

// RoundTrip sends x's request on a stream that Reserve made room for, and puts the head of the response and its body source on
// x; x.Res must be empty.
//
// On error (ErrStale, ErrHTTP1Required or a *fault.Fault whose verdict says whether the request may be sent again) the
// stream is over. Otherwise it ends when the response has been read, or is reset when the body is given up.
func (c *ClientConn) RoundTrip(x *httpmsg.Exchange, t *httpmsg.Target) error {
	k := calls.Get().(*call)
	k.c, k.x, k.opts, k.declared = c, x, c.opts, -1
	if c.watch != nil && (c.opts.ResponseHeaderTimeout > 0 || c.opts.BodyIdleTimeout > 0) {
		k.watched = true
		c.watch.Add(&k.entry, k)
	}
	x.OnCancel(&k.cancel)
	err := k.exchange(t)
	if err == nil {
		x.OnRelease(k)
		if k.upload.done != nil {
			x.OnFinish(k)
		}
		return nil
	}
	x.Res.Header.Reset()
	x.Res.Status = 0
	k.Release()
	return err
}

// exchange does everything up to the response head.
func (k *call) exchange(t *httpmsg.Target) error {
	u := &k.upload
	u.begin(k, k.x)
	if f := k.encoder.head(k.x, t, k.c.secure, u.expect); f != nil {
		return f
	}
	if !u.expect && u.body != nil {
		if f := u.gather(); f != nil {
			return f
		}
	}
	if !k.open() {
		return ErrStale
	}
	k.x.Facts.Sent = time.Now()
	if !k.finishedSending() {
		u.start()
	} else {
		u.sent()
	}
	return k.await()
}

// open puts the head and as much of the body as is there and may go into the connection's buffer. It reports false if the
// connection takes nothing any more.
func (k *call) open() bool {
	c, u := k.c, &k.upload
	c.mu.Lock()
	if c.ended || c.leaving {
		c.mu.Unlock()
		return false
	}
	id := c.nextID
	c.nextID += 2
	c.reserved--
	c.used = true
	c.streams[id] = k
	k.number, k.window, k.start = id, c.initial, c.appended
	k.sent, k.answered, k.gone, k.blocked = false, false, false, false
	k.mu.Lock()
	k.owner, k.id, k.isHead = c, id, k.x.Req.Method.Is("HEAD")
	k.room, k.size = streamWindow, streamWindow
	k.mu.Unlock()

	whole := u.complete && u.pending == nil && (u.body == nil || !u.trailers())
	k.sent = whole && len(u.gathered) == 0
	c.appendBlock(id, k.encoder.block.Bytes(), k.sent)
	rest := u.gathered
	for len(rest) > 0 {
		n := k.sendable(len(rest))
		if n == 0 {
			break
		}
		k.sendPiece(rest[:n], whole && n == len(rest))
		rest = rest[n:]
	}
	u.gathered = rest
	c.writer.Signal()
	exhausted := c.nextID > maxWindow // RFC 9113 section 5.1.1
	c.mu.Unlock()
	if exhausted {
		c.Close()
	}
	return true
}

// sendable returns how many bytes of n may be sent now in one frame. c.mu is held.
func (k *call) sendable(n int) int {
	return int(max(min(int64(n), initialFrame, k.window, k.c.window), 0))
}

// sendPiece sends p, which is sendable. c.mu is held.
func (k *call) sendPiece(p []byte, last bool) {
	c := k.c
	c.appendData(k.number, p, last)
	k.window -= int64(len(p))
	c.window -= int64(len(p))
	k.sent = k.sent || last
	c.writer.Signal()
}

// sendEnd ends our side of the stream, with trailers if there are any, unless that has happened.
func (k *call) sendEnd() {
	c := k.c
	c.mu.Lock()
	if !k.sent && !k.gone && !c.ended {
		if block := k.upload.trailer(k.encoder); block != nil {
			c.appendBlock(k.number, block, true)
		} else {
			c.appendData(k.number, nil, true)
		}
		k.sent = true
		c.writer.Signal()
	}
	closed := k.sent && k.answered
	c.mu.Unlock()
	if closed {
		c.close(k, k.number)
	}
}

func (k *call) finishedSending() bool {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	return k.sent
}

// close takes a stream off whose two sides have ended.
func (c *ClientConn) close(k *call, id uint32) {
	c.mu.Lock()
	open := c.streams[id] == k
	c.mu.Unlock()
	if open {
		c.release(id)
	}
}

// await waits for the final response head, and relays interim ones.
func (k *call) await() error {
	x := k.x
	for {
		k.mu.Lock()
		switch {
		case k.seen < len(k.interims):
			i := k.interims[k.seen]
			k.seen++
			if i.status != 100 || !x.Req.Continue {
				k.take(&x.Res.Header, k.fields[i.from:i.to])
			}
			k.mu.Unlock()
			k.interim(i.status)
			continue
		case k.status != 0:
			k.take(&x.Res.Header, k.fields[k.head:])
			k.mu.Unlock()
			return k.final()
		case k.lost.reason != "":
			e := k.lost
			k.mu.Unlock()
			return k.unanswered(e)
		}
		k.mu.Unlock()
		if f := k.interrupted("waiting for the response"); f != nil {
			return f
		}
		k.event.wait()
	}
}

// interrupted returns why nobody may wait for the server any longer, if that is so.
func (k *call) interrupted(doing string) *fault.Fault {
	if cause := k.x.Cancelled(); cause != nil {
		return httpmsg.GoneFault(doing, cause)
	}
	if f := k.upload.fault.Load(); f != nil {
		return f
	}
	if k.expired.Load() {
		return fault.New(fault.UpstreamSilent, doing, nil)
	}
	return nil
}

// unanswered is the error of a request whose stream ended before a response.
func (k *call) unanswered(e ending) error {
	if f := k.upload.fault.Load(); f != nil {
		return f
	}
	taken := k.upload.taken.Load()
	if e.http1 && !taken {
		return ErrHTTP1Required
	}
	if taken {
		e.retry = fault.Never
	}
	return fault.New(e.kind, e.reason, e.err).WithRetry(e.retry)
}

// interim relays a 1xx. A 100 opens the way for a body that waits for it, whose source tells the client by itself.
func (k *call) interim(status int) {
	x := k.x
	if status == 100 {
		k.upload.open()
		if x.Req.Continue {
			return
		}
	}
	// A client that cannot be written to is noticed by those who write the final response.
	_ = x.Interim(status, &x.Res.Header)
	x.Res.Header.Reset()
}

// final puts the response on the exchange, whose fields stand there already.
func (k *call) final() error {
	x, res := k.x, &k.x.Res
	if k.watched {
		k.upload.answered.Store(true)
		k.entry.Disarm()
		if k.expired.Load() {
			return fault.New(fault.UpstreamSilent, "waiting for the response", nil)
		}
	}
	k.mu.Lock()
	res.Status, res.ContentLength = k.status, k.declared
	bodiless, whole := k.bodiless, k.ended && k.lost.reason == ""
	empty := bodiless || whole && k.received == 0 && len(k.trailer) == 0
	k.mu.Unlock()
	x.Facts.FirstByte = time.Now()
	x.Facts.OriginStatus = res.Status
	res.Origin = true
	if !empty {
		res.Body = k
		return nil
	}
	k.err = io.EOF
	if !bodiless {
		res.ContentLength = 0
	}
	if whole && k.upload.done == nil {
		k.leave()
	}
	return nil
}

// take copies fields to h, without those that are not for the client. k.mu is held; the views are nobody's.
func (k *call) take(h *httpmsg.Header, fields []httpmsg.Field) {
	old := k.x.Req.Proto < httpmsg.HTTP2
	for _, f := range fields {
		if httpmsg.NotReturned.Has(f.ID) {
			continue
		}
		switch {
		case f.ID != httpmsg.HdrOther:
			f.Name = httpmsg.Text(f.ID.String())
		case old:
			// Clients of HTTP/1 are used to capitals, and some look for them.
			from := len(k.names)
			k.names = appendCanonical(k.names, f.Name)
			f.Name = k.names[from:len(k.names):len(k.names)]
		}
		h.Append(f)
	}
}

// Expire implements watch.Target.
func (k *call) Expire() {
	k.expired.Store(true)
	k.event.wake()
}

// CheckPeer implements watch.Target.
func (k *call) CheckPeer() {}

// leave lets go of the stream, which is reset if anything is still due on it.
func (k *call) leave() {
	c := k.c
	if c == nil {
		return
	}
	k.upload.stop()
	k.x.OnCancel(nil)
	if k.watched {
		c.watch.Remove(&k.entry)
		k.watched = false
	}
	k.mu.Lock()
	k.owner = nil
	k.mu.Unlock()
	c.mu.Lock()
	open := k.number != 0 && c.streams[k.number] == k
	if open && !k.gone && !(k.sent && k.answered) {
		c.reset(k.number, frames.ErrCodeCancel)
	}
	c.mu.Unlock()
	if open || k.number == 0 {
		c.release(k.number)
	}
	k.c = nil
}

// Finish ends an upload that outlived the response.
func (k *call) Finish(*httpmsg.Exchange) { k.leave() }

// Release ends what is left and gives the memory back.
func (k *call) Release() {
	k.Close()
	k.leave()
	httpmsg.Poison(k.names)
	k.upload.reset()
	k.mu.Lock()
	clear(k.fields)
	clear(k.trailer)
	r := &k.response
	*r = response{interims: r.interims[:0], fields: r.fields[:0], trailer: r.trailer[:0]}
	if cap(r.fields) > keptFields {
		r.fields = nil
	}
	k.mu.Unlock()
	if cap(k.names) > gatherMax || cap(k.encoder.text) > gatherMax || k.encoder.block.Cap() > gatherMax {
		k.names, k.encoder = nil, newEncoder()
	}
	k.names, k.number, k.err = k.names[:0], 0, nil
	k.trail.Reset()
	k.x, k.opts = nil, nil
	k.expired.Store(false)
	calls.Put(k)
}

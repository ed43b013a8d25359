package http1

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

const (
	callBuffer = 8 << 10  // holds nearly every head, and small bodies with it
	bodyBuffer = 32 << 10 // for bodies that go on
	keptBuffer = 64 << 10 // larger ones are not pooled
	gatherMax  = 16 << 10 // of a request body leaves together with the head
	maxInterim = 20
)

// call is one exchange on one connection. It belongs to the exchange, whose response head and body lie in its buffers, and
// goes back to the pool when that is released; the connection may be another exchange's long before.
type call struct {
	c *ClientConn
	x *httpmsg.Exchange
	t *Target

	opts *ClientOptions

	buf  []byte // the request, then the response head and what came with it
	w    int    // bytes of the response in buf
	head responseHead

	stream stream
	big    *[bodyBuffer]byte
	filled bool  // the last read filled its window: a larger one pays
	err    error // what Next returns from now on

	probed, stale, spoke bool
	wrote                int   // bytes of the head and gathered body that went out
	taken                bool  // bytes were read from a body that cannot be read again
	werr, rerr           error // of the first write and read
	cut                  *fault.Fault
	pump                 *pump // &upload while that runs
	upload               pump
	budgeted             int64 // taken from the budget for buf

	// What a cancellation, on another goroutine, looks at. See ClientConn.state.
	onConn     atomic.Pointer[ClientConn]
	onExchange atomic.Pointer[httpmsg.Exchange]

	// Made once, so that a request allocates no closures.
	step   func(fd uintptr) bool
	cancel func(error)
}

var calls = sync.Pool{New: func() any {
	k := &call{buf: make([]byte, 0, callBuffer)}
	k.step = k.turn
	k.cancel = k.cancelled
	return k
}}

var bodies = sync.Pool{New: func() any { return new([bodyBuffer]byte) }}

// RoundTrip sends x's request and puts the head of the response and its body source on x; x.Res must be empty. For 101 it
// sets x.Upgrade instead of a body.
//
// On error (ErrStale or a *fault.Fault whose verdict says whether the request may be sent again) the connection is
// closed. Otherwise it goes back to its keeper when the response has been read, or is closed when the body is given up.
func (c *ClientConn) RoundTrip(x *httpmsg.Exchange, t *Target) error {
	if c.under != nil && c.used() > 0 && !quiet(c.under) {
		c.retire(false)
		return ErrStale
	}
	k := calls.Get().(*call)
	k.c, k.x, k.t, k.opts = c, x, t, c.opts
	c.begin()
	k.onConn.Store(c)
	k.onExchange.Store(x)
	x.OnCancel(&k.cancel)
	if b, ok := x.Req.Body.(*httpmsg.Bytes); ok {
		b.Rewind()
	}

	f := k.exchange()
	if f == nil && !k.stale {
		x.OnRelease(k)
		if k.pump != nil {
			x.OnFinish(k)
		}
		return nil
	}
	stale := k.stale && f == nil
	x.Res.Header.Reset()
	x.Res.Status = 0
	k.leave(false)
	k.Release()
	if stale {
		return ErrStale
	}
	return f
}

// exchange does everything up to the response head.
func (k *call) exchange() *fault.Fault {
	c := k.c
	var f *fault.Fault
	if k.buf, f = appendRequest(k.buf[:0], k.x, k.t); f != nil {
		return f
	}
	if c.raw != nil {
		if err := c.raw.Read(k.step); err != nil && k.rerr == nil && !k.stale {
			k.rerr = err
		}
	} else if k.send() {
		k.w, k.rerr = c.nc.Read(k.buf[:cap(k.buf)])
	}
	switch {
	case k.cut != nil:
		return k.cut
	case k.spoke && c.used() == 1:
		return fault.New(fault.UpstreamProtocol, "server spoke before the request", nil).WithRetry(fault.Always)
	case k.stale:
		return nil
	case k.w == 0 && (k.rerr != nil || k.werr != nil):
		return k.unanswered()
	}
	return k.receive()
}

// turn is the first read of the exchange, with the write of the request inside.
//
// An idle connection may have been closed by the server, or hold bytes that nobody asked for; both must be seen before the
// request is written. Asking the socket costs a system call. Reading the response costs one as well that usually comes
// too early: the server has not answered yet. So the two are one here. The read that must find nothing comes before the
// write; after the write we wait until the socket is readable, without reading first. The check is free that way.
func (k *call) turn(fd uintptr) bool {
	if !k.probed {
		k.probed = true
		var one [1]byte
		n, again, _ := tryRead(fd, one[:])
		if !again {
			k.stale, k.spoke = true, n > 0
			return true
		}
		return !k.send()
	}
	n, again, err := tryRead(fd, k.buf[:cap(k.buf)])
	if again {
		return false
	}
	k.w, k.rerr = n, err
	return true
}

// send writes the request, as far as it leaves in one write. It reports whether a response may be waited for: a server may
// answer and close without having read everything, so a failed write does not mean that there is no answer.
func (k *call) send() bool {
	c, req := k.c, &k.x.Req
	var p *pump
	expect := false
	if req.Body != nil {
		p = &k.upload
		p.begin(k)
		// A body that is here already needs nobody's leave.
		expect = req.Continue && !p.inMemory
	}
	k.buf = appendFraming(k.buf, req, expect)
	if p != nil && !expect {
		if k.cut = p.gather(); k.cut != nil {
			return false
		}
		if p.complete {
			p = nil
		}
	}
	k.wrote, k.werr = c.nc.Write(k.buf)
	if k.werr != nil {
		return k.wrote > 0
	}
	k.x.Facts.Sent = time.Now()
	if p != nil {
		k.pump = p
		p.start(expect)
	} else if c.watched(c.opts.ResponseHeaderTimeout) {
		c.entry.Arm(c.opts.ResponseHeaderTimeout)
	}
	return true
}

// verdict says whether the request may be sent again after the server gave no answer.
func (k *call) verdict() fault.Retry {
	switch {
	case k.taken || k.pump != nil && k.pump.taken.Load():
		return fault.Never
	case k.wrote == 0:
		return fault.Always
	default:
		return fault.Idempotent
	}
}

// unanswered is the fault of a request that got not one byte of a response.
func (k *call) unanswered() *fault.Fault {
	err := k.rerr
	if err == nil || err == io.EOF && k.werr != nil {
		err = k.werr
	}
	f := k.broken(fault.UpstreamClosed, "waiting for the response", err)
	if f.Kind == fault.UpstreamClosed {
		f.Retry = k.verdict()
	}
	return f
}

// broken turns an I/O error into the fault that says whose it is. kind is for when it is the server's.
func (k *call) broken(kind fault.Kind, reason string, err error) *fault.Fault {
	if cause := k.x.Cancelled(); cause != nil {
		return httpmsg.GoneFault(reason, cause)
	}
	if k.pump != nil {
		if f := k.pump.fault.Load(); f != nil {
			return f
		}
	}
	if k.c.timedOut() && kind != fault.UpstreamCut {
		return fault.New(fault.UpstreamSilent, reason, err)
	}
	if err == io.EOF {
		err = nil // the reason says it
	}
	return fault.New(kind, reason, err)
}

// receive reads response heads until the final one, and puts that on the exchange.
func (k *call) receive() *fault.Fault {
	x, res := k.x, &k.x.Res
	isHead := x.Req.Method.Is("HEAD")
	k.head.reset(0)
	for interims := 0; ; {
		ok, f := k.head.parse(k.buf[:k.w], res, &k.c.lim)
		if f != nil {
			return f
		}
		if !ok {
			if f := k.more(); f != nil {
				return f
			}
			continue
		}
		if f := k.head.frame(res.Status, isHead); f != nil {
			return f
		}
		if res.Status == 101 {
			return k.upgrade()
		}
		if res.Status >= 200 {
			break
		}
		if interims++; interims <= maxInterim {
			k.interim()
		}
		res.Header.Reset()
		res.Status = 0
		// What follows moves to the front: the interim head has been dealt with.
		k.w = copy(k.buf[:cap(k.buf)], k.buf[k.head.pos:k.w])
		k.head.reset(0)
	}
	return k.final()
}

// interim relays a 1xx. A 100 opens the way for a body that waits for it, whose source tells the client by itself.
func (k *call) interim() {
	x := k.x
	if x.Res.Status == 100 {
		if k.pump != nil {
			k.pump.open()
		}
		if x.Req.Continue {
			return
		}
	}
	k.strip()
	// A client that cannot be written to is noticed by those who write the final response.
	_ = x.Interim(x.Res.Status, &x.Res.Header)
}

// more reads on into the head's buffer.
func (k *call) more() *fault.Fault {
	if k.w == cap(k.buf) {
		if f := k.grow(); f != nil {
			return f
		}
	}
	n, err := k.c.nc.Read(k.buf[k.w:cap(k.buf)])
	k.w += n
	if n > 0 {
		return nil
	}
	return k.broken(fault.UpstreamProtocol, "response head was cut", err)
}

// grow doubles the buffer, up to the limit of a head and one byte more that shows it was passed.
func (k *call) grow() *fault.Fault {
	size := min(2*cap(k.buf), k.c.lim.Head+1)
	if size <= cap(k.buf) {
		return fault.New(fault.UpstreamTooLarge, "response head: too large", nil)
	}
	budget := k.c.opts.Budget
	if !budget.Take(int64(size)) {
		return fault.New(fault.OutOfBudget, "buffering a large response head", nil)
	}
	bigger := make([]byte, size)
	copy(bigger, k.buf[:k.w])
	// Views parsed so far point into the old buffer, which therefore lives on until they are gone: it is only
	// dropped here, not reused.
	budget.Give(k.budgeted)
	k.budgeted = int64(size)
	k.buf = bigger[:0]
	return nil
}

// final puts the final head on the exchange and opens the body.
func (k *call) final() *fault.Fault {
	c, x, res := k.c, k.x, &k.x.Res
	if c.watched(c.opts.ResponseHeaderTimeout) {
		if k.pump != nil {
			k.pump.headDone.Store(true)
		}
		// Without an upload the time was armed, so that an entry which is not armed any more has expired.
		if !c.entry.Disarm() && k.pump == nil || c.timedOut() {
			return fault.New(fault.UpstreamSilent, "waiting for the response", nil)
		}
	}
	x.Facts.FirstByte = time.Now()
	x.Facts.OriginStatus = res.Status
	res.Origin = true
	k.strip()
	res.ContentLength = k.head.size
	rest := k.buf[k.head.pos:k.w]
	k.stream.begin(k.head.framing, k.head.size, rest)
	if k.head.framing == noBody {
		k.err = io.EOF
		if !x.Bodiless() {
			res.ContentLength = 0
		}
		k.leave(k.head.persist && len(rest) == 0)
		return nil
	}
	res.Body = k
	if k.head.framing == counted && int64(len(rest)) >= k.head.size {
		// All is here: the connection can serve somebody else while the client is written to.
		k.leave(k.head.persist && int64(len(rest)) == k.head.size)
	}
	return nil
}

// strip removes fields that are not for the client (RFC 9110 section 7.6.1), those that Connection names among them.
func (k *call) strip() {
	h := &k.x.Res.Header
	for i := range h.Len() {
		if h.At(i).ID == httpmsg.HdrConnection {
			k.stripNamed(i)
			break
		}
	}
	for i := range h.Len() {
		if httpmsg.NotReturned.Has(h.At(i).ID) {
			h.DeleteFunc(i, func(f *httpmsg.Field) bool { return httpmsg.NotReturned.Has(f.ID) })
			return
		}
	}
}

// stripNamed removes what the Connection fields name. They stay for the moment, so that their ordinals hold.
func (k *call) stripNamed(from int) {
	h := &k.x.Res.Header
	for n, i := 0, from; i >= 0; n++ {
		for rest := []byte(h.At(i).Value); rest != nil; {
			var name httpmsg.View
			name, rest = nextElement(rest)
			id := httpmsg.IDOfView(name)
			if len(name) == 0 || name.EqualFold("keep-alive") || name.EqualFold("close") || httpmsg.NotReturned.Has(id) {
				continue
			}
			h.DeleteFunc(0, func(f *httpmsg.Field) bool {
				return f.ID == id && (id != httpmsg.HdrOther || f.Name.EqualFold(string(name)))
			})
		}
		i = h.IndexID(httpmsg.HdrConnection, 0)
		for range n + 1 {
			if i >= 0 {
				i = h.IndexID(httpmsg.HdrConnection, i+1)
			}
		}
	}
}

// cancelled is what the exchange's Cancel calls.
func (k *call) cancelled(error) {
	c := k.onConn.Load()
	if c == nil {
		return
	}
	s := c.state.Load()
	x := k.onExchange.Load()
	// All of this must still be one exchange, or the cancellation comes too late and was meant for an earlier one.
	if x != nil && x.Cancelled() != nil && k.onConn.Load() == c {
		c.stop(s, stopped)
	}
}

// leave lets go of the connection. With an upload under way that waits until the exchange is finished.
func (k *call) leave(reusable bool) {
	c := k.c
	if c == nil {
		return
	}
	if k.pump != nil && reusable {
		return // Finish decides
	}
	if k.pump != nil {
		k.pump.stop()
		k.pump = nil
	}
	k.onConn.Store(nil)
	k.onExchange.Store(nil)
	k.x.OnCancel(nil)
	k.c = nil
	c.retire(reusable)
}

// Finish ends an upload that outlived the response.
func (k *call) Finish(*httpmsg.Exchange) {
	if k.pump == nil {
		return
	}
	done := k.pump.settle()
	k.pump = nil
	k.leave(done && k.err == io.EOF && k.head.persist && len(k.stream.in) == 0)
}

// Release gives the buffers back.
func (k *call) Release() {
	k.Close()
	k.leave(false)
	httpmsg.Poison(k.buf[:cap(k.buf)])
	if k.budgeted > 0 {
		k.opts.Budget.Give(k.budgeted)
		k.budgeted = 0
	}
	if cap(k.buf) > keptBuffer {
		k.buf = make([]byte, 0, callBuffer)
	}
	k.x, k.t, k.opts = nil, nil, nil
	k.w, k.filled, k.err = 0, false, nil
	k.upload.body, k.upload.pending, k.upload.c = nil, nil, nil
	k.probed, k.stale, k.spoke, k.wrote, k.taken = false, false, false, 0, false
	k.werr, k.rerr, k.cut, k.pump = nil, nil, nil, nil
	calls.Put(k)
}

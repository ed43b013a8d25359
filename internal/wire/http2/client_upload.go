package http2

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// gatherMax of a request body leaves together with the head.
const gatherMax = 16 << 10

// upload carries a request body to the server. Small bodies that are there already go with the head and need no goroutine; for
// the others there is one, which ends before the client's connection is used for something else.
type upload struct {
	k        *call
	body     httpmsg.Body
	counted  bool
	inMemory bool   // the body can be read again
	left     int64  // of a counted body
	gathered []byte // copied from the body, not sent yet
	pending  []byte // taken from the body behind that and not sent yet
	complete bool   // the body was read to its end
	expect   bool   // the server is asked before the body is sent

	event    event         // something that the goroutine waits for may have happened
	way      atomic.Int32  // whether a body that waits for 100 (Continue) is sent: undecided, sendBody, keepBody
	done     chan struct{} // closed at the goroutine's end; nil if there is none
	fault    atomic.Pointer[fault.Fault]
	taken    atomic.Bool // bytes of a body that cannot be read again are gone
	stopping atomic.Bool
	answered atomic.Bool // the response head is there: its time limit is not to be armed any more
}

// Values of upload.way. The first decision counts.
const (
	undecided = iota
	sendBody
	keepBody
)

// begin prepares u for the body of x, which may be nil.
func (u *upload) begin(k *call, x *httpmsg.Exchange) {
	req := &x.Req
	u.k, u.body = k, req.Body
	if u.body == nil {
		u.complete = true
		return
	}
	if b, ok := req.Body.(*httpmsg.Bytes); ok {
		b.Rewind()
		u.inMemory = true
	}
	u.counted, u.left = req.ContentLength >= 0, req.ContentLength
	// A body that is here already needs nobody's leave.
	u.expect = req.Continue && !u.inMemory
}

// reset forgets the body.
func (u *upload) reset() {
	if cap(u.gathered) > gatherMax {
		u.gathered = nil
	}
	u.k, u.body, u.pending, u.gathered, u.done = nil, nil, nil, u.gathered[:0], nil
	u.counted, u.inMemory, u.left, u.complete, u.expect = false, false, 0, false, false
	u.way.Store(undecided)
	u.fault.Store(nil)
	u.taken.Store(false)
	u.stopping.Store(false)
	u.answered.Store(false)
}

// gather takes what of the body is there without waiting, up to gatherMax.
func (u *upload) gather() *fault.Fault {
	for !u.complete && u.pending == nil && u.body.Ready() {
		data, f := u.next()
		switch {
		case f != nil:
			return f
		case len(u.gathered)+len(data) > gatherMax:
			u.pending = data
		default:
			u.gathered = append(u.gathered, data...)
		}
	}
	return nil
}

// next reads on. It sets complete at the end.
func (u *upload) next() ([]byte, *fault.Fault) {
	if u.counted && u.left == 0 {
		u.complete = true
		return nil, nil
	}
	data, err := u.body.Next()
	switch {
	case err == io.EOF && u.counted && u.left > 0:
		return nil, fault.New(fault.BodyCut, "request body shorter than its length", nil)
	case err == io.EOF:
		u.complete = true
		return nil, nil
	case err != nil:
		return nil, httpmsg.BodyFault(err)
	}
	if !u.inMemory {
		u.taken.Store(true)
	}
	if u.counted {
		if u.left -= int64(len(data)); u.left < 0 {
			return nil, fault.New(fault.Internal, "request body longer than its length", nil)
		}
		u.complete = u.left == 0
	}
	return data, nil
}

// start runs the rest.
func (u *upload) start() {
	u.done = make(chan struct{})
	go u.run()
}

func (u *upload) run() {
	defer close(u.done)
	defer func() {
		if r := recover(); r != nil {
			u.fail(fault.New(fault.Panic, "request body", fmt.Errorf("%v\n%s", r, debug.Stack())))
		}
	}()
	if u.expect && !u.permitted() {
		return
	}
	if f := u.carry(); f != nil {
		u.fail(f)
	}
}

// permitted waits for 100 (Continue). It reports whether the body is to be sent.
func (u *upload) permitted() bool {
	d := u.k.opts.ContinueTimeout
	if d <= 0 {
		d = defaultContinue
	}
	over := make(chan struct{})
	timer := time.AfterFunc(d, func() { u.open(); close(over) })
	defer func() {
		if !timer.Stop() {
			<-over // u is somebody else's soon
		}
	}()
	for u.way.Load() == undecided && !u.stopping.Load() {
		u.event.wait()
	}
	return u.way.Load() == sendBody && !u.stopping.Load()
}

// open lets a body go that waits for 100 (Continue).
func (u *upload) open() {
	if u.way.CompareAndSwap(undecided, sendBody) {
		u.event.wake()
	}
}

// fail wakes the serving goroutine, which finds the fault.
func (u *upload) fail(f *fault.Fault) {
	u.fault.Store(f)
	u.k.event.wake()
}

// errStreamOver ends an upload that nobody takes any more, which is no fault of its own: an answer may be there.
var errStreamOver = errors.New("the stream is over")

// carry moves the body. It returns what went wrong on the client's side.
func (u *upload) carry() *fault.Fault {
	if rest := u.gathered; len(rest) > 0 && u.send(rest, u.complete && u.pending == nil && !u.trailers()) != nil {
		return nil
	}
	for {
		data := u.pending
		u.pending = nil
		if data == nil && !u.complete {
			var f *fault.Fault
			if data, f = u.next(); f != nil {
				if u.stopping.Load() {
					return nil
				}
				return f
			}
		}
		last := u.complete && !u.trailers()
		if len(data) > 0 && u.send(data, last) != nil {
			return nil
		}
		if u.complete {
			u.k.sendEnd()
			u.sent()
			return nil
		}
	}
}

// trailers reports whether trailers of the request may follow: of gRPC only, as everywhere (FRM-21).
func (u *upload) trailers() bool {
	ct := u.k.x.Req.Header.Get(httpmsg.HdrContentType)
	return !u.counted && len(ct) >= len(grpcType) && strings.EqualFold(ct[:len(grpcType)].Borrow(), grpcType)
}

const grpcType = "application/grpc"

// trailer encodes the trailers that u sends; nil for none.
func (u *upload) trailer(e *encoder) []byte {
	if u.body == nil || !u.trailers() {
		return nil
	}
	if h := u.body.Trailer(); h == nil || !e.trailer(h) {
		return nil
	}
	return e.block.Bytes()
}

// sent starts the time that the server has for its answer.
func (u *upload) sent() {
	k := u.k
	if k.watched && k.opts.ResponseHeaderTimeout > 0 && !u.answered.Load() {
		k.entry.Arm(k.opts.ResponseHeaderTimeout)
		if u.answered.Load() {
			k.entry.Disarm()
		}
	}
}

// send writes p as far as the windows and the writer let it, waiting for them. It fails when nobody takes it any more.
func (u *upload) send(p []byte, last bool) error {
	k := u.k
	c := k.c
	for {
		c.mu.Lock()
		for {
			if c.ended || k.gone || u.stopping.Load() {
				c.mu.Unlock()
				return errStreamOver
			}
			n := k.sendable(len(p))
			if n == 0 || len(c.out) > outLimit {
				break
			}
			k.sendPiece(p[:n], last && n == len(p))
			if p = p[n:]; len(p) == 0 {
				c.mu.Unlock()
				return nil
			}
		}
		k.blocked = true
		c.blocked++
		c.mu.Unlock()
		u.event.wait()
		c.mu.Lock()
		if k.blocked { // woken for another reason
			k.blocked = false
			c.blocked--
		}
		c.mu.Unlock()
	}
}

// stop ends the upload and waits until its goroutine has ended.
func (u *upload) stop() {
	if u.done == nil {
		return
	}
	u.stopping.Store(true)
	asked := !u.expect || !u.way.CompareAndSwap(undecided, keepBody)
	if i, ok := u.body.(httpmsg.Interrupter); ok && asked {
		select {
		case <-u.done:
		default:
			i.Interrupt()
		}
	}
	u.event.wake()
	<-u.done
	u.done = nil
}

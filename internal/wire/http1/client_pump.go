package http1

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

const (
	defaultContinue = time.Second
	// settleTime is how long an upload may go on after the response is complete. Servers answer upon the last byte of
	// data, when the end of a chunked body is still on its way; a connection is worth waiting a moment for that.
	settleTime = 50 * time.Millisecond
)

// pump carries a request body to the server. Small bodies that are there already are gathered into the head's write and
// need no goroutine; for the others there is one, which ends before either connection is used for something else.
type pump struct {
	c        *ClientConn
	k        *call // only used until the goroutine runs
	body     httpmsg.Body
	counted  bool
	inMemory bool   // the body can be read again
	left     int64  // of a counted body
	pending  []byte // taken from the body and not sent yet
	complete bool   // everything is written or gathered

	gate     chan struct{} // woken by whoever decides over way; nil if nothing is waited for
	way      atomic.Int32  // whether a body that waits for 100 (Continue) is sent: undecided, send, keep
	done     chan struct{}
	fault    atomic.Pointer[fault.Fault] // of the client or ours; set before the connection is stopped
	taken    atomic.Bool                 // bytes of a body that cannot be read again are gone
	sent     atomic.Bool                 // the whole body was written
	stopping atomic.Bool                 // stop was called
	headDone atomic.Bool                 // the response head is there: its timeout is not to be armed any more
}

// Values of pump.way. The first decision counts.
const (
	undecided = iota
	sendBody
	keepBody
)

// begin prepares p for the body of k's request.
func (p *pump) begin(k *call) {
	req := &k.x.Req
	_, p.inMemory = req.Body.(*httpmsg.Bytes)
	p.c, p.k, p.body, p.counted, p.left = k.c, k, req.Body, req.ContentLength >= 0, req.ContentLength
	p.pending, p.complete, p.gate, p.done = nil, false, nil, nil
	p.way.Store(undecided)
	p.fault.Store(nil)
	p.taken.Store(false)
	p.sent.Store(false)
	p.stopping.Store(false)
	p.headDone.Store(false)
}

// gather appends to the head what of the body is there without waiting, up to gatherMax. It sets complete if that is all.
func (p *pump) gather() *fault.Fault {
	k := p.k
	limit := len(k.buf) + gatherMax
	for p.body.Ready() {
		if p.counted && p.left == 0 {
			p.complete = true
			return nil
		}
		data, err := p.body.Next()
		switch {
		case err == io.EOF && p.counted && p.left > 0:
			return fault.New(fault.BodyCut, "request body shorter than its length", nil)
		case err == io.EOF:
			if !p.counted {
				k.buf = appendLastChunk(k.buf, nil)
			}
			p.complete = true
			return nil
		case err != nil:
			return httpmsg.BodyFault(err)
		}
		if !p.inMemory {
			k.taken = true
		}
		if p.counted {
			if p.left -= int64(len(data)); p.left < 0 {
				return fault.New(fault.Internal, "request body longer than its length", nil)
			}
		}
		if len(k.buf)+len(data) > limit {
			p.pending = data
			return nil
		}
		if p.counted {
			k.buf = append(k.buf, data...)
		} else {
			k.buf = append(append(appendChunkSize(k.buf, len(data)), data...), '\r', '\n')
		}
	}
	if p.counted && p.left == 0 {
		p.complete = true
	}
	return nil
}

// start runs the rest. With wait it begins when open is called, or by itself after the time for 100 (Continue).
func (p *pump) start(wait bool) {
	p.done = make(chan struct{})
	if wait {
		p.gate = make(chan struct{}, 1)
	}
	if p.k.taken {
		p.taken.Store(true)
	}
	p.k = nil
	go p.run()
}

// open lets a body go that waits for 100 (Continue).
func (p *pump) open() {
	if p.gate != nil && p.way.CompareAndSwap(undecided, sendBody) {
		p.gate <- struct{}{}
	}
}

func (p *pump) run() {
	defer close(p.done)
	defer func() {
		if r := recover(); r != nil {
			p.fail(fault.New(fault.Panic, "request body", fmt.Errorf("%v\n%s", r, debug.Stack())))
		}
	}()
	if p.gate != nil && !p.waitGate() {
		return
	}
	if f := p.carry(); f != nil {
		p.fail(f)
	}
}

// waitGate waits for 100 (Continue). It reports whether the body is to be sent.
func (p *pump) waitGate() bool {
	d := p.c.opts.ContinueTimeout
	if d <= 0 {
		d = defaultContinue
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.gate:
	case <-timer.C:
		p.way.CompareAndSwap(undecided, sendBody)
	}
	return p.way.Load() == sendBody
}

// fail wakes the serving goroutine, which finds the fault.
func (p *pump) fail(f *fault.Fault) {
	p.fault.Store(f)
	p.c.stop(p.c.state.Load(), stopped)
}

// carry moves the body. It returns what went wrong on the client's side; that the server stops taking bytes is no fault
// here, since its answer may be under way.
func (p *pump) carry() *fault.Fault {
	var frame []byte
	for {
		data := p.pending
		p.pending = nil
		if data == nil {
			if p.counted && p.left == 0 {
				break
			}
			if !p.inMemory {
				p.taken.Store(true)
			}
			var err error
			data, err = p.body.Next()
			switch {
			case err == io.EOF && p.counted && p.left > 0:
				return fault.New(fault.BodyCut, "request body shorter than its length", nil)
			case err == io.EOF:
				if !p.counted {
					if _, err := p.c.nc.Write(lastChunk); err != nil {
						return nil
					}
				}
				p.finished()
				return nil
			case err == httpmsg.ErrInterrupted && p.stopping.Load():
				return nil
			case err != nil:
				return httpmsg.BodyFault(err)
			}
			if p.counted {
				if p.left -= int64(len(data)); p.left < 0 {
					return fault.New(fault.Internal, "request body longer than its length", nil)
				}
			}
		}
		if len(data) == 0 {
			continue
		}
		if !p.counted {
			frame = append(append(appendChunkSize(frame[:0], len(data)), data...), '\r', '\n')
			data = frame
		}
		if _, err := p.c.nc.Write(data); err != nil {
			return nil
		}
	}
	p.finished()
	return nil
}

var lastChunk = []byte("0\r\n\r\n")

// finished notes that everything went out, and starts the time that the server has for its answer.
func (p *pump) finished() {
	p.sent.Store(true)
	if limit := p.c.opts.ResponseHeaderTimeout; p.c.watched(limit) && !p.headDone.Load() {
		p.c.entry.Arm(limit)
		if p.headDone.Load() {
			p.c.entry.Disarm()
		}
	}
}

// stop ends the upload and waits until its goroutine has ended.
func (p *pump) stop() {
	if p.gate != nil && p.way.CompareAndSwap(undecided, keepBody) {
		// Not a byte of the body was asked for, so there is nothing to call off.
		p.gate <- struct{}{}
		<-p.done
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	p.stopping.Store(true)
	if i, ok := p.body.(httpmsg.Interrupter); ok {
		i.Interrupt()
	}
	p.c.stop(p.c.state.Load(), stopped)
	<-p.done
}

// settle gives the upload a moment to end by itself, then stops it. It reports whether the whole body was written.
func (p *pump) settle() bool {
	if p.gate != nil && p.way.Load() == undecided {
		p.stop()
		return false
	}
	select {
	case <-p.done:
	default:
		timer := time.NewTimer(settleTime)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			p.stop()
		}
	}
	return p.sent.Load() && p.fault.Load() == nil
}

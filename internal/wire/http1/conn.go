package http1

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/relay"
	"sluice/internal/wire/sock"
)

const (
	headBuffer = 4 << 10 // larger heads get one of their own
	sendBuffer = 8 << 10 // head and small body of a response leave together
)

// conn is one client connection. Its goroutine runs the loop: wait, read a head, serve, send, end the exchange.
type conn struct {
	httpmsg.Closing

	s       *Server
	c       Conn
	reader  *sock.Reader
	tcp     *net.TCPConn // what c is made of, if it is nothing else
	session Session
	in      readWatch
	out     writeWatch

	// w is what a request needs; nil while the connection is idle.
	w       *work
	born    int64        // on the clock of the watch
	served  int          // requests begun
	state   atomic.Int32 // idle phases, see Drain
	checked atomic.Int32 // whether checkPeer may touch the exchange
	cut     atomic.Bool  // by Server.Cut

	prev, next *conn // guarded by Server.mu
}

// Values of conn.state.
const (
	connBusy = iota
	connIdle // waits for the next request
	connSent // waits and was told to end
)

// work is the memory of a request under way. It is pooled, so that idle connections do not hold it.
type work struct {
	x    httpmsg.Exchange
	head requestHead
	body requestBody
	send sender

	// buf[start:end] has been read and belongs to no finished message. Views of the current head point into buf.
	buf        []byte
	start, end int
	small      *sock.Buffer // from heads; what buf is if it did not have to grow
	extra      int64        // bytes of the budget that buf takes
	interim    func(status int, h *httpmsg.Header) error
}

var workPool = sync.Pool{New: func() any {
	w := &work{}
	w.interim = w.send.interim
	return w
}}

var heads = sock.NewPool(headBuffer)

// acquire gives k a work around the first n bytes of a request.
func (k *conn) acquire(b *sock.Buffer, n int) {
	w := workPool.Get().(*work)
	w.small, w.buf, w.start, w.end = b, b.Bytes, 0, n
	w.body.k, w.send.k = k, k
	x := &w.x
	x.Conn, x.Peer, x.Local, x.TLS, x.TLSOptions = k, k.session.Peer, k.session.Local, k.session.TLS, k.session.TLSOptions
	k.w = w
}

// release gives the work back.
func (k *conn) release() {
	w := k.w
	if w == nil {
		return
	}
	k.w = nil
	w.x.Reset(nil)
	w.x.Conn, w.x.TLS = nil, nil
	httpmsg.Poison(w.buf)
	httpmsg.Poison(w.small.Bytes)
	heads.Put(w.small)
	k.s.Budget.Give(w.extra)
	w.small, w.buf, w.extra = nil, nil, 0
	w.body.release()
	w.body.k = nil
	w.send.release()
	workPool.Put(w)
}

// end closes the connection and forgets it.
func (k *conn) end() {
	k.s.Watch.Remove(&k.in.Entry)
	k.s.Watch.Remove(&k.out.Entry)
	k.release()
	k.c.Close()
	k.s.remove(k)
	k.Closed()
}

// await waits for the first bytes of a request. It holds no buffer meanwhile. It reports false when none will come.
func (k *conn) await() bool {
	if k.w != nil && k.w.start < k.w.end {
		return true // pipelined behind the last one
	}
	k.release()
	limit := k.s.Timeouts.Idle
	if k.served == 0 {
		limit = min(firstByteLimit, k.s.Timeouts.Read)
	}
	if limit > 0 {
		k.in.Arm(limit)
	}
	if k.served > 0 {
		k.state.Store(connIdle)
		if k.s.draining.Load() && k.state.CompareAndSwap(connIdle, connSent) {
			k.c.SetReadDeadline(past) // Drain looked before we were idle
		}
	}
	b, n, err := k.reader.Read(heads)
	some := err == nil
	if k.served > 0 && !k.state.CompareAndSwap(connIdle, connBusy) {
		// Drain has just told us to end. If the client was faster it still gets its answer.
		k.s.lockstep()
		k.state.Store(connBusy)
		if !some {
			k.c.SetReadDeadline(time.Now().Add(lastLook))
			b, n, err = k.reader.Read(heads)
			some = err == nil
		}
		k.c.SetReadDeadline(time.Time{})
	}
	if some {
		k.acquire(b, n)
	}
	return (limit <= 0 || k.in.Disarm()) && some
}

// exchange reads one request and answers it. It reports whether another may follow.
func (k *conn) exchange() (again bool) {
	w := k.w
	x := &w.x
	x.Reset(w.interim)
	x.Req.TLS = k.session.TLS != nil
	w.send.begin()
	w.body.begin(noBody, 0, nil)
	if k.s.Done != nil {
		x.OnFinish((*finished)(k))
	}
	defer func() {
		if v := recover(); v != nil {
			// Something beyond the handler broke: a body, a filter, an edit. The response may have begun.
			k.panicked(v)
			x.Facts.Err = fault.New(fault.Panic, "panic while the response was sent: "+fmt.Sprint(v), nil)
			k.stopChecks()
			k.abort()
			k.finish()
			again = false
		}
	}()
	if f := k.readHead(); f != nil {
		if f != errQuiet {
			k.refuse(f)
		}
		return false
	}
	k.served++
	x.Facts.Start = time.Now()
	w.body.begin(w.head.framing, w.head.size, w.buf[w.head.pos:w.end])
	if w.head.framing != noBody {
		x.Req.Body = &w.body
	}
	if w.head.high {
		x.Req.Path, x.Req.Query = x.EncodeHigh(x.Req.Path), x.EncodeHigh(x.Req.Query)
	}
	if t := k.s.Timeouts.Write; t > 0 {
		w.send.by = k.s.Watch.Now() + int64(t)
	}
	k.startChecks()
	sent := k.respond(k.handle())
	k.stopChecks()
	if !k.finish() || !sent || k.cut.Load() {
		return false
	}
	if !w.send.closing && k.nextMessage() {
		return true
	}
	if k.unread() {
		k.linger(lingerTime)
	}
	return false
}

// finish ends the exchange for everybody but the connection. It reports false if a hook panicked; the others were run.
func (k *conn) finish() (sound bool) {
	for sound = true; !k.finishOnce(); sound = false {
	}
	return sound
}

func (k *conn) finishOnce() (sound bool) {
	defer func() {
		if v := recover(); v != nil {
			k.panicked(v)
		}
	}()
	k.w.x.Finish()
	return true
}

// finished calls Server.Done at the end of the hooks.
type finished conn

// Finish implements httpmsg.Finisher.
func (f *finished) Finish(x *httpmsg.Exchange) {
	x.Facts.End = time.Now()
	f.s.Done(x)
}

// errQuiet ends a connection without an answer.
var errQuiet = fault.New(fault.ClientGone, "the client ended the connection", nil)

// readHead reads a request's head into the exchange. It returns errQuiet if there is nobody to answer.
func (k *conn) readHead() *fault.Fault {
	w := k.w
	x := &w.x
	w.head.reset(w.start)
	limit := k.s.Timeouts.Read
	armed := false
	for {
		done, f := w.head.parse(w.buf[:w.end], &x.Req, &k.s.Limits)
		if f != nil {
			if armed {
				k.in.Disarm()
			}
			return f
		}
		if done {
			break
		}
		if w.end == len(w.buf) {
			if !k.growHead() {
				return fault.New(fault.HeaderTooLarge, "no memory left in the budget for a large head", nil)
			}
			continue
		}
		if !armed && limit > 0 {
			k.in.Arm(limit)
			armed = true
		}
		n, err := k.c.Read(w.buf[w.end:])
		if w.end += n; n == 0 && err != nil {
			if armed && !k.in.Disarm() || errors.Is(err, os.ErrDeadlineExceeded) {
				return fault.New(fault.RequestTimeout, "the head was not complete in time", nil)
			}
			return errQuiet
		}
	}
	if armed && !k.in.Disarm() {
		return fault.New(fault.RequestTimeout, "the head was not complete in time", nil)
	}
	w.start = w.head.pos
	return nil
}

// growHead makes room for more of the head and has it parsed anew: the views moved.
func (k *conn) growHead() bool {
	w := k.w
	if from := w.head.start; from > 0 {
		w.end = copy(w.buf, w.buf[from:w.end])
	} else if !k.growBuffer(2 * len(w.buf)) {
		return false
	}
	w.start = 0
	w.x.Req.Header.Reset()
	w.head.reset(0)
	return true
}

// growBuffer replaces the buffer by one of n bytes that begins with the same bytes.
func (k *conn) growBuffer(n int) bool {
	w := k.w
	if !k.s.Budget.Take(int64(n)) {
		return false
	}
	buf := make([]byte, n)
	copy(buf, w.buf)
	httpmsg.Poison(w.buf)
	k.s.Budget.Give(w.extra)
	w.buf, w.extra = buf, int64(n)
	return true
}

// handle has the request answered, by us where no handler needs to see it.
func (k *conn) handle() (err error) {
	x := &k.w.x
	defer func() {
		if v := recover(); v != nil {
			k.panicked(v)
			x.CloseAfter = true
			err = fault.New(fault.Panic, "handler panicked: "+fmt.Sprint(v), nil)
		}
	}()
	switch kind := k.w.head.refuse; {
	case kind == fault.ExpectationFailed:
		x.CloseAfter = true // nobody knows whether the body will come
		return fault.New(kind, "expectation other than 100-continue", nil)
	case kind != fault.Internal:
		return fault.New(kind, "method not offered", nil)
	case x.Req.Path.Is("*"):
		x.Respond(200, "", "")
		return nil
	}
	return k.s.Handler.Serve(x)
}

func (k *conn) panicked(v any) {
	if k.s.Panicked != nil {
		k.s.Panicked(&k.w.x, v, debug.Stack())
	}
}

// respond sends what stands on the exchange, or the answer to err. It reports whether a response has been sent whole.
func (k *conn) respond(err error) bool {
	w := k.w
	x := &w.x
	if err == nil {
		switch status := x.Res.Status; {
		case status == 101 && x.Upgrade != nil:
			k.upgrade()
			return false
		case status < 200 || status > 999:
			err = fault.New(fault.Internal, "the handler left no response", nil)
		}
	}
	if err != nil {
		x.Fail(err)
		if fault.Of(err).Kind == fault.ClientGone {
			return false
		}
	} else if x.Upgrade != nil {
		x.Upgrade.Server.Close()
		x.Upgrade = nil
	}
	if err = x.Deliver(&w.send); err == nil {
		return true
	}
	f := fault.Of(err)
	if !w.send.sent && f.Kind != fault.ClientGone {
		// Nothing has left yet: the client can still be told.
		w.send.retract()
		x.Facts.BytesOut = 0
		x.CloseAfter = true
		x.Fail(f)
		if err = x.Deliver(&w.send); err == nil {
			return true
		}
	}
	x.Facts.Err = f
	if w.send.mode == toClose {
		k.abort() // an end would look like the end of the body
	}
	return false
}

// refuse answers a request whose head could not be read.
func (k *conn) refuse(f *fault.Fault) {
	w := k.w
	w.x.Facts.Start = time.Now()
	w.x.CloseAfter = true
	w.x.Fail(f)
	err := w.x.Deliver(&w.send)
	k.finish()
	if err != nil {
		return
	}
	if f.Kind == fault.RequestTimeout {
		k.linger(lingerShort)
	} else {
		k.linger(lingerTime)
	}
}

// upgrade sends the 101 and relays the two streams until both have ended. Bytes that either side sent too early go with it.
func (k *conn) upgrade() {
	w := k.w
	x := &w.x
	x.RunEdits()
	u := x.Upgrade
	x.Upgrade = nil
	k.stopChecks()
	err := w.send.switching(x, u.Buffered)
	if early := w.buf[w.start:w.end]; err == nil && len(early) > 0 {
		u.Server.SetDeadline(time.Now().Add(defaultStall))
		_, err = u.Server.Write(early)
		u.Server.SetDeadline(time.Time{})
	}
	if err != nil {
		x.Facts.Err = fault.Of(err)
		u.Server.Close()
		return
	}
	x.Facts.BytesIn += int64(w.end - w.start)
	x.Facts.BytesOut += int64(len(u.Buffered))
	w.send.drop()
	r := relay.Run(k.c, u.Server, k.s.Tunnel)
	x.Facts.BytesIn += r.FromA
	x.Facts.BytesOut += r.FromB
	if r.Err != nil {
		kind := fault.UpstreamCut
		if r.By == relay.A {
			kind = fault.ClientGone
		}
		x.Facts.Err = fault.New(kind, "upgraded connection: "+r.Reason.String(), r.Err)
	}
}

// startChecks lets the watch look after the client of this exchange.
func (k *conn) startChecks() {
	k.checked.Store(1)
	k.in.StartChecks()
}

// stopChecks ends that; when it has returned the watch does not touch the exchange any more.
func (k *conn) stopChecks() {
	if k.checked.Load() == 0 {
		return
	}
	k.in.StopChecks()
	for !k.checked.CompareAndSwap(1, 0) {
		runtime.Gosched() // checkPeer is at work and does not block
	}
}

// checkPeer cancels the exchange if its client has gone: at once after a reset; after a FIN only while no response has
// begun, for a client may end its direction and still read.
func (k *conn) checkPeer() {
	p, ok := k.c.(interface{ PeerState() sock.PeerState })
	if !ok || !k.checked.CompareAndSwap(1, 2) {
		return
	}
	if s := p.PeerState(); s == sock.PeerGone || s == sock.PeerFinished && !k.w.send.begun.Load() {
		k.w.x.Cancel(errQuiet)
	}
	k.checked.Store(1)
}

// lockstep returns when a Drain under way has gone over all connections.
func (s *Server) lockstep() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

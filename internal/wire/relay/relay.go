// Package relay moves bytes between two connections, both ways at once, until both have ended.
//
// Each direction waits for its source with no memory in hand and borrows a buffer only while bytes are there, so that
// an idle tunnel costs two small goroutines and nothing else. A FIN on one side is passed on and leaves the other direction
// open; a reset is passed on as a reset.
package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// bufferSize is how much one step moves. 32 KiB is where larger buffers stop saving CPU time on loopback; see
// BenchmarkBulk.
const bufferSize = 32 << 10

var buffers = sock.NewPool(bufferSize)

// Stream is one of the two connections: a net.Conn, or the stream of an upgraded exchange. Where it has a method CloseWrite() error,
// that passes a FIN on; where it has not, the end of the other stream ends the relay.
type Stream interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error
	SetDeadline(t time.Time) error
}

// Options are the limits of one relay. The zero value has none.
type Options struct {
	// Watch keeps the limits below; it must be set if one of them is.
	Watch *watch.Watch
	// Idle ends the relay when no byte has moved in either direction for so long; 0 is no limit.
	Idle time.Duration
	// Termination is for how long the other direction may be silent once one has ended, in place of Idle; 0 is no limit of its
	// own. Bytes that move start it anew, so a reply that is on its way is never cut.
	Termination time.Duration
	// Splice moves bulk between two TCP sockets inside the kernel, on Linux. It saves copies where the network card is the
	// limit, and costs more than it saves on loopback.
	Splice bool
}

// Side is one of the two streams, or neither.
type Side uint8

// The sides.
const (
	Neither Side = iota
	A
	B
)

// Reason is how a relay came to its end.
type Reason uint8

const (
	// Finished means that both directions ended with a FIN: every byte was delivered.
	Finished Reason = iota
	// Broken means that a side failed: reset, timed out in the network, or refused our bytes.
	Broken
	// IdleLimit means that nothing moved for Options.Idle.
	IdleLimit
	// TerminationLimit means that nothing moved for Options.Termination after one side had ended.
	TerminationLimit
	// Cut means that a connection was closed on our side, as at the end of a drain.
	Cut
)

// String names the reason for logs.
func (r Reason) String() string {
	return [...]string{"finished", "broken", "idle limit", "termination limit", "cut"}[r]
}

// Result is what a relay did.
type Result struct {
	// FromA and FromB are the bytes that came from each side and were written to the other.
	FromA, FromB int64
	// By is the side that ended first, or that broke; Neither where a limit or we ended it.
	By Side
	// Reason is how it ended.
	Reason Reason
	// Err is the error that ended a Broken one, else nil.
	Err error
}

// halfCloseGrace is for how long a side that cannot be told of the other's FIN may still be sending.
const halfCloseGrace = time.Second

type tunnel struct {
	o     Options
	a, b  direction // a moves from A to B
	entry watch.Entry

	ending   atomic.Bool // one direction has ended: Termination counts
	expired  atomic.Bool
	halfOnly atomic.Bool // a FIN could not be passed on

	mu     sync.Mutex
	ended  int
	result Result
	failed bool
}

type direction struct {
	t        *tunnel
	from     Side
	src, dst Stream
	moved    int64
}

// Run relays between a and b until both directions have ended, and closes both. Bytes that were peeked from a *sock.Conn go
// first. The calling goroutine moves the bytes from a.
func Run(a, b Stream, o Options) Result {
	if o.Watch == nil && (o.Idle > 0 || o.Termination > 0) {
		panic("relay: limits without a watch")
	}
	t := &tunnel{o: o}
	t.a = direction{t: t, from: A, src: a, dst: b}
	t.b = direction{t: t, from: B, src: b, dst: a}
	if o.Watch != nil {
		o.Watch.Add(&t.entry, t)
		t.touch()
	}
	var back sync.WaitGroup
	back.Go(t.b.run)
	t.a.run()
	back.Wait()
	if o.Watch != nil {
		o.Watch.Remove(&t.entry)
	}
	end(a, t.result.Reason == Broken)
	end(b, t.result.Reason == Broken)
	t.result.FromA, t.result.FromB = t.a.moved, t.b.moved
	return t.result
}

// end closes s; after a failure so that its peer cannot take what it got for complete.
func end(s Stream, reset bool) {
	if reset {
		switch s := s.(type) {
		case *tls.Conn:
			// Its own Close would send the alert of an orderly end.
			if below, ok := s.NetConn().(Stream); ok {
				end(below, true)
			}
		case interface{ Reset() error }:
			_ = s.Reset() // closed is all it can be
			return
		case *net.TCPConn:
			_ = s.SetLinger(0) // else it is an ordinary close
		}
	}
	_ = s.Close() // nothing is left to lose
}

// touch starts the limit that counts now anew.
func (t *tunnel) touch() {
	switch {
	case t.o.Termination > 0 && t.ending.Load():
		t.entry.Arm(t.o.Termination)
	case t.o.Idle > 0:
		t.entry.Arm(t.o.Idle)
	}
}

// Expire implements watch.Target.
func (t *tunnel) Expire() {
	t.expired.Store(true)
	t.stop()
}

// CheckPeer implements watch.Target; a direction that waits for bytes sees by itself when its peer is gone.
func (t *tunnel) CheckPeer() {}

var past = time.Unix(1, 0)

// stop makes every read and write of both directions fail.
func (t *tunnel) stop() {
	_ = t.a.src.SetDeadline(past) // a stream that is closed already needs none
	_ = t.b.src.SetDeadline(past)
}

func (d *direction) run() {
	move := d.copy
	if d.t.o.Splice {
		move = d.splice
	}
	d.finish(move())
}

// copy moves bytes until the source ends or a side fails, and tells which.
func (d *direction) copy() (Side, error) {
	r := sock.NewReader(d.src)
	for {
		b, n, err := r.Read(buffers)
		if err != nil {
			return d.from, err
		}
		m, err := d.dst.Write(b.Bytes[:n])
		buffers.Put(b)
		d.moved += int64(m)
		if err != nil {
			return d.other(), err
		}
		d.t.touch()
	}
}

func (d *direction) other() Side {
	if d.from == A {
		return B
	}
	return A
}

// finish records how the direction ended and passes the end on.
func (d *direction) finish(by Side, err error) {
	t := d.t
	fin := isEnd(err)
	t.mu.Lock()
	t.ended++
	last := t.ended == 2
	switch {
	case t.failed:
		// The failure of the other direction made this one fail.
	case fin:
		if t.result.By == Neither {
			t.result.By = by
		}
	default:
		t.failed = true
		t.result.Reason, t.result.By = t.judge(by, err)
		if t.result.Reason == Broken {
			t.result.Err = err
		}
	}
	failed := t.failed
	t.mu.Unlock()
	switch {
	case failed:
		t.stop()
	case last:
		// Both ends are about to be closed, which says the same to the destination.
	default:
		t.ending.Store(true)
		t.touch()
		d.passFIN()
	}
}

// judge turns the error of a direction into the reason and culprit of the whole.
func (t *tunnel) judge(by Side, err error) (Reason, Side) {
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch first := t.result.By; {
	case t.expired.Load() && first != Neither && t.o.Termination > 0:
		return TerminationLimit, first
	case t.expired.Load():
		return IdleLimit, Neither
	case late && t.halfOnly.Load():
		return Finished, first
	case late, errors.Is(err, net.ErrClosed):
		return Cut, Neither
	}
	return Broken, by
}

// isEnd tells an orderly end. Many TLS clients close their socket without the alert that would say so first; for a tunnel
// that is the end that it looks like.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// passFIN tells the destination that no more bytes will come. Where that cannot be said without closing it, the other
// direction gets a short time for what is on its way.
func (d *direction) passFIN() {
	if half, ok := d.dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	d.t.halfOnly.Store(true)
	_ = d.dst.SetDeadline(time.Now().Add(halfCloseGrace)) // closed already: then its reader knows
}

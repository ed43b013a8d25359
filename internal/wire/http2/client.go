package http2

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
	"sluice/internal/wire/watch"
)

// Keeper owns the connections to a server. Its methods are called without a lock of the connection held, from the goroutine
// of an exchange or of the connection and, for Expired, of the watch.
type Keeper interface {
	// Idle tells that c carries no exchange any more.
	Idle(c *ClientConn)
	// Leaving tells, once, that c takes no more exchanges: the server said so, or it broke.
	Leaving(c *ClientConn)
	// Gone tells, once and after Leaving, that c is closed.
	Gone(c *ClientConn)
	// Expired tells that the time armed by ArmIdle is over. It must return at once.
	Expired(c *ClientConn)
}

// ClientOptions are what the connections of one transport have in common. Zero durations are no limit.
type ClientOptions struct {
	// ResponseHeaderTimeout is how long the server may take from the end of the request to the end of its response head.
	ResponseHeaderTimeout time.Duration
	// BodyIdleTimeout is how long a response body may stand still while we wait for it.
	BodyIdleTimeout time.Duration
	// ContinueTimeout is how long we wait for 100 (Continue) before the body is sent anyway (default 1 s).
	ContinueTimeout time.Duration
	// ReadIdleTimeout is how long a connection may be silent before it is asked by PING whether it still lives.
	ReadIdleTimeout time.Duration
	// PingTimeout is how long the answer to that may take before the connection is given up (default 15 s).
	PingTimeout time.Duration
	// MaxHead bounds a response head, decoded, in bytes (default 256 KiB).
	MaxHead int
}

const (
	defaultContinue = time.Second
	defaultPing     = 15 * time.Second
	defaultMaxHead  = 256 << 10

	// assumedStreams are open at most before the server has said how many it allows (RFC 9113 section 6.5.2 recommends no
	// fewer than that).
	assumedStreams = 100
	// maxStreams is the most that one connection carries, whatever the server allows: beyond it a second connection is
	// better than a longer queue on one socket.
	maxStreams = 250

	readBuffer = 16 << 10
	// connWindow is how much all streams together may send ahead of us. It is given back when bytes arrive, not when they
	// are consumed: a client that takes nothing must not hold up the others on the connection. What a stream may hold of
	// memory is bounded by its own window.
	connWindow = 16 << 20
	// streamWindow is what one stream may send ahead of its client at first, and maxStreamWindow at most: it grows for
	// clients that take bytes faster than they come.
	streamWindow    = 256 << 10
	maxStreamWindow = 4 << 20
	// initialWindow and initialFrame are what HTTP/2 begins with (RFC 9113 sections 6.9.2 and 4.2). Every server takes frames
	// of that size; larger ones are of no use, they only keep others waiting.
	initialWindow = 1<<16 - 1
	initialFrame  = 1 << 14
	maxWindow     = 1<<31 - 1

	// outLimit is how much waits for the socket before uploads pause, outFull before nothing new begins (more, so that an
	// upload does not keep others off the connection), keptOut what of the buffer outlives a burst.
	outLimit = 64 << 10
	outFull  = 4 * outLimit
	keptOut  = 16 << 10
	// closeTime bounds the last write of a connection, and the last read of one that cannot be written to any more.
	closeTime = time.Second
)

// ErrStale is what RoundTrip returns when the connection had ended before a byte of the request was handed over. The
// exchange is untouched: use another connection.
var ErrStale = errors.New("connection takes no more streams")

// ErrHTTP1Required is what RoundTrip returns when the server wants the request over HTTP/1.1 and has not processed it (RFC
// 9113 section 7).
var ErrHTTP1Required = errors.New("server requires HTTP/1.1")

// ClientConn is one HTTP/2 connection to a server. Many exchanges use it at the same time, each after a successful Reserve.
//
// Two goroutines belong to it: one reads, one writes. Exchanges put frames into the writer's buffer and never write to
// the socket themselves: a server that does not read must not hold up somebody who only waits for an answer, and whose
// own time limits have to hold.
type ClientConn struct {
	nc     net.Conn
	opts   *ClientOptions
	keeper Keeper
	watch  *watch.Watch
	secure bool // over TLS

	unused watch.Entry // see ArmIdle
	pulse  watch.Entry // see ClientOptions.ReadIdleTimeout
	heard  atomic.Int64
	asked  atomic.Int64 // when a PING was sent that nothing was heard since; 0 if none

	// Hops is the keeper's: how often the requests on this connection have passed this process before.
	Hops atomic.Uint32

	reader reader

	mu      sync.Mutex
	writer  sync.Cond // waits for something in out
	streams map[uint32]*call
	// reserved counts exchanges that may open a stream and have not yet.
	reserved int
	nextID   uint32
	limit    int   // of streams, as the server says
	window   int64 // what we may send on all streams
	initial  int64 // what we may send on a new one
	used     bool  // a stream was opened
	blocked  int   // streams whose upload waits for a window or for the writer
	leaving  bool  // no more streams
	ended    bool  // nothing more is read or written
	finish   bool  // the writer ends the connection when out is empty
	unsent   error // why the writer could not go on
	out      []byte
	spare    []byte
	appended uint64 // bytes ever put into out
	taken    uint64 // of them, those that the writer has taken
	acks     int    // answers to PING and SETTINGS in out
	// framer appends frames to out.
	framer *frames.Framer

	running atomic.Int32 // goroutines
}

// NewClientConn takes over nc, on which nothing has been sent or received above TLS, and begins to speak HTTP/2. w may be
// nil if opts has no timeout and the keeper arms none.
func NewClientConn(nc net.Conn, opts *ClientOptions, w *watch.Watch, k Keeper) *ClientConn {
	c := &ClientConn{nc: nc, opts: opts, keeper: k, watch: w, streams: map[uint32]*call{}, nextID: 1, limit: assumedStreams,
		window: initialWindow, initial: initialWindow}
	_, c.secure = nc.(*tls.Conn)
	c.writer.L = &c.mu
	c.reader.begin(c)
	c.framer = frames.NewFramer((*outgoing)(c), nil)
	c.mu.Lock()
	c.out = append(c.out, Preface...)
	c.appended = uint64(len(c.out))
	// The Framer writes into memory, which does not fail.
	_ = c.framer.WriteSettings(
		frames.Setting{ID: frames.SettingEnablePush, Val: 0},
		frames.Setting{ID: frames.SettingInitialWindowSize, Val: streamWindow},
		frames.Setting{ID: frames.SettingMaxHeaderListSize, Val: uint32(c.maxHead())})
	_ = c.framer.WriteWindowUpdate(0, connWindow-initialWindow)
	c.mu.Unlock()
	if w != nil {
		w.Add(&c.unused, (*disuse)(c))
		if opts.ReadIdleTimeout > 0 {
			w.Add(&c.pulse, (*heart)(c))
			c.heard.Store(w.Now())
			c.pulse.Arm(opts.ReadIdleTimeout)
		}
	}
	c.running.Store(2)
	go c.write()
	go c.reader.run()
	return c
}

func (c *ClientConn) maxHead() int {
	if c.opts.MaxHead > 0 {
		return c.opts.MaxHead
	}
	return defaultMaxHead
}

// Conn returns the network connection.
func (c *ClientConn) Conn() net.Conn { return c.nc }

// Reserve makes room for one exchange, or reports that there is none. Exactly one RoundTrip must follow a success. There is none
// while the server does not read what waits for it either: requests that are given up would pile up in memory.
func (c *ClientConn) Reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || len(c.streams)+c.reserved >= c.limit || len(c.out) > outFull {
		return false
	}
	c.reserved++
	return true
}

// Unreserve gives up what Reserve made room for.
func (c *ClientConn) Unreserve() { c.release(0) }

// Unused reports whether the connection carries no exchange and none has reserved it.
func (c *ClientConn) Unused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)+c.reserved == 0
}

// Used reports whether the connection has carried an exchange.
func (c *ClientConn) Used() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// Leaving reports whether the connection takes no more exchanges. Keeper.Leaving is called behind the moment that makes it so.
func (c *ClientConn) Leaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// Ended reports whether the connection is closed or broken.
func (c *ClientConn) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// ArmIdle starts the time an unused connection is kept; Keeper.Expired tells its end. d <= 0 keeps it for ever.
func (c *ClientConn) ArmIdle(d time.Duration) {
	if d > 0 && c.watch != nil {
		c.unused.Arm(d)
	}
}

// DisarmIdle ends what ArmIdle started.
func (c *ClientConn) DisarmIdle() { c.unused.Disarm() }

// Close ends the connection when the exchanges on it have ended, at once if there are none. It takes no more of them. It
// does not wait.
func (c *ClientConn) Close() {
	c.mu.Lock()
	first := !c.leaving
	c.leaving = true
	c.farewell()
	c.mu.Unlock()
	if first {
		c.keeper.Leaving(c)
	}
}

// farewell has the writer end the connection if nobody needs it any more. c.mu is held.
func (c *ClientConn) farewell() {
	if !c.leaving || len(c.streams)+c.reserved > 0 || c.finish || c.ended {
		return
	}
	c.finish = true
	_ = c.framer.WriteGoAway(0, frames.ErrCodeNo, nil)
	c.nc.SetWriteDeadline(time.Now().Add(closeTime))
	c.writer.Signal()
}

// release gives back what an exchange had: its stream, or only its reservation.
func (c *ClientConn) release(id uint32) {
	c.mu.Lock()
	if id == 0 {
		c.reserved--
	} else {
		delete(c.streams, id)
	}
	idle := len(c.streams)+c.reserved == 0
	c.farewell()
	idle = idle && !c.leaving
	c.mu.Unlock()
	if idle {
		c.keeper.Idle(c)
	}
}

// fail ends the connection and every exchange on it. kind and reason are for those, code for the server (ErrCodeNo: it
// need not be told).
func (c *ClientConn) fail(kind fault.Kind, reason string, err error, code frames.ErrCode) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	first := !c.leaving
	c.leaving = true
	for _, k := range c.streams {
		e := ending{kind: kind, reason: reason, err: err, retry: fault.Idempotent}
		if kind != fault.UpstreamClosed {
			e.retry = fault.Never
		}
		if k.start >= c.taken || !c.reader.settled.Load() && kind == fault.UpstreamProtocol {
			// Nothing of it was sent, or what is there is no HTTP/2 server.
			e.retry = fault.Always
		}
		k.gone = true
		k.lose(e)
	}
	var last []byte
	if code != frames.ErrCodeNo {
		c.out, c.appended = c.out[:0], c.taken
		_ = c.framer.WriteGoAway(0, code, nil)
		last = c.out
	}
	c.out, c.spare = nil, nil
	c.writer.Signal()
	c.mu.Unlock()
	if last != nil {
		// The writer may be in the middle of a frame or blocked. Then the deadline ends this too.
		c.nc.SetWriteDeadline(time.Now().Add(closeTime))
		_, _ = c.nc.Write(last) // a courtesy
	}
	if first {
		c.keeper.Leaving(c)
	}
	c.nc.Close()
}

// leave is called by each of the connection's goroutines at its end. The last one closes up.
func (c *ClientConn) leave() {
	if c.running.Add(-1) > 0 {
		return
	}
	if c.watch != nil {
		c.watch.Remove(&c.unused)
		c.watch.Remove(&c.pulse)
	}
	c.keeper.Gone(c)
}

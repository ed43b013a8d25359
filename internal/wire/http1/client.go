package http1

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// Keeper owns the idle connections to a server. Its methods are called from the goroutine that finished with the
// connection and, for Expired, from the watch's goroutine.
type Keeper interface {
	// Idle takes back a connection that can carry another request.
	Idle(c *ClientConn)
	// Gone tells that c is closed. It was not idle.
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
	// MaxHead bounds a response head in bytes (default 256 KiB).
	MaxHead int
	// Budget accounts for heads that outgrow a pooled buffer; nil has no limit.
	Budget *httpmsg.Budget
}

// Target is what of a request is decided by the server it goes to.
type Target = httpmsg.Target

// ErrStale is what RoundTrip returns when the connection had ended, or the server had said something unasked, before a
// byte of the request was sent. The connection is closed, the exchange untouched: use another connection.
var ErrStale = errors.New("connection is stale")

// ClientConn is one HTTP/1.1 connection to a server. It carries one exchange at a time and holds no buffer between
// exchanges. RoundTrip and the methods for idle connections belong to whoever took it from its Keeper.
type ClientConn struct {
	nc     net.Conn
	raw    syscall.RawConn // the socket that exchanges are read from; nil where it cannot be asked
	under  syscall.RawConn // the socket below TLS
	opts   *ClientOptions
	lim    Limits
	keeper Keeper
	entry  watch.Entry
	watch  *watch.Watch

	// state is a count of exchanges in the upper bits and a phase in the lower two. The count keeps a late cancellation
	// from hitting the exchange after the one it was meant for.
	state atomic.Uint64

	// Hops is the keeper's: how often the request under way has passed this process before.
	Hops atomic.Uint32
}

// Phases of ClientConn.state.
const (
	idle    = iota
	busy    // an exchange has it
	stopped // an exchange has it and was called off: the deadlines of the socket are spoilt
	expired // likewise, because an armed time was over
	phases
)

// NewClientConn takes over nc, on which nothing has been sent or received above TLS. w may be nil if opts has no timeout
// and the keeper arms none.
func NewClientConn(nc net.Conn, opts *ClientOptions, w *watch.Watch, k Keeper) *ClientConn {
	c := &ClientConn{nc: nc, opts: opts, keeper: k, watch: w}
	c.lim.Head = opts.MaxHead
	if c.lim.Head <= 0 {
		c.lim.Head = 256 << 10
	}
	c.lim.Line, c.lim.Field, c.lim.Fields = c.lim.Head, c.lim.Head, c.lim.Head
	c.raw, c.under = rawOf(nc)
	if w != nil {
		w.Add(&c.entry, (*expiry)(c))
	}
	return c
}

// Conn returns the network connection.
func (c *ClientConn) Conn() net.Conn { return c.nc }

// used counts the exchanges so far.
func (c *ClientConn) used() uint64 { return c.state.Load() / phases }

// ArmIdle starts the time an idle connection is kept; Keeper.Expired tells its end. d <= 0 keeps it for ever.
func (c *ClientConn) ArmIdle(d time.Duration) {
	if d > 0 && c.watch != nil {
		c.entry.Arm(d)
	}
}

// DisarmIdle ends what ArmIdle started. It returns false if the time was over: the connection must be closed.
func (c *ClientConn) DisarmIdle(d time.Duration) bool {
	return d <= 0 || c.watch == nil || c.entry.Disarm()
}

// Close closes a connection that carries no exchange. The keeper is not told.
func (c *ClientConn) Close() {
	if c.watch != nil {
		c.watch.Remove(&c.entry)
	}
	c.nc.Close()
}

// expiry is the ClientConn as seen by the watch.
type expiry ClientConn

// Expire is called when an armed time is over.
func (e *expiry) Expire() {
	c := (*ClientConn)(e)
	s := c.state.Load()
	if s%phases == idle {
		c.keeper.Expired(c)
		return
	}
	c.stop(s, expired)
}

// CheckPeer does nothing: a server that is gone ends the exchange by itself.
func (e *expiry) CheckPeer() {}

// begin takes the connection for an exchange.
func (c *ClientConn) begin() { c.state.Store((c.state.Load()/phases+1)*phases + busy) }

// stop wakes everybody who waits on the connection, if the exchange of state s still has it. It does not block.
func (c *ClientConn) stop(s, phase uint64) {
	if s%phases == busy && c.state.CompareAndSwap(s, s-busy+phase) {
		c.nc.SetDeadline(past)
	}
}

// timedOut reports whether an armed time was over during this exchange.
func (c *ClientConn) timedOut() bool { return c.state.Load()%phases == expired }

// retire ends the exchange's hold on the connection: back to the keeper if it can carry another one.
func (c *ClientConn) retire(reusable bool) {
	s := c.state.Load()
	if reusable && s%phases == busy && c.state.CompareAndSwap(s, s-busy+idle) {
		c.keeper.Idle(c)
		return
	}
	c.Close()
	c.keeper.Gone(c)
}

// watched reports whether d is a limit to arm.
func (c *ClientConn) watched(d time.Duration) bool { return d > 0 && c.watch != nil }

package sock

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/internal/wire/watch"
)

const (
	// Pauses after an accept that failed for want of descriptors or memory: they double up to the greatest.
	minPause = 5 * time.Millisecond
	maxPause = 200 * time.Millisecond

	// errorPeriod is the least time between two calls of OnError.
	errorPeriod = 5 * time.Second
)

// Listener accepts connections and keeps account of those that are open.
type Listener struct {
	ln      net.Listener
	watch   *watch.Watch
	onError func(err error, suppressed int)

	stopped  chan struct{}
	stopOnce sync.Once

	accepted atomic.Uint64

	mu      sync.Mutex
	open    Conn // head of the list of connections
	count   int
	cut     bool
	waiters []chan struct{} // closed when count falls to 0
}

// NewListener returns a Listener on ln, which becomes its own. w keeps the deadlines of its connections and may be nil. onError is
// told of accepts that fail while the listener is to go on, at most once in five seconds with the number of those
// that it was not told; it may be nil.
func NewListener(ln net.Listener, w *watch.Watch, onError func(err error, suppressed int)) *Listener {
	l := &Listener{ln: ln, watch: w, onError: onError, stopped: make(chan struct{})}
	l.open.prev, l.open.next = &l.open, &l.open
	return l
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Len returns the number of connections open.
func (l *Listener) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Accepted returns the number of connections accepted since the start.
func (l *Listener) Accepted() uint64 { return l.accepted.Load() }

// Serve accepts connections until Stop and runs handle for each on a goroutine of its own; handle owns the Conn and closes
// it. It returns nil after Stop, else the error that made accepting impossible. Want of descriptors is none: it pauses
// for at most 200 ms and goes on, so that the connections there are can end.
func (l *Listener) Serve(handle func(*Conn)) error {
	var pause time.Duration
	var told time.Time
	suppressed := 0
	for {
		nc, err := l.ln.Accept()
		if err == nil {
			pause = 0
			l.accepted.Add(1)
			c := New(nc, l.watch)
			if l.remember(c) {
				go func() {
					reserveStack(0)
					handle(c)
				}()
			} else {
				_ = c.Close() // cut while it was accepted
			}
			continue
		}
		select {
		case <-l.stopped:
			return nil
		default:
		}
		if !passing(err) {
			return err
		}
		if now := time.Now(); now.Sub(told) >= errorPeriod {
			if l.onError != nil {
				l.onError(err, suppressed)
			}
			told, suppressed = now, 0
		} else {
			suppressed++
		}
		pause = min(max(2*pause, minPause), maxPause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.stopped:
			timer.Stop()
			return nil
		}
	}
}

// reserveStack makes the runtime grow the stack to what looking at a connection, its handshake or the dialing of a server will
// need.
//
// Optimization: growing here moves two frames once; growing on demand moves a dozen, twice. It saved 4 % of the CPU time of a
// short tunnel (bench passthrough-connect). A stack that is larger than needed shrinks with the next collection.
//
//go:noinline
func reserveStack(i int) byte {
	var room [6 << 10]byte
	return room[i]
}

// passing tells an error of one accept from the end of all accepting. Want of descriptors or memory ends when connections
// do, and what a connection that died in the queue leaves behind is named differently by each system, so only what says
// that the socket itself is of no use counts as an end.
func passing(err error) bool {
	for _, end := range []error{net.ErrClosed, syscall.EINVAL, syscall.EBADF, syscall.ENOTSOCK, syscall.EOPNOTSUPP} {
		if errors.Is(err, end) {
			return false
		}
	}
	var op *net.OpError
	return errors.As(err, &op)
}

func (l *Listener) remember(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	c.owner = l
	head := &l.open
	c.prev, c.next = head.prev, head
	head.prev.next = c
	head.prev = c
	l.count++
	return true
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.next == nil {
		return
	}
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
	if l.count--; l.count == 0 {
		for _, w := range l.waiters {
			close(w)
		}
		l.waiters = nil
	}
}

// Stop ends accepting: the socket is closed, Serve returns. Connections stay. Stopping again does nothing.
func (l *Listener) Stop() {
	l.stopOnce.Do(func() {
		close(l.stopped)
		_ = l.ln.Close() // nothing is left to be done about a socket that does not close
	})
}

// Wait returns nil as soon as no connection is open, or ctx's error. It is of use after Stop.
func (l *Listener) Wait(ctx context.Context) error {
	l.mu.Lock()
	if l.count == 0 {
		l.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	l.waiters = append(l.waiters, done)
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Cut takes the sockets away from all connections, so that their goroutines meet net.ErrClosed and end. Connections that are
// accepted later are closed at once. It returns how many it cut; Wait tells when their goroutines have closed them.
func (l *Listener) Cut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := l.open.next; c != &l.open; c = c.next {
		// The Conn itself is closed by its goroutine, which may be using it.
		_ = c.nc.Close()
	}
	return l.count
}

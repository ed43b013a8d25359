package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

const (
	// copyTimeout bounds one request to one mirror as a whole.
	copyTimeout = 60 * time.Second
	// copiesOfService is how many requests of one service may be at their mirrors at a time, copiesAtOnce how many of all.
	copiesOfService = 256
	copiesAtOnce    = 1024
	// dropsEvery is how often it is said that copies are dropped.
	dropsEvery = 10 * time.Second
)

// Copies sends the copies of mirrored requests, behind the exchanges that they were made of. Mirrors that are slower than
// requests come cost no more than a bounded number of copies: the others are dropped. Safe for concurrent use.
type Copies struct {
	budget *httpmsg.Budget
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelCauseFunc

	running atomic.Int64
	said    atomic.Int64 // when dropping was logged last, unix nanoseconds

	mu     sync.Mutex
	closed bool
	done   sync.WaitGroup
}

// NewCopies returns a Copies whose bodies take their memory from budget, which may be nil.
func NewCopies(budget *httpmsg.Budget, log *slog.Logger) *Copies {
	ctx, stop := context.WithCancelCause(context.Background())
	return &Copies{budget: budget, log: log, ctx: ctx, stop: stop}
}

// Close calls off what is under way and waits for its end. Nothing is sent afterwards.
func (k *Copies) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop(errStopped)
	k.done.Wait()
}

// start sends c to its mirrors on a goroutine of its own, or reports that there are too many already. The memory of c is
// given back when the last mirror has had it.
func (k *Copies) start(c *copied) bool {
	mine := &c.m.live.copies
	all, ours := k.running.Add(1), mine.Add(1)
	if all > copiesAtOnce || ours > copiesOfService {
		k.end(mine)
		k.dropped()
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		k.end(mine)
		return false
	}
	k.done.Go(func() {
		defer k.end(mine)
		defer c.release()
		for _, i := range c.chosen {
			k.send(c, &c.m.mirrors[i])
		}
	})
	return true
}

func (k *Copies) end(mine *atomic.Int64) {
	k.running.Add(-1)
	mine.Add(-1)
}

func (k *Copies) dropped() {
	now := time.Now().UnixNano()
	if last := k.said.Load(); now-last > int64(dropsEvery) && k.said.CompareAndSwap(last, now) {
		k.log.Warn("Mirrors are too slow: copies of requests are dropped")
	}
}

// send lets one mirror answer one copy.
func (k *Copies) send(c *copied, to *Child) {
	if k.ctx.Err() != nil {
		return
	}
	x := c.head.exchange(c.data)
	defer func() {
		if p := recover(); p != nil {
			k.log.Error("A mirrored request panicked", "service", to.Name, "error", fmt.Sprintf("%v\n%s", p, debug.Stack()))
		}
	}()
	defer x.Finish()
	ctx, cancel := context.WithTimeoutCause(k.ctx, copyTimeout, errSlow)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { x.Cancel(context.Cause(ctx)) })
	defer stop()
	err := to.Handler.Serve(x)
	if err == nil && x.Upgrade != nil {
		x.DropResponse()
		err = fault.New(fault.UpstreamProtocol, "the server switched protocols", nil)
	}
	if err == nil {
		err = x.Deliver(nowhereToSend{})
	}
	if err != nil {
		k.log.Debug("A mirrored request failed", "service", to.Name, "error", err)
	}
}

// Causes of calling off a copy.
var (
	errSlow    = errors.New("the mirror took too long")
	errStopped = errors.New("the process ends")
)

// nowhereToSend takes responses that nobody sees.
type nowhereToSend struct{}

func (nowhereToSend) Head(*httpmsg.Exchange, bool) error { return nil }
func (nowhereToSend) Body([]byte) error                  { return nil }
func (nowhereToSend) Flush() error                       { return nil }
func (nowhereToSend) End(*httpmsg.Header) error          { return nil }

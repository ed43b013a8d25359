package http2

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
)

const (
	// maxAcks is how many answers to PING and SETTINGS may wait for the socket.
	maxAcks = 100
	// Frames that move nothing forward take one from a stock of at most maxNoise. What we send or are sent of messages
	// adds to it, and so does time.
	maxNoise       = 2000
	noisePerSecond = 200
	noisePerFrame  = 4
)

// reader is the receiving side of a ClientConn. Everything but settled belongs to its goroutine.
type reader struct {
	c       *ClientConn
	in      *bufio.Reader
	framer  *frames.Framer
	head    head
	window  int64 // what the server may still send on all streams
	noise   int
	refill  int64  // when time last added to noise
	sent    uint64 // appended at that look
	settled atomic.Bool
	last    uint32 // stream of the smallest GOAWAY
}

func (r *reader) begin(c *ClientConn) {
	r.c, r.in = c, bufio.NewReaderSize(c.nc, readBuffer)
	r.framer = frames.NewFramer(nil, r.in)
	r.framer.SetMaxReadFrameSize(initialFrame)
	r.window, r.noise, r.last = connWindow, maxNoise, maxWindow
	r.head.begin(c.maxHead())
}

// broken is an error of the whole connection that we have to tell the server (RFC 9113 section 5.4.1).
type broken struct {
	code   frames.ErrCode
	reason string
}

// Error implements error.
func (b broken) Error() string { return b.reason }

func wrong(code frames.ErrCode, reason string) error { return broken{code, reason} }

// run reads until the connection ends.
func (r *reader) run() {
	defer r.c.leave()
	c := r.c
	err := r.loop()
	var b broken
	var ce frames.ConnectionError
	switch {
	case errors.As(err, &b):
		c.fail(fault.UpstreamProtocol, "HTTP/2: "+b.reason, nil, b.code)
	case errors.As(err, &ce):
		detail := r.framer.ErrorDetail()
		c.fail(fault.UpstreamProtocol, "HTTP/2: malformed frame", errors.Join(err, detail), frames.ErrCode(ce))
	case errors.Is(err, frames.ErrFrameTooLarge):
		// RFC 9113 section 4.2. An answer in HTTP/1 looks like that, too.
		c.fail(fault.UpstreamProtocol, "HTTP/2: a frame is too large", err, frames.ErrCodeFrameSize)
	case err == io.EOF:
		c.fail(fault.UpstreamClosed, "the server closed the connection", nil, frames.ErrCodeNo)
	default:
		reason := "the connection broke"
		c.mu.Lock()
		if c.unsent != nil { // that was first
			reason, err = "sending the request", c.unsent
		}
		c.mu.Unlock()
		c.fail(fault.UpstreamClosed, reason, err, frames.ErrCodeNo)
	}
}

func (r *reader) loop() error {
	for {
		h, err := r.framer.ReadFrameHeader()
		if err != nil {
			return err
		}
		if r.c.opts.ReadIdleTimeout > 0 && r.c.watch != nil {
			r.c.heard.Store(r.c.watch.Now())
		}
		if !r.settled.Load() && (h.Type != frames.FrameSettings || h.Flags.Has(frames.FlagSettingsAck)) {
			return wrong(frames.ErrCodeProtocol, "the server did not begin with SETTINGS")
		}
		if h.Type == frames.FrameData {
			err = r.data(h)
		} else {
			err = r.frame(h)
		}
		if err != nil {
			return err
		}
	}
}

// frame reads and handles a frame that carries no body.
func (r *reader) frame(h frames.FrameHeader) error {
	f, err := r.framer.ReadFrameForHeader(h)
	if err != nil {
		var se frames.StreamError
		if !errors.As(err, &se) {
			return err
		}
		if r.idle(se.StreamID) {
			return wrong(frames.ErrCodeProtocol, "a frame for a stream that was never opened")
		}
		if err := r.noisy(1); err != nil {
			return err
		}
		r.resetStream(se.StreamID, se.Code, "malformed frame")
		return nil
	}
	switch f := f.(type) {
	case *frames.HeadersFrame:
		return r.headers(f)
	case *frames.ContinuationFrame:
		return r.block(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
	case *frames.SettingsFrame:
		return r.settings(f)
	case *frames.PingFrame:
		return r.ping(f)
	case *frames.GoAwayFrame:
		return r.goAway(f)
	case *frames.WindowUpdateFrame:
		return r.windowUpdate(f)
	case *frames.RSTStreamFrame:
		return r.rstStream(f)
	case *frames.PushPromiseFrame:
		return wrong(frames.ErrCodeProtocol, "the server pushes although it was told not to")
	default:
		return r.noisy(1) // PRIORITY and what is unknown (RFC 9113 section 5.5)
	}
}

// noisy takes n from the stock of frames that move nothing forward.
func (r *reader) noisy(n int) error {
	if r.noise -= n; r.noise > 0 {
		return nil
	}
	now := time.Now().UnixNano()
	r.c.mu.Lock()
	appended := r.c.appended
	r.c.mu.Unlock()
	// A window of ours that the server renews in small steps is no flood: it goes with what we send.
	r.noise += int((appended - r.sent) / 256)
	r.sent = appended
	if r.refill != 0 {
		r.noise += int(min((now-r.refill)/int64(time.Second/noisePerSecond), maxNoise))
	}
	r.refill = now
	if r.noise = min(r.noise, maxNoise); r.noise <= 0 {
		return wrong(frames.ErrCodeEnhanceYourCalm, "the server sends frames without end that say nothing")
	}
	return nil
}

// useful adds to the stock.
func (r *reader) useful() { r.noise = min(r.noise+noisePerFrame, maxNoise) }

// idle reports whether a stream was never opened.
func (r *reader) idle(id uint32) bool {
	if id%2 == 0 {
		return true
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return id >= r.c.nextID
}

// stream returns the exchange of a stream, nil if it has ended.
func (r *reader) stream(id uint32) (*call, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if k := r.c.streams[id]; k != nil {
		return k, nil
	}
	if id%2 == 0 || id >= r.c.nextID {
		return nil, wrong(frames.ErrCodeProtocol, "a frame for a stream that was never opened")
	}
	return nil, nil
}

// data reads a DATA frame straight into the queue of its stream.
func (r *reader) data(h frames.FrameHeader) error {
	if h.StreamID == 0 {
		return wrong(frames.ErrCodeProtocol, "DATA on stream 0")
	}
	if r.window -= int64(h.Length); r.window < 0 {
		return wrong(frames.ErrCodeFlowControl, "more DATA than the connection's window allows")
	}
	left, pad := int(h.Length), 0
	if h.Flags.Has(frames.FlagDataPadded) {
		if left == 0 {
			return wrong(frames.ErrCodeFrameSize, "padding without a length")
		}
		b, err := r.in.ReadByte()
		if err != nil {
			return err
		}
		left--
		if pad = int(b); pad > left {
			return wrong(frames.ErrCodeProtocol, "more padding than the frame is long")
		}
		left -= pad
	}
	k, err := r.stream(h.StreamID)
	if err != nil {
		return err
	}
	switch {
	case left == 0:
		if err := r.noisy(1); err != nil {
			return err
		}
	case k != nil: // what was under way when its client left is neither use nor noise
		r.useful()
	}
	code, reason := frames.ErrCodeNo, ""
	if k != nil {
		code, reason = k.admit(r.c, h.StreamID, int(h.Length), left)
	}
	for left > 0 {
		if _, err := r.in.Peek(1); err != nil {
			return err
		}
		p, err := r.in.Peek(min(left, r.in.Buffered()))
		if err != nil {
			return err
		}
		if k != nil && code == frames.ErrCodeNo {
			k.push(r.c, h.StreamID, p)
		}
		left -= len(p)
		if _, err := r.in.Discard(len(p)); err != nil {
			return err
		}
	}
	if _, err := r.in.Discard(pad); err != nil {
		return err
	}
	if r.window < connWindow/2 {
		r.c.credit(0, int(connWindow-r.window))
		r.window = connWindow
	}
	switch {
	case k == nil:
	case code != frames.ErrCodeNo:
		r.resetStream(h.StreamID, code, reason)
	case h.Flags.Has(frames.FlagDataEndStream):
		r.finished(k, h.StreamID)
	}
	return nil
}

// finished notes that the server has sent all of a stream. If we have too, the stream is closed, before its client has
// taken everything.
func (r *reader) finished(k *call, id uint32) {
	c := r.c
	c.mu.Lock()
	if c.streams[id] != k {
		c.mu.Unlock()
		return
	}
	closed := k.sent
	k.answered = true
	c.mu.Unlock()
	if closed {
		// First, so that whoever sees the end finds room for the next request.
		c.close(k, id)
	}
	k.complete(c, id)
}

// resetStream ends a stream that the server does wrong.
func (r *reader) resetStream(id uint32, code frames.ErrCode, reason string) {
	c := r.c
	c.mu.Lock()
	k := c.streams[id]
	if k != nil && !k.gone {
		k.gone = true
		c.reset(id, code)
		k.lose(ending{kind: fault.UpstreamProtocol, reason: "HTTP/2: " + reason})
	}
	c.mu.Unlock()
}

func (r *reader) settings(f *frames.SettingsFrame) error {
	c := r.c
	if f.IsAck() {
		return nil
	}
	if err := r.noisy(1); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !r.settled.Load()
	if first {
		c.limit = maxStreams // what is not announced is not limited
	}
	err := f.ForeachSetting(func(s frames.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case frames.SettingEnablePush:
			if s.Val != 0 {
				return wrong(frames.ErrCodeProtocol, "a server that announces to be pushed to")
			}
		case frames.SettingMaxConcurrentStreams:
			c.limit = int(min(s.Val, maxStreams))
		case frames.SettingInitialWindowSize:
			// RFC 9113 section 6.9.2: open streams change by the difference, and may become negative by it.
			by := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, k := range c.streams {
				if k.window += by; k.window > maxWindow {
					return wrong(frames.ErrCodeFlowControl, "a window beyond the largest one")
				}
			}
			c.unblock()
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.settled.Store(true)
	return r.acknowledge(func() { _ = c.framer.WriteSettingsAck() })
}

// acknowledge has an answer written, unless too many wait already. c.mu is held.
func (r *reader) acknowledge(write func()) error {
	c := r.c
	if c.ended {
		return nil
	}
	if c.acks++; c.acks > maxAcks {
		return wrong(frames.ErrCodeEnhanceYourCalm, "the server asks and does not take the answers")
	}
	write()
	c.writer.Signal()
	return nil
}

func (r *reader) ping(f *frames.PingFrame) error {
	if f.IsAck() {
		return r.noisy(1) // that something came is all that matters; see heart
	}
	if err := r.noisy(1); err != nil {
		return err
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.acknowledge(func() { _ = r.c.framer.WritePing(true, f.Data) })
}

// goAway ends what the server will not process (RFC 9113 section 6.8): those requests go elsewhere, whatever they are.
func (r *reader) goAway(f *frames.GoAwayFrame) error {
	c := r.c
	if f.LastStreamID > r.last {
		return wrong(frames.ErrCodeProtocol, "GOAWAY takes back what another one said")
	}
	if err := r.noisy(1); err != nil {
		return err
	}
	r.last = f.LastStreamID
	c.mu.Lock()
	for id, k := range c.streams {
		if id > f.LastStreamID && !k.gone {
			k.gone = true
			k.lose(ending{kind: fault.UpstreamClosed, reason: fmt.Sprintf("the server closes the connection (GOAWAY %v)", f.ErrCode), retry: fault.Always})
		}
	}
	c.mu.Unlock()
	c.Close()
	return nil
}

func (r *reader) windowUpdate(f *frames.WindowUpdateFrame) error {
	c := r.c
	if err := r.noisy(1); err != nil {
		return err
	}
	if f.StreamID == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.window += int64(f.Increment); c.window > maxWindow {
			return wrong(frames.ErrCodeFlowControl, "a window beyond the largest one")
		}
		c.unblock()
		return nil
	}
	k, err := r.stream(f.StreamID)
	if k == nil || err != nil {
		return err
	}
	c.mu.Lock()
	if c.streams[f.StreamID] != k {
		c.mu.Unlock()
		return nil
	}
	over := false
	if k.window += int64(f.Increment); k.window > maxWindow {
		over = true
	} else if k.blocked {
		c.unblockOne(k)
	}
	c.mu.Unlock()
	if over {
		r.resetStream(f.StreamID, frames.ErrCodeFlowControl, "a window beyond the largest one")
	}
	return nil
}

// rstStream ends a stream as the server wishes.
func (r *reader) rstStream(f *frames.RSTStreamFrame) error {
	if err := r.noisy(1); err != nil {
		return err
	}
	k, err := r.stream(f.StreamID)
	if k == nil || err != nil {
		return err
	}
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[f.StreamID] != k || k.gone {
		return nil
	}
	k.gone = true
	if k.blocked {
		c.unblockOne(k)
	}
	if k.answered {
		// RFC 9113 section 8.1: after a complete answer this says that the rest of the request is not wanted.
		k.upload.event.wake()
		return nil
	}
	k.lose(endingOf(f.ErrCode))
	return nil
}

// endingOf says what an error code of the server means for its request.
func endingOf(code frames.ErrCode) ending {
	e := ending{kind: fault.UpstreamClosed, reason: fmt.Sprintf("the server reset the stream (%v)", code)}
	switch code {
	case frames.ErrCodeRefusedStream:
		e.retry = fault.Always // RFC 9113 section 8.7: not processed
	case frames.ErrCodeHTTP11Required:
		e.http1 = true
	case frames.ErrCodeNo, frames.ErrCodeCancel, frames.ErrCodeInternal, frames.ErrCodeConnect:
		e.retry = fault.Idempotent // as a connection that is closed instead of an answer
	case frames.ErrCodeEnhanceYourCalm:
		// More of it is what the server does not want.
	default:
		e.kind = fault.UpstreamProtocol
	}
	return e
}

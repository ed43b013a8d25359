package http2

import (
	"encoding/binary"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
)

// disuse is the ClientConn as the watch sees it for the time that it is unused.
type disuse ClientConn

// Expire implements watch.Target.
func (d *disuse) Expire() {
	c := (*ClientConn)(d)
	c.keeper.Expired(c)
}

// CheckPeer implements watch.Target.
func (d *disuse) CheckPeer() {}

// heart is the ClientConn as the watch sees it for its silence.
type heart ClientConn

// Expire is called when the connection may have been silent for too long, and again when the answer to a PING is due. Whatever
// is heard counts as an answer: it may be behind a long body.
func (h *heart) Expire() {
	c := (*ClientConn)(h)
	now, heard := c.watch.Now(), c.heard.Load()
	if asked := c.asked.Load(); asked != 0 {
		if heard < asked {
			// Closing may have to write (TLS), and nobody may wait here.
			go c.fail(fault.UpstreamClosed, "the server did not answer a PING", nil, frames.ErrCodeNo)
			return
		}
		c.asked.Store(0)
	}
	if rest := int64(c.opts.ReadIdleTimeout) - (now - heard); rest > 0 {
		c.pulse.Arm(time.Duration(rest))
		return
	}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], uint64(now))
	_ = c.framer.WritePing(false, data)
	c.writer.Signal()
	c.mu.Unlock()
	c.asked.Store(now)
	limit := c.opts.PingTimeout
	if limit <= 0 {
		limit = defaultPing
	}
	c.pulse.Arm(limit)
}

// CheckPeer implements watch.Target.
func (h *heart) CheckPeer() {}

package http2

import (
	"encoding/binary"
	"time"

	frames "golang.org/x/net/http2"

	"sluice/internal/core/fault"
)

// outgoing is the ClientConn as its Framer sees it: frames are collected, not sent.
type outgoing ClientConn

// Write implements io.Writer. The lock of the connection is held.
func (o *outgoing) Write(p []byte) (int, error) {
	o.out = append(o.out, p...)
	o.appended += uint64(len(p))
	return len(p), nil
}

// write is the goroutine that sends what was collected. Whatever gathers while one write is under way leaves with the next.
func (c *ClientConn) write() {
	defer c.leave()
	c.mu.Lock()
	for {
		for len(c.out) == 0 && !c.ended && !c.finish {
			if cap(c.out) > keptOut {
				c.out = nil
			}
			c.writer.Wait()
		}
		if c.ended || len(c.out) == 0 {
			break
		}
		buf := c.out
		c.out = c.spare[:0]
		c.taken, c.acks = c.appended, 0
		c.unblock()
		c.mu.Unlock()
		_, err := c.nc.Write(buf)
		if err != nil {
			// What the server has answered before it closed may still wait to be read, so the reader ends the exchanges,
			// and this goroutine the connection if none are left.
			c.nc.SetReadDeadline(time.Now().Add(closeTime))
			c.Close()
			c.mu.Lock()
			c.unsent = err
			for !c.ended && !c.finish {
				c.writer.Wait()
			}
			break
		}
		c.mu.Lock()
		if c.spare = nil; cap(buf) <= keptOut {
			c.spare = buf
		}
	}
	done := c.finish && !c.ended
	c.mu.Unlock()
	if done {
		c.fail(fault.UpstreamClosed, "the connection was closed", nil, frames.ErrCodeNo)
	}
}

// unblock wakes the uploads that wait for room. c.mu is held.
func (c *ClientConn) unblock() {
	if c.blocked == 0 {
		return
	}
	for _, k := range c.streams {
		if k.blocked {
			c.unblockOne(k)
		}
	}
}

func (c *ClientConn) unblockOne(k *call) {
	k.blocked = false
	c.blocked--
	k.upload.event.wake()
}

// appendData adds a DATA frame. The Framer would copy p twice. c.mu is held.
func (c *ClientConn) appendData(id uint32, p []byte, end bool) {
	var h [9]byte
	h[0], h[1], h[2] = byte(len(p)>>16), byte(len(p)>>8), byte(len(p))
	h[3] = byte(frames.FrameData)
	if end {
		h[4] = byte(frames.FlagDataEndStream)
	}
	binary.BigEndian.PutUint32(h[5:], id)
	c.out = append(append(c.out, h[:]...), p...)
	c.appended += uint64(len(h) + len(p))
}

// appendBlock adds a HEADERS frame, and CONTINUATION frames where the block is larger. c.mu is held.
func (c *ClientConn) appendBlock(id uint32, block []byte, end bool) {
	n := min(len(block), initialFrame)
	// The Framer checks only the stream's number, which is ours.
	_ = c.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), initialFrame)
		_ = c.framer.WriteContinuation(id, n == len(block), block[:n])
	}
}

// credit lets the server send n bytes more on a stream (RFC 9113 section 6.9).
func (c *ClientConn) credit(id uint32, n int) {
	c.mu.Lock()
	if !c.ended {
		_ = c.framer.WriteWindowUpdate(id, uint32(n))
		c.writer.Signal()
	}
	c.mu.Unlock()
}

// reset ends a stream early (RFC 9113 section 6.4). c.mu is held.
func (c *ClientConn) reset(id uint32, code frames.ErrCode) {
	if !c.ended {
		_ = c.framer.WriteRSTStream(id, code)
		c.writer.Signal()
	}
}

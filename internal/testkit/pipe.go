package testkit

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how many bytes one direction of a Pipe holds before writers wait, like a small socket buffer.
const pipeBuffer = 64 << 10

// PipeConn is one end of an in-memory connection. It behaves as a TCP connection does: writes are buffered, each half
// can be closed on its own, and deadlines work. It works inside a synctest bubble.
type PipeConn struct {
	in, out       *half
	local, remote net.Addr
}

// Pipe returns the two ends of an in-memory connection. Their addresses are made up: 127.0.0.1:40001 is the first end
// (the client by custom), 127.0.0.1:80 the second.
func Pipe() (client, server *PipeConn) {
	a, b := newHalf(), newHalf()
	ca := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40001}
	sa := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
	return &PipeConn{in: a, out: b, local: ca, remote: sa}, &PipeConn{in: b, out: a, local: sa, remote: ca}
}

// Read implements net.Conn. It returns io.EOF after the other end's CloseWrite or Close once all bytes are read.
func (c *PipeConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn. It waits while the buffer is full.
func (c *PipeConn) Write(p []byte) (int, error) { return c.out.write(p) }

// CloseWrite ends this end's direction; the other end reads io.EOF behind what was written.
func (c *PipeConn) CloseWrite() error { c.out.finish(); return nil }

// Close ends both directions. Unlike a socket with unread bytes it never resets the other end's reading.
func (c *PipeConn) Close() error {
	c.out.finish()
	c.in.abandon()
	return nil
}

// Reset breaks both directions at once: what is buffered is lost, and both ends get errors, as after a TCP reset.
func (c *PipeConn) Reset() {
	c.out.reset()
	c.in.reset()
}

// LocalAddr implements net.Conn.
func (c *PipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *PipeConn) SetDeadline(t time.Time) error {
	c.in.readDeadline.set(c.in, t)
	c.out.writeDeadline.set(c.out, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *PipeConn) SetReadDeadline(t time.Time) error { c.in.readDeadline.set(c.in, t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *PipeConn) SetWriteDeadline(t time.Time) error { c.out.writeDeadline.set(c.out, t); return nil }

// half is one direction.
type half struct {
	mu            sync.Mutex
	cond          *sync.Cond
	buf           []byte
	ended         bool // the writer has finished
	gone          bool // the reader has closed
	broken        bool
	readDeadline  deadline
	writeDeadline deadline
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.broken:
			return 0, io.ErrUnexpectedEOF
		case h.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return n, net.ErrClosed
		case h.broken, h.gone:
			return n, io.ErrClosedPipe
		case h.writeDeadline.passed:
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		}
		if room := pipeBuffer - len(h.buf); room > 0 {
			m := min(room, len(p))
			h.buf = append(h.buf, p[:m]...)
			n, p = n+m, p[m:]
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

func (h *half) finish()  { h.change(func() { h.ended = true; h.writeDeadline.stop() }) }
func (h *half) abandon() { h.change(func() { h.gone, h.buf = true, nil; h.readDeadline.stop() }) }
func (h *half) reset()   { h.change(func() { h.broken, h.buf = true, nil }) }

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.cond.Broadcast()
}

// deadline is guarded by the lock of its half.
type deadline struct {
	timer  *time.Timer
	passed bool
	round  int
}

func (d *deadline) set(h *half, t time.Time) {
	h.change(func() {
		d.stop()
		d.round++
		round, wait := d.round, time.Until(t)
		switch {
		case t.IsZero():
			d.passed = false
		case wait <= 0:
			d.passed = true
		default:
			d.passed = false
			d.timer = time.AfterFunc(wait, func() {
				h.change(func() { d.passed = d.passed || d.round == round })
			})
		}
	})
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

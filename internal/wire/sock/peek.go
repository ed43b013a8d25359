package sock

import (
	"errors"

	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/sniff"
)

// MaxPeek is how many bytes can be looked at before they are consumed: the greatest ClientHello with its records, and room for
// what comes with it.
const MaxPeek = sniff.MaxBytes + 4<<10

// ErrPeekTooLong is returned by Peek for more than MaxPeek.
var ErrPeekTooLong = errors.New("sock: peek beyond the limit")

// firstRead is how much the first read of a connection asks for. Nearly every hello and request head fits.
const firstRead = 4 << 10

// headPools hold the memory of peeked bytes.
var headPools = [...]*Pool{NewPool(firstRead), NewPool(16 << 10), NewPool(64 << 10), NewPool(MaxPeek)}

// Peek returns the bytes at hand, at least n of them, without consuming them. It waits for as long as the deadline lets it. With
// an error (io.EOF if the client has finished) it returns fewer. The slice is valid until the next Peek, Read or
// Discard. While there are none to show, the connection holds no memory.
func (c *Conn) Peek(n int) ([]byte, error) {
	if n > MaxPeek {
		return c.Bytes(), ErrPeekTooLong
	}
	for c.Buffered() < n {
		if err := c.fill(n); err != nil {
			return c.Bytes(), err
		}
	}
	return c.Bytes(), nil
}

// Bytes returns what was peeked and not consumed, as Peek(0) does.
func (c *Conn) Bytes() []byte {
	if c.head == nil {
		return nil
	}
	return c.head.Bytes[c.from:c.to]
}

// Buffered returns the number of bytes peeked and not consumed.
func (c *Conn) Buffered() int { return c.to - c.from }

// Discard consumes n of the bytes at hand. It panics if there are fewer.
func (c *Conn) Discard(n int) {
	if n > c.Buffered() {
		panic("sock: discard of bytes that were not peeked")
	}
	c.from += n
	if c.from == c.to {
		c.release()
	}
}

// takeBuffered moves peeked bytes to b.
func (c *Conn) takeBuffered(b []byte) int {
	n := copy(b, c.Bytes())
	c.Discard(n)
	return n
}

func (c *Conn) release() {
	if c.head != nil {
		headPools[c.class].Put(c.head)
		c.head = nil
	}
	c.from, c.to = 0, 0
}

// fill reads once, with room for n bytes in all.
func (c *Conn) fill(n int) error {
	if c.head == nil && n <= firstRead {
		if c.headReader == nil {
			c.headReader = NewReader(c.nc)
		}
		head, read, err := c.headReader.Read(headPools[0])
		if err != nil {
			return err
		}
		c.head, c.class, c.from, c.to = head, 0, 0, read
		return nil
	}
	c.makeRoom(n)
	read, err := c.nc.Read(c.head.Bytes[c.to:])
	c.to += read
	if read > 0 {
		return nil // an error comes again
	}
	return err
}

// makeRoom sees to it that head can hold n bytes and has space behind the present ones.
func (c *Conn) makeRoom(n int) {
	have := c.Buffered()
	if c.head != nil && c.from+max(n, have+1) <= len(c.head.Bytes) {
		return
	}
	class := 0
	for len(headPools) > class+1 && headPools[class].size < max(n, have+1) {
		class++
	}
	if c.head != nil && class == c.class {
		copy(c.head.Bytes, c.Bytes())
		c.from, c.to = 0, have
		return
	}
	head := headPools[class].Get()
	copy(head.Bytes, c.Bytes())
	c.release()
	c.head, c.class, c.to = head, class, have
}

// WaitReadable returns when a read would not wait, holding no memory meanwhile. Where the system or the connection cannot
// be waited on, it returns at once.
func (c *Conn) WaitReadable() error {
	if c.Buffered() > 0 || c.raw == nil {
		return nil
	}
	return waitReadable(c.raw)
}

// ReadProxyHeader reads a PROXY header in front of everything else. If believe is set, its addresses become Peer and Local;
// else a sound header is consumed and ignored. A connection without one stays as it is, with Version 0 returned. The
// error is a *proxyproto.Malformed or that of the read. Call it before any other read, at most once: a second
// header is payload.
func (c *Conn) ReadProxyHeader(believe bool) (proxyproto.Header, error) {
	for {
		h, need, err := proxyproto.Parse(c.Bytes())
		switch {
		case errors.Is(err, proxyproto.ErrAbsent):
			return proxyproto.Header{}, nil
		case err != nil:
			return proxyproto.Header{}, err
		case need > 0:
			if _, err := c.Peek(need); err != nil {
				return proxyproto.Header{}, err
			}
			continue
		}
		c.Discard(h.Length)
		if believe && h.Source.IsValid() {
			c.peer, c.local = h.Source, h.Destination
		}
		return h, nil
	}
}

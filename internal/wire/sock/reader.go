package sock

import (
	"io"
	"net"
	"syscall"
)

// smallRead is how much a connection that cannot be waited on holds while it is idle.
const smallRead = 1 << 10

// Reader reads from one connection into buffers that it borrows only once bytes are there, so that an idle connection costs
// no memory. On TCP sockets of Unix systems it waits for readiness with nothing in hand; on everything else (TLS, pipes,
// Windows) it waits with one KiB. A Reader is used by one goroutine at a time; closing the connection or a past deadline on it
// ends a wait.
type Reader struct {
	src  io.Reader
	conn *Conn        // src, if it is one: its peeked bytes come first
	tcp  *net.TCPConn // the socket of src, if that is where the bytes come from
	raw  syscall.RawConn

	// What try works on: fields and not captured variables, so that a read does not allocate.
	try func(fd uintptr) bool
	buf *Buffer
	n   int
	err error

	pool  *Pool
	small []byte
	full  bool // the last small read filled its memory, so more is probably waiting
}

// NewReader returns a Reader of src: a *Conn or what embeds one, a socket, or any other connection.
func NewReader(src io.Reader) *Reader {
	r := &Reader{src: src}
	switch c := src.(type) {
	case interface{ Sock() *Conn }:
		r.conn = c.Sock()
		r.tcp = r.conn.tcp
	case *net.TCPConn:
		r.tcp = c
	}
	if r.tcp == nil {
		return r
	}
	if raw := waitable(r.tcp); raw != nil {
		r.raw = raw
		r.try = r.tryRead
	}
	return r
}

// Read waits for bytes, takes a buffer from p and reads into it. The bytes are b.Bytes[:n] with n > 0, and the caller gives b
// back to p; with an error (io.EOF after a FIN) b is nil and n is 0.
func (r *Reader) Read(p *Pool) (b *Buffer, n int, err error) {
	if r.conn != nil && r.conn.Buffered() > 0 {
		b = p.Get()
		return b, r.conn.takeBuffered(b.Bytes), nil
	}
	if r.raw != nil {
		return r.readReady(p)
	}
	if r.full {
		b = p.Get()
		n, err = r.src.Read(b.Bytes)
		if n == 0 {
			p.Put(b)
			return nil, 0, err
		}
		// An error that came with bytes comes again with the next read.
		r.full = n >= smallRead
		return b, n, nil
	}
	if r.small == nil {
		r.small = make([]byte, smallRead)
	}
	n, err = r.src.Read(r.small)
	if n == 0 {
		return nil, 0, err
	}
	r.full = n == smallRead
	b = p.Get()
	return b, copy(b.Bytes, r.small[:n]), nil
}

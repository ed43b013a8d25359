package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"sluice/internal/wire/sock"
)

// spliceSize is how much one splice asks for: the default size of a pipe.
const spliceSize = 64 << 10

const (
	spliceMove     = 1 // SPLICE_F_MOVE
	spliceNonblock = 2 // SPLICE_F_NONBLOCK
)

// pipe is the kernel's buffer between two sockets.
type pipe struct{ read, write int }

// pipes holds empty pipes that are not in use. The garbage collector closes the descriptors of those it drops.
var pipes = sync.Pool{New: func() any {
	var fds [2]int
	if syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK) != nil {
		return (*pipe)(nil)
	}
	p := &pipe{fds[0], fds[1]}
	runtime.SetFinalizer(p, (*pipe).close)
	return p
}}

func (p *pipe) close() {
	runtime.SetFinalizer(p, nil)
	_ = syscall.Close(p.read) // descriptors of our own making
	_ = syscall.Close(p.write)
}

// splice is as copy, but the bytes do not leave the kernel. The pipe is borrowed as the buffer is: only while bytes are there.
func (d *direction) splice() (Side, error) {
	src, dst := socket(d.src), socket(d.dst)
	if src == nil || dst == nil {
		return d.copy()
	}
	if c, ok := d.src.(interface{ Sock() *sock.Conn }); ok {
		c := c.Sock()
		for c.Buffered() > 0 {
			n, err := d.dst.Write(c.Bytes())
			d.moved += int64(n)
			if err != nil {
				return d.other(), err
			}
			c.Discard(c.Buffered())
		}
	}
	from, err := src.SyscallConn()
	if err != nil {
		return d.from, err
	}
	to, err := dst.SyscallConn()
	if err != nil {
		return d.other(), err
	}
	s := splicer{}
	fill, drain := s.fill, s.drain
	for {
		err := from.Read(fill)
		if err == nil {
			err = s.err
		}
		if err == errNoPipe {
			return d.copy()
		}
		if err != nil {
			return d.from, err
		}
		had := s.n
		err = to.Write(drain)
		if err == nil {
			err = s.err
		}
		d.moved += int64(had - s.n)
		if err != nil {
			s.p.close() // not empty: of no use to anyone
			return d.other(), err
		}
		pipes.Put(s.p)
		s.p = nil
		d.t.touch()
	}
}

var errNoPipe = errors.New("relay: no pipe to be had")

// splicer is what the callbacks of one direction work on.
type splicer struct {
	p   *pipe
	n   int // bytes in p
	err error
}

// fill moves what is there from the socket into a pipe; false means to wait.
func (s *splicer) fill(fd uintptr) bool {
	p := pipes.Get().(*pipe)
	if p == nil {
		s.err = errNoPipe
		return true
	}
	n, err := move(int(fd), p.write, spliceSize)
	switch {
	case err == syscall.EAGAIN:
		pipes.Put(p)
		return false
	case err == nil && n > 0:
		s.p, s.n = p, n
		return true
	}
	pipes.Put(p)
	s.err = io.EOF
	if err != nil {
		s.err = os.NewSyscallError("splice", err)
	}
	return true
}

// drain moves all bytes from the pipe to the socket; false means to wait.
func (s *splicer) drain(fd uintptr) bool {
	for s.n > 0 {
		n, err := move(s.p.read, int(fd), s.n)
		switch {
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			s.err = os.NewSyscallError("splice", err)
			return true
		}
		s.n -= n
	}
	return true
}

func move(from, to, size int) (int, error) {
	for {
		n, err := syscall.Splice(from, nil, to, nil, size, spliceMove|spliceNonblock)
		if err != syscall.EINTR {
			return int(n), err
		}
	}
}

func socket(s Stream) *net.TCPConn {
	switch c := s.(type) {
	case *net.TCPConn:
		return c
	case interface{ Sock() *sock.Conn }:
		return c.Sock().TCP()
	}
	return nil
}

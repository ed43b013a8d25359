//go:build unix

package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// waitable returns the handle by which tcp can be waited on without reading.
func waitable(tcp *net.TCPConn) syscall.RawConn {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readReady reads through the runtime's poller. The first attempt usually finds nothing: the poller reports edges, so only an
// attempt that is made after it was told to watch is sure not to miss one. The buffer goes back before the wait.
func (r *Reader) readReady(p *Pool) (*Buffer, int, error) {
	r.pool = p
	err := r.raw.Read(r.try)
	b, n := r.buf, r.n
	if err == nil {
		err = r.err
	}
	r.buf, r.n, r.err = nil, 0, nil
	if err != nil {
		p.Put(b)
		return nil, 0, err
	}
	return b, n, nil
}

func (r *Reader) tryRead(fd uintptr) bool {
	b := r.pool.Get()
	n, err := retryInterrupted(int(fd), b.Bytes)
	if err == nil && n > 0 {
		r.buf, r.n = b, n
		return true
	}
	r.pool.Put(b)
	switch {
	case err == nil:
		r.err = io.EOF
	case errors.Is(err, syscall.EAGAIN):
		return false
	default:
		r.err = &net.OpError{Op: "read", Net: "tcp", Source: r.tcp.LocalAddr(), Addr: r.tcp.RemoteAddr(),
			Err: os.NewSyscallError("read", err)}
	}
	return true
}

func retryInterrupted(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// waitReadable returns when raw has bytes, an end or an error to read, without reading it.
func waitReadable(raw syscall.RawConn) error {
	return raw.Read(func(fd uintptr) bool {
		var one [1]byte
		for {
			_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
			if err == syscall.EINTR {
				continue
			}
			return err != syscall.EAGAIN
		}
	})
}

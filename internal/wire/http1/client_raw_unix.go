//go:build unix

package http1

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
)

// rawOf returns the socket of nc, or the one below its TLS.
func rawOf(nc net.Conn) (raw, under syscall.RawConn) {
	switch c := nc.(type) {
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *tls.Conn:
		under, _ = rawOf(c.NetConn())
	}
	return raw, under
}

// tryRead reads what is there, without waiting. again tells that there is nothing yet.
func tryRead(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			break
		}
	}
	switch {
	case err == syscall.EAGAIN:
		return 0, true, nil
	case err != nil:
		return 0, false, err
	case n == 0:
		return 0, false, io.EOF
	}
	return n, false, nil
}

// quiet reports whether a connection that nobody reads from is open and has delivered nothing.
func quiet(raw syscall.RawConn) (yes bool) {
	err := raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return yes && err == nil
}

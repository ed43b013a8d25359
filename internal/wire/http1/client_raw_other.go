//go:build !unix

package http1

import (
	"net"
	"syscall"
)

// rawOf returns nothing: sockets cannot be read by hand here, so requests are written and responses read in the usual way.
func rawOf(net.Conn) (raw, under syscall.RawConn) { return nil, nil }

func tryRead(uintptr, []byte) (n int, again bool, err error) { return 0, false, syscall.EINVAL }

func quiet(syscall.RawConn) bool { return true }

//go:build !unix

package sock

import (
	"net"
	"syscall"
)

// waitable returns nil: there is no way here to wait for bytes without memory to read them into.
func waitable(*net.TCPConn) syscall.RawConn { return nil }

func (r *Reader) readReady(*Pool) (*Buffer, int, error) { panic("sock: no readiness on this system") }

func (r *Reader) tryRead(uintptr) bool { return true }

func waitReadable(syscall.RawConn) error { return nil }

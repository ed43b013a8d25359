package sock

import (
	"os"
	"runtime"
	"strings"
	"syscall"
)

// keepAliveIsInherited tells that accepted sockets have the keep-alive options of the one that listens.
const keepAliveIsInherited = true

func setReusePort(fd uintptr) error {
	// Package syscall lacks the constant; it is the same on all Linux ports but MIPS.
	reusePort := 0xf
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		reusePort = 0x200
	}
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1))
}

func setInheritedKeepAlive(fd uintptr) error {
	seconds := int(keepAlive.Seconds())
	for _, o := range [...]struct{ level, option, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, seconds},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, seconds},
	} {
		if err := syscall.SetsockoptInt(int(fd), o.level, o.option, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

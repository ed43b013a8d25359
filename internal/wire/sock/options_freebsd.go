package sock

import (
	"os"
	"syscall"
)

const keepAliveIsInherited = false

func setReusePort(fd uintptr) error {
	// SO_REUSEPORT alone shares no load on FreeBSD; this one, which package syscall lacks, does since version 12.
	const reusePortLB = 0x10000
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePortLB, 1))
}

func setInheritedKeepAlive(uintptr) error { return nil }

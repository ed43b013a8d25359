//go:build unix

package sock

import "syscall"

// closeOnExec keeps the programs that we start from inheriting the socket in turn.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

package e2e

import "syscall"

// ownGroup puts a program into a process group of its own. The kernel ends it should the tests be killed before it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

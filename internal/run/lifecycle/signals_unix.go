//go:build unix

package lifecycle

import (
	"os"
	"syscall"
)

var watched = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1}

func isReload(s os.Signal) bool { return s == syscall.SIGHUP }
func isReopen(s os.Signal) bool { return s == syscall.SIGUSR1 }

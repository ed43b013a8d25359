//go:build unix

package storage

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// tooOpen reports whether others than the owner have any right.
func tooOpen(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// ownFile reports whether we own the file.
func ownFile(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

// lockInPlace tells that the lock is on the file itself, so that it holds among containers that mount only that.
const lockInPlace = true

// flock takes the kernel's lock on an open file without waiting.
func flock(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}

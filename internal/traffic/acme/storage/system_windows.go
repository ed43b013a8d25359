//go:build windows

package storage

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tooOpen is always false: who may read a file is not a matter of modes here.
func tooOpen(fs.FileInfo) bool { return false }

// ownFile is never asked, since nothing is too open.
func ownFile(fs.FileInfo) bool { return true }

// lockInPlace tells that the lock is on a file beside: a locked file can be neither read nor replaced here.
const lockInPlace = false

// flock takes the kernel's lock on an open file without waiting.
func flock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileMode and dirMode keep keys to the owner.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// handle is the part of *os.File that writing needs.
type handle interface {
	io.Writer
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// disk is how bytes get onto a disk; tests put faults in between.
type disk struct {
	// create opens a new file of mode fileMode that must not exist, update an existing one without cutting it.
	create, update func(name string) (handle, error)
	rename         func(from, to string) error
	// step is called between the steps of a write.
	step func(name string)
}

var osDisk = disk{
	create: func(name string) (handle, error) {
		return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	},
	update: func(name string) (handle, error) { return os.OpenFile(name, os.O_WRONLY, 0) },
	rename: os.Rename,
	step:   func(string) {},
}

// suffixes of the files that a write makes beside the one it is about.
const (
	newSuffix     = ".sluice-new"     // a write that was not finished
	journalSuffix = ".sluice-journal" // the whole content of an overwrite in place
)

// replace puts data in the place of a file: written to fresh and flushed, then renamed, so that a reader, or a crash, finds
// the old content or the new one. beforeRename may take hold of the new file; it may be nil.
func (d disk) replace(name, fresh string, data []byte, beforeRename func(f handle) error) error {
	_ = os.Remove(fresh) // left by a crash; if it cannot be removed, creating it says why
	f, err := d.create(fresh)
	if err != nil {
		return err
	}
	d.step("created")
	keep := false
	defer func() {
		if !keep {
			f.Close()
			os.Remove(fresh)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	d.step("written")
	if err := f.Sync(); err != nil {
		return err
	}
	d.step("synced")
	if beforeRename != nil {
		if err := beforeRename(f); err != nil {
			return err
		}
	}
	if err := d.rename(fresh, name); err != nil {
		return err
	}
	keep = true
	d.step("renamed")
	if beforeRename == nil {
		if err := f.Close(); err != nil {
			return err
		}
	}
	syncDirectory(filepath.Dir(name))
	return nil
}

// overwrite is for a file that cannot be renamed over because it is mounted by itself, as containers do. The content goes to
// a journal first where the directory can be written; then the file is extended with spaces, so that a full disk is met
// before a byte of the old content is gone; then it is written over and cut. recover finishes what a crash left.
func (d disk) overwrite(name string, data []byte) error {
	journal := name + journalSuffix
	_ = os.Remove(journal)
	if j, err := d.create(journal); err == nil {
		_, werr := j.Write(data)
		if err := errors.Join(werr, j.Sync(), j.Close()); err != nil {
			os.Remove(journal)
			return err
		}
		d.step("journal")
	}
	f, err := d.update(name)
	if err != nil {
		os.Remove(journal)
		return err
	}
	defer f.Close()
	info, err := os.Stat(name)
	if err != nil {
		os.Remove(journal)
		return err
	}
	if more := int64(len(data)) - info.Size(); more > 0 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{' '}, int(more)), info.Size()); err != nil {
			_ = f.Truncate(info.Size()) // spaces at the end do no harm either
			os.Remove(journal)
			return err
		}
		d.step("extended")
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err // the journal stays: recover has what is needed
	}
	d.step("overwritten")
	if err := errors.Join(f.Truncate(int64(len(data))), f.Sync()); err != nil {
		return err
	}
	d.step("cut")
	os.Remove(journal)
	return nil
}

// recover finishes an overwrite that a crash interrupted. A journal that is not complete is dropped: the file was not
// touched yet.
func (d disk) recover(name string) error {
	data, err := os.ReadFile(name + journalSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := parseDocument(data); err != nil {
		return os.Remove(name + journalSuffix)
	}
	return d.overwrite(name, data)
}

// cannotRename reports whether an error of replace means that only writing in place can work.
func cannotRename(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) || errors.Is(err, fs.ErrPermission)
}

// syncDirectory makes a rename last, where the system can.
func syncDirectory(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return // it can be written and not read: nothing more can be done
	}
	defer f.Close()
	_ = f.Sync() // not every system or file system can
}

// secure makes sure that only the owner can read a file or directory. repaired tells that it was not so.
func secure(name string, mode fs.FileMode) (repaired bool, err error) {
	info, err := os.Stat(name)
	if err != nil || !tooOpen(info) {
		return false, err
	}
	if !ownFile(info) {
		return false, fmt.Errorf("%w: permissions %o for %s are too open, please use %o", ErrMode, info.Mode().Perm(), name, mode)
	}
	if err := os.Chmod(name, mode); err != nil {
		return false, fmt.Errorf("%w: permissions %o for %s are too open, please use %o (%v)", ErrMode, info.Mode().Perm(), name, mode, err)
	}
	if info, err = os.Stat(name); err == nil && tooOpen(info) {
		return false, fmt.Errorf("%w: the file system of %s does not keep permissions", ErrMode, name)
	}
	return true, err
}

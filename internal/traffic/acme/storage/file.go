package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// lockSuffix is the name of the lock file, where the lock is not on the file itself.
const lockSuffix = ".lock"

// File is the store in one file in Traefik's format. What it does not know of stays in its place, in its order.
type File struct {
	path  string // as configured, for messages
	real  string // with symbolic links resolved: what a rename replaces
	disk  disk
	locks locks

	mu      sync.Mutex
	doc     document
	stamp   string // of the content that doc was read from
	read    bool   // doc is good
	owner   *os.File
	inPlace bool
	remarks map[string]bool
}

// openFile opens the store in a file. A content that cannot be read is an error; the File then answers everything with it.
func openFile(path string, d disk) (*File, error) {
	real := path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		real = resolved
	}
	f := &File{path: path, real: real, disk: d, remarks: map[string]bool{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f, f.refresh()
}

// Path implements Store.
func (f *File) Path() string { return f.path }

// Shared implements Store.
func (f *File) Shared() bool { return false }

// Remarks implements Store.
func (f *File) Remarks() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.remarks))
}

// Version implements Store.
func (f *File) Version() string { return stampOf(f.real) }

// stampOf changes with the content of a file.
func stampOf(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// refresh reads the file if it is not what doc was made of. A damaged file leaves the last good content in force.
func (f *File) refresh() error {
	stamp := stampOf(f.real)
	if f.read && stamp == f.stamp {
		return nil
	}
	if info, err := os.Stat(f.real); err == nil && tooOpen(info) && !ownFile(info) {
		return fmt.Errorf("%w: permissions %o for %s are too open, please use %o", ErrMode, info.Mode().Perm(), f.path, fileMode)
	}
	if err := f.finish(); err != nil {
		return err
	}
	data, err := os.ReadFile(f.real)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	doc, err := parseDocument(data)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.doc, f.stamp, f.read = doc, stampOf(f.real), true
	return nil
}

// finish completes an overwrite that a crash interrupted, unless another instance is at it right now.
func (f *File) finish() error {
	if _, err := os.Stat(f.real + journalSuffix); err != nil {
		return nil // there is none
	}
	if err := f.own(); err != nil {
		return nil // its owner does it
	}
	return f.disk.recover(f.real)
}

// Writable implements Store.
func (f *File) Writable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.own(); err != nil {
		return err
	}
	return f.refresh()
}

// own takes the lock of the file, and mends its mode.
func (f *File) own() error {
	if f.owner != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.real), dirMode); err != nil {
		return fmt.Errorf("%w: %v", ErrReadOnly, err)
	}
	target := f.real
	if !lockInPlace {
		target += lockSuffix
	}
	for {
		lock, err := os.OpenFile(target, os.O_RDWR|os.O_CREATE, fileMode)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrReadOnly, err)
		}
		if err := flock(lock); err != nil {
			lock.Close()
			if errors.Is(err, ErrLocked) {
				return fmt.Errorf("%w: another instance owns %s", ErrReadOnly, f.path)
			}
			return fmt.Errorf("%w: lock %s: %v", ErrReadOnly, f.path, err)
		}
		// The former owner may have replaced the file between our opening and locking it.
		held, err1 := lock.Stat()
		there, err2 := os.Stat(target)
		if err1 == nil && err2 == nil && os.SameFile(held, there) {
			f.owner = lock
			break
		}
		lock.Close()
	}
	repaired, err := secure(f.real, fileMode)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.owner.Close()
		f.owner = nil
		return err
	}
	if repaired {
		f.remarks[fmt.Sprintf("%s could be read by others; its mode is now %o", f.path, fileMode)] = true
	}
	return nil
}

// Load implements Store.
func (f *File) Load(resolver string) (*Content, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.refresh()
	if err != nil && !f.read {
		return emptyContent(), err
	}
	c, lerr := f.doc.load(resolver)
	return c, errors.Join(err, lerr)
}

// save applies an edit and writes the file.
func (f *File) save(edit func(document) (document, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.own(); err != nil {
		return err
	}
	if err := f.refresh(); err != nil {
		if !f.read || !errors.Is(err, ErrCorrupt) {
			return err
		}
		// Somebody damaged the file while we have its content. What they left may be of use to them.
		aside := fmt.Sprintf("%s.damaged-%d", f.real, time.Now().Unix())
		if data, err := os.ReadFile(f.real); err == nil && os.WriteFile(aside, data, fileMode) == nil {
			f.remarks[fmt.Sprintf("%s was damaged while we run; it was written anew, and the damaged one is kept as %s", f.path, aside)] = true
		}
	}
	doc, err := edit(f.doc)
	if err != nil {
		return err
	}
	text, err := doc.text()
	if err != nil {
		return err
	}
	if err := f.write(text); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	f.doc, f.stamp = doc, stampOf(f.real)
	return nil
}

func (f *File) write(data []byte) error {
	if !f.inPlace {
		var fresh *os.File
		hold := func(h handle) error {
			var ok bool
			if fresh, ok = h.(*os.File); !ok || !lockInPlace {
				return nil
			}
			return flock(fresh) // the lock must not be free for a moment
		}
		err := f.disk.replace(f.real, f.real+newSuffix, data, hold)
		if err == nil {
			if fresh != nil && lockInPlace {
				f.owner.Close()
				f.owner = fresh
			} else if fresh != nil {
				return fresh.Close()
			}
			return nil
		}
		if !cannotRename(err) {
			return err
		}
		f.inPlace = true
		f.remarks[fmt.Sprintf("%s cannot be replaced, as when a container mounts the file alone; it is overwritten with a journal beside it", f.path)] = true
	}
	return f.disk.overwrite(f.real, data)
}

// SaveAccount implements Store.
func (f *File) SaveAccount(resolver string, a *Account) error {
	return f.save(func(d document) (document, error) { return d.withAccount(resolver, a) })
}

// SaveCertificate implements Store.
func (f *File) SaveCertificate(resolver string, c *Certificate) error {
	return f.save(func(d document) (document, error) { return d.withCertificate(resolver, c) })
}

// SaveSet implements Store.
func (f *File) SaveSet(resolver string, s *Set) error {
	return f.save(func(d document) (document, error) {
		return d.withState(resolver, func(state *stateJSON) { state.Sets[ID(s.Names)] = s })
	})
}

// SaveSpent implements Store.
func (f *File) SaveSpent(resolver string, s *Spent) error {
	return f.save(func(d document) (document, error) {
		return d.withState(resolver, func(state *stateJSON) { state.Spent = *s })
	})
}

// Remove implements Store.
func (f *File) Remove(resolver string, names []string) error {
	return f.save(func(d document) (document, error) { return d.without(resolver, names) })
}

// Lock implements Store: the owner of the file is alone, so only its own jobs exclude each other.
func (f *File) Lock(name string) (func(), error) { return f.locks.take(name) }

// Publish implements Store.
func (f *File) Publish(Pending) error { return nil }

// Withdraw implements Store.
func (f *File) Withdraw(Pending) {}

// Find implements Store.
func (f *File) Find(string, string, string) (string, bool) { return "", false }

// Request implements Store.
func (f *File) Request(name string) error { return request(f.real+requestsSuffix, name) }

// Requests implements Store.
func (f *File) Requests() []string { return takeRequests(f.real + requestsSuffix) }

// Close implements Store.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner == nil {
		return nil
	}
	err := f.owner.Close()
	f.owner = nil
	return err
}

// locks exclude the jobs of one process. The zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[string]bool
}

func (l *locks) take(name string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] {
		return nil, ErrLocked
	}
	if l.held == nil {
		l.held = map[string]bool{}
	}
	l.held[name] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, name)
	}, nil
}

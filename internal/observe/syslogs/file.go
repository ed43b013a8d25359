package syslogs

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rotation says when a log file is put aside, and how long it is kept then. Files that are put aside are compressed.
type Rotation struct {
	// MaxSize is the size in bytes at which a file is put aside. 0: never by size.
	MaxSize int64
	// MaxAge is how long files that were put aside are kept. 0: for ever.
	MaxAge time.Duration
	// MaxBackups is how many of them are kept. 0: all.
	MaxBackups int
}

// File is a log file that is put aside when it has grown, and can be opened again by its name after somebody else has moved
// it. Write, Reopen and Close are safe for concurrent use.
type File struct {
	path     string
	rotation Rotation

	mu   sync.Mutex
	f    *os.File // nil after Close
	size int64

	tidying sync.WaitGroup
	tidy    sync.Mutex // held by whoever compresses and removes
}

// Open opens or makes the file, making its directories.
func Open(path string, r Rotation) (*File, error) {
	l := &File{path: path, rotation: r}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return l, l.open()
}

// open opens the file by its name. mu is held, or nobody else knows l.
func (l *File) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	if l.f != nil {
		l.f.Close()
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write appends p, whole, to one file.
func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, os.ErrClosed
	}
	if l.rotation.MaxSize > 0 && l.size > 0 && l.size+int64(len(p)) > l.rotation.MaxSize {
		// A file that cannot be put aside grows on: the lines matter more than its size.
		_ = l.putAside(time.Now())
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

// asideTime is the part of a name that tells when a file was put aside. Names sort as their times do.
const asideTime = "2006-01-02T15-04-05.000"

// putAside renames the file and begins a new one. mu is held.
func (l *File) putAside(now time.Time) error {
	ext := filepath.Ext(l.path)
	base := strings.TrimSuffix(l.path, ext)
	aside := fmt.Sprintf("%s-%s%s", base, now.UTC().Format(asideTime), ext)
	for i := 1; exists(aside) || exists(aside+".gz"); i++ {
		aside = fmt.Sprintf("%s-%s.%d%s", base, now.UTC().Format(asideTime), i, ext)
	}
	if err := os.Rename(l.path, aside); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return errors.Join(err, os.Rename(aside, l.path))
	}
	l.tidying.Go(func() {
		l.tidy.Lock()
		defer l.tidy.Unlock()
		_ = pack(aside) // stays as it is then, and is read and removed like the others
		l.remove(now)
	})
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// pack replaces a file by its compressed form.
func pack(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".gz.tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	err = cmp.Or(err, z.Close(), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(path+".gz.tmp", path+".gz")
	}
	if err != nil {
		os.Remove(path + ".gz.tmp")
		return err
	}
	return os.Remove(path)
}

// remove removes files that were put aside too long ago, or that are too many.
func (l *File) remove(now time.Time) {
	ext := filepath.Ext(l.path)
	prefix := strings.TrimSuffix(filepath.Base(l.path), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil {
		return // the next time may do better
	}
	var names []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".gz"), prefix)
		if !ok || !strings.HasSuffix(rest, ext) || len(rest) < len(asideTime) {
			continue
		}
		if _, err := time.Parse(asideTime, rest[:len(asideTime)]); err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names) // the newest first
	for i, name := range names {
		at, _ := time.Parse(asideTime, name[len(prefix):len(prefix)+len(asideTime)])
		old := l.rotation.MaxAge > 0 && now.Sub(at) > l.rotation.MaxAge
		if old || l.rotation.MaxBackups > 0 && i >= l.rotation.MaxBackups {
			_ = os.Remove(filepath.Join(filepath.Dir(l.path), name))
		}
	}
}

// Reopen goes on in the file that has the name now. On an error the old one stays.
func (l *File) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return os.ErrClosed
	}
	return l.open()
}

// Close closes the file and waits for what is being compressed.
func (l *File) Close() error {
	l.mu.Lock()
	f := l.f
	l.f = nil
	l.mu.Unlock()
	l.tidying.Wait()
	if f == nil {
		return nil
	}
	return f.Close()
}

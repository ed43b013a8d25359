package httpcache

import (
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxWriting is how many bytes may wait to be written; what comes on top is dropped instead.
	maxWriting = 16 << 20
	// diskPause is the time for which a directory that gave an error is left alone.
	diskPause = time.Minute
)

// ring keeps responses in one file of bounded size, each written behind the one before, over the oldest ones when the end
// is reached. No directory shows the file, and it vanishes with the process, whatever ends it: a cache that came back from a
// crash would not know what was invalidated meanwhile. Safe for concurrent use.
type ring struct {
	directory string
	size      int64
	most      int // records
	log       *slog.Logger
	writing   atomic.Int64

	mu     sync.Mutex
	file   *os.File
	paused time.Time // until when nothing is tried
	closed bool
	head   int64 // where the next record goes
	// queue has the records from the oldest on, from index first; where finds those that count by key.
	queue []record
	first int
	where map[key]record
}

// record is a response in the file.
type record struct {
	key    key
	at     int64
	length int
	came   int64 // of the response
}

func newRing(directory string, size int64, most int, log *slog.Logger) *ring {
	return &ring{directory: directory, size: size, most: most, log: log, where: map[key]record{}}
}

// put writes an entry, unless it or a later one is there.
func (r *ring) put(k key, e *entry) {
	n := e.size()
	if n > r.size/4 {
		return
	}
	if r.writing.Add(n) <= maxWriting {
		r.write(k, e)
	}
	r.writing.Add(-n)
}

func (r *ring) write(k key, e *entry) {
	r.mu.Lock()
	came := e.came.UnixNano()
	if old, there := r.where[k]; there && old.came >= came || !r.open() {
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	data := e.encode(k)
	r.mu.Lock()
	rec, ok := r.reserve(record{key: k, length: len(data), came: came})
	file := r.file
	r.mu.Unlock()
	if !ok {
		return
	}
	// Outside the lock: whoever reads the place too early finds another key there, or a wrong checksum.
	_, err := file.WriteAt(data, rec.at)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fail("writing to the directory of a cache", err)
		return
	}
	r.where[k] = rec
}

// open makes the file if there is none.
func (r *ring) open() bool {
	switch {
	case r.closed, time.Now().Before(r.paused):
		return false
	case r.file != nil:
		return true
	}
	f, err := os.CreateTemp(r.directory, "sluice-cache-*")
	if err != nil {
		r.fail("making a file in the directory of a cache", err)
		return false
	}
	r.file = f
	// The open file is enough, and needs no cleaning up after a crash. Where systems refuse, close removes it.
	_ = os.Remove(f.Name())
	return true
}

// fail leaves the directory alone for a while.
func (r *ring) fail(what string, err error) {
	if r.closed {
		return
	}
	r.paused = time.Now().Add(diskPause)
	if r.log != nil {
		r.log.Error("a cache cannot use its directory", "directory", r.directory, "err", err, "doing", what)
	}
}

// reserve finds room for a record, over the oldest ones if need be.
func (r *ring) reserve(rec record) (record, bool) {
	length := int64(rec.length)
	if r.file == nil || r.closed || length > r.size {
		return rec, false
	}
	if r.head+length > r.size {
		for r.first < len(r.queue) && r.queue[r.first].at >= r.head {
			r.forgetOldest()
		}
		r.head = 0
	}
	end := r.head + length
	for r.first < len(r.queue) {
		oldest := r.queue[r.first]
		if len(r.queue)-r.first < r.most && (oldest.at < r.head || oldest.at >= end) {
			break
		}
		r.forgetOldest()
	}
	rec.at = r.head
	r.queue = append(r.queue, rec)
	r.head = end
	return rec, true
}

func (r *ring) forgetOldest() {
	rec := r.queue[r.first]
	r.first++
	if r.where[rec.key] == rec {
		delete(r.where, rec.key)
	}
	if r.first > len(r.queue)/2 && r.first > 64 {
		r.queue = append(r.queue[:0], r.queue[r.first:]...)
		r.first = 0
	}
}

// get reads the entry under a key, nil if it is not there.
func (r *ring) get(k key) *entry {
	r.mu.Lock()
	rec, ok := r.where[k]
	file := r.file
	r.mu.Unlock()
	if !ok || file == nil {
		return nil
	}
	data := make([]byte, rec.length)
	if _, err := file.ReadAt(data, rec.at); err != nil {
		r.forget(k)
		return nil
	}
	e := decode(k, data)
	if e == nil {
		r.forget(k) // something newer stands there
	}
	return e
}

// forget makes the entry under a key go.
func (r *ring) forget(k key) {
	r.mu.Lock()
	delete(r.where, k)
	r.mu.Unlock()
}

// close removes the file.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.where, r.queue, r.first = map[key]record{}, nil, 0
	if r.file != nil {
		r.file.Close()
		_ = os.Remove(r.file.Name())
		r.file = nil
	}
}

package accesslog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// queueRoom is how many bytes of lines may wait for the writer.
	queueRoom = 8 << 20
	// gather is the least time between two writes, so that many lines leave in one. A writer that has been idle for that
	// long writes at once.
	gather = 5 * time.Millisecond
	// closeLimit bounds how long Close waits for a reader that takes nothing.
	closeLimit = 5 * time.Second
	// complainEvery is the least time between two remarks about lost lines.
	complainEvery = 10 * time.Second
)

// writer moves lines from a queue to a file.
type writer struct {
	path string // empty for a stream that is not ours to close
	room int    // of the queue, in bytes
	log  *slog.Logger

	dropped atomic.Uint64

	mu      sync.Mutex
	waiting []byte // whole lines
	lines   int    // of them
	closing bool

	out    sync.Mutex // held while w is written to or replaced
	w      io.Writer
	wake   chan struct{} // one element: there is something to do
	ended  chan struct{}
	told   time.Time
	silent uint64 // dropped lines that were told of
}

// openWriter opens path for appending, or takes stdout where it is empty.
func openWriter(path string, stdout io.Writer, log *slog.Logger) (*writer, error) {
	w := &writer{path: path, room: queueRoom, log: log, w: stdout, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if path == "" {
		return w, nil
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	w.w = f
	return w, nil
}

func openFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("the directory of the access log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o664)
	if err != nil {
		return nil, fmt.Errorf("the access log: %w", err)
	}
	return f, nil
}

// take puts a line into the queue, or drops it where there is no room. It does not keep the line.
func (w *writer) take(line []byte) {
	w.mu.Lock()
	if w.closing || len(w.waiting)+len(line) > w.room {
		w.mu.Unlock()
		w.dropped.Add(1)
		return
	}
	first := len(w.waiting) == 0
	w.waiting = append(w.waiting, line...)
	w.lines++
	w.mu.Unlock()
	if first {
		w.nudge()
	}
}

func (w *writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes until close.
func (w *writer) run() {
	defer close(w.ended)
	var spare []byte
	for range w.wake {
		began := time.Now()
		w.mu.Lock()
		batch, lines, closing := w.waiting, w.lines, w.closing
		w.waiting, w.lines = spare[:0], 0
		w.mu.Unlock()
		if len(batch) > 0 {
			w.write(batch, lines)
		}
		spare = batch
		if cap(batch) > 64<<10 && len(batch) < cap(batch)/8 {
			spare = nil // a jam is over
		}
		w.complain(began)
		if closing {
			return
		}
		if rest := gather - time.Since(began); len(batch) > 0 && rest > 0 {
			time.Sleep(rest)
		}
	}
}

// write writes a batch. What cannot be written is lost.
func (w *writer) write(batch []byte, lines int) {
	w.out.Lock()
	_, err := w.w.Write(batch)
	w.out.Unlock()
	if err != nil {
		w.dropped.Add(uint64(lines))
		if now := time.Now(); w.told.IsZero() || now.Sub(w.told) >= complainEvery {
			w.told = now
			w.silent = w.dropped.Load()
			w.log.Error("The access log cannot be written", "filePath", w.path, "error", err, "lostLines", lines)
		}
	}
}

// complain tells of lines that found no room since the last time.
func (w *writer) complain(now time.Time) {
	if n := w.dropped.Load(); n > w.silent && (w.told.IsZero() || now.Sub(w.told) >= complainEvery) {
		w.log.Error("Lines of the access log were dropped: it is written too slowly", "filePath", w.path, "lostLines", n-w.silent)
		w.told, w.silent = now, n
	}
}

// reopen replaces the file by the one that has its name now.
func (w *writer) reopen() error {
	if w.path == "" {
		return nil
	}
	f, err := openFile(w.path)
	if err != nil {
		return err
	}
	w.out.Lock()
	old := w.w
	w.w = f
	w.out.Unlock()
	return old.(io.Closer).Close()
}

// close ends run and closes the file.
func (w *writer) close() error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.nudge()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-w.ended:
	case <-limit.C:
		return fmt.Errorf("the access log did not take its last lines within %s", closeLimit)
	}
	if c, ok := w.w.(io.Closer); ok && w.path != "" {
		return c.Close()
	}
	return nil
}

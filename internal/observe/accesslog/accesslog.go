// Package accesslog writes a line for each finished request and connection, in the formats and with the field names that
// Traefik's users have parsers for: common, json and genericCLF.
//
// A line is made where the request ends, in memory that is reused, and handed to one writer through a bounded queue. A
// full disk or a reader that stopped never holds up traffic: lines that find no room are dropped and counted.
package accesslog

import (
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/observe/record"
)

// Log implements record.Sink. Its methods are safe for concurrent use.
type Log struct {
	filters  filters
	layout   layout
	internal bool // requests to internal services are written too
	writer   *writer

	requests atomic.Uint64
	pool     sync.Pool
}

// Options are what a Log needs besides its configuration.
type Options struct {
	// Stdout takes the lines where no file is configured.
	Stdout io.Writer
	// Log hears of lines that are lost.
	Log *slog.Logger
}

// New opens the file, if one is configured, making its directories, and starts the writer. Close ends it.
func New(c *static.AccessLog, o Options) (*Log, error) {
	w, err := openWriter(c.FilePath, o.Stdout, o.Log)
	if err != nil {
		return nil, err
	}
	if c.BufferingSize > 0 {
		w.room = max(w.room, int(min(c.BufferingSize, 1<<20))*usualLine)
	}
	l := &Log{filters: newFilters(c.Filters), layout: newLayout(c), internal: c.AddInternals, writer: w}
	l.pool.New = func() any { return new(line) }
	go w.run()
	return l, nil
}

// Record implements record.Sink.
func (l *Log) Record(r *record.Record) {
	var count uint64
	if r.Method != "" {
		count = l.requests.Add(1)
	}
	if r.Quiet.AccessLog || !l.internal && r.Internal() || !l.filters.pass(r) {
		return
	}
	n := l.pool.Get().(*line)
	n.start(r, count)
	l.layout.write(n)
	n.b = append(n.b, '\n')
	l.writer.take(n.b)
	n.r = nil
	l.pool.Put(n)
}

// NeedsOrigin implements record.OriginSink: servers' fields cost a copy, so they are asked for only where they are shown.
func (l *Log) NeedsOrigin() bool { return l.layout.headers() }

// Dropped returns how many lines found no room, or could not be written.
func (l *Log) Dropped() uint64 { return l.writer.dropped.Load() }

// Reopen closes the file and opens it again by its name, after somebody has moved it away. Without a file it does nothing.
func (l *Log) Reopen() error { return l.writer.reopen() }

// Close writes what is waiting, for at most closeLimit, and closes the file. Nothing may be recorded afterwards.
func (l *Log) Close() error { return l.writer.close() }

// filters choose what is written. A record that passes one of them is; without any, all are.
type filters struct {
	codes    [][2]int
	retried  bool
	slower   time.Duration
	anything bool
}

func newFilters(c *static.AccessLogFilters) filters {
	f := filters{anything: true}
	if c == nil {
		return f
	}
	f.retried, f.slower = c.RetryAttempts, c.MinDuration.Std()
	for _, text := range c.StatusCodes {
		// What is no code has been reported by static.Validate, and passes nothing.
		low, high, isRange := strings.Cut(text, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.Atoi(strings.TrimSpace(low))
		to, err2 := strconv.Atoi(strings.TrimSpace(high))
		if err1 == nil && err2 == nil {
			f.codes = append(f.codes, [2]int{from, to})
		}
	}
	f.anything = len(c.StatusCodes) == 0 && !f.retried && f.slower <= 0
	return f
}

func (f *filters) pass(r *record.Record) bool {
	return f.anything || f.retried && r.Retries > 0 || f.slower > 0 && r.Duration > f.slower ||
		slices.ContainsFunc(f.codes, func(c [2]int) bool { return c[0] <= r.Status && r.Status <= c[1] })
}

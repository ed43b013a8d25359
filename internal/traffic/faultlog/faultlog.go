// Package faultlog writes faults to the process log: at a level that tells whose they are, and bounded in rate, since clients
// decide how many there are.
package faultlog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/core/fault"
)

// Log writes faults. Create it with New; it is safe for concurrent use.
type Log struct {
	log *slog.Logger

	mu    sync.Mutex
	codes map[string]*burst
}

// New returns a Log that writes to log.
func New(log *slog.Logger) *Log { return &Log{log: log, codes: map[string]*burst{}} }

// Tell writes one line about a fault: ours and the server's as warnings, the client's as information. Lines of the same
// code are at most twenty in a second; the next one says how many were left out. Attributes that are empty texts are too.
func (l *Log) Tell(f *fault.Fault, client string, attrs ...slog.Attr) {
	level := slog.LevelInfo
	switch {
	case f.Kind == fault.Panic:
		return // told with its stack already
	case f.Kind.Side() == fault.Upstream:
		level = slog.LevelWarn
	case f.Kind == fault.NoRouter, f.Kind == fault.ClientGone:
		level = slog.LevelDebug
	case f.Kind.Side() == fault.Proxy:
		level = slog.LevelWarn
	}
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	skipped, ok := l.allow(f.Kind.Code(), time.Now())
	if !ok {
		return
	}
	attrs = append(attrs, slog.String("code", f.Kind.Code()), slog.String("side", f.Kind.Side().String()), slog.String("client", client))
	if skipped > 0 {
		attrs = append(attrs, slog.Int("suppressed", skipped))
	}
	kept := attrs[:0]
	for _, a := range attrs {
		if a.Value.Kind() != slog.KindString || a.Value.String() != "" {
			kept = append(kept, a)
		}
	}
	l.log.LogAttrs(context.Background(), level, f.Error(), kept...)
}

// limit is how many lines of one code are written in a second.
const limit = 20

type burst struct {
	second  int64
	written int
	skipped int
}

// allow reports whether a line may be written now, and how many were not since the last one.
func (l *Log) allow(code string, now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.codes[code]
	if b == nil {
		b = &burst{}
		l.codes[code] = b
	}
	if b.second != now.Unix() {
		b.second, b.written = now.Unix(), 0
	}
	if b.written >= limit {
		b.skipped++
		return 0, false
	}
	b.written++
	skipped, b.skipped = b.skipped, 0
	return skipped, true
}

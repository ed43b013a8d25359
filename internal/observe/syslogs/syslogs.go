// Package syslogs sets up the process log: what Sluice says about itself. Requests are the access log's subject.
//
// Two formats exist, as the log.format option names them: `common`, one line for a human, and `json`, one object a line
// with the keys level, time and message. Control characters of values are escaped in both.
package syslogs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Levels of the process log beyond slog's own.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelFatal = slog.LevelError + 4
	LevelPanic = slog.LevelError + 8
	// LevelOff lets nothing through.
	LevelOff = slog.LevelError + 100
)

// ParseLevel reads the log.level option: a word, or a number from -1 (trace) to 5 (panic). WARNING is the old spelling of WARN. ok is false for an unknown word; the level
// is then the default, ERROR.
func ParseLevel(s string) (level slog.Level, ok bool) {
	switch strings.ToUpper(s) {
	case "TRACE", "-1":
		return LevelTrace, true
	case "DEBUG", "0":
		return slog.LevelDebug, true
	case "INFO", "1":
		return slog.LevelInfo, true
	case "WARN", "WARNING", "2":
		return slog.LevelWarn, true
	case "", "ERROR", "3":
		return slog.LevelError, true
	case "FATAL", "4":
		return LevelFatal, true
	case "PANIC", "5":
		return LevelPanic, true
	case "DISABLED":
		return LevelOff, true
	}
	return slog.LevelError, false
}

// New returns a logger that writes lines of the given level and above to w. json chooses the format.
func New(w io.Writer, level slog.Leveler, json bool) *slog.Logger {
	return slog.New(&handler{out: &output{w: w}, level: level, json: json})
}

// output serialises whole lines to one writer.
type output struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

type handler struct {
	out   *output
	level slog.Leveler
	json  bool
	attrs []slog.Attr
	group string
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr{}, h.attrs...), h.qualify(attrs)...)
	return &c
}

// WithGroup implements slog.Handler: names below are prefixed, since both formats are flat.
func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.group += name + "."
	}
	return &c
}

func (h *handler) qualify(attrs []slog.Attr) []slog.Attr {
	if h.group == "" {
		return attrs
	}
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = slog.Attr{Key: h.group + a.Key, Value: a.Value}
	}
	return out
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	line := newLine(h, r)
	for _, a := range h.attrs {
		line.add(a.Key, a.Value)
	}
	r.Attrs(func(a slog.Attr) bool {
		line.add(h.group+a.Key, a.Value)
		return true
	})
	h.out.buf = line.end()
	_, err := h.out.w.Write(h.out.buf)
	return err
}

// line builds one line in the output's buffer.
type line struct {
	b    []byte
	json bool
}

func newLine(h *handler, r slog.Record) *line {
	l := &line{b: h.out.buf[:0], json: h.json}
	if h.json {
		l.b = append(l.b, `{"level":`...)
		l.b = appendJSON(l.b, levelName(r.Level))
		l.b = append(l.b, `,"time":"`...)
		l.b = r.Time.AppendFormat(l.b, time.RFC3339)
		l.b = append(l.b, `","message":`...)
		l.b = appendJSON(l.b, r.Message)
		return l
	}
	l.b = r.Time.AppendFormat(l.b, time.RFC3339)
	l.b = append(l.b, ' ')
	l.b = append(l.b, strings.ToUpper(levelName(r.Level)[:3])...)
	l.b = append(l.b, ' ')
	l.b = append(l.b, escape(r.Message)...)
	return l
}

func (l *line) add(key string, v slog.Value) {
	v = v.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, a := range v.Group() {
			l.add(key+"."+a.Key, a.Value)
		}
		return
	}
	if key == "" {
		return
	}
	if l.json {
		l.b = append(l.b, ',')
		l.b = appendJSON(l.b, key)
		l.b = append(l.b, ':')
		l.b = appendJSONValue(l.b, v)
		return
	}
	l.b = append(l.b, ' ')
	l.b = append(l.b, escape(key)...)
	l.b = append(l.b, '=')
	s := v.String()
	if s == "" || strings.ContainsAny(s, " \"=") || escape(s) != s {
		l.b = strconv.AppendQuote(l.b, s)
	} else {
		l.b = append(l.b, s...)
	}
}

func (l *line) end() []byte {
	if l.json {
		l.b = append(l.b, '}')
	}
	return append(l.b, '\n')
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	case l < LevelFatal:
		return "error"
	case l < LevelPanic:
		return "fatal"
	default:
		return "panic"
	}
}

// escape makes s one harmless line: control characters, among them the terminal escape, become Go escapes.
func escape(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\uFFFD' {
			q := strconv.Quote(s)
			return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
		}
	}
	return s
}

func appendJSON(b []byte, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		out, _ = json.Marshal(fmt.Sprint(v))
	}
	return append(b, out...)
}

func appendJSONValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool, slog.KindFloat64:
		return appendJSON(b, v.Any())
	default:
		return appendJSON(b, v.String())
	}
}

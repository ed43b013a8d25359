package syslogs

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	for _, format := range []string{"common", "json"} {
		t.Run(format, func(t *testing.T) {
			var buf bytes.Buffer
			l := New(&buf, slog.LevelInfo, format == "json").With("entryPointName", "web")
			l.Debug("hidden")
			l.Error("evil \x1b[31m\nline", "host", "a\r\nb \"q\"", "n", 3, "error", errors.New("dial: refused"))
			l.WithGroup("g").Warn("grouped", "k", "v", slog.Group("h", "x", 1))
			lines := strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
			if len(lines) != 2 {
				t.Fatalf("got %d lines, want 2: %q", len(lines), buf.String())
			}
			if strings.ContainsRune(lines[0], '\x1b') || strings.ContainsRune(lines[0], '\r') {
				t.Errorf("control characters in %q", lines[0])
			}
			if format == "common" {
				if want := `ERR evil \x1b[31m\nline entryPointName=web host="a\r\nb \"q\"" n=3 error="dial: refused"`; !strings.HasSuffix(lines[0], want) {
					t.Errorf("got  %s\nwant …%s", lines[0], want)
				}
				return
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
				t.Fatal(err)
			}
			if got["level"] != "error" || got["message"] != "evil \x1b[31m\nline" || got["n"] != 3.0 || got["error"] != "dial: refused" {
				t.Errorf("got %v", got)
			}
			if err := json.Unmarshal([]byte(lines[1]), &got); err != nil || got["g.k"] != "v" || got["g.h.x"] != 1.0 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestParseLevel(t *testing.T) {
	for word, want := range map[string]slog.Level{"": slog.LevelError, "warning": slog.LevelWarn, "TRACE": LevelTrace, "disabled": LevelOff} {
		if got, ok := ParseLevel(word); !ok || got != want {
			t.Errorf("%q: got %v, %v", word, got, ok)
		}
	}
	if got, ok := ParseLevel("LOUD"); ok || got != slog.LevelError {
		t.Errorf("unknown word: got %v, %v", got, ok)
	}
}

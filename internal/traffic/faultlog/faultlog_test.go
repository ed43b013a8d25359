package faultlog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/fault"
)

func TestLevels(t *testing.T) {
	for _, row := range []struct {
		kind fault.Kind
		want string
	}{
		{fault.DialFailed, "WARN"}, {fault.OutOfBudget, "WARN"}, {fault.BadRequest, "INFO"}, {fault.NoRouter, "DEBUG"},
		{fault.ClientGone, "DEBUG"}, {fault.Panic, ""},
	} {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		l.Tell(fault.New(row.kind, "trouble", nil), "192.0.2.1:7", slog.String("routerName", "r"), slog.String("sni", ""))
		line := out.String()
		if row.want == "" {
			if line != "" {
				t.Errorf("%s: got %q", row.kind.Code(), line)
			}
			continue
		}
		if !strings.Contains(line, "level="+row.want+" msg=trouble routerName=r code="+row.kind.Code()) || strings.Contains(line, "sni") {
			t.Errorf("%s: got %q", row.kind.Code(), line)
		}
	}
}

// TestRate writes at most twenty lines of one code in a second, and says what it left out.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)))
		tell := func() { l.Tell(fault.New(fault.DialFailed, "trouble", nil), "192.0.2.1:7") }
		for range 100 {
			tell()
		}
		l.Tell(fault.New(fault.NoServer, "another", nil), "192.0.2.1:7")
		if n := strings.Count(out.String(), "trouble"); n != limit {
			t.Errorf("got %d lines", n)
		}
		if !strings.Contains(out.String(), "another") {
			t.Error("another code was left out")
		}
		time.Sleep(time.Second)
		out.Reset()
		tell()
		if !strings.Contains(out.String(), "suppressed=80") {
			t.Errorf("got %q", out.String())
		}
	})
}

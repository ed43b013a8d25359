package lifecycle

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestSignals(t *testing.T) {
	var reloads, reopens, stops, kills atomic.Int32
	seen := make(chan struct{}, 8)
	count := func(n *atomic.Int32) func() {
		return func() { n.Add(1); seen <- struct{}{} }
	}
	release := Signals(context.Background(), slog.New(slog.NewTextHandler(io.Discard, nil)),
		Handlers{Reload: count(&reloads), Reopen: count(&reopens)}, count(&stops), count(&kills))
	defer release()
	for i, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT} {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
		case <-time.After(10 * time.Second):
			t.Fatalf("signal %d was not handled", i)
		}
	}
	if reloads.Load() != 1 || reopens.Load() != 1 || stops.Load() != 1 || kills.Load() != 2 {
		t.Errorf("got reload %d, reopen %d, stop %d, kill %d; want 1 1 1 2", reloads.Load(), reopens.Load(), stops.Load(), kills.Load())
	}
}

func TestNotifier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000"}
	n := NewNotifier(func(k string) string { return env[k] })
	if n.Watchdog != 20*time.Millisecond {
		t.Errorf("watchdog %v", n.Watchdog)
	}
	if err := n.Send("READY=1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { n.Keepalive(ctx, func() bool { return true }); close(done) }()
	buf := make([]byte, 64)
	for _, want := range []string{"READY=1", "WATCHDOG=1"} {
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		k, _, err := l.ReadFrom(buf)
		if err != nil || string(buf[:k]) != want {
			t.Fatalf("got %q, %v; want %s", buf[:k], err, want)
		}
	}
	cancel()
	<-done
	if err := (Notifier{}).Send("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

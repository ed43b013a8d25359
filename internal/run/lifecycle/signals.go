// Package lifecycle connects the process to the system that runs it: signals, readiness and watchdog messages to the
// service manager, and the sockets that it may hand over.
package lifecycle

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
)

// Handlers are what the signals of a running process trigger.
type Handlers struct {
	// Reload re-reads what comes from files (SIGHUP).
	Reload func()
	// Reopen closes and opens log files again (SIGUSR1).
	Reopen func()
}

// Signals watches the process's signals until ctx ends. The first SIGINT or SIGTERM calls stop, a second one calls kill.
// SIGHUP and SIGUSR1 call their handlers and never end the process. It returns the function that stops watching.
func Signals(ctx context.Context, log *slog.Logger, h Handlers, stop, kill context.CancelFunc) (release func()) {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, watched...)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		stopping := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-done:
				return
			case s := <-ch:
				stopping = handle(log, h, stop, kill, s, stopping)
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
		<-finished
	}
}

func handle(log *slog.Logger, h Handlers, stop, kill context.CancelFunc, s os.Signal, stopping bool) bool {
	switch {
	case isReload(s):
		log.Info("Reloading configuration files", "signal", s.String())
		h.Reload()
	case isReopen(s):
		log.Info("Reopening log files", "signal", s.String())
		h.Reopen()
	case stopping:
		log.Warn("Second stop signal: ending at once", "signal", s.String())
		kill()
	default:
		log.Info("Stopping", "signal", s.String())
		stop()
		return true
	}
	return stopping
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/observe/syslogs"
	"sluice/internal/run/app"
	"sluice/internal/run/lifecycle"
	"sluice/internal/wire/sock"
)

// loaded is a static configuration with what reading it gave.
type loaded struct {
	// config is effective: entry points that follow from other options are in it.
	config   *static.Config
	sources  decode.Sources
	findings diag.List
}

// loadStatic reads the static configuration. ok is false when the process must not go on: the findings have been printed
// then, and code is its exit code.
func loadStatic(p *Process, args []string) (l loaded, code int, ok bool) {
	written, sources, findings := decode.LoadStatic(args, p.Environ, decode.ReadFile)
	l = loaded{config: static.Effective(written), sources: sources, findings: findings}
	fatal := findings.Has(diag.Error)
	if !fatal {
		more := static.Validate(written, sources.Where)
		l.findings = append(l.findings, more...)
		fatal = static.Fatal(more)
	}
	if !fatal {
		return l, exitFine, true
	}
	code = exitFailed
	for _, f := range l.findings {
		fmt.Fprintln(p.Stderr, f)
		if f.Code == decode.CodeFlagSyntax {
			code = exitUsage
		}
	}
	p.errorf("the configuration cannot be used")
	return l, code, false
}

// runRouter runs the router until a signal stops it.
func runRouter(p *Process, args []string) int {
	l, code, ok := loadStatic(p, args)
	if !ok {
		return code
	}
	log, file, err := processLog(p, l.config.Log)
	if err != nil {
		p.errorf("log: %v", err)
		return exitFailed
	}
	defer file.Close()
	for _, f := range l.findings {
		app.LogFinding(log, f)
	}
	if n := l.findings.Count(diag.Warning); n > 0 && p.Terminal {
		p.errorf("%d warnings about the static configuration; `sluice check` shows them", n)
	}
	inherited, err := sock.Inherit(p.Getenv("LISTEN_PID"), p.Getenv("LISTEN_FDS"), p.Getenv("LISTEN_FDNAMES"), os.Getpid())
	if err != nil {
		p.errorf("socket activation: %v", err)
		return exitFailed
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	a, err := app.New(app.Options{Static: l.config, Log: log, Inherited: inherited, Hostname: hostname,
		Notifier: lifecycle.NewNotifier(p.Getenv), Stdout: p.Stdout, Version: Version, Codename: codename, Environ: p.Environ})
	if err != nil {
		p.errorf("%v", err)
		return exitFailed
	}
	return serve(p, log, a, file)
}

// server is what serve runs.
type server interface {
	Run(stop, kill context.Context) error
	Reload()
	Reopen()
}

// serve runs s until signals stop it. file is where log goes.
func serve(p *Process, log *slog.Logger, s server, file logFile) int {
	stop, stopNow := context.WithCancel(context.Background())
	kill, killNow := context.WithCancel(context.Background())
	defer stopNow()
	defer killNow()
	reopen := func() {
		if err := file.Reopen(); err != nil {
			log.Error("The log stays where it was", "error", err)
		}
		s.Reopen()
	}
	release := lifecycle.Signals(context.Background(), log, lifecycle.Handlers{Reload: s.Reload, Reopen: reopen}, stopNow,
		func() { stopNow(); killNow() })
	defer release()
	if err := s.Run(stop, kill); err != nil {
		p.errorf("%v", err)
		return exitFailed
	}
	return exitFine
}

// logFile is where the process log goes.
type logFile struct {
	file *syslogs.File // nil for a stream that is not ours to close
}

// Reopen opens the file again by its name.
func (l logFile) Reopen() error {
	if l.file == nil {
		return nil
	}
	return l.file.Reopen()
}

// Close closes the file.
func (l logFile) Close() {
	if l.file != nil {
		_ = l.file.Close() // the last line has been written or not: nobody is left to tell
	}
}

// defaultMaxSize is log.maxSize as long as nobody writes it, in megabytes.
const defaultMaxSize = 100

// processLog opens the log that the configuration asks for.
func processLog(p *Process, c *static.Log) (*slog.Logger, logFile, error) {
	if c == nil {
		c = &static.Log{}
		c.SetDefaults()
	}
	var w io.Writer = p.Stdout
	var out logFile
	if c.FilePath != "" {
		f, err := syslogs.Open(c.FilePath, syslogs.Rotation{MaxSize: int64(cmp.Or(c.MaxSize, defaultMaxSize)) << 20,
			MaxAge: time.Duration(c.MaxAge) * 24 * time.Hour, MaxBackups: c.MaxBackups})
		if err != nil {
			return nil, out, err
		}
		w, out.file = f, f
	}
	level, known := syslogs.ParseLevel(c.Level)
	log := syslogs.New(w, level, strings.EqualFold(c.Format, static.FormatJSON))
	if !known {
		log.Error("Unknown log level, using ERROR", "level", c.Level)
	}
	return log, out, nil
}

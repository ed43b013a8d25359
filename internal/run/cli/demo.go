package cli

import (
	"flag"
	"log/slog"

	"sluice/internal/observe/syslogs"
	"sluice/internal/run/demo"
)

// runDemo runs the demo until a signal stops it.
func runDemo(p *Process, args []string) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(p.Stderr)
	web := flags.Int("web", 8000, "port of the plain entry point, 0 for any")
	secure := flags.Int("secure", 8443, "port of the TLS entry point, 0 for any")
	verbose := flags.Bool("verbose", false, "log what happens")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return exitUsage
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	log := syslogs.New(p.Stderr, level, false)
	d, err := demo.New(demo.Options{Web: *web, Secure: *secure, Log: log})
	if err != nil {
		p.errorf("demo: %v", err)
		return exitFailed
	}
	defer d.Close()
	d.Explain(p.Stdout)
	return serve(p, log, d, logFile{})
}

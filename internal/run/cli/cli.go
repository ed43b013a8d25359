// Package cli is the command line: it parses words, calls what does the work, prints, and returns the exit code. Exit
// codes are 0 (fine), 1 (failed), 2 (bad command line) and 3 (findings of severity error). Messages for people go to
// stderr, lower case, with the program's name in front; results go to stdout.
package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sluice/internal/core/diag"
)

// Exit codes.
const (
	exitFine     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitFindings = 3
)

// Process is the world of a command. Tests make their own.
type Process struct {
	// Args are the words behind the program's name.
	Args []string
	// Environ is the environment as KEY=value.
	Environ []string
	// Stdout takes results, Stderr messages.
	Stdout, Stderr io.Writer
	// Terminal tells whether Stderr is one.
	Terminal bool
}

// Getenv returns a variable of the environment, "" when it is not set.
func (p *Process) Getenv(name string) string {
	for _, kv := range slices.Backward(p.Environ) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (p *Process) errorf(format string, args ...any) {
	fmt.Fprintf(p.Stderr, "sluice: "+format+"\n", args...)
}

// command is one word of the command line.
type command struct {
	name, usage, about string
	run                func(p *Process, args []string) int
}

// commands returns the table; a function, since help refers to it.
func commands() []command {
	return []command{
		{"run", "[flags]", "run the router (also without any command)", runRouter},
		{"check", "[--docker] [flags] [FILE...]", "say what is wrong with a configuration, without starting anything", runCheck},
		{"explain", "[flags] URL [FILE...]", "say who would answer a request or connection, and why", runExplain},
		{"certs", "list|renew NAME|export DIR", "show, renew or export the certificates of resolvers", runCerts},
		{"demo", "[--web=PORT]", "run a small world to try things on: a VM, two services, and Sluice in front", runDemo},
		{"healthcheck", "[flags]", "ask a running Sluice for its health (needs ping)", runHealthcheck},
		{"version", "[--json]", "print the version", runVersion},
	}
}

// Main runs the command that p's arguments name and returns the exit code.
func Main(p *Process) int {
	args := p.Args
	for _, a := range args {
		if a == "--" {
			break
		}
		if a == "--help" || a == "-help" || a == "-h" {
			help(p.Stdout)
			return exitFine
		}
	}
	// Compose files that were written for other images begin their commands with the program's name.
	if len(args) > 0 && (args[0] == "traefik" || args[0] == "sluice") {
		args = args[1:]
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return runRouter(p, args)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(p, args[1:])
		}
	}
	if args[0] == "help" {
		help(p.Stdout)
		return exitFine
	}
	help(p.Stderr)
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	p.errorf("command not found: %s", diag.Escape(args[0]))
	if hint := diag.DidYouMean(args[0], names); hint != "" {
		p.errorf("hint: %s", hint)
	}
	return exitUsage
}

func help(w io.Writer) {
	fmt.Fprint(w, `Usage: sluice [command] [flags]

Sluice is an edge router: it finds services by their container labels or in files, gets their certificates, puts
middlewares before them, and lets TLS pass untouched to machines that keep their own certificates.

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %-27s %s\n", c.name, c.usage, c.about)
	}
	fmt.Fprint(w, `
Flags are the static configuration in dotted form, such as
  --entryPoints.web.address=:80
  --providers.file.filename=dynamic.toml
  --configFile=sluice.yml              read a file instead (TOML, YAML or JSON)
The environment holds the same as SLUICE_ENTRYPOINTS_WEB_ADDRESS; TRAEFIK_ names are read too.

Exit codes: 0 fine, 1 failed, 2 bad command line, 3 findings of severity error.
`)
}

// Exec is Main for the real process.
func Exec() int {
	terminal := false
	if info, err := os.Stderr.Stat(); err == nil {
		terminal = info.Mode()&os.ModeCharDevice != 0
	}
	return Main(&Process{Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Terminal: terminal})
}

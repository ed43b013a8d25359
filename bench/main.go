//go:build linux

// Command bench measures what one unit of work costs in Sluice and in the proxies it is compared with.
//
// It builds Sluice and a small backend, starts every proxy that is installed (nginx, HAProxy) with the equivalent
// configuration of bench/conf, sends the same load to each in turn, round after round, and prints the medians: CPU time
// of the proxy's whole process tree per request (handshake, connection, MiB), throughput, latency, memory, and Sluice's CPU
// time as a ratio of each peer's. Load generators (wrk, h2load, and workers in this process for what those cannot do)
// share the machine's cores with the proxy, so the CPU time per unit is the figure to look at; throughput is shown beside it.
//
// It installs nothing, listens on loopback only, bounds every run, and ends only the processes that it started.
// Usage: go run ./bench [-quick] [-scenario plain,tls] [-peers sluice,nginx] [-rounds 5] [-duration 4s] [-json FILE].
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the command line.
type settings struct {
	rounds   int
	duration time.Duration
	peers    []string
	binary   string // a Sluice that is built already; empty: build the tree's
}

func main() {
	var s settings
	names := flag.String("scenario", "", "comma-separated scenarios or patterns like tls* (default: all)")
	peers := flag.String("peers", "sluice,nginx,haproxy,direct", "comma-separated proxies; direct is the backend with nothing before it")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds of each scenario; the table shows medians")
	flag.DurationVar(&s.duration, "duration", 4*time.Second, "length of each measured run")
	quick := flag.Bool("quick", false, "one round of one second each: to see that everything works, not to quote")
	out := flag.String("json", "", "file for all figures as JSON, in addition to the table (- is standard output, without table)")
	list := flag.Bool("list", false, "list the scenarios and end")
	flag.StringVar(&s.binary, "sluice", "", "measure this binary instead of building the tree's")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *quick {
		s.rounds, s.duration = 1, time.Second
	}
	s.peers = strings.Split(*peers, ",")

	var chosen []scenario
	for _, sc := range scenarios {
		if wanted(*names, sc.name) {
			chosen = append(chosen, sc)
		}
	}
	if *list {
		for _, sc := range chosen {
			fmt.Printf("%-22s %s\n", sc.name, sc.about)
		}
		return
	}
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "bench: no scenario matches %q (see -list)\n", *names)
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s, chosen, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func wanted(patterns, name string) bool {
	if patterns == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(patterns, ","), func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
}

func run(ctx context.Context, s settings, chosen []scenario, out string) error {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, dir, s)
	if err != nil {
		return err
	}
	defer w.close()

	rep := newReport(w, s)
	for _, sc := range chosen {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(os.Stderr, "%s ", sc.name)
		res := w.measure(ctx, sc, s)
		fmt.Fprintln(os.Stderr)
		rep.Scenarios = append(rep.Scenarios, res)
		if out != "-" {
			res.print(os.Stdout)
		}
	}
	if out != "-" {
		rep.printDerived(os.Stdout)
	}
	if out != "" {
		b, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		b = append(b, '\n')
		if out == "-" {
			_, err = os.Stdout.Write(b)
		} else {
			err = os.WriteFile(out, b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

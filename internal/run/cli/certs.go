package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/acme/storage"
)

// certsRow is a line of `certs list --json`.
type certsRow struct {
	Names       []string         `json:"names"`
	Resolver    string           `json:"resolver"`
	State       string           `json:"state"`
	Issuer      string           `json:"issuer,omitempty"`
	NotAfter    time.Time        `json:"notAfter,omitzero"`
	RenewAt     time.Time        `json:"renewAt,omitzero"`
	NextAttempt time.Time        `json:"nextAttempt,omitzero"`
	Failures    int              `json:"failures,omitempty"`
	Problem     *storage.Problem `json:"problem,omitempty"`
}

// runCerts shows what the storages of certificate resolvers hold, asks for renewals, and writes certificates as files.
func runCerts(p *Process, args []string) int {
	asJSON := false
	var flags, words []string
	for _, a := range args {
		switch {
		case a == "--json":
			asJSON = true
		case strings.HasPrefix(a, "-"):
			flags = append(flags, a)
		default:
			words = append(words, a)
		}
	}
	want := map[string]int{"list": 1, "renew": 2, "export": 2}
	if len(words) == 0 || want[words[0]] != len(words) {
		p.errorf("usage: sluice certs list [--json] | renew NAME | export DIR, each with the flags of run")
		return exitUsage
	}
	l, code, ok := loadStatic(p, flags)
	if !ok {
		return code
	}
	inventory := acme.Inspect(l.config.CertificatesResolvers)
	defer inventory.Close()
	for _, err := range inventory.Problems {
		p.errorf("certs: %v", err)
	}
	code = exitFine
	if len(inventory.Problems) > 0 {
		code = exitFailed
	}
	switch words[0] {
	case "list":
		listCerts(p, inventory.List(), asJSON)
	case "renew":
		resolvers, err := inventory.Renew(words[1])
		if err != nil {
			p.errorf("certs: %v", err)
			return exitFailed
		}
		if len(resolvers) == 0 {
			p.errorf("certs: no resolver has, or has tried to get, a certificate for %s", diag.Escape(words[1]))
			return exitFailed
		}
		fmt.Fprintf(p.Stdout, "asked %s for a new certificate for %s: a running Sluice begins within seconds, another one when it starts\n",
			strings.Join(resolvers, ", "), words[1])
	case "export":
		changed, err := inventory.Export(words[1])
		if err != nil {
			p.errorf("certs: %v", err)
			return exitFailed
		}
		fmt.Fprintf(p.Stdout, "%d certificates written to %s\n", len(changed), words[1])
	}
	return code
}

func listCerts(p *Process, list []acme.Status, asJSON bool) {
	rows := make([]certsRow, len(list))
	for i, s := range list {
		rows[i] = certsRow{Names: s.Names, Resolver: s.Resolver, State: s.State, RenewAt: s.Renewal, NextAttempt: s.Next, Failures: s.Failures, Problem: s.Problem}
		if s.Pair != nil {
			rows[i].Issuer, rows[i].NotAfter = s.Pair.TLS.Leaf.Issuer.CommonName, s.Pair.TLS.Leaf.NotAfter
		}
	}
	if asJSON {
		printJSON(p, rows)
		return
	}
	if len(rows) == 0 {
		fmt.Fprintln(p.Stdout, "no certificates")
		return
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAMES\tRESOLVER\tSTATE\tISSUER\tVALID UNTIL\tRENEWED AT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", strings.Join(r.Names, " "), r.Resolver, r.State, diag.Escape(r.Issuer), minute(r.NotAfter), minute(r.RenewAt))
	}
	w.Flush()
	for _, r := range slices.DeleteFunc(rows, func(r certsRow) bool { return r.Problem == nil }) {
		fmt.Fprintf(p.Stdout, "\n%s: %s\n", r.Names[0], diag.Escape(r.Problem.Text))
		if r.Problem.Advice != "" {
			fmt.Fprintf(p.Stdout, "  what to do: %s\n", diag.Escape(r.Problem.Advice))
		}
		if !r.NextAttempt.IsZero() {
			fmt.Fprintf(p.Stdout, "  %d failed attempts; the next one is at %s\n", r.Failures, minute(r.NextAttempt))
		}
	}
}

// minute writes a time for people.
func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

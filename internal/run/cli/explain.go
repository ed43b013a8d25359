package cli

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/explain"
	"sluice/internal/run/engine"
)

// maxCandidates is how many losing routers are printed for people; --json has all of them.
const maxCandidates = 40

// runExplain says what would become of a request or connection. Configuration is read as check reads it, or a running
// instance is asked.
func runExplain(p *Process, args []string) int {
	var flags, files, headers []string
	var target, method, client, entryPoint, from string
	asJSON := false
	own := map[string]*string{"--method": &method, "--client-ip": &client, "--entrypoint": &entryPoint, "--from": &from}
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, value, hasValue := strings.Cut(a, "=")
		into := own[name]
		switch {
		case a == "--json":
			asJSON = true
		case into != nil || name == "--header":
			if !hasValue {
				if i++; i == len(args) {
					p.errorf("explain: %s needs a value", name)
					return exitUsage
				}
				value = args[i]
			}
			if into != nil {
				*into = value
			} else {
				headers = append(headers, value)
			}
		case strings.HasPrefix(a, "-"):
			flags = append(flags, a)
		case target == "" && strings.Contains(a, "://"):
			target = a
		default:
			files = append(files, a)
		}
	}
	q, err := question(target, method, client, entryPoint, headers)
	if err != nil {
		p.errorf("explain: %v", err)
		return exitUsage
	}
	if from != "" {
		if len(flags)+len(files) > 0 {
			p.errorf("explain: --from asks a running instance, so %s has no effect", strings.Join(append(flags, files...), " "))
			return exitUsage
		}
		answer, err := askInstance(from, target, q)
		if err != nil {
			p.errorf("explain: %v", err)
			return exitFailed
		}
		return show(p, answer, asJSON)
	}
	c := &configuration{}
	if err := c.read(p, flags, files); err != nil {
		p.errorf("explain: %v", err)
		return exitUsage
	}
	built, refused := c.plan()
	answer := explain.Ask(built, q, explain.Facts{Refused: refused, Certificate: engine.Certificate(built)})
	if len(answer.Ways) == 0 {
		// Nothing was read that could be asked: what stood in the way is the cause.
		for _, f := range c.findings {
			if f.Severity == diag.Error {
				answer.Cause += "; " + f.String()
				break
			}
		}
	}
	return show(p, answer, asJSON)
}

func show(p *Process, answer *explain.Answer, asJSON bool) int {
	if asJSON {
		printJSON(p, answer)
	} else {
		printAnswer(p.Stdout, answer)
	}
	return exitFine
}

func question(target, method, client, entryPoint string, headers []string) (*explain.Question, error) {
	if target == "" {
		return nil, fmt.Errorf("no URL is given: write it as https://host/path, tcp://host:port?sni=name or udp://host:port")
	}
	q, err := explain.Parse(target)
	if err != nil {
		return nil, err
	}
	if method != "" {
		q.Method = method
	}
	q.EntryPoint = entryPoint
	if client != "" {
		if q.Client, err = netip.ParseAddr(client); err != nil {
			return nil, fmt.Errorf("--client-ip: %q is not an IP address", client)
		}
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header: %q is not of the form \"Name: value\"", h)
		}
		q.SetHeader(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return q, nil
}

// printAnswer writes an answer for people. Names and rules are foreign text, so no control character goes out.
func printAnswer(w io.Writer, a *explain.Answer) {
	line := func(format string, args ...any) { fmt.Fprintln(w, diag.Escape(fmt.Sprintf(format, args...))) }
	line("%s", a.Cause)
	if a.Assumed != "" {
		line("assumed: %s", a.Assumed)
	}
	for _, way := range a.Ways {
		fmt.Fprintln(w)
		line("entry point %s", way.EntryPoint)
		if len(a.Ways) > 1 {
			line("  %s", way.Cause)
		}
		line("  connection: %s (%s)", way.Decision, way.Reason)
		if way.TLSOptions != "" {
			line("  TLS options: %s", way.TLSOptions)
		}
		if way.Certificate != "" {
			line("  certificate: %s", way.Certificate)
		}
		if way.Challenge != "" {
			line("  challenge: %s", way.Challenge)
		}
		printCandidates(line, way)
		if r := way.Router; r != nil {
			printChosen(line, r)
		}
		if way.Status != 0 {
			location := ""
			if way.Location != "" {
				location = " " + way.Location
			}
			line("  answer: %d%s", way.Status, location)
		}
	}
}

func printCandidates(line func(string, ...any), way *explain.Way) {
	if len(way.Candidates) == 0 {
		line("  candidates: none")
		return
	}
	line("  candidates, in the order in which they are asked:")
	printed := 0
	for _, c := range way.Candidates {
		mark := "   "
		if way.Router != nil && (way.Router.Name == c.Router || slices.Contains(way.Router.Above, c.Router)) {
			mark = "-> "
		} else if printed++; printed > maxCandidates {
			continue
		}
		if c.Below != "" {
			mark += "below " + c.Below + ": "
		}
		if c.Rule == "" {
			line("  %s%s", mark, c.Router)
		} else {
			line("  %s%s, priority %d: %s", mark, c.Router, c.Priority, c.Rule)
		}
		switch {
		case c.Lost != "":
			line("       %s", c.Lost)
		case c.Rule == "":
		case c.Matches:
			line("       matches")
		default:
			for _, m := range c.Misses {
				not := ""
				if m.Negated {
					not = "not "
				}
				line("       wants %s%s, saw %q", not, m.Matcher, m.Saw)
			}
		}
	}
	if printed > maxCandidates {
		line("     and %d more (--json lists them)", printed-maxCandidates)
	}
}

func printChosen(line func(string, ...any), r *explain.Chosen) {
	line("  router %s: %s", r.Name, r.Status)
	if r.Place != "" {
		line("    written in %s", r.Place)
	}
	for _, reason := range r.Reasons {
		line("    %s", reason)
	}
	for _, m := range r.Middlewares {
		effect := ""
		if m.Effect != "" {
			effect = ": " + m.Effect
		}
		line("    middleware %s (%s)%s", m.Name, m.Kind, effect)
	}
	if r.Service != "" {
		line("    service %s (%s)", r.Service, r.ServiceKind)
	}
	if r.Tree != nil {
		printBranch(line, r.Tree, "    ")
		return
	}
	for _, s := range r.Servers {
		line("      server %s", s)
	}
}

// printBranch writes what is at and below a service; the head of the topmost one is there already.
func printBranch(line func(string, ...any), b *explain.Branch, indent string) {
	for _, m := range b.Servers {
		text := m.URL
		if m.Origin != "" {
			text += " (" + m.Origin + ")"
		}
		switch {
		case m.Note != "":
			text += ": gets nothing, " + m.Note
		case m.Status != "":
			text += ": " + strings.ToLower(m.Status)
		}
		line("%s  server %s", indent, text)
	}
	for _, c := range b.Children {
		line("%s  %s: service %s (%s) %s", indent, c.Role, c.Service, c.Kind, c.Takes)
		printBranch(line, c, indent+"  ")
	}
}

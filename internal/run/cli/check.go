package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/docker"
)

// runCheck prints what is wrong with configuration. With files it looks at those, without any it looks at what a start
// with the same flags, environment and default files would use. With --docker it looks at the containers of the engines,
// too.
func runCheck(p *Process, args []string) int {
	c := &configuration{}
	asJSON, engines := false, false
	var flags, files []string
	for _, a := range args {
		switch {
		case a == "--json":
			asJSON = true
		case a == "--docker":
			engines = true
		case strings.HasPrefix(a, "-"):
			flags = append(flags, a)
		default:
			files = append(files, a)
		}
	}
	if err := c.read(p, flags, files); err != nil {
		p.errorf("check: %v", err)
		return exitUsage
	}
	if engines {
		c.survey(p)
	}
	built, _ := c.plan()
	if asJSON {
		printJSON(p, struct {
			Findings   diag.List       `json:"findings"`
			Containers []docker.Report `json:"containers,omitempty"`
		}{append(diag.List{}, c.findings...), c.containers})
	} else {
		c.printContainers(p, built)
		c.print(p)
	}
	if c.findings.Has(diag.Error) {
		return exitFindings
	}
	return exitFine
}

// print writes the findings for people: each on one line, and below it the line of the file that it is about.
func (c *configuration) print(p *Process) {
	files := map[string][]string{}
	for _, f := range c.findings {
		fmt.Fprintln(p.Stdout, f)
		if line, mark := excerpt(files, f.Place); line != "" {
			fmt.Fprintf(p.Stdout, "    %s\n    %s\n", line, mark)
		}
	}
	if len(c.findings) == 0 {
		fmt.Fprintln(p.Stdout, "no findings")
		return
	}
	fmt.Fprintf(p.Stdout, "%d errors, %d warnings, %d remarks\n", c.findings.Count(diag.Error), c.findings.Count(diag.Warning),
		c.findings.Count(diag.Info))
}

// maxExcerpt is how much of a line is shown, in characters.
const maxExcerpt = 120

// excerpt returns the line of a place and a line with a caret under its column; empty where there is none to show.
func excerpt(files map[string][]string, place diag.Place) (line, mark string) {
	if place.Line == 0 || place.Col == 0 {
		return "", ""
	}
	lines, read := files[place.Source]
	if !read {
		if data, err := decode.ReadFile(place.Source); err == nil {
			lines = strings.Split(string(data), "\n")
		}
		files[place.Source] = lines
	}
	if place.Line > len(lines) {
		return "", ""
	}
	text := strings.TrimRight(lines[place.Line-1], "\r")
	if place.Col > len(text)+1 {
		return "", ""
	}
	// Columns count bytes; the caret counts characters, and a tab is as wide as one.
	before := []rune(diag.Escape(strings.ReplaceAll(text[:place.Col-1], "\t", " ")))
	after := []rune(diag.Escape(strings.ReplaceAll(text[place.Col-1:], "\t", " ")))
	for len(before) > 0 && before[0] == ' ' {
		before = before[1:]
	}
	if len(before) > maxExcerpt/2 {
		before = before[len(before)-maxExcerpt/2:]
	}
	if rest := maxExcerpt - len(before); len(after) > rest {
		after = after[:rest]
	}
	if len(after) == 0 {
		return "", ""
	}
	return string(before) + string(after), strings.Repeat(" ", len(before)) + "^"
}

// printJSON writes a result for programs.
func printJSON(p *Process, v any) {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		p.errorf("%v", err)
		return
	}
	fmt.Fprintf(p.Stdout, "%s\n", out)
}

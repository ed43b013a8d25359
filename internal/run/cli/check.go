package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/file"
	"sluice/internal/run/engine"
)

// checking is one run of the check command.
type checking struct {
	json      bool
	static    *static.Config
	snapshots []dynamic.Snapshot
	findings  diag.List
}

// runCheck prints what is wrong with configuration. With files it looks at those, without any it looks at what a start
// with the same flags, environment and default files would use.
func runCheck(p *Process, args []string) int {
	c := &checking{}
	var flags, files []string
	for _, a := range args {
		switch {
		case a == "--json":
			c.json = true
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
	b := plan.Build(nil, c.static, c.snapshots)
	c.findings = append(c.findings, b.Findings...)
	c.findings = append(c.findings, engine.Validate(b)...)
	c.findings.Sort()
	c.findings = slices.Compact(c.findings)
	c.print(p)
	if c.findings.Has(diag.Error) {
		return exitFindings
	}
	return exitFine
}

// read collects the static and dynamic side.
func (c *checking) read(p *Process, flags, files []string) error {
	if len(files) == 0 {
		written, sources, findings := decode.LoadStatic(flags, p.Environ, decode.ReadFile)
		c.findings = append(c.findings, findings...)
		c.findings = append(c.findings, static.Validate(written, sources.Where)...)
		c.static = static.Effective(written)
		if f := c.static.Providers.File; f != nil {
			c.snapshots = append(c.snapshots, readFiles(*f))
		}
		return nil
	}
	if len(flags) > 0 {
		written, where, findings := decode.StaticFromFlags(flags, &decode.Files{Read: decode.ReadMaterial})
		c.findings = append(c.findings, findings...)
		c.findings = append(c.findings, static.Validate(written, where)...)
		c.static = static.Effective(written)
	}
	snapshot := dynamic.Snapshot{Provider: file.Name}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.IsDir() {
			snapshot.Fragments = append(snapshot.Fragments, readFiles(static.File{Directory: name}).Fragments...)
			continue
		}
		if _, ok := decode.FormatOf(name); !ok {
			return fmt.Errorf("unsupported file extension: %s", name)
		}
		if isDynamic := c.staticSide(name); isDynamic {
			snapshot.Fragments = append(snapshot.Fragments, readFiles(static.File{Filename: name}).Fragments...)
		}
	}
	c.snapshots = append(c.snapshots, snapshot)
	return nil
}

// readFiles reads what the file provider would read, once.
func readFiles(f static.File) dynamic.Snapshot {
	f.Watch = false
	var out dynamic.Snapshot
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := file.New(f, nil)
	// Run ends by the cancelled context; what went wrong stands in the findings.
	_ = p.Run(ctx, func(s dynamic.Snapshot) {
		out = s
		cancel()
	})
	out.Provider = file.Name
	return out
}

// staticSide reads the static side of a file, if it has one, and reports whether the file has a dynamic side as well (or
// nothing that is known, so that reading it as dynamic configuration says what is wrong).
func (c *checking) staticSide(path string) (isDynamic bool) {
	data, err := decode.ReadFile(path)
	if err != nil {
		return true // reading it again says why not
	}
	format, _ := decode.FormatOf(path)
	doc, err := decode.File(path, data, format)
	if err != nil {
		return true
	}
	isStatic, isDynamic := doc.Sides()
	if isStatic {
		written, findings := doc.Static(&decode.Files{Read: decode.ReadMaterial})
		c.findings = append(c.findings, findings...)
		c.findings = append(c.findings, static.Validate(written, doc)...)
		c.static = static.Effective(written)
	}
	return isDynamic || !isStatic
}

func (c *checking) print(p *Process) {
	if c.json {
		out, err := json.MarshalIndent(struct {
			Findings diag.List `json:"findings"`
		}{append(diag.List{}, c.findings...)}, "", "  ")
		if err != nil {
			p.errorf("check: %v", err)
			return
		}
		fmt.Fprintf(p.Stdout, "%s\n", out)
		return
	}
	for _, f := range c.findings {
		fmt.Fprintln(p.Stdout, f)
	}
	if len(c.findings) == 0 {
		fmt.Fprintln(p.Stdout, "no findings")
		return
	}
	fmt.Fprintf(p.Stdout, "%d errors, %d warnings, %d remarks\n", c.findings.Count(diag.Error), c.findings.Count(diag.Warning),
		c.findings.Count(diag.Info))
}

package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
	"sluice/internal/intake/docker"
	"sluice/internal/intake/file"
	"sluice/internal/run/engine"
)

// configuration is what check and explain look at.
type configuration struct {
	static    *static.Config
	snapshots []dynamic.Snapshot
	findings  diag.List
	// containers say what becomes of each container, of engines and of the compose files in projects.
	containers []docker.Report
	projects   []*docker.Project
}

// plan builds the plan of what was read. refused are the findings about what the engine would not build; all findings,
// these included, are then in c, sorted.
func (c *configuration) plan() (built *plan.Plan, refused diag.List) {
	if c.static == nil {
		c.assumeEntryPoints()
	}
	built = plan.Build(nil, c.static, c.snapshots)
	refused = engine.Validate(built)
	c.findings = append(c.findings, built.Findings...)
	c.findings = append(c.findings, refused...)
	c.relocate()
	c.findings.Sort()
	c.findings = slices.Compact(c.findings)
	return built, refused
}

// unnamedEntryPoint is where routers are put that name no entry point, when nothing is known of any.
const unnamedEntryPoint = "default"

// assumeEntryPoints puts routers that name no entry point on all that others name, since without a static side the default
// ones are not known. The fragments are ours: nobody else reads them.
func (c *configuration) assumeEntryPoints() {
	var names []string
	var lists []*[]string
	for _, s := range c.snapshots {
		for _, f := range s.Fragments {
			if h := f.Config.HTTP; h != nil {
				for _, r := range h.Routers {
					if r != nil && len(r.ParentRefs) == 0 {
						lists = append(lists, &r.EntryPoints)
					}
				}
			}
			if t := f.Config.TCP; t != nil {
				for _, r := range t.Routers {
					if r != nil {
						lists = append(lists, &r.EntryPoints)
					}
				}
			}
		}
	}
	for _, l := range lists {
		names = append(names, *l...)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		names = []string{unnamedEntryPoint}
	}
	for _, l := range lists {
		if len(*l) == 0 {
			*l = names
		}
	}
}

// read collects the static and dynamic side.
func (c *configuration) read(p *Process, flags, files []string) error {
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
	composed := map[string]*decode.Document{}
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
		if doc := composeFile(name); doc != nil {
			composed[name] = doc
		} else if isDynamic := c.staticSide(name); isDynamic {
			snapshot.Fragments = append(snapshot.Fragments, readFiles(static.File{Filename: name}).Fragments...)
		}
	}
	c.snapshots = append(c.snapshots, snapshot)
	for _, name := range slices.Sorted(maps.Keys(composed)) {
		c.compose(p, name, composed[name])
	}
	return nil
}

// composeFile returns the document of a compose file; nil for every other file.
func composeFile(path string) *decode.Document {
	data, err := decode.ReadFile(path)
	if err != nil {
		return nil
	}
	format, _ := decode.FormatOf(path)
	doc, err := decode.File(path, data, format)
	if err != nil {
		return nil
	}
	if isStatic, isDynamic := doc.Sides(); isStatic || isDynamic || !docker.IsCompose(doc) {
		return nil
	}
	return doc
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
func (c *configuration) staticSide(path string) (isDynamic bool) {
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

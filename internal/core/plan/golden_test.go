package plan_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// parts splits a golden file at its lines `-- name --`.
func parts(text string) (names []string, content map[string]string) {
	content = map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(n, " --\n") {
			name = strings.TrimSuffix(n, " --\n")
			names = append(names, name)
			continue
		}
		content[name] += line
	}
	return names, content
}

// load decodes one document of a golden file.
func load(t *testing.T, name, text string) *decode.Document {
	t.Helper()
	format, ok := decode.FormatOf(name)
	if !ok {
		t.Fatalf("%s: unknown format", name)
	}
	doc, err := decode.File(name, []byte(text), format)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestGolden plans the documents of each file under testdata and compares findings and the state of every element. A
// document called static.* is the static side; PROVIDER-anything.* are fragments of a provider, file where none is named.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			names, content := parts(string(text))
			var st *static.Config
			var snapshots []dynamic.Snapshot
			for _, name := range names {
				if name == "want" {
					continue
				}
				doc := load(t, name, content[name])
				if strings.HasPrefix(name, "static.") {
					var l diag.List
					if st, l = doc.Static(nil); l.Has(diag.Error) {
						t.Fatal(l)
					}
					continue
				}
				provider, _, found := strings.Cut(name, "-")
				if !found {
					provider = "file"
				}
				i := slices.IndexFunc(snapshots, func(s dynamic.Snapshot) bool { return s.Provider == provider })
				if i < 0 {
					i = len(snapshots)
					snapshots = append(snapshots, dynamic.Snapshot{Provider: provider})
				}
				snapshots[i].Fragments = append(snapshots[i].Fragments, doc.Dynamic(nil))
			}
			first := plan.Build(nil, st, snapshots)
			got := render(first)
			if again := render(plan.Build(first, st, snapshots)); again != got {
				t.Errorf("a second build differs:\n%s", again)
			}
			if got == content["want"] {
				return
			}
			if *update {
				head, _, _ := strings.Cut(string(text), "-- want --\n")
				if err := os.WriteFile(file, []byte(head+"-- want --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("got\n%s\nwant\n%s", got, content["want"])
		})
	}
}

// render prints findings, then one line an element, then the order of routers on each entry point.
func render(p *plan.Plan) string {
	var b strings.Builder
	for _, f := range p.Findings {
		fmt.Fprintln(&b, f)
	}
	var lines []string
	for _, r := range p.HTTP.Routers {
		lines = append(lines, fmt.Sprintf("http router %s: %s routed=%v on=%v priority=%d", r.Name, status(p, &r.Node), r.Routed(), r.EntryPoints, r.Priority))
	}
	for _, s := range p.HTTP.Services {
		lines = append(lines, fmt.Sprintf("http service %s: %s %s", s.Name, status(p, &s.Node), s.Type))
	}
	for _, m := range p.HTTP.Middlewares {
		lines = append(lines, fmt.Sprintf("http middleware %s: %s %s", m.Name, status(p, &m.Node), m.Type))
	}
	for _, r := range p.TCP.Routers {
		lines = append(lines, fmt.Sprintf("tcp router %s: %s routed=%v on=%v priority=%d", r.Name, status(p, &r.Node), r.Routed(), r.EntryPoints, r.Priority))
	}
	for _, s := range p.TCP.Services {
		lines = append(lines, fmt.Sprintf("tcp service %s: %s %s", s.Name, status(p, &s.Node), s.Type))
	}
	for _, r := range p.UDP.Routers {
		lines = append(lines, fmt.Sprintf("udp router %s: %s on=%v", r.Name, status(p, &r.Node), r.EntryPoints))
	}
	for _, s := range p.UDP.Services {
		lines = append(lines, fmt.Sprintf("udp service %s: %s %s", s.Name, status(p, &s.Node), s.Type))
	}
	for name, ep := range p.UDP.EntryPoints {
		var order []string
		for _, r := range ep.Routers {
			order = append(order, r.Name.String())
		}
		lines = append(lines, fmt.Sprintf("udp entry point %s: %s", name, strings.Join(order, " ")))
	}
	for _, o := range p.TLS.Options {
		if o.Name != plan.DefaultOptions {
			lines = append(lines, fmt.Sprintf("tls options %s: %s", o.Name, status(p, &o.Node)))
		}
	}
	for name, ep := range p.EntryPoints {
		var order []string
		for _, r := range ep.Plain {
			order = append(order, r.Name.String())
		}
		for _, r := range ep.Secure {
			order = append(order, "tls:"+r.Name.String())
		}
		for _, r := range append(slices.Clone(ep.TCP), ep.TLS...) {
			order = append(order, "tcp:"+r.Name.String())
		}
		lines = append(lines, fmt.Sprintf("entry point %s: %s", name, strings.Join(order, " ")))
	}
	slices.Sort(lines)
	for _, l := range lines {
		if !strings.Contains(l, "noop@internal") {
			fmt.Fprintln(&b, l)
		}
	}
	return b.String()
}

func status(p *plan.Plan, n *plan.Node) plan.Status {
	s, _ := p.About(n)
	return s
}

package archtest

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTree checks the module that this package belongs to.
func TestTree(t *testing.T) {
	root := moduleRoot(t)
	for _, p := range Check(Tree{Module: "sluice", Files: sources(t, root), Std: std(t)}) {
		t.Error(p)
	}
}

// TestRoomsExist keeps the table from naming packages that went away: a doorway of a package that is there must be
// one of its imports or be about to be.
func TestRoomsExist(t *testing.T) {
	for _, d := range doorways {
		if _, ok := rooms[room(d.pkg)]; !ok || d.reason == "" {
			t.Errorf("doorway %s for %s: no such room, or no reason", d.pkg, d.module)
		}
	}
	for r, list := range rooms {
		for _, to := range list {
			if _, ok := rooms[room(to)]; !ok {
				t.Errorf("room %s: %s is not in a room", r, to)
			}
		}
	}
}

// TestCheckSees breaks every rule once in a made-up tree, so that a check that has gone blind is noticed.
func TestCheckSees(t *testing.T) {
	long := strings.Repeat("// x\n", maxLines)
	cases := []struct {
		name  string
		files map[string]string
		want  []string // one per problem, in order, each a part of it
	}{
		{"sound tree", map[string]string{
			"cmd/sluice/main.go":            "// Command sluice routes.\npackage main\nimport _ \"sluice/internal/run/cli\"\n",
			"internal/run/cli/cli.go":       "// Package cli parses.\npackage cli\nimport _ \"sluice/internal/core/plan\"\nimport _ \"os\"\n",
			"internal/core/plan/plan.go":    "// Package plan plans.\npackage plan\nimport _ \"sluice/internal/core/rule\"\nimport \"net/http\"\nvar X = http.StatusText(http.StatusOK)\n",
			"internal/core/rule/rule.go":    "// Package rule reads.\npackage rule\n",
			"internal/core/rule/a_test.go":  "package rule_test\nimport _ \"sluice/internal/testkit\"\nimport _ \"example.com/any\"\n",
			"internal/intake/decode/d.go":   "// Package decode decodes.\npackage decode\nimport _ \"go.yaml.in/yaml/v4\"\n",
			"internal/wire/sock/sock.go":    "// Package sock listens.\npackage sock\nimport _ \"golang.org/x/sys/unix\"\n",
			"internal/wire/sock/long.go":    "// This file is long because\n// it is.\n\npackage sock\n" + long,
			"internal/traffic/certs/ok.go":  "// Package certs picks.\npackage certs\nimport _ \"sluice/internal/observe/record\"\n",
			"internal/observe/record/rr.go": "// Package record records.\npackage record\nimport _ \"sluice/internal/core/fault\"\n",
			"internal/core/fault/fault.go":  "// Package fault faults.\npackage fault\nimport \"time\"\nfunc f(time struct{ Now int }) int { return time.Now }\n",
			"internal/testkit/t.go":         "// Package testkit tests.\npackage testkit\n",
		}, nil},
		{"core imports a room", map[string]string{
			"internal/core/plan/plan.go": "// Package plan plans.\npackage plan\nimport _ \"sluice/internal/wire/sock\"\n",
		}, []string{"plan.go:3: imports wire/sock: room core may not"}},
		{"core against its order", map[string]string{
			"internal/core/rule/rule.go":   "// Package rule reads.\npackage rule\nimport _ \"sluice/internal/core/plan\"\n",
			"internal/core/other/other.go": "// Package other is new.\npackage other\nimport _ \"sluice/internal/core/rule\"\n",
		}, []string{"has a place in its order", "core's order"}},
		{"core is pure", map[string]string{
			"internal/core/rule/rule.go": "// Package rule reads.\npackage rule\nimport (\n\"time\"\nnames \"net\"\n\"os\"\n\"net/http\"\n\"golang.org/x/text/x\"\n)\n" +
				"var a = time.Now()\nvar b, _ = names.LookupHost(\"\")\nvar c = os.Args\nvar d http.Client\nfunc f() { go f() }\nvar e = x.A\n",
		}, []string{"core knows no third party", "time.Now", "net.LookupHost", "os.Args", "net/http.Client", "no goroutines"}},
		{"wire knows routers", map[string]string{
			"internal/wire/sock/sock.go": "// Package sock listens.\npackage sock\nimport _ \"sluice/internal/core/route\"\n",
		}, []string{"imports core/route: room wire may not"}},
		{"intake meets traffic", map[string]string{
			"internal/intake/file/file.go":   "// Package file reads.\npackage file\nimport _ \"sluice/internal/traffic/certs\"\nimport _ \"sluice/internal/core/plan\"\n",
			"internal/traffic/certs/cert.go": "// Package certs picks.\npackage certs\nimport _ \"sluice/internal/intake/file\"\n",
		}, []string{"imports traffic/certs", "imports core/plan", "imports intake/file"}},
		{"traffic and the plan", map[string]string{
			"internal/traffic/certs/c.go":      "// Package certs picks.\npackage certs\nimport _ \"sluice/internal/core/plan\"\nimport _ \"sluice/internal/observe/prom\"\n",
			"internal/traffic/entrypoint/e.go": "// Package entrypoint serves.\npackage entrypoint\nimport _ \"sluice/internal/traffic/middleware/compress\"\n",
		}, []string{"does not know it", "imports observe/prom", "handlers that engine gives"}},
		{"somebody imports run", map[string]string{
			"internal/traffic/certs/c.go": "// Package certs picks.\npackage certs\nimport _ \"sluice/internal/run/engine\"\n",
			"cmd/sluice/main.go":          "// Command sluice routes.\npackage main\nimport _ \"sluice/internal/wire/sock\"\nimport _ \"example.com/x\"\n",
		}, []string{"a command imports room run only", "enter through a room", "imports run/engine"}},
		{"product imports testkit", map[string]string{
			"internal/run/app/app.go": "// Package app composes.\npackage app\nimport _ \"sluice/internal/testkit\"\n",
		}, []string{"for tests only"}},
		{"third party past its doorway", map[string]string{
			"internal/intake/file/file.go":  "// Package file reads.\npackage file\nimport _ \"go.yaml.in/yaml/v4\"\n",
			"internal/traffic/tunnel/tt.go": "// Package tunnel tunnels.\npackage tunnel\nimport _ \"go.yaml.in/yaml/v4\"\n",
			"internal/wire/sock/sock.go":    "// Package sock listens.\npackage sock\nimport _ \"golang.org/x/unheard\"\n",
		}, []string{"through intake/decode only", "no doorway of room traffic", "no doorway of room wire"}},
		{"unknown room", map[string]string{
			"internal/cellar/wine/wine.go": "// Package wine rests.\npackage wine\n",
		}, []string{"internal/cellar is not a room"}},
		{"names", map[string]string{
			"internal/run/util/u.go":       "// Package util is.\npackage util\n",
			"internal/run/json/j.go":       "// Package json is.\npackage json\n",
			"internal/run/app/a.go":        "// Package app is.\npackage app\n",
			"internal/traffic/app/a.go":    "// Package app is.\npackage app\n",
			"internal/traffic/tunnel/t.go": "// Package tube is.\npackage tube\n",
		}, []string{"shadows the standard package encoding/json", "says nothing", "same last name as internal/run/app", "package tube stands in"}},
		{"package comments", map[string]string{
			"internal/run/app/a.go":        "// Package app is.\npackage app\n",
			"internal/run/app/b.go":        "// Package app is too.\npackage app\n",
			"internal/run/cli/c.go":        "package cli\n",
			"internal/run/engine/e.go":     "// The engine.\npackage engine\n",
			"internal/run/admin/a.go":      "// Licence.\n\npackage admin\n",
			"internal/run/admin/b.go":      "// Package admin is.\npackage admin\n",
			"internal/run/admin/a_test.go": "// Tests.\npackage admin\n",
		}, []string{"second package comment", "no package comment", "begins with \"Package engine \""}},
		{"init and length", map[string]string{
			"internal/run/app/a.go":      "// Package app is.\npackage app\nfunc init() {}\n",
			"internal/run/app/b.go":      "package app\n" + long,
			"internal/run/app/b_test.go": "package app\n" + long + long,
			"internal/run/app/c.go":      "package app\nvar x = 1\n" + long + "// This file is long because x\n",
		}, []string{"init function", "b.go: 701 lines", "b_test.go: 1401 lines", "c.go: 703 lines"}},
		{"broken file", map[string]string{"internal/run/app/a.go": "package"}, []string{"does not parse"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var tree Tree
			tree.Module = "sluice"
			tree.Std = []string{"os", "net", "net/http", "time", "encoding/json", "net/http/internal/app", "cmd/vendor/cli", "vendor/a/tunnel"}
			for p, text := range c.files {
				tree.Files = append(tree.Files, Source{p, []byte(text)})
			}
			got := Check(tree)
			for i, p := range got {
				if i >= len(c.want) || !strings.Contains(p.String(), c.want[i]) {
					t.Errorf("problem %d: %s", i, p)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%d problems, want %d", len(got), len(c.want))
			}
		})
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("go.mod not found above the working directory")
		}
		dir = up
	}
}

// sources reads the Go files of the module: cmd, internal and what else stands in its root module.
func sources(t *testing.T, root string) []Source {
	t.Helper()
	var out []Source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // an editor's file that came and went
			}
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p == root {
				return nil
			}
			_, nested := os.Stat(filepath.Join(p, "go.mod"))
			if nested == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		out = append(out, Source{filepath.ToSlash(rel), text})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func std(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "std").Output()
	if err != nil {
		t.Fatalf("go list std: %v", err)
	}
	var list []string
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		list = append(list, s.Text())
	}
	return list
}

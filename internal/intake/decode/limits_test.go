package decode

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sluice/internal/core/diag"
)

// TestBounds gives hostile documents and checks what becomes of them, and that it costs little.
func TestBounds(t *testing.T) {
	bomb := "a: &a {x: y}\n"
	for i := 'b'; i < 'z'; i++ {
		bomb += fmt.Sprintf("%c: &%c {l: [*%c, *%c, *%c, *%c, *%c, *%c]}\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	merges := "a0: &a0 {k0: 1}\n"
	for i := 1; i < 40; i++ {
		merges += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d], k%d: 1}\n", i, i, i-1, i-1, i)
	}
	var wide strings.Builder
	wide.WriteString("w: &w {")
	for i := range 2000 {
		fmt.Fprintf(&wide, "k%d: 1, ", i)
	}
	wide.WriteString("}\n")
	for i := range 2000 {
		fmt.Fprintf(&wide, "m%d: {<<: *w}\n", i)
	}
	garbage := "http:\n" + strings.Repeat("  ", 1)
	for i := range 5000 {
		garbage += fmt.Sprintf("k%d: 1\n  ", i)
	}
	for name, c := range map[string]struct {
		file, text, want string
		findings         int
	}{
		"yaml: alias bomb":        {"f.yaml", "http: {middlewares: {m: {plugin: {p: {v: *y}}}}}\n", "unknown anchor", 1},
		"yaml: alias bomb used":   {"f.yaml", bomb + "http: {middlewares: {m: {plugin: {p: *y}}}}\n", "aliases multiply this document beyond all measure", 0},
		"yaml: merge chain":       {"f.yaml", merges + "http: {middlewares: {m: {headers: {customRequestHeaders: *a39}}}}\n", "", 0},
		"yaml: wide merges":       {"f.yaml", wide.String(), "merge keys copy more than 100000 entries", 0},
		"yaml: deep flow":         {"f.yaml", "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested deeper than 64 levels", 0},
		"yaml: deep block":        {"f.yaml", strings.Repeat("- ", 5000) + "x", "nested deeper than 64 levels", 0},
		"yaml: deeper":            {"f.yaml", strings.Repeat("[", 1<<20), "", 1},
		"yaml: deep but allowed":  {"f.yaml", "http: {middlewares: {m: {plugin: {p: " + strings.Repeat("{a: ", 50) + "1" + strings.Repeat("}", 50) + "}}}}", "", 0},
		"toml: deep keys":         {"f.toml", strings.Repeat("a.", 5000) + "a = 1", "nested deeper than 64 levels", 1},
		"toml: deep header":       {"f.toml", "[" + strings.Repeat("a.", 5000) + "a]", "nested deeper than 64 levels", 1},
		"toml: deep arrays":       {"f.toml", "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "", 1},
		"toml: deep inline":       {"f.toml", "a = " + strings.Repeat("{a = ", 200) + "1" + strings.Repeat("}", 200), "nested deeper than 64 levels", 1},
		"many findings":           {"f.yaml", garbage, "4000 more findings are left out", maxFindings + 1},
		"control characters":      {"f.yaml", "a: \x00", "control characters are not allowed", 1},
		"toml: control character": {"f.toml", "a = \"\x00\"", "", 1},
		"toml: not UTF-8":         {"f.toml", "a = \"\xff\"", "", 1},
		"yaml: not UTF-8":         {"f.yaml", "a: \xff", "invalid leading UTF-8", 1},
		"terminal escapes":        {"f.yaml", "http: {routers: {a: {\"\\e[31m\": x}}}", `\x1b[31m`, 1},
		"long key":                {"f.yaml", "http: {routers: {a: {" + strings.Repeat("k", 1000) + ": x}}}", strings.Repeat("k", 120) + "...", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := FormatOf(c.file)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var findings diag.List
			d, err := File(c.file, []byte(c.text), f)
			if err != nil {
				findings = err.(*SyntaxError).Findings
			} else {
				findings = d.Dynamic(nil).Findings
			}
			runtime.ReadMemStats(&after)
			if got := lines(findings); !strings.Contains(got, c.want) || c.findings > 0 && len(findings) != c.findings {
				t.Errorf("%d findings:\n%.2000s", len(findings), got)
			}
			if c.want == "" && c.findings == 0 {
				for _, f := range findings {
					if f.Severity == diag.Error {
						t.Error(f)
					}
				}
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
				t.Errorf("%d MiB allocated", used>>20)
			}
		})
	}
}

func TestLabelBounds(t *testing.T) {
	labels := map[string]string{
		"traefik.http.routers.big.rule":                                 strings.Repeat("x", maxLabelValue+1),
		"traefik.http.routers.big.service":                              "s",
		"traefik.http." + strings.Repeat("a.", 100) + "b":               "deep",
		"traefik.http.routers." + strings.Repeat("n", 10_000) + ".rule": "long",
		"traefik.http.routers.a\x00\r\n\x1b[2J.rule":                    "{{ `x` }}",
	}
	for i := range maxLabels + 10 {
		labels[fmt.Sprintf("traefik.http.services.s%d.loadbalancer.server.port", i)] = "80"
	}
	f := Labels(labels, "container web", nil)
	got := lines(f.Findings)
	for _, want := range []string{
		"20015 labels, at most 20000 are read",
		"the value has 1048577 bytes, at most 1048576 are read",
		"nested deeper than 64 levels",
		"longer than the 4096 that are read",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%.2000s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x00\x1b\r") {
		t.Error("control characters in findings")
	}
	if len(f.Broken["http.routers.big"]) != 1 {
		t.Errorf("broken: %v", f.Broken)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(path); string(data) != "content" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	for name, want := range map[string]string{dir: "is a directory", filepath.Join(dir, "none"): "no such file", os.DevNull: "is not a regular file"} {
		if _, err := ReadMaterial(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := filepath.Join(dir, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(MaxMaterial + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMaterial(big); err == nil || !strings.Contains(err.Error(), "the file is too large") {
		t.Error(err)
	}
	if _, err := File("f.yml", make([]byte, MaxFile+1), YAML); err == nil || !strings.Contains(err.Error(), "[TOO-LARGE]") {
		t.Error(err)
	}
}

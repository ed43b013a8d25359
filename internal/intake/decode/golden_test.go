package decode

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/*.txt")

// section is one part of a golden file, which begins with a line like `-- dynamic.toml --`.
type section struct{ name, text string }

func sections(text string) []section {
	var out []section
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(line, " --\n") {
			out = append(out, section{name: strings.TrimSuffix(name, " --\n")})
		} else if len(out) > 0 {
			out[len(out)-1].text += line
		}
	}
	return out
}

// TestGolden reads testdata/*.txt. A part is an input, and the part `want` behind it says what must come of it:
//
//	dynamic*.EXT   a file, read for its dynamic side
//	static*.EXT    a file, read for its static side
//	flags          one argument per line
//	env            one variable per line
//	labels         one label per line
//	file NAME      a file that options may name
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, string(data))
		})
	}
}

func golden(t *testing.T, name, text string) {
	files := map[string]string{}
	parts := sections(text)
	for _, p := range parts {
		if file, ok := strings.CutPrefix(p.name, "file "); ok {
			files[file] = p.text
		}
	}
	read := func(path string) ([]byte, error) {
		if s, ok := files[path]; ok {
			return []byte(s), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	var b strings.Builder
	got := ""
	for _, p := range parts {
		if p.name == "want" {
			if got != p.text && !*update {
				t.Errorf("got\n%s\nwant\n%s", got, p.text)
			}
			fmt.Fprintf(&b, "-- want --\n%s", got)
			continue
		}
		fmt.Fprintf(&b, "-- %s --\n%s", p.name, p.text)
		if !strings.HasPrefix(p.name, "file ") {
			got = outcome(t, p, &Files{Read: read})
		}
	}
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// outcome reads one input and shows everything that came of it.
func outcome(t *testing.T, p section, files *Files) string {
	var b strings.Builder
	show := func(findings diag.List, broken map[string]diag.List, cfg any) {
		for _, f := range findings {
			fmt.Fprintln(&b, f)
		}
		if len(broken) > 0 {
			fmt.Fprintln(&b, "broken:", strings.Join(slices.Sorted(maps.Keys(broken)), " "))
		}
		if len(files.Asked()) > 0 {
			fmt.Fprintln(&b, "asked:", strings.Join(files.Asked(), " "))
		}
		if cfg != nil {
			j, err := json.MarshalIndent(cfg, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, string(j))
		}
	}
	lines := strings.Split(strings.TrimSuffix(p.text, "\n"), "\n")
	switch {
	case p.name == "flags":
		cfg, _, findings := StaticFromFlags(lines, files)
		show(findings, nil, trim(cfg))
	case p.name == "env":
		cfg, _, findings := StaticFromEnv(lines, files)
		show(findings, nil, trim(cfg))
	case p.name == "labels":
		labels := map[string]string{}
		for _, l := range lines {
			k, v, _ := strings.Cut(l, "=")
			labels[k] = v
		}
		f := Labels(labels, "container web", nil)
		show(f.Findings, f.Broken, f.Config)
	default:
		format, ok := FormatOf(p.name)
		if !ok {
			t.Fatalf("unknown part %q", p.name)
		}
		doc, err := File(p.name, []byte(p.text), format)
		var se *SyntaxError
		if errors.As(err, &se) {
			show(se.Findings, nil, nil)
			break
		}
		if strings.HasPrefix(p.name, "static") {
			cfg, findings := doc.Static(files)
			show(findings, nil, trim(cfg))
		} else {
			f := doc.Dynamic(files)
			show(f.Findings, f.Broken, f.Config)
		}
	}
	return b.String()
}

// trim takes out the sections that are as they always are, so that golden files show what was read.
func trim(c *static.Config) *static.Config {
	fresh := static.New()
	out := *c
	same := func(a, b any) bool {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return string(x) == string(y)
	}
	if same(c.Global, fresh.Global) {
		out.Global = nil
	}
	if same(c.ServersTransport, fresh.ServersTransport) {
		out.ServersTransport = nil
	}
	if same(c.TCPServersTransport, fresh.TCPServersTransport) {
		out.TCPServersTransport = nil
	}
	if same(c.Providers, fresh.Providers) {
		out.Providers = nil
	}
	return &out
}

// TestLocate asks for places in every form that a value can have.
func TestLocate(t *testing.T) {
	yaml := "http:\n  routers:\n    Api:\n      rule: Host(`é`)\n      entryPoints: [web, \"x\"]\n      tls:\n        domains:\n          - main: a\n          - {main: b, sans: [c]}\n" +
		"  services: &s\n    s: {loadBalancer: {servers: [{url: x}]}}\nudp:\n  services: {u: {}}\nx-more:\n  <<: *s\n"
	toml := "[http.routers.Api]\nrule = 'é' # \nentryPoints = [ 'web', 'x' ]\ntls.options = 'x'\n[[http.routers.Api.tls2]]\na=1\n[[http.routers.Api.tls2]]\na.b = {c = 2}\n"
	for _, c := range []struct{ text, path, want string }{
		{yaml, "http", "1:1"},
		{yaml, "http routers api", "3:5"},
		{yaml, "HTTP Routers API Rule", "4:13"},
		{yaml, "http routers api entryPoints", "5:7"},
		{yaml, "http routers api entryPoints 1", "5:26"},
		{yaml, "http routers api tls domains 1 sans 0", "9:30"},
		{yaml, "http routers api tls domains [1] sans 0", "9:30"},
		{yaml, "http routers api tls options", "6:7"},
		{yaml, "http routers nobody rule", "2:3"},
		{yaml, "x-more s loadBalancer servers 0 url", "11:40"},
		{yaml, "tcp", ""},
		{yaml, "", ""},
		{toml, "http", "1:2"},
		{toml, "http routers api", "1:15"},
		{toml, "http routers api rule", "2:8"},
		{toml, "http routers api entryPoints 1", "3:24"},
		{toml, "http routers api tls", "4:1"},
		{toml, "http routers api tls options", "4:15"},
		{toml, "http routers api tls2 1", "7:20"},
		{toml, "http routers api tls2 1 a b c", "8:12"},
		{toml, "http routers api tls2 2", "5:20"},
	} {
		name := "f.yaml"
		if c.text == toml {
			name = "f.toml"
		}
		f, _ := FormatOf(name)
		d, err := File(name, []byte(c.text), f)
		if err != nil {
			t.Fatal(err)
		}
		want := name
		if c.want != "" {
			want += ":" + c.want
		}
		if got := d.Locate(strings.Fields(c.path)...).String(); got != want {
			t.Errorf("%s %q: got %s, want %s", name, c.path, got, want)
		}
	}
	wide, err := File("w.toml", wideFile(TOML, 200), TOML)
	if err != nil {
		t.Fatal(err)
	}
	var where dynamic.Locator = wide.Dynamic(nil).Where
	for _, name := range []string{"router-150", "Router-150"} {
		if got := where.Locate("http", "routers", name, "service").Line; got != 150*5+3 {
			t.Errorf("%s: line %d", name, got)
		}
	}
}

func TestSamePlaces(t *testing.T) {
	where := func(name, text string) *locator {
		f, _ := FormatOf(name)
		d, err := File(name, []byte(text), f)
		if err != nil {
			t.Fatal(err)
		}
		return &d.loc
	}
	label := func(l map[string]string) *locator { return Labels(l, "c", nil).Where.(*locator) }
	a := where("a.yml", "http: {}\n")
	l := label(map[string]string{"traefik.http.routers.a.rule": "x"})
	for name, c := range map[string]struct {
		a, b *locator
		want bool
	}{
		"same text":      {a, where("a.yml", "http: {}\n"), true},
		"comment":        {a, where("a.yml", "# \nhttp: {}\n"), false},
		"other name":     {a, where("b.yml", "http: {}\n"), false},
		"same labels":    {l, label(map[string]string{"traefik.http.routers.a.rule": "y"}), true},
		"other labels":   {l, label(map[string]string{"traefik.http.routers.b.rule": "x"}), false},
		"different kind": {a, l, false},
	} {
		if got := c.a.SamePlaces(c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package decode

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/core/diag"
)

// seeds feeds the inputs of the golden files to a fuzz target.
func seeds(f *testing.F, wanted func(name string) bool) {
	names, _ := filepath.Glob("testdata/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range sections(string(data)) {
			if wanted(s.name) {
				f.Add(s.text)
			}
		}
	}
}

// plausible checks what must hold of every decoding: findings have places, codes and one line each.
func plausible(t *testing.T, findings diag.List) {
	t.Helper()
	if len(findings) > 2*maxFindings {
		t.Errorf("%d findings", len(findings))
	}
	for _, f := range findings {
		if f.Code == "" || f.Message == "" || f.Place.Source == "" || f.Place.Line < 0 || strings.Contains(f.String(), "\n") {
			t.Errorf("implausible finding %+v", f)
		}
	}
}

func fuzzFile(f *testing.F, format Format) {
	f.Fuzz(func(t *testing.T, text string) {
		d, err := File("f", []byte(text), format)
		if err != nil {
			se := err.(*SyntaxError)
			if len(se.Findings) == 0 {
				t.Error("no findings")
			}
			plausible(t, se.Findings)
			return
		}
		fr := d.Dynamic(nil)
		plausible(t, fr.Findings)
		for element, list := range fr.Broken {
			if !list.Has(diag.Error) {
				t.Errorf("%s is broken without an error", element)
			}
			fr.Where.Locate(strings.Split(element, ".")...)
		}
		if _, err := json.Marshal(fr.Config); err != nil {
			t.Error(err)
		}
		_, findings := d.Static(nil)
		plausible(t, findings)
	})
}

func FuzzTOML(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".toml") })
	fuzzFile(f, TOML)
}

func FuzzYAML(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".json") })
	fuzzFile(f, YAML)
}

func FuzzFlags(f *testing.F) {
	seeds(f, func(name string) bool { return name == "flags" })
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, findings := StaticFromFlags(strings.Split(text, "\n"), nil)
		plausible(t, findings)
		if cfg == nil {
			t.Error("no configuration")
		}
	})
}

func FuzzEnv(f *testing.F) {
	seeds(f, func(name string) bool { return name == "env" })
	f.Fuzz(func(t *testing.T, text string) {
		_, _, findings := StaticFromEnv(strings.Split(text, "\n"), nil)
		plausible(t, findings)
	})
}

func FuzzLabels(f *testing.F) {
	seeds(f, func(name string) bool { return name == "labels" })
	f.Fuzz(func(t *testing.T, text string) {
		labels := map[string]string{}
		for line := range strings.SplitSeq(text, "\n") {
			k, v, _ := strings.Cut(line, "=")
			labels[k] = v
		}
		fr := Labels(labels, "container c", nil)
		plausible(t, fr.Findings)
		for element, list := range fr.Broken {
			if !list.Has(diag.Error) {
				t.Errorf("%s is broken without an error", element)
			}
		}
		if _, err := json.Marshal(fr.Config); err != nil {
			t.Error(err)
		}
	})
}

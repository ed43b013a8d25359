package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpusCase is one small configuration of the corpus: its text is a dynamic file; further files follow lines `-- NAME --`.
type corpusCase struct {
	head, name string
	files      map[string]string
}

// corpus reads a file of cases, each of which begins with a line `=== HEAD: NAME`.
func corpus(t *testing.T, path string) []corpusCase {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []corpusCase
	for _, part := range strings.Split("\n"+string(text), "\n=== ")[1:] {
		first, body, _ := strings.Cut(part, "\n")
		head, name, _ := strings.Cut(first, ": ")
		c := corpusCase{head, name, map[string]string{}}
		file := "dynamic.yml"
		for line := range strings.Lines(body + "\n") {
			if n, ok := strings.CutPrefix(line, "-- "); ok {
				file = strings.TrimSuffix(n, " --\n")
				continue
			}
			c.files[file] += line
		}
		out = append(out, c)
	}
	return out
}

// write puts the files of a case into a directory and returns their paths.
func (c corpusCase) write(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for name, text := range c.files {
		if strings.TrimSpace(text) == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

type printed struct {
	Findings []struct{ Severity, Code, Message string }
}

// TestCorpus checks many small configurations as people write them: nothing is said about sound ones but remarks of
// style, and about each other one exactly what is wrong with it.
func TestCorpus(t *testing.T) {
	good, bad := corpus(t, "testdata/corpus/good.txt"), corpus(t, "testdata/corpus/bad.txt")
	if len(good) < 60 || len(bad) < 60 {
		t.Errorf("%d good and %d bad cases, want at least 60 of each", len(good), len(bad))
	}
	for _, c := range slices.Concat(good, bad) {
		t.Run(c.head+": "+c.name, func(t *testing.T) {
			_, stdout, stderr := run(t, nil, append([]string{"check", "--json"}, c.write(t)...)...)
			var got printed
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			want := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(c.head, "good"), "bad"))
			var codes []string
			for _, f := range got.Findings {
				if (f.Severity != "info" || slices.Contains(want, f.Code)) && !slices.Contains(codes, f.Code) {
					codes = append(codes, f.Code)
				}
			}
			slices.Sort(codes)
			slices.Sort(want)
			if !slices.Equal(codes, want) {
				t.Errorf("got %v, want %v\n%v", codes, want, got.Findings)
			}
		})
	}
}

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codeInSource is how findings get their codes: by a constant called Code..., or in place.
var codeInSource = regexp.MustCompile(`\bCode\w*\s*[=:]\s*"([A-Z][A-Z0-9-]+)"`)

// TestEveryCodeIsExplained: docs/findings.md has one section for each code of the source, in order, and no other.
func TestEveryCodeIsExplained(t *testing.T) {
	const root = "../../"
	inSource := map[string]string{}
	for _, room := range []string{"core/plan", "core/static", "core/rule", "intake", "run", "traffic"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range codeInSource.FindAllSubmatch(text, -1) {
				inSource[string(m[1])] = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(inSource) < 50 {
		t.Fatalf("only %d codes were found: the search is wrong", len(inSource))
	}
	doc, err := os.ReadFile("../../../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, part := range strings.Split(string(doc), "\n## ")[1:] {
		code, text, _ := strings.Cut(part, "\n")
		sections = append(sections, code)
		if !strings.Contains(text, "- Example: ") || !strings.Contains(text, "- Remedy: ") {
			t.Errorf("the section %s has no example or no remedy", code)
		}
		if inSource[code] == "" {
			t.Errorf("the section %s explains a code that the source does not have", code)
		}
	}
	for code, path := range inSource {
		if !slices.Contains(sections, code) {
			t.Errorf("docs/findings.md has no section for %s (%s)", code, path)
		}
	}
	if slices.Sort(sections); len(slices.Compact(sections)) != strings.Count(string(doc), "\n## ") {
		t.Error("a code has two sections")
	}
}

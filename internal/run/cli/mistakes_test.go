package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestClassicMistakes asks check and explain about the mistakes that people make most. The first line of either says what
// is wrong; the golden file holds both.
func TestClassicMistakes(t *testing.T) {
	const golden = "testdata/mistakes.golden"
	cases := corpus(t, "testdata/mistakes.txt")
	if len(cases) < 25 {
		t.Errorf("only %d cases", len(cases))
	}
	var got strings.Builder
	for _, c := range cases {
		paths := c.write(t)
		t.Chdir(filepath.Dir(paths[0]))
		for i := range paths {
			paths[i] = filepath.Base(paths[i])
		}
		_, checked, _ := run(t, nil, append([]string{"check"}, paths...)...)
		code, explained, stderr := run(t, nil, append([]string{"explain", c.head}, paths...)...)
		if code != exitFine {
			t.Errorf("%s: exit code %d: %s", c.name, code, stderr)
		}
		first := func(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }
		fmt.Fprintf(&got, "%s\n  check:   %s\n  explain: %s\n", c.name, first(checked), first(explained))
	}
	t.Chdir(home)
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// home is the directory of the package.
var home = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()

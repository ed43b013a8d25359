// Command tally reads what `go test -json` writes and makes it readable: the closing line of every package as go test
// prints it, the output of tests that fail, the reasons of those that skip, and at the end a count of tests.
// Sums are added up in the file that is its argument, so that several runs make one total.
// It exits 1 if a test, a package or a build failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

type event struct {
	Action, Package, Test, Output, ImportPath string
	FailedBuild                               string
}

// Totals are counts of tests; a test with subtests counts like each of them.
type Totals struct{ Passed, Failed, Skipped int }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ... | tally FILE")
		os.Exit(2)
	}
	var sum Totals
	if b, err := os.ReadFile(os.Args[1]); err == nil {
		fmt.Sscan(string(b), &sum.Passed, &sum.Failed, &sum.Skipped)
	}
	failed := false
	said := map[string][]string{} // output of tests that have not ended
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text()) // not ours: what go itself prints
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "build-fail":
			failed = true
		case "output":
			if e.Test == "" {
				if slices.ContainsFunc([]string{"ok ", "FAIL", "---", "panic", "?"}, func(p string) bool { return strings.HasPrefix(e.Output, p) }) &&
					e.Output != "FAIL\n" {
					fmt.Print(e.Output)
				} else {
					said[key] = append(said[key], e.Output)
				}
				continue
			}
			said[key] = append(said[key], e.Output)
		case "pass":
			if e.Test != "" {
				sum.Passed++
			}
			delete(said, key)
		case "skip":
			if e.Test != "" {
				sum.Skipped++
				fmt.Printf("skipped: %s %s: %s\n", e.Package, e.Test, reason(said[key]))
			}
			delete(said, key)
		case "fail":
			failed = true
			if e.Test != "" {
				sum.Failed++
			} else if e.FailedBuild != "" || len(said[key]) > 0 {
				sum.Failed++ // a package that fails outside its tests, or does not build, is a failure too
			}
			for _, line := range said[key] {
				fmt.Print(line)
			}
			delete(said, key)
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		failed = true
	}
	for key, lines := range said { // tests that never ended
		if !strings.HasSuffix(key, " ") {
			fmt.Printf("did not end: %s\n%s", key, strings.Join(lines, ""))
		}
	}
	if err := os.WriteFile(os.Args[1], fmt.Appendf(nil, "%d %d %d\n", sum.Passed, sum.Failed, sum.Skipped), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		failed = true
	}
	if failed {
		os.Exit(1)
	}
}

// reason is what a test said when it skipped, without go test's own lines.
func reason(lines []string) string {
	var out []string
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "===") && !strings.HasPrefix(l, "---") {
			out = append(out, l)
		}
	}
	return strings.Join(out, " ")
}

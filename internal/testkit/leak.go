package testkit

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long goroutines may take to end after a test. It is a bound for giving up, never waited in full
// when all is well.
const leakPatience = 5 * time.Second

// LeakCheck fails the test if goroutines that were started during it are still there at its end. Call it first, so
// that its check runs after every other clean-up. Tests that use it must not run in parallel with others.
func LeakCheck(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		if left := leftOver(before); len(left) > 0 {
			t.Errorf("%d goroutines left behind:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// Main runs the tests of a package and fails if goroutines are left after the last one:
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
func Main(m *testing.M) {
	before := goroutines()
	code := m.Run()
	if code == 0 {
		if left := leftOver(before); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines left behind:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// leftOver returns the stacks of goroutines that are not in before, once they stop going away.
func leftOver(before map[string]string) []string {
	deadline := time.Now().Add(leakPatience)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		var left []string
		for id, stack := range goroutines() {
			if _, known := before[id]; !known {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			slices.Sort(left)
			return left
		}
		time.Sleep(wait)
	}
}

// goroutines returns the stack of every goroutine but the caller's and those of the runtime and the test harness, by
// its number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i == 0 || ofHarness(stack) {
			continue // the first is the caller
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		all[id] = stack
	}
	return all
}

func ofHarness(stack string) bool {
	for _, mark := range []string{
		"testing.(*T).Run(", "testing.Main(", "testing.runTests(", "testing.(*M).", "testing.runFuzz", "testing.(*F).Fuzz",
		"testing/synctest.", "created by runtime.", "created by os/signal.", "runtime/pprof.", "runtime.ReadTrace", "created by testing.",
	} {
		if strings.Contains(stack, mark) {
			return true
		}
	}
	return false
}

//go:build unix

package e2e

import (
	"errors"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo does what the demo tells its reader to do, word for word, and holds it to what it says will happen.
func TestDemo(t *testing.T) {
	sh := need(t, "sh", "curl")[0]
	d := start(t, nil, sluice, "demo", "--web=0", "--secure=0")
	eventually(t, "the demo explains itself", func() error {
		if err := d.alive(); err != nil {
			return deadError{err}
		}
		if !strings.Contains(d.said(), "Ctrl-C") {
			return errors.New("it has not finished")
		}
		return nil
	})
	tries := regexp.MustCompile(`(?m)^\s+(curl .*)\n\s+-> (.*)$`).FindAllStringSubmatch(d.said(), -1)
	if len(tries) < 5 {
		t.Fatalf("%d things to try in:\n%s", len(tries), d.said())
	}
	for _, try := range tries {
		command, want := try[1], try[2]
		out := mustRun(t, nil, sh, "-c", strings.Replace(command, "curl ", "curl -sS --max-time 10 ", 1))
		// "301 to URL" and "404, with the header NAME: VALUE" are told in words.
		if m := regexp.MustCompile(`^(\d{3}) to (\S+)$`).FindStringSubmatch(want); m != nil {
			mustHave(t, command, strings.ToLower(out), " "+m[1]+" ", "location: "+m[2])
		} else if m := regexp.MustCompile(`^(\d{3}), with the header (.*)$`).FindStringSubmatch(want); m != nil {
			mustHave(t, command, strings.ToLower(out), " "+m[1], strings.ToLower(m[2]))
		} else if line, _, _ := strings.Cut(out, "\n"); line != want { // what follows is what the server was told
			t.Errorf("%s\ngot  %q\nwant %q", command, out, want)
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	select {
	case <-d.done:
		if d.err != nil {
			t.Errorf("exit: %v, want code 0", d.err)
		}
	case <-time.After(20 * time.Second):
		t.Error("still there 20 s after Ctrl-C")
	}
}

//go:build unix

// Package e2e tests the real binary with real programs around it: nginx as a virtual machine with a certificate of its own,
// certbot as that machine's ACME client, an ACME test server, curl, openssl and a browser as clients, and a container engine
// of its own with containers that come and go.
//
// A test that lacks a program skips and says which. Where SLUICE_E2E=required is set, as in continuous integration, it
// fails instead. Everything listens on loopback, on ports that the system chose, and ends with its test.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sluice is the Sluice under test, built once by TestMain.
var sluice string

// atExit are run when all tests have ended.
var atExit []func()

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sluice-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		defer func() {
			for _, f := range atExit {
				f()
			}
		}()
		// nginx runs its workers as another user where it is started by root; they must reach their files.
		if err := os.Chmod(dir, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		os.Setenv("TMPDIR", dir)
		sluice = filepath.Join(dir, "sluice")
		build := exec.Command("go", "build", "-o", sluice, "sluice/cmd/sluice")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// need gives the paths of programs, or skips the test, or fails it where nothing may be skipped.
func need(t *testing.T, names ...string) []string {
	t.Helper()
	var paths, missing []string
	for _, name := range names {
		p := program(name)
		if p == "" {
			missing = append(missing, name)
		}
		paths = append(paths, p)
	}
	if len(missing) > 0 {
		why := "not installed: " + strings.Join(missing, ", ")
		if os.Getenv("SLUICE_E2E") == "required" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return paths
}

func program(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} { // where daemons are, and users' PATH is not
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	return ""
}

// daemon is a program that runs beside a test and ends with it.
type daemon struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of its end; read after done

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what the program prints.
func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

// said is all that the program has printed so far.
func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// start runs a program until the end of the test, in a process group of its own. A failed test shows what it printed.
func start(t *testing.T, env []string, path string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: filepath.Base(path), cmd: exec.Command(path, args...), done: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = d, d
	d.cmd.WaitDelay = time.Second
	d.cmd.SysProcAttr = ownGroup()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.err = d.cmd.Wait(); close(d.done) }()
	t.Cleanup(func() {
		d.stop(5 * time.Second)
		if t.Failed() {
			t.Logf("%s said:\n%s", d.name, tail(d.said(), 6000))
		}
	})
	return d
}

// stop ends the program with SIGTERM and tells whether it went within the time; otherwise it is killed.
func (d *daemon) stop(limit time.Duration) bool {
	select {
	case <-d.done:
		return true
	default:
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(limit):
		syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.done
		return false
	}
	syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // children that a program left behind
	return true
}

// alive gives an error once the program has ended.
func (d *daemon) alive() error {
	select {
	case <-d.done:
		return fmt.Errorf("%s ended: %v", d.name, d.err)
	default:
		return nil
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// run runs a program to its end and gives everything it printed.
func run(t *testing.T, env []string, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mustRun is run for programs that may not fail.
func mustRun(t *testing.T, env []string, path string, args ...string) string {
	t.Helper()
	out, err := run(t, env, path, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, out)
	}
	return out
}

// eventually repeats a check until it holds: the wait for something that comes by itself, with a bound that only a defect
// reaches.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
		var dead deadError
		if errors.As(err, &dead) {
			break
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// deadError ends eventually early: what is waited for cannot come any more.
type deadError struct{ error }

// listening waits until something accepts connections.
func (d *daemon) listening(t *testing.T, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		eventually(t, d.name+" listens on "+a, func() error {
			if err := d.alive(); err != nil {
				return deadError{err}
			}
			c, err := net.DialTimeout("tcp", a, time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
}

// ports gives ports of loopback that nobody listens on.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		out = append(out, ln.Addr().(*net.TCPAddr).Port)
	}
	return out
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// directory is a temporary directory that other users may enter.
func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

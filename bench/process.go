//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that this benchmark started, with its children. It leads a process group of its own and is killed
// by the kernel should the benchmark die first.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer // its standard error and output, for messages; complete once done is closed
	done   chan struct{}
}

func startProcess(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// stop ends the process and its children: politely, after three seconds by force.
func (p *process) stop() {
	group := -p.cmd.Process.Pid
	select {
	case <-p.done:
	default:
		syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
		}
	}
	syscall.Kill(group, syscall.SIGKILL) // what is left of the group
	<-p.done
}

// failure tells why a process that should be running is not, with the end of what it said.
func (p *process) failure() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	said := strings.TrimSpace(p.output.String())
	if len(said) > 400 {
		said = "..." + said[len(said)-400:]
	}
	return fmt.Errorf("%s ended: %v: %s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, said)
}

// tree lists the process and all its descendants.
func (p *process) tree() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, t := range tasks {
			b, _ := os.ReadFile(t)
			for f := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// clockTick is the unit of /proc's CPU times. Linux gives it as 1/100 s on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpu is the user and system time that the tree has used, children that have ended included.
func (p *process) cpu() (time.Duration, error) {
	var ticks int64
	for _, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The second field is the program's name in brackets and may hold anything; the fields after it are plain.
		_, rest, ok := bytes.Cut(b, []byte(") "))
		fields := strings.Fields(string(rest))
		if !ok || len(fields) < 15 {
			return 0, errors.New("cannot read the CPU time of a process")
		}
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is the resident memory of the tree in bytes, pages shared between its processes counted once (PSS).
func (p *process) memory() (int64, error) {
	var sum int64
	for _, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), "\nPss:")
		f := strings.Fields(rest)
		if len(f) == 0 {
			return 0, errors.New("cannot read the memory of a process")
		}
		kb, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += kb << 10
	}
	return sum, nil
}

// output runs a program to its end, at most for the given time, and gives what it printed.
func output(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b, err := cmd.CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(b))
	}
	return string(b), nil
}

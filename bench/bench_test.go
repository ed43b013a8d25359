//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigurationsRender(t *testing.T) {
	dir := t.TempDir()
	c := conf{
		Dir: dir, HTTPPort: 1001, TLSPort: 1002, PassPort: 1003, Backend: "127.0.0.1:1", SmallBackend: "127.0.0.1:2",
		BulkBackend: "127.0.0.1:3", Host: host, RSAHost: rsaHost, SmallHost: smallHost, BulkHost: bulkHost,
		Hosts: hostNames(2), Workers: 2, Stream: true, StreamModule: "/m.so", Root: true,
	}
	for _, k := range kinds {
		for file, tmpl := range k.files {
			if err := render(filepath.Join(dir, file), tmpl, c); err != nil {
				t.Errorf("%s: %v", tmpl, err)
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "<no value>") || len(b) == 0 {
				t.Errorf("%s renders to %q", tmpl, b)
			}
		}
	}
}

func TestScenariosAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios {
		if s.name == "" || seen[s.name] || s.about == "" || s.unit == "" || s.load == nil {
			t.Errorf("scenario %q lacks something or is there twice", s.name)
		}
		seen[s.name] = true
	}
}

func TestProcessCPU(t *testing.T) {
	// The work is done by a child that has ended and one that runs: both count.
	p, err := startProcess("sh", "-c", `(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); sleep 60 & wait`)
	if err != nil {
		t.Skip(err)
	}
	defer p.stop()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := p.cpu()
		if err == nil && got >= 2*clockTick && len(p.tree()) > 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("CPU time %s, %d processes, %v", got, len(p.tree()), err)
		}
	}
	if m, err := p.memory(); err != nil || m <= 0 {
		t.Errorf("memory %d, %v", m, err)
	}
}

func TestSummary(t *testing.T) {
	res := &result{Rows: []*row{
		{Peer: "sluice", Rounds: []round{{Units: 100, Seconds: 1, CPUSeconds: 0.003}, {Units: 100, Seconds: 1, CPUSeconds: 0.001}, {Units: 100, Seconds: 2, CPUSeconds: 0.002}}},
		{Peer: "nginx", Rounds: []round{{Units: 100, Seconds: 1, CPUSeconds: 0.001}, {Units: 50, Seconds: 1, CPUSeconds: 0.001, Errors: 3}}},
		{Peer: "haproxy", Failed: "not installed"},
	}}
	res.summarize()
	s, n := res.Rows[0], res.Rows[1]
	if s.CPUMicros != 20 || s.PerSecond != 100 || s.Ratio != 0 {
		t.Errorf("sluice: %+v", s)
	}
	if n.CPUMicros != 15 || n.PerSecond != 75 || n.Errors != 3 || n.Ratio < 1.33 || n.Ratio > 1.34 {
		t.Errorf("nginx: %+v", n)
	}
	var out strings.Builder
	res.print(&out)
	for _, want := range []string{"1.33x", "not installed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		patterns, name string
		want           bool
	}{{"", "plain", true}, {"plain,tls*", "tls-resumed", true}, {"plain", "plain-10k", false}} {
		if got := wanted(c.patterns, c.name); got != c.want {
			t.Errorf("wanted(%q, %q) = %t", c.patterns, c.name, got)
		}
	}
}

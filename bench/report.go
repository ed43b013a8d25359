//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that a run of the benchmark found; its JSON is the file that -json writes.
type report struct {
	Date      time.Time         `json:"date"`
	CPU       string            `json:"cpu"`
	Cores     int               `json:"cores"`
	Kernel    string            `json:"kernel"`
	Go        string            `json:"go"`
	Versions  map[string]string `json:"versions"`
	Missing   map[string]string `json:"missing,omitempty"`
	Rounds    int               `json:"rounds"`
	Duration  string            `json:"duration"`
	Scenarios []*result         `json:"scenarios"`
}

// result is one scenario over all peers.
type result struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Unit   string `json:"unit"`
	Budget string `json:"budget,omitempty"`
	Rows   []*row `json:"rows,omitempty"`
}

// row is one peer in one scenario: its rounds and their medians.
type row struct {
	Peer         string  `json:"peer"`
	Failed       string  `json:"failed,omitempty"`
	PerSecond    float64 `json:"perSecond,omitempty"`
	CPUMicros    float64 `json:"cpuMicrosPerUnit,omitempty"`
	P50Micros    float64 `json:"p50Micros,omitempty"`
	P99Micros    float64 `json:"p99Micros,omitempty"`
	MemoryBytes  float64 `json:"memoryBytes,omitempty"`
	BytesPerConn float64 `json:"bytesPerConnection,omitempty"`
	Errors       int     `json:"errors,omitempty"` // of all rounds
	Ratio        float64 `json:"ratio,omitempty"`  // Sluice's cost over this peer's
	Note         string  `json:"note,omitempty"`
	Rounds       []round `json:"rounds,omitempty"`
}

type round struct {
	Units        int     `json:"units"`
	Seconds      float64 `json:"seconds"`
	CPUSeconds   float64 `json:"cpuSeconds"`
	P50Micros    float64 `json:"p50Micros"`
	P99Micros    float64 `json:"p99Micros"`
	Errors       int     `json:"errors"`
	MemoryBytes  int64   `json:"memoryBytes"`
	BytesPerConn int64   `json:"bytesPerConnection,omitempty"`
	Note         string  `json:"note,omitempty"`
}

func newReport(w *world, s settings) *report {
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), CPU: cpuModel(), Cores: runtime.NumCPU(),
		Kernel: readTrimmed("/proc/sys/kernel/osrelease"), Go: runtime.Version(),
		Versions: w.version, Missing: w.missing, Rounds: s.rounds, Duration: s.duration.String(),
	}
}

func readTrimmed(file string) string {
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}

func cpuModel() string {
	for line := range strings.Lines(readTrimmed("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// cost is what a row is compared by: CPU per unit, or memory where that is measured.
func (r *row) cost() float64 {
	if r.BytesPerConn != 0 {
		return r.BytesPerConn
	}
	return r.CPUMicros
}

func (res *result) summarize() {
	var own float64
	for _, r := range res.Rows {
		if len(r.Rounds) == 0 {
			continue
		}
		r.PerSecond = median(r.Rounds, func(x round) float64 { return float64(x.Units) / x.Seconds })
		r.CPUMicros = median(r.Rounds, func(x round) float64 { return x.CPUSeconds * 1e6 / float64(x.Units) })
		r.P50Micros = median(r.Rounds, func(x round) float64 { return x.P50Micros })
		r.P99Micros = median(r.Rounds, func(x round) float64 { return x.P99Micros })
		r.MemoryBytes = median(r.Rounds, func(x round) float64 { return float64(x.MemoryBytes) })
		r.BytesPerConn = median(r.Rounds, func(x round) float64 { return float64(x.BytesPerConn) })
		for _, x := range r.Rounds {
			r.Errors += x.Errors
		}
		r.Note = r.Rounds[len(r.Rounds)-1].Note
		if r.Peer == "sluice" {
			own = r.cost()
		}
	}
	for _, r := range res.Rows {
		if r.cost() > 0 && own > 0 && r.Peer != "sluice" {
			r.Ratio = own / r.cost()
		}
	}
}

func median(rounds []round, value func(round) float64) float64 {
	var v []float64
	for _, r := range rounds {
		v = append(v, value(r))
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (res *result) print(to io.Writer) {
	fmt.Fprintf(to, "\n%s: %s", res.Name, res.About)
	if res.Budget != "" {
		fmt.Fprintf(to, " [budget: %s]", res.Budget)
	}
	fmt.Fprintln(to)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	cost := "CPU us/" + res.Unit
	if slices.ContainsFunc(res.Rows, func(r *row) bool { return r.BytesPerConn != 0 }) {
		cost = "bytes/" + res.Unit
	}
	fmt.Fprintf(w, "  \t%s\tsluice is\t%s/s\tp50\tp99\tmemory\terrors\t \n", cost, res.Unit)
	for _, r := range res.Rows {
		if len(r.Rounds) == 0 {
			fmt.Fprintf(w, "  %s\t-\t\t-\t-\t-\t-\t-\t %s\n", r.Peer, oneLine(r.Failed))
			continue
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%d\t %s\n", r.Peer, number(r.cost()), ratio(r.Ratio), r.PerSecond,
			latency(r.P50Micros), latency(r.P99Micros), mebibytes(r.MemoryBytes), r.Errors, strings.TrimSpace(r.Note+" "+oneLine(r.Failed)))
	}
	w.Flush()
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}

func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func ratio(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", v)
}

func latency(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 1000:
		return fmt.Sprintf("%.0f us", us)
	}
	return fmt.Sprintf("%.1f ms", us/1000)
}

func mebibytes(b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MiB", b/(1<<20))
}

// printDerived prints what no single scenario shows: the price of many routers, and what the run was.
func (rep *report) printDerived(to io.Writer) {
	find := func(name, peer string) float64 {
		for _, res := range rep.Scenarios {
			for _, r := range res.Rows {
				if res.Name == name && r.Peer == peer {
					return r.CPUMicros
				}
			}
		}
		return 0
	}
	first := true
	for _, peer := range []string{"sluice", "nginx", "haproxy"} {
		few, many := find("routers-10", peer), find("routers-10000", peer)
		if few == 0 || many == 0 {
			continue
		}
		if first {
			fmt.Fprintf(to, "\n10 000 routers against 10, CPU per request [budget: 1.1x]\n")
			first = false
		}
		fmt.Fprintf(to, "  %s: %.2fx\n", peer, many/few)
	}
	fmt.Fprintf(to, "\n%s, %d cores (shared with the load generator and the backend), Linux %s, %s; medians of %d rounds of %s\n",
		rep.CPU, rep.Cores, rep.Kernel, rep.Go, rep.Rounds, rep.Duration)
	for _, peer := range []string{"sluice", "nginx", "haproxy"} {
		if v, ok := rep.Versions[peer]; ok {
			fmt.Fprintf(to, "%s: %s\n", peer, v)
		} else if why, ok := rep.Missing[peer]; ok {
			fmt.Fprintf(to, "%s: %s\n", peer, why)
		}
	}
}

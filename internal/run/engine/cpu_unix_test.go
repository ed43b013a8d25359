//go:build unix

package engine

import (
	"syscall"
	"testing"
	"time"
)

// cpuMeter measures the CPU time of the process between start and stop.
type cpuMeter struct{ used, from time.Duration }

func startCPU() *cpuMeter {
	m := &cpuMeter{}
	m.start()
	return m
}

func (m *cpuMeter) start() { m.from = processCPU() }
func (m *cpuMeter) stop()  { m.used += processCPU() - m.from }

func (m *cpuMeter) report(b *testing.B) {
	m.stop()
	b.ReportMetric(float64(m.used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

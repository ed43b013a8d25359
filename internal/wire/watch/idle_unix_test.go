//go:build unix

package watch

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdle reports what share of one CPU a Watch over n armed entries takes.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{0, 1, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := started(b)
			ps := make([]probe, n)
			for i := range ps {
				w.Add(&ps[i].Entry, &ps[i])
				ps[i].Arm(time.Hour)
			}
			var cpu time.Duration
			for b.Loop() {
				before := cpuTime()
				time.Sleep(time.Second)
				cpu += cpuTime() - before
			}
			b.ReportMetric(float64(cpu)/float64(b.N)/float64(time.Second)*100, "%cpu")
			for i := range ps {
				w.Remove(&ps[i].Entry)
			}
			w.Stop()
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

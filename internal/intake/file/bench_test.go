package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// BenchmarkOneOfMany changes one small file of a directory of ten thousand. An operation takes at least the time that
// a file must be still; what matters is the CPU time that the benchmark's user and system seconds show, and B/op.
func BenchmarkOneOfMany(b *testing.B) {
	dir := b.TempDir()
	const files = 10_000
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.yml", i)), []byte(doc(fmt.Sprintf("r%d", i), "1")), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	published := make(chan dynamic.Snapshot, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = New(static.File{Directory: dir, Watch: true}, nil).Run(ctx, func(s dynamic.Snapshot) { published <- s })
	}()
	if s := <-published; len(s.Fragments) != files {
		b.Fatal(len(s.Fragments))
	}
	b.ReportAllocs()
	start := cpuTime()
	i := 0
	for b.Loop() {
		i++
		if err := os.WriteFile(filepath.Join(dir, "05000.yml"), []byte(doc("r5000", fmt.Sprint(i+1))), 0o644); err != nil {
			b.Fatal(err)
		}
		<-published
	}
	b.ReportMetric(float64((cpuTime()-start).Microseconds())/float64(i), "cpu-us/op")
	cancel()
	<-done
}

//go:build unix

package relay

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sluice/internal/wire/sock"
)

// BenchmarkIdleTunnel reports the heap and stack of our side of one tunnel that has moved bytes and waits.
func BenchmarkIdleTunnel(b *testing.B) {
	const n = 1000
	for b.Loop() {
		var outer []*net.TCPConn
		before := memory()
		var results []chan Result
		w := running(b)
		for range n {
			client, inner := tcpPair(b)
			server, inner2 := tcpPair(b)
			result := make(chan Result, 1)
			go func() { result <- Run(sock.New(inner, nil), inner2, Options{Watch: w, Idle: time.Hour}) }()
			results = append(results, result)
			io.WriteString(client, "x")
			io.ReadFull(server, make([]byte, 1))
			io.WriteString(server, "y")
			io.ReadFull(client, make([]byte, 1))
			outer = append(outer, client, server)
		}
		heap, stack := memory().sub(before)
		b.ReportMetric(float64(heap)/n, "heap-B/tunnel")
		b.ReportMetric(float64(stack)/n, "stack-B/tunnel")
		for _, c := range outer {
			c.Close()
		}
		for _, r := range results {
			<-r
		}
	}
}

type usage struct{ heap, stack int64 }

func (u usage) sub(o usage) (heap, stack int64) { return u.heap - o.heap, u.stack - o.stack }

func memory() usage {
	var m runtime.MemStats
	// Pools lose what they hold in two collections; stacks shrink in one.
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapAlloc), int64(m.StackInuse)}
}

// BenchmarkBulk reports the CPU time of this process, both outer ends included, per byte that one direction moves.
func BenchmarkBulk(b *testing.B) {
	for _, splice := range []bool{false, true} {
		b.Run(map[bool]string{false: "copy", true: "splice"}[splice], func(b *testing.B) {
			client, server, result := start(b, Options{Splice: splice})
			chunk := make([]byte, 256<<10)
			b.SetBytes(int64(len(chunk)))
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 256<<10)
				for {
					if _, err := server.Read(buf); err != nil {
						return
					}
				}
			}()
			cpu := cpuTime()
			for b.Loop() {
				if _, err := client.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			client.CloseWrite()
			<-done
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/float64(len(chunk))*1e3, "cpu-ps/B")
			server.Close()
			<-result
		})
	}
}

// BenchmarkPingPong is the latency and cost of small messages to and fro.
func BenchmarkPingPong(b *testing.B) {
	client, server, result := start(b, Options{})
	go func() {
		io.Copy(server, server)
		server.Close()
	}()
	one := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(one)
		if _, err := io.ReadFull(client, one); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	<-result
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

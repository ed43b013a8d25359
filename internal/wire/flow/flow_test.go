package flow

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/wire/sock"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// groups are the kinds of groups that this system has.
func groups() map[string]func() Group {
	out := map[string]func() Group{"threaded": func() Group { return &threaded{} }}
	if g := newPolled(); g != nil {
		g.Close()
		out["polled"] = newPolled
	}
	return out
}

// eachGroup runs a test over all kinds of groups.
func eachGroup(t *testing.T, test func(t *testing.T, g Group)) {
	for name, kind := range groups() {
		t.Run(name, func(t *testing.T) {
			g := kind()
			defer g.Close()
			test(t, g)
		})
	}
}

// heard is a Sink that keeps what it is told.
type heard struct {
	datagrams chan string
	errors    chan error
}

func newHeard() *heard { return &heard{make(chan string, 100), make(chan error, 100)} }

func (h *heard) Received(p []byte) { h.datagrams <- string(p) }

func (h *heard) Failed(err error) { h.errors <- err }

func (h *heard) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-h.datagrams:
		return s
	case err := <-h.errors:
		return "error: " + err.Error()
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was heard")
		return ""
	}
}

// peer is a socket that answers each datagram with itself, after a prefix.
func peer(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skip(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, sock.MaxDatagram)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(buf[:n], from)
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func open(t *testing.T, g Group, to netip.AddrPort, sink Sink) Flow {
	t.Helper()
	f, err := g.Open(to, sink)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlow(t *testing.T) {
	eachGroup(t, func(t *testing.T, g Group) {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(address, func(t *testing.T) {
				h := newHeard()
				f := open(t, g, peer(t, address), h)
				defer f.Close()
				for _, size := range []int{0, 1, 1400, 60000} {
					if err := f.Send(bytes.Repeat([]byte{'x'}, size)); err != nil {
						t.Fatal(err)
					}
					if got := h.next(t); len(got) != size {
						t.Errorf("got %d bytes, want %d", len(got), size)
					}
				}
				if err := f.Send(make([]byte, 70000)); err != nil {
					t.Errorf("a datagram that cannot be: %v", err)
				}
			})
		}
	})
}

// TestNobodyListens hears the network's answer and goes on working.
func TestNobodyListens(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system does not tell")
	}
	eachGroup(t, func(t *testing.T, g Group) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		conn.Close()
		h := newHeard()
		f := open(t, g, to, h)
		defer f.Close()
		if err := f.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-h.errors:
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no error was heard")
		}
		peer(t, to.String())
		if err := f.Send([]byte("again")); err != nil {
			t.Fatal(err)
		}
		if got := h.next(t); got != "again" {
			t.Errorf("got %q", got)
		}
	})
}

func TestClosedFlow(t *testing.T) {
	eachGroup(t, func(t *testing.T, g Group) {
		f := open(t, g, peer(t, "127.0.0.1:0"), newHeard())
		f.Close()
		f.Close()
		if err := f.Send([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// closer closes its flow from within the call, as a session does whose server is gone.
type closer struct {
	*heard
	flow Flow
}

func (c *closer) Received(p []byte) {
	c.flow.Close()
	c.heard.Received(p)
}

// TestMany opens and closes flows while others are in use: each gets its own answers only.
func TestMany(t *testing.T) {
	eachGroup(t, func(t *testing.T, g Group) {
		to := peer(t, "127.0.0.1:0")
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := range 200 {
					h := newHeard()
					c := &closer{heard: h}
					var ready sync.Mutex
					ready.Lock()
					f, err := g.Open(to, lockedSink{&ready, c})
					if err != nil {
						t.Error(err)
						return
					}
					c.flow = f
					ready.Unlock()
					text := fmt.Sprint(worker, " ", i)
					if err := f.Send([]byte(text)); err != nil {
						t.Error(err)
					}
					if got := h.next(t); got != text {
						t.Errorf("got %q, want %q", got, text)
					}
				}
			})
		}
		all.Wait()
	})
}

// lockedSink keeps a Sink from being called before the test knows its flow.
type lockedSink struct {
	mu   *sync.Mutex
	sink Sink
}

func (l lockedSink) Received(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sink.Received(p)
}

func (l lockedSink) Failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sink.Failed(err)
}

// BenchmarkFlow opens a flow, asks and is answered. Run with -benchmem; bytes/flow is the memory of an idle one.
func BenchmarkFlow(b *testing.B) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for name, kind := range groups() {
		b.Run(name, func(b *testing.B) {
			g := kind()
			defer g.Close()
			h := newHeard()
			buf := make([]byte, 100)
			for b.Loop() {
				f, err := g.Open(to, h)
				if err != nil {
					b.Fatal(err)
				}
				f.Send([]byte("x"))
				_, from, _ := conn.ReadFrom(buf)
				conn.WriteTo(buf[:1], from)
				<-h.datagrams
				f.Close()
			}
		})
		b.Run(name+"/idle", func(b *testing.B) {
			g := kind()
			defer g.Close()
			const count = 5000
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var flows []Flow
			for range count {
				f, err := g.Open(to, newHeardNothing)
				if err != nil {
					b.Skip(err)
				}
				flows = append(flows, f)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Sys-before.Sys)/count, "sys-bytes/flow")
			b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/count, "bytes/flow")
			for _, f := range flows {
				f.Close()
			}
		})
	}
}

var newHeardNothing = newHeard()

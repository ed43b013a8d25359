package datagram

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/observe/record"
	"sluice/internal/testkit"
	"sluice/internal/wire/sock"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// patience bounds what must happen sooner or later.
const patience = 10 * time.Second

// eventually waits for something to hold.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// server answers each datagram with its name and the datagram.
type echo struct {
	name string
	conn net.PacketConn
	got  atomic.Int64
	done sync.WaitGroup
}

func newEcho(t testing.TB, name, address string) *echo {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &echo{name: name, conn: conn}
	s.done.Go(func() {
		buf := make([]byte, sock.MaxDatagram)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			s.got.Add(1)
			conn.WriteTo(append([]byte(name+":"), buf[:n]...), from)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *echo) address() string { return s.conn.LocalAddr().String() }

func (s *echo) stop() {
	s.conn.Close()
	s.done.Wait()
}

// rig is an entry point under test.
type rig struct {
	t       testing.TB
	entry   *EntryPoint
	current Current
	lives   map[string]*Live
	down    sync.Once

	mu      sync.Mutex
	records []record.Record
}

// Record implements record.Sink.
func (r *rig) Record(rec *record.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, *rec)
}

func (r *rig) ended() []record.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records
}

func start(t testing.TB, change func(o *Options)) *rig {
	t.Helper()
	r := &rig{t: t, lives: map[string]*Live{}}
	sockets, err := sock.Bind([]sock.Spec{{Name: "udp", Network: "udp", Address: "127.0.0.1:0"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "udp", Socket: sockets[0].UDP, Timeout: time.Minute, MaxSessions: 10000, Grace: patience, Current: &r.current,
		Sink: r, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&o)
	}
	r.current.Store(&Generation{Routes: []*Route{{}}})
	r.entry = New(o)
	var running sync.WaitGroup
	running.Go(r.entry.Run)
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		r.shutdown(gone)
		running.Wait()
		for _, l := range r.lives {
			l.Close()
		}
	})
	return r
}

func (r *rig) shutdown(ctx context.Context) (cut int) {
	r.down.Do(func() { cut = r.entry.Shutdown(ctx) })
	return cut
}

func (r *rig) live(name string) *Live {
	if r.lives[name] == nil {
		r.lives[name] = NewLive(nil)
	}
	return r.lives[name]
}

// route puts a service in force; nil for none.
func (r *rig) route(s *Service) {
	if s != nil {
		s.Publish()
	}
	r.current.Store(&Generation{Routes: []*Route{{Router: "router@file", Service: s}}})
}

// servers puts a service of these servers in force.
func (r *rig) servers(list ...string) { r.route(NewService("s@file", list, r.live("s@file"))) }

// client is a UDP client.
type client struct {
	t    testing.TB
	conn *net.UDPConn
}

func (r *rig) client() *client {
	r.t.Helper()
	conn, err := net.DialUDP("udp", nil, r.entry.Addr().(*net.UDPAddr))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return &client{r.t, conn}
}

// ask sends until it is answered, since datagrams may be lost, and returns the answer.
func (c *client) ask(text string) string {
	c.t.Helper()
	buf := make([]byte, sock.MaxDatagram)
	for range 100 {
		if _, err := c.conn.Write([]byte(text)); err != nil {
			c.t.Fatal(err)
		}
		c.conn.SetReadDeadline(time.Now().Add(patience / 20))
		if n, err := c.conn.Read(buf); err == nil {
			return string(buf[:n])
		}
	}
	c.t.Fatal("no answer")
	return ""
}

// silent reports whether nothing answers.
func (c *client) silent(text string) bool {
	c.t.Helper()
	c.conn.Write([]byte(text))
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := c.conn.Read(make([]byte, sock.MaxDatagram))
	return err != nil && n == 0
}

func (c *client) want(text, answer string) {
	c.t.Helper()
	if got := c.ask(text); got != answer {
		c.t.Errorf("%s: got %q, want %q", text, got, answer)
	}
}

// unused returns an address that nobody listens on.
func unused(t testing.TB) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

func count(n int, each func(i int) string) string {
	counts := map[string]int{}
	for i := range n {
		counts[each(i)]++
	}
	return fmt.Sprint(counts)
}

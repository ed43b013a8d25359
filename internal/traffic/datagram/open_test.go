package datagram

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
	"sluice/internal/wire/flow"
	"sluice/internal/wire/sock"
)

// scarce is a group with room for a few flows.
type scarce struct{ left int }

func (g *scarce) Open(netip.AddrPort, flow.Sink) (flow.Flow, error) {
	if g.left == 0 {
		return nil, syscall.EMFILE
	}
	g.left--
	return &scarceFlow{g, false}, nil
}

func (g *scarce) Close() {}

type scarceFlow struct {
	group  *scarce
	closed bool
}

func (f *scarceFlow) Send([]byte) error { return nil }

func (f *scarceFlow) Close() {
	if !f.closed {
		f.closed = true
		f.group.left++
	}
}

// TestWantOfSockets makes room by ending another session, and holds nothing against a server, whether its name had to be
// looked up first or not.
func TestWantOfSockets(t *testing.T) {
	if !flow.Exhausted(syscall.EMFILE) {
		t.Skip("cannot be told on this system")
	}
	for _, looked := range []bool{false, true} {
		for _, others := range []int{0, 1} {
			sockets, err := sock.Bind([]sock.Spec{{Name: "udp", Network: "udp", Address: "127.0.0.1:0"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{t: t, lives: map[string]*Live{}}
			e := New(Options{Name: "udp", Socket: sockets[0].UDP, Timeout: time.Minute, MaxSessions: 10, Current: &r.current, Sink: r,
				Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
			e.flows = &scarce{others}
			release := make(chan struct{})
			live := NewLive(func(context.Context, string) ([]netip.Addr, error) {
				<-release
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			})
			address := "127.0.0.1:9"
			if looked {
				address = "server.test:9"
			}
			other, asked := NewService("other@file", []string{"127.0.0.1:9"}, live), NewService("s@file", []string{address}, live)
			for i, s := range []*Service{other, asked} {
				s.Publish()
				r.current.Store(&Generation{Routes: []*Route{{Service: s}}})
				if s == other && others == 0 {
					continue
				}
				e.datagram([]byte("x"), key{client: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(1000+i))})
			}
			close(release)
			eventually(t, "one ends", func() bool { return len(r.ended()) == 1 })
			live.Close()
			if ended := r.ended()[0]; ended.Fault == nil || ended.Fault.Kind != fault.OutOfBudget || (ended.Service == "s@file") != (others == 0) {
				t.Errorf("looked up: %v, others: %d: got %+v", looked, others, ended)
			}
			if others == 0 && r.ended()[0].Phase != record.Connecting {
				t.Errorf("got %v", r.ended()[0].Phase)
			}
			if n := e.Open(); n != others {
				t.Errorf("looked up: %v, others: %d: %d sessions", looked, others, n)
			}
			if !asked.Up() {
				t.Errorf("looked up: %v, others: %d: the server was marked down", looked, others)
			}
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			e.Shutdown(gone)
		}
	}
}

// TestEachWaitIsServed starts a look-up for whoever waits for one: the one before may have failed at that very moment.
func TestEachWaitIsServed(t *testing.T) {
	var asked atomic.Int64
	live := NewLive(func(context.Context, string) ([]netip.Addr, error) {
		asked.Add(1)
		return nil, errors.New("no such host")
	})
	defer live.Close()
	s := live.server("server.test:9")
	s.look()
	// Of an entry point that has let go of the session already.
	waits := &session{server: s, e: &EntryPoint{}, gone: true}
	if _, ok := s.resolve(waits); ok {
		t.Fatal("an address was found")
	}
	eventually(t, "it is looked up again", func() bool { return asked.Load() == 2 })
}

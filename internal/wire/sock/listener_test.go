package sock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func bound(t *testing.T, network string) *Socket {
	t.Helper()
	s, err := Bind([]Spec{{Name: "web", Network: network, Address: "127.0.0.1:0"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s[0].Close() })
	return s[0]
}

func TestServeCountsAndDrains(t *testing.T) {
	l := NewListener(bound(t, "tcp").TCP, running(t), nil)
	served := make(chan error)
	go func() { served <- l.Serve(func(c *Conn) { io.Copy(c, c); c.Close() }) }()
	var clients []net.Conn
	for range 10 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	settle(t, "all accepted", func() bool { return l.Len() == 10 })
	for _, c := range clients[:4] {
		c.Close()
	}
	settle(t, "four ended", func() bool { return l.Len() == 6 })
	l.Stop()
	l.Stop()
	if err := <-served; err != nil {
		t.Errorf("Serve after Stop: got error %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("accepted after Stop")
	}
	// Connections outlive Stop.
	send(t, clients[9], "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(clients[9], got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, error %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with connections open: got error %v", err)
	}
	if n := l.Cut(); n != 6 {
		t.Errorf("cut %d connections, want 6", n)
	}
	if err := l.Wait(t.Context()); err != nil || l.Len() != 0 || l.Accepted() != 10 {
		t.Errorf("after the cut: error %v, %d open, %d accepted", err, l.Len(), l.Accepted())
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Errorf("Wait with none: got error %v", err)
	}
}

// scripted is a listener whose accepts are given.
type scripted struct {
	net.Listener
	accept func() (net.Conn, error)
	closed atomic.Bool
}

func (s *scripted) Accept() (net.Conn, error) { return s.accept() }
func (s *scripted) Close() error              { s.closed.Store(true); return nil }

func TestTCP06DescriptorLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		var accepts, told, quiet int
		var recovered time.Duration
		until := time.Now().Add(12 * time.Second)
		ended := make(chan struct{})
		ln := &scripted{accept: func() (net.Conn, error) {
			accepts++
			if time.Now().Before(until) {
				return nil, limit
			}
			if recovered > 0 {
				<-ended
				return nil, net.ErrClosed
			}
			recovered = time.Since(until)
			client, server := net.Pipe()
			client.Close()
			return server, nil
		}}
		l := NewListener(ln, nil, func(err error, suppressed int) {
			told++
			quiet += suppressed
			if !errors.Is(err, syscall.EMFILE) {
				t.Errorf("told of %v", err)
			}
		})
		err := l.Serve(func(c *Conn) {
			c.Close()
			close(ended)
		})
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("got error %v", err)
		}
		if recovered == 0 || recovered > time.Second {
			t.Errorf("recovered %v after the limit was gone", recovered)
		}
		if told != 3 || quiet < 40 || accepts > 150 {
			t.Errorf("told %d times of %d more, with %d accepts in 12s", told, quiet, accepts)
		}
	})
}

func TestServeEndsOnHopelessErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EBADF} {
		ln := &scripted{accept: func() (net.Conn, error) {
			return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}
		}}
		if err := NewListener(ln, nil, nil).Serve(nil); !errors.Is(err, errno) {
			t.Errorf("got error %v", err)
		}
	}
}

func TestStopEndsAPause(t *testing.T) {
	entered := make(chan struct{}, 1000)
	ln := &scripted{accept: func() (net.Conn, error) {
		entered <- struct{}{}
		return nil, &net.OpError{Op: "accept", Err: syscall.ENFILE}
	}}
	l := NewListener(ln, nil, nil)
	done := make(chan error)
	go func() { done <- l.Serve(nil) }()
	for range 8 {
		<-entered
	}
	l.Stop()
	if err := <-done; err != nil || !ln.closed.Load() {
		t.Errorf("got error %v, closed %v", err, ln.closed.Load())
	}
}

// Cut meets connections in every phase; nothing may be left behind or race.
func TestCutUnderLoad(t *testing.T) {
	w := running(t)
	l := NewListener(bound(t, "tcp").TCP, w, nil)
	served := make(chan error)
	go func() {
		served <- l.Serve(func(c *Conn) {
			defer c.Close()
			for {
				c.Arm(time.Second)
				if _, err := c.Peek(1); err != nil {
					return
				}
				c.Disarm()
				c.Discard(1)
			}
		})
	}()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return
				}
				c.Write([]byte("abc"))
				c.Close()
			}
		})
	}
	settle(t, "some accepted", func() bool { return l.Accepted() > 100 })
	l.Cut()
	l.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if w.Len() != 0 {
		t.Errorf("%d entries are still watched", w.Len())
	}
}

func TestBindAllOrNone(t *testing.T) {
	taken := bound(t, "tcp")
	specs := []Spec{
		{Name: "a", Network: "tcp", Address: "127.0.0.1:0"},
		{Name: "u", Network: "udp", Address: "127.0.0.1:0"},
		{Name: "b", Network: "tcp", Address: taken.Addr().String()},
		{Name: "c", Network: "tcp", Address: "not an address"},
		{Name: "d", Network: "sctp", Address: "127.0.0.1:0"},
	}
	sockets, err := Bind(specs, nil)
	if err == nil || sockets != nil {
		t.Fatalf("got %d sockets, error %v", len(sockets), err)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got error %v, want it to tell of the address in use", err)
	}
	for _, name := range []string{"entry point b: ", "entry point c: ", "entry point d: unknown network"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q lacks %q", err, name)
		}
	}
	sockets, err = Bind(specs[:2], nil)
	if err != nil || len(sockets) != 2 || sockets[0].TCP == nil || sockets[1].UDP == nil {
		t.Fatalf("got %d sockets, error %v", len(sockets), err)
	}
	for _, s := range sockets {
		if s.Inherited || s.Addr() == nil || s.Close() != nil {
			t.Errorf("socket %s is odd", s.Name)
		}
	}
}

func TestReusePort(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		t.Skip("the option is ignored here")
	}
	for _, network := range []string{"tcp", "udp"} {
		first, err := Bind([]Spec{{Name: "a", Network: network, Address: "127.0.0.1:0", ReusePort: true}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer first[0].Close()
		second, err := Bind([]Spec{{Name: "a", Network: network, Address: first[0].Addr().String(), ReusePort: true}}, nil)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		second[0].Close()
	}
}

func TestAllInterfacesAreDualStack(t *testing.T) {
	s, err := Bind([]Spec{{Name: "web", Network: "tcp", Address: ":0"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(s[0].TCP, nil, nil)
	peers := make(chan string, 1)
	done := make(chan error)
	go func() { done <- l.Serve(func(c *Conn) { peers <- c.Peer().Addr().String(); c.Close() }) }()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := <-peers; got != "127.0.0.1" {
		t.Errorf("got peer %q, want IPv4 form", got)
	}
	l.Stop()
	<-done
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

package sock

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/wire/proxyproto"
	"sluice/internal/wire/sniff"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// pair returns a client's socket and the Conn that was accepted for it.
func pair(t testing.TB, w *watch.Watch) (*net.TCPConn, *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := New(server, w)
	t.Cleanup(func() { client.Close(); c.Close() })
	return client.(*net.TCPConn), c
}

func running(t testing.TB) *watch.Watch {
	w := watch.New()
	w.Start()
	t.Cleanup(w.Stop)
	return w
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// settle waits until cond holds; it fails the test if that takes too long.
func settle(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

func TestPeekGrowsAndReadsBack(t *testing.T) {
	sent := make([]byte, MaxPeek+100_000)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(sent)
	client, c := pair(t, nil)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+int(rnd.Uint64()%5000))
			client.Write(rest[:n])
			rest = rest[n:]
		}
		client.CloseWrite()
	}()
	for _, n := range []int{0, 1, 5, 4 << 10, 4<<10 + 1, 20_000, 64 << 10, sniff.MaxBytes, MaxPeek} {
		b, err := c.Peek(n)
		if err != nil || len(b) < n || !bytes.Equal(b, sent[:len(b)]) {
			t.Fatalf("peek of %d: got %d bytes, error %v", n, len(b), err)
		}
	}
	if _, err := c.Peek(MaxPeek + 1); !errors.Is(err, ErrPeekTooLong) {
		t.Errorf("beyond the limit: got error %v", err)
	}
	c.Discard(10)
	if b, err := c.Peek(MaxPeek); err != nil || !bytes.Equal(b, sent[10:10+len(b)]) {
		t.Errorf("after a discard: got %d bytes, error %v", len(b), err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent[10:]) {
		t.Errorf("read back %d bytes, want %d equal ones (error %v)", len(got), len(sent)-10, err)
	}
	if c.head != nil {
		t.Error("memory is held after all was consumed")
	}
}

func TestPeekAtTheEnd(t *testing.T) {
	client, c := pair(t, nil)
	send(t, client, "abc")
	client.CloseWrite()
	if b, err := c.Peek(4); err != io.EOF || string(b) != "abc" {
		t.Errorf("got %q, error %v", b, err)
	}
	c.Discard(3)
	if b, err := c.Peek(1); err != io.EOF || len(b) != 0 {
		t.Errorf("got %q, error %v", b, err)
	}
}

func TestPeekOverPipe(t *testing.T) {
	client, server := testkit.Pipe()
	defer client.Close()
	c := New(server, nil)
	defer c.Close()
	go io.WriteString(client, strings.Repeat("x", 10_000))
	if b, err := c.Peek(9000); err != nil || len(b) < 9000 {
		t.Errorf("got %d bytes, error %v", len(b), err)
	}
	if c.PeerState() != PeerOpen {
		t.Errorf("got peer %v", c.PeerState())
	}
}

func TestTCP01DeadlineOfWatch(t *testing.T) {
	w := running(t)
	for name, before := range map[string]string{"nothing": "", "half": "\x16\x03\x01\x02\x00\x01"} {
		t.Run(name, func(t *testing.T) {
			client, c := pair(t, w)
			send(t, client, before)
			c.Arm(60 * time.Millisecond)
			_, err := c.Peek(1000)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got error %v", err)
			}
			if c.Disarm() {
				t.Error("Disarm says that the deadline was met")
			}
			// What we say at the end still arrives, and a FIN behind it.
			go func() {
				defer client.Close()
				send(t, client, "late")
			}()
			if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write after the deadline: got error %v", err)
			}
			c.Linger(5 * time.Second)
		})
	}
	t.Run("met", func(t *testing.T) {
		client, c := pair(t, w)
		c.Arm(5 * time.Second)
		send(t, client, "abc")
		if _, err := c.Peek(3); err != nil || !c.Disarm() || !c.Disarm() {
			t.Errorf("got error %v, or a deadline that expired", err)
		}
	})
	t.Run("without watch", func(t *testing.T) {
		_, c := pair(t, nil)
		c.Arm(30 * time.Millisecond)
		if _, err := c.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) || c.Disarm() {
			t.Errorf("got error %v, or a deadline that was met", err)
		}
		c.Arm(0)
	})
	if n := w.Len(); n > 4 {
		t.Errorf("%d entries are watched", n)
	}
}

func TestSilentConnectionHoldsNoMemory(t *testing.T) {
	client, c := pair(t, nil)
	got := make(chan string)
	go func() {
		b, _ := c.Peek(1)
		got <- string(b)
	}()
	settle(t, "peek waits", func() bool { return waiting("sock.(*Reader).readReady") })
	if runtime.GOOS == "linux" && c.head != nil {
		t.Error("memory is held while nothing was sent")
	}
	send(t, client, "x")
	if s := <-got; s != "x" {
		t.Errorf("got %q", s)
	}
}

// waiting reports whether a goroutine waits for the network below the function.
func waiting(function string) bool {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, function) && strings.Contains(g, "[IO wait") {
			return true
		}
	}
	return false
}

func TestWaitReadable(t *testing.T) {
	for name, act := range map[string]func(*net.TCPConn){
		"bytes": func(c *net.TCPConn) { c.Write([]byte("x")) },
		"FIN":   func(c *net.TCPConn) { c.CloseWrite() },
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		client, c := pair(t, nil)
		done := make(chan error)
		go func() { done <- c.WaitReadable() }()
		act(client)
		if err := <-done; err != nil {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	_, c := pair(t, nil)
	c.SetReadDeadline(past)
	if err := c.WaitReadable(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past deadline: got error %v", err)
	}
}

func TestPeerState(t *testing.T) {
	reset := func(c *net.TCPConn) { c.SetLinger(0); c.Close() }
	tests := []struct {
		name string
		act  func(client *net.TCPConn, c *Conn)
		want PeerState
	}{
		{"quiet", func(*net.TCPConn, *Conn) {}, PeerOpen},
		{"bytes unread", func(k *net.TCPConn, _ *Conn) { k.Write([]byte("x")) }, PeerOpen},
		{"we finished", func(_ *net.TCPConn, c *Conn) { c.CloseWrite() }, PeerOpen},
		{"FIN", func(k *net.TCPConn, _ *Conn) { k.CloseWrite() }, PeerFinished},
		{"FIN behind bytes", func(k *net.TCPConn, _ *Conn) { k.Write([]byte("x")); k.CloseWrite() }, PeerFinished},
		{"reset", func(k *net.TCPConn, _ *Conn) { reset(k) }, PeerGone},
		{"reset behind bytes", func(k *net.TCPConn, _ *Conn) { k.Write([]byte("x")); reset(k) }, PeerGone},
		{"both finished", func(k *net.TCPConn, c *Conn) { c.CloseWrite(); k.CloseWrite() }, PeerGone},
		{"closed by us", func(_ *net.TCPConn, c *Conn) { c.Close() }, PeerGone},
	}
	for _, test := range tests {
		if runtime.GOOS != "linux" && (strings.Contains(test.name, "behind") || test.name == "both finished") {
			continue // seen on Linux only
		}
		t.Run(test.name, func(t *testing.T) {
			client, c := pair(t, nil)
			test.act(client, c)
			settle(t, test.want.String(), func() bool { return c.PeerState() == test.want })
			// Asking again gives the same: asking must not change the answer.
			if got := c.PeerState(); got != test.want {
				t.Errorf("asked again: got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReaderBorrowsOnlyForBytes(t *testing.T) {
	for _, over := range []string{"tcp", "conn", "embedded", "pipe"} {
		t.Run(over, func(t *testing.T) {
			var client, nc net.Conn
			switch over {
			case "pipe":
				a, b := testkit.Pipe()
				client, nc = a, b
				defer a.Close()
				defer b.Close()
			default:
				k, c := pair(t, nil)
				client, nc = k, c
				if over == "tcp" {
					nc = c.NetConn()
				} else {
					send(t, k, "peeked, ")
					c.Peek(8)
				}
				if over == "embedded" {
					nc = &struct{ *Conn }{c}
				}
			}
			sent := make([]byte, 300_000)
			rand.NewChaCha8([32]byte{2}).Read(sent)
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(4000))
					client.Write(rest[:n])
					rest = rest[n:]
				}
				client.(interface{ CloseWrite() error }).CloseWrite()
			}()
			pool := NewPool(8 << 10)
			r := NewReader(nc)
			if waits := r.raw != nil; runtime.GOOS == "linux" && waits != (over != "pipe") {
				t.Errorf("waits without memory: %v", waits)
			}
			var got []byte
			for {
				b, n, err := r.Read(pool)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("got %d bytes, error %v", n, err)
				}
				got = append(got, b.Bytes[:n]...)
				pool.Put(b)
			}
			if over == "conn" || over == "embedded" {
				got = bytes.TrimPrefix(got, []byte("peeked, "))
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, want %d equal ones", len(got), len(sent))
			}
		})
	}
	t.Run("errors", func(t *testing.T) {
		client, c := pair(t, nil)
		r, pool := NewReader(c), NewPool(100)
		c.SetReadDeadline(past)
		if b, n, err := r.Read(pool); b != nil || n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: got %v, %d, %v", b, n, err)
		}
		c.SetReadDeadline(time.Time{})
		client.SetLinger(0)
		client.Close()
		if b, n, err := r.Read(pool); b != nil || n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reset: got %v, %d, %v", b, n, err)
		}
		c.Close()
		if _, _, err := r.Read(pool); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: got %v", err)
		}
	})
}

func TestLingerDeliversTheAnswer(t *testing.T) {
	client, c := pair(t, nil)
	// The client has sent more than we read; an ordinary close would answer that with a reset.
	send(t, client, strings.Repeat("x", 100_000))
	if _, err := c.Peek(10); err != nil {
		t.Fatal(err)
	}
	send(t, c, "refused")
	done := make(chan struct{})
	go func() { c.Linger(10 * time.Second); close(done) }()
	got, err := io.ReadAll(client)
	if err != nil || string(got) != "refused" {
		t.Errorf("got %q, error %v", got, err)
	}
	client.Close()
	<-done
	if c.head != nil {
		t.Error("memory is held at the end")
	}
}

func TestLingerIsBounded(t *testing.T) {
	t.Run("silent client", func(t *testing.T) {
		_, c := pair(t, running(t))
		began := time.Now()
		c.Linger(50 * time.Millisecond)
		if took := time.Since(began); took < 50*time.Millisecond {
			t.Errorf("gave up after %v", took)
		}
	})
	t.Run("client that goes on sending", func(t *testing.T) {
		client, c := pair(t, nil)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			junk := make([]byte, 64<<10)
			for {
				if _, err := client.Write(junk); err != nil {
					return
				}
			}
		}()
		c.Linger(time.Minute)
		<-stopped
	})
	t.Run("closed already", func(t *testing.T) {
		_, c := pair(t, nil)
		c.Close()
		c.Linger(time.Minute)
	})
}

func TestReset(t *testing.T) {
	client, c := pair(t, nil)
	send(t, c, "half")
	c.Reset()
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got error %v, want a reset", err)
	}
}

func TestProxyHeader(t *testing.T) {
	v2 := string(proxyproto.Append(nil, 2, netip.MustParseAddrPort("[2001:db8::1]:5"), netip.MustParseAddrPort("[2001:db8::2]:6")))
	const v1 = "PROXY TCP4 192.0.2.1 198.51.100.2 56789 443\r\n"
	tests := []struct {
		name, in    string
		believe     bool
		peer, local string
		rest        string
		bad         bool
	}{
		{"PPX-08 v1 with payload", v1 + "hello", true, "192.0.2.1:56789", "198.51.100.2:443", "hello", false},
		{"v2", v2 + "hello", true, "[2001:db8::1]:5", "[2001:db8::2]:6", "hello", false},
		{"PPX-01 not believed", v1 + "hello", false, "", "", "hello", false},
		{"PPX-01 malformed, not believed", "PROXY TCP4 x\r\n", false, "", "", "", true},
		{"PPX-02 none", "hello", true, "", "", "hello", false},
		{"PPX-03 UNKNOWN", "PROXY UNKNOWN\r\nhello", true, "", "", "hello", false},
		{"PPX-07 twice", v1 + v1, true, "192.0.2.1:56789", "198.51.100.2:443", v1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, c := pair(t, nil)
			go func() {
				for i := range test.in {
					client.Write([]byte(test.in[i : i+1]))
				}
				client.CloseWrite()
			}()
			_, err := c.ReadProxyHeader(test.believe)
			var malformed *proxyproto.Malformed
			if errors.As(err, &malformed) != test.bad || !test.bad && err != nil {
				t.Fatalf("got error %v", err)
			}
			if test.bad {
				return
			}
			peer, local := test.peer, test.local
			if peer == "" {
				peer, local = client.LocalAddr().String(), client.RemoteAddr().String()
			}
			if c.Peer().String() != peer || c.Local().String() != local || c.RemoteAddr().String() != peer || c.LocalAddr().String() != local {
				t.Errorf("got peer %v, local %v, want %v, %v", c.Peer(), c.Local(), peer, local)
			}
			if c.SocketPeer().String() != client.LocalAddr().String() || c.SocketLocal().String() != client.RemoteAddr().String() {
				t.Errorf("the socket's own addresses are %v and %v", c.SocketPeer(), c.SocketLocal())
			}
			if rest, _ := io.ReadAll(c); string(rest) != test.rest {
				t.Errorf("got payload %q, want %q", rest, test.rest)
			}
		})
	}
	t.Run("end within the header", func(t *testing.T) {
		client, c := pair(t, nil)
		send(t, client, "PROXY TC")
		client.Close()
		if _, err := c.ReadProxyHeader(true); err != io.EOF {
			t.Errorf("got error %v", err)
		}
	})
}

package relay

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// tcpPair returns the two ends of a TCP connection over loopback.
func tcpPair(t testing.TB) (outer, inner *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// start relays between two new connections and returns their outer ends, the client's and the server's.
func start(t testing.TB, o Options) (client, server *net.TCPConn, result chan Result) {
	t.Helper()
	client, a := tcpPair(t)
	server, b := tcpPair(t)
	result = make(chan Result, 1)
	go func() { result <- Run(sock.New(a, nil), b, o) }()
	return client, server, result
}

func running(t testing.TB) *watch.Watch {
	w := watch.New()
	w.Start()
	t.Cleanup(w.Stop)
	return w
}

// pour writes n bytes of a stream that seed determines, in pieces of all sizes, then a FIN; it returns their sum.
func pour(c *net.TCPConn, seed uint64, n int) ([32]byte, error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	sum := sha256.New()
	buf := make([]byte, 64<<10)
	for n > 0 {
		b := buf[:min(n, 1+rnd.IntN(1+rnd.IntN(len(buf))))]
		src.Read(b)
		sum.Write(b)
		if _, err := c.Write(b); err != nil {
			return [32]byte{}, err
		}
		n -= len(b)
	}
	return [32]byte(sum.Sum(nil)), c.CloseWrite()
}

func drain(c net.Conn) ([32]byte, int64, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, c)
	return [32]byte(sum.Sum(nil)), n, err
}

func TestThousandTunnelsLoseNothing(t *testing.T) {
	for _, splice := range []bool{false, true} {
		t.Run(map[bool]string{false: "copy", true: "splice"}[splice], func(t *testing.T) {
			tunnels := 1000
			if testing.Short() || splice {
				tunnels = 200
			}
			w := running(t)
			var wg sync.WaitGroup
			for i := range tunnels {
				wg.Go(func() {
					o := Options{Splice: splice}
					if i%2 == 0 {
						o.Watch, o.Idle, o.Termination = w, time.Minute, time.Minute
					}
					client, server, result := start(t, o)
					rnd := rand.New(rand.NewPCG(uint64(i), 2))
					up, down := rnd.IntN(200_000), rnd.IntN(200_000)
					var sent [2][32]byte
					var errs [2]error
					var both sync.WaitGroup
					// Every third tunnel answers only when it has seen the end, as a protocol with half-close does.
					late := i%3 == 0
					both.Go(func() { sent[0], errs[0] = pour(client, uint64(i), up) })
					if !late {
						both.Go(func() { sent[1], errs[1] = pour(server, uint64(i)+5000, down) })
					}
					got := make(chan [32]byte, 1)
					both.Go(func() {
						sum, n, err := drain(server)
						if err != nil || n != int64(up) {
							t.Errorf("tunnel %d: server got %d of %d bytes, error %v", i, n, up, err)
						}
						got <- sum
						if late {
							sent[1], errs[1] = pour(server, uint64(i)+5000, down)
						}
					})
					sum, n, err := drain(client)
					if err != nil || n != int64(down) {
						t.Errorf("tunnel %d: client got %d of %d bytes, error %v", i, n, down, err)
					}
					both.Wait()
					if sum != sent[1] || <-got != sent[0] || errs[0] != nil || errs[1] != nil {
						t.Errorf("tunnel %d: bytes differ (errors %v)", i, errs)
					}
					r := <-result
					if r.FromA != int64(up) || r.FromB != int64(down) || r.Reason != Finished || r.Err != nil || late && r.By != A {
						t.Errorf("tunnel %d: got %+v, want %d and %d bytes", i, r, up, down)
					}
					client.Close()
					server.Close()
				})
			}
			wg.Wait()
			if w.Len() != 0 {
				t.Errorf("%d entries are still watched", w.Len())
			}
		})
	}
}

func TestPeekedBytesGoFirst(t *testing.T) {
	for _, splice := range []bool{false, true} {
		client, a := tcpPair(t)
		server, b := tcpPair(t)
		want := strings.Repeat("hello ", 20_000)
		go func() { io.WriteString(client, want); client.CloseWrite() }()
		c := sock.New(a, nil)
		if _, err := c.Peek(50_000); err != nil {
			t.Fatal(err)
		}
		result := make(chan Result, 1)
		go func() { result <- Run(struct{ *sock.Conn }{c}, b, Options{Splice: splice}) }()
		got, err := io.ReadAll(server)
		if err != nil || string(got) != want {
			t.Errorf("splice %v: got %d bytes, want %d (error %v)", splice, len(got), len(want), err)
		}
		server.Close()
		if r := <-result; r.FromA != int64(len(want)) {
			t.Errorf("splice %v: counted %d bytes", splice, r.FromA)
		}
	}
}

func TestEnds(t *testing.T) {
	reset := func(c *net.TCPConn) { c.SetLinger(0); c.Close() }
	tests := []struct {
		name   string
		o      Options
		act    func(t *testing.T, client, server *net.TCPConn)
		by     Side
		reason Reason
	}{
		{"TCP-05 client first, reply later", Options{}, func(t *testing.T, client, server *net.TCPConn) {
			client.CloseWrite()
			expectEnd(t, server)
			io.WriteString(server, "reply")
			server.Close()
			if got, err := io.ReadAll(client); err != nil || string(got) != "reply" {
				t.Errorf("got %q, error %v", got, err)
			}
		}, A, Finished},
		{"TCP-05 server first, client still owes", Options{}, func(t *testing.T, client, server *net.TCPConn) {
			server.CloseWrite()
			expectEnd(t, client)
			io.WriteString(client, "rest")
			client.Close()
			if got, err := io.ReadAll(server); err != nil || string(got) != "rest" {
				t.Errorf("got %q, error %v", got, err)
			}
		}, B, Finished},
		{"client resets", Options{}, func(t *testing.T, client, server *net.TCPConn) {
			reset(client)
			expectReset(t, server)
		}, A, Broken},
		{"server resets", Options{}, func(t *testing.T, client, server *net.TCPConn) {
			reset(server)
			expectReset(t, client)
		}, B, Broken},
		{"client gone while the server sends", Options{}, func(t *testing.T, client, server *net.TCPConn) {
			go func() {
				junk := make([]byte, 64<<10)
				for {
					if _, err := server.Write(junk); err != nil {
						return
					}
				}
			}()
			io.ReadFull(client, make([]byte, 100_000))
			client.Close()
		}, A, Broken},
		{"idle limit", Options{Idle: 80 * time.Millisecond}, func(t *testing.T, client, server *net.TCPConn) {
			io.WriteString(client, "x")
			expectEndAfter(t, server, "x")
			expectEnd(t, client)
		}, Neither, IdleLimit},
		{"termination limit", Options{Idle: time.Hour, Termination: 50 * time.Millisecond}, func(t *testing.T, client, server *net.TCPConn) {
			client.CloseWrite()
			expectEnd(t, server)
			io.WriteString(server, "some")
			expectEndAfter(t, client, "some")
		}, A, TerminationLimit},
	}
	w := running(t)
	for _, test := range tests {
		for _, splice := range []bool{false, true} {
			name := test.name
			if splice {
				name += ", splice"
			}
			t.Run(name, func(t *testing.T) {
				o := test.o
				o.Watch, o.Splice = w, splice
				client, server, result := start(t, o)
				test.act(t, client, server)
				r := <-result
				if r.By != test.by || r.Reason != test.reason || (r.Err != nil) != (test.reason == Broken) {
					t.Errorf("got %+v (%v), want by %v, %v", r, r.Reason, test.by, test.reason)
				}
			})
		}
	}
	t.Run("cut", func(t *testing.T) {
		_, a := tcpPair(t)
		server, b := tcpPair(t)
		result := make(chan Result, 1)
		go func() { result <- Run(a, b, Options{}) }()
		a.Close()
		expectEnd(t, server)
		if r := <-result; r.By != Neither || r.Reason != Cut {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("limits without a watch", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		Run(nil, nil, Options{Idle: 1})
	})
}

func expectEnd(t *testing.T, c net.Conn) { t.Helper(); expectEndAfter(t, c, "") }

func expectEndAfter(t *testing.T, c net.Conn, want string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("got %q, error %v, want %q and a FIN", got, err, want)
	}
}

func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got error %v, want a reset", err)
	}
}

// A reply that keeps moving is never cut by the termination delay, however long it takes.
func TestTerminationCountsFromTheLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch.New()
		w.Start()
		defer w.Stop()
		client, a := testkit.Pipe()
		server, b := testkit.Pipe()
		result := make(chan Result, 1)
		go func() {
			result <- Run(a, b, Options{Watch: w, Idle: time.Hour, Termination: 100 * time.Millisecond})
		}()
		client.CloseWrite()
		var want []byte
		for i := range 50 {
			time.Sleep(90 * time.Millisecond)
			want = append(want, byte(i))
			if _, err := server.Write([]byte{byte(i)}); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
		}
		began := time.Now()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want %d (error %v)", len(got), len(want), err)
		}
		if r := <-result; r.Reason != TerminationLimit || r.By != A || r.FromB != 50 {
			t.Errorf("got %+v", r)
		}
		if took := time.Since(began); took > 160*time.Millisecond {
			t.Errorf("ended %v after the last byte", took)
		}
	})
}

func TestTrafficInOneDirectionKeepsTheTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch.New()
		w.Start()
		defer w.Stop()
		client, a := testkit.Pipe()
		server, b := testkit.Pipe()
		result := make(chan Result, 1)
		go func() { result <- Run(a, b, Options{Watch: w, Idle: 2 * time.Second}) }()
		for range 20 {
			time.Sleep(1900 * time.Millisecond)
			server.Write([]byte("x"))
		}
		began := time.Now()
		io.ReadAll(server)
		if took := time.Since(began); took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("ended %v after the last byte", took)
		}
		if r := <-result; r.Reason != IdleLimit || r.FromB != 20 {
			t.Errorf("got %+v", r)
		}
		client.Close()
	})
}

// oneWay is a stream that cannot say that it has finished.
type oneWay struct{ *testkit.PipeConn }

func (oneWay) CloseWrite() error { return errors.ErrUnsupported }

func TestSideWithoutHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, a := testkit.Pipe()
		server, b := testkit.Pipe()
		result := make(chan Result, 1)
		go func() { result <- Run(a, oneWay{b}, Options{}) }()
		client.Write([]byte("last words"))
		client.CloseWrite()
		time.Sleep(500 * time.Millisecond)
		server.Write([]byte("reply"))
		got, _ := io.ReadAll(server)
		reply, _ := io.ReadAll(client)
		if string(got) != "last words" || string(reply) != "reply" {
			t.Errorf("got %q and %q", got, reply)
		}
		if r := <-result; r.Reason != Finished || r.By != A {
			t.Errorf("got %+v", r)
		}
	})
}

func TestOverTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := ca.Leaf(t, "a.test")
	outer, inner := tcpPair(t)
	server, b := tcpPair(t)
	result := make(chan Result, 1)
	go func() { result <- Run(tls.Server(sock.New(inner, nil), leaf.ServerConfig()), b, Options{}) }()
	client := tls.Client(outer, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
	big := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() {
		client.Write(big)
		client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("server got %d bytes, error %v", len(got), err)
	}
	server.Write(big)
	server.Close()
	got, err = io.ReadAll(client)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("client got %d bytes, error %v", len(got), err)
	}
	if r := <-result; r.FromA != int64(len(big)) || r.FromB != int64(len(big)) || r.Reason != Finished {
		t.Errorf("got %+v", r)
	}
}

// A server's reset must not reach a TLS client as an orderly end.
func TestResetReachesTLSClient(t *testing.T) {
	ca := testkit.NewCA(t)
	leaf := ca.Leaf(t, "a.test")
	outer, inner := tcpPair(t)
	server, b := tcpPair(t)
	result := make(chan Result, 1)
	go func() { result <- Run(tls.Server(sock.New(inner, nil), leaf.ServerConfig()), b, Options{}) }()
	client := tls.Client(outer, &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	server.SetLinger(0)
	server.Close()
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got error %v, want a reset", err)
	}
	if r := <-result; r.Reason != Broken || r.By != B {
		t.Errorf("got %+v", r)
	}
}

package testkit

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of a scripted peer, so that a broken test fails instead of hanging.
const patience = 10 * time.Second

// Peer is a scripted server on a loopback port: each connection that it accepts runs the script, and every byte that
// it was sent is recorded. It ends with the test.
type Peer struct {
	// Addr is host:port of the listener.
	Addr string

	ln    net.Listener
	done  sync.WaitGroup
	mu    sync.Mutex
	conns []*PeerConn
	ended bool
	more  chan struct{}
}

// PeerConn is one accepted connection with the record of what was read from it.
type PeerConn struct {
	net.Conn
	mu  sync.Mutex
	got bytes.Buffer
}

// Listen starts a peer. script gets each connection and the connection's number from 0; the connection is closed when
// it returns. A nil script reads until the end and answers nothing.
func Listen(t testing.TB, script func(c *PeerConn, n int)) *Peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if script == nil {
		script = func(c *PeerConn, _ int) { io.Copy(io.Discard, c) }
	}
	p := &Peer{Addr: ln.Addr().String(), ln: ln, more: make(chan struct{}, 1)}
	p.done.Add(1)
	go p.accept(script)
	t.Cleanup(p.Close)
	return p
}

// Answer returns a script that reads one request head (and nothing behind it) and sends reply, again and again until
// the connection ends.
func Answer(reply string) func(*PeerConn, int) {
	return func(c *PeerConn, _ int) {
		for {
			if _, err := c.ReadUntil("\r\n\r\n"); err != nil {
				return
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}
}

func (p *Peer) accept(script func(*PeerConn, int)) {
	defer p.done.Done()
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			return
		}
		c := &PeerConn{Conn: conn}
		p.mu.Lock()
		if p.ended {
			p.mu.Unlock()
			conn.Close()
			return
		}
		n := len(p.conns)
		p.conns = append(p.conns, c)
		p.done.Add(1)
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
		go func() {
			defer p.done.Done()
			defer conn.Close()
			script(c, n)
		}()
	}
}

// Close stops the peer, cuts its connections and waits for its scripts. The test's clean-up calls it too.
func (p *Peer) Close() {
	p.ln.Close()
	p.mu.Lock()
	p.ended = true
	for _, c := range p.conns {
		c.Conn.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

// Conns returns how many connections have been accepted.
func (p *Peer) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Conn returns connection n, waiting for it; it fails the test if it does not come.
func (p *Peer) Conn(t testing.TB, n int) *PeerConn {
	t.Helper()
	give := time.NewTimer(patience)
	defer give.Stop()
	for {
		p.mu.Lock()
		if n < len(p.conns) {
			c := p.conns[n]
			p.mu.Unlock()
			return c
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-give.C:
			t.Fatalf("peer %s: connection %d did not come", p.Addr, n)
		}
	}
}

// Received returns every byte that all connections were sent and a script has read, in the order of the connections.
func (p *Peer) Received() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []byte
	for _, c := range p.conns {
		all = append(all, c.Received()...)
	}
	return string(all)
}

// Read reads from the connection and records what it read.
func (c *PeerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.got.Write(b[:n])
	c.mu.Unlock()
	return n, err
}

// Received returns every byte read from the connection so far.
func (c *PeerConn) Received() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// ReadUntil reads byte by byte up to and including mark and returns what it read; behind mark nothing is consumed.
func (c *PeerConn) ReadUntil(mark string) (string, error) { return ReadUntil(c, mark) }

// CloseWrite closes the sending half.
func (c *PeerConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.New("testkit: connection has no half-close")
}

// ReadUntil reads from r byte by byte up to and including mark, and gives up after 1 MiB.
func ReadUntil(r io.Reader, mark string) (string, error) {
	var got []byte
	one := make([]byte, 1)
	for len(got) < 1<<20 {
		if _, err := io.ReadFull(r, one); err != nil {
			return string(got), err
		}
		got = append(got, one[0])
		if bytes.HasSuffix(got, []byte(mark)) {
			return string(got), nil
		}
	}
	return string(got), errors.New("testkit: mark not found in 1 MiB")
}

// Dial opens a TCP connection with a generous deadline for everything on it, and closes it with the test.
func Dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// Exchange dials addr, sends raw, closes nothing, and returns everything that comes back until the other side closes.
func Exchange(t testing.TB, addr, raw string) string {
	t.Helper()
	c := Dial(t, addr)
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatalf("send: %v", err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Logf("%s: reading ended with %v", addr, err)
	}
	return string(got)
}

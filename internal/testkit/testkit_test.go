package testkit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeafIsTrusted(t *testing.T) {
	ca := NewCA(t)
	for _, r := range []Request{
		{Names: []string{"a.test", "127.0.0.1", "spiffe://a/b"}},
		{Names: []string{"a.test"}, RSA: true, CommonName: "a.test"},
	} {
		leaf := ca.Issue(t, r)
		if _, err := leaf.Pair.Leaf.Verify(x509.VerifyOptions{DNSName: "a.test", Roots: ca.Pool()}); err != nil {
			t.Errorf("%v: %v", r.Names, err)
		}
		cert, key := leaf.Files(t, t.TempDir())
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			t.Error(err)
		}
	}
}

func TestPipeOverTLS(t *testing.T) {
	ca := NewCA(t)
	conf := ca.Leaf(t, "a.test").ServerConfig()
	client, server := Pipe()
	go func() {
		s := tls.Server(server, conf)
		io.Copy(s, s)
		s.Close()
	}()
	c := tls.Client(client, &tls.Config{ServerName: "a.test", RootCAs: ca.Pool()})
	io.WriteString(c, "hello")
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if string(got) != "hello" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	c.Close()
}

func TestPipeHalves(t *testing.T) {
	a, b := Pipe()
	io.WriteString(a, "one")
	a.CloseWrite()
	if got, err := io.ReadAll(b); string(got) != "one" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(a, "x"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	io.WriteString(b, "two")
	b.Close()
	if got, err := io.ReadAll(a); string(got) != "two" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	c, d := Pipe()
	io.WriteString(c, "lost")
	d.Reset()
	if _, err := d.Read(make([]byte, 9)); err == nil {
		t.Error("read after Reset gave no error")
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("write after Reset gave no error")
	}
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe()
		start := time.Now()
		a.SetReadDeadline(start.Add(3 * time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("read gave up after %v", d)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 2*pipeBuffer))
		if n != pipeBuffer || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %d, %v", n, err)
		}
		a.SetDeadline(time.Time{})
		go func() { time.Sleep(time.Hour); a.SetDeadline(time.Unix(1, 0)) }()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestPeerRecords(t *testing.T) {
	LeakCheck(t)
	p := Listen(t, Answer("HTTP/1.1 204 No Content\r\n\r\n"))
	c := Dial(t, p.Addr)
	io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	if got, err := ReadUntil(c, "\r\n\r\n"); err != nil || !strings.HasPrefix(got, "HTTP/1.1 204") {
		t.Fatalf("got %q, %v", got, err)
	}
	if got := p.Conn(t, 0).Received(); got != "GET / HTTP/1.1\r\n\r\n" {
		t.Errorf("recorded %q", got)
	}
	if p.Conns() != 1 || p.Received() != "GET / HTTP/1.1\r\n\r\n" {
		t.Errorf("%d connections, %q", p.Conns(), p.Received())
	}
	q := Listen(t, func(c *PeerConn, n int) { io.WriteString(c, "bye") })
	if got := Exchange(t, q.Addr, ""); got != "bye" {
		t.Errorf("got %q", got)
	}
}

func TestLeakIsSeen(t *testing.T) {
	before := goroutines()
	stop := make(chan struct{})
	go func() { <-stop }()
	found := false
	for id := range goroutines() {
		if _, known := before[id]; !known {
			found = true
		}
	}
	if !found {
		t.Error("a new goroutine was not seen")
	}
	close(stop)
	if left := leftOver(before); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
}

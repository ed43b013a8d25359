package sock

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// handOver duplicates the sockets to consecutive descriptors, as a service manager does, and returns the first.
func handOver(t *testing.T, files ...*os.File) int {
	t.Helper()
	const first = 500
	for i, f := range files {
		if err := syscall.Dup3(int(f.Fd()), first+i, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return first
}

func tcpFile(t *testing.T) (*os.File, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return f, ln.Addr().String()
}

func udpFile(t *testing.T) (*os.File, string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	f, err := pc.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	return f, pc.LocalAddr().String()
}

func TestInheritedSocketsReplaceBinding(t *testing.T) {
	web, webAddr := tcpFile(t)
	quic, quicAddr := udpFile(t)
	spare, _ := tcpFile(t)
	first := handOver(t, web, quic, spare)
	in, err := inherit(strconv.Itoa(os.Getpid()), "3", "web:web:spare", os.Getpid(), first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := syscall.Close(first + i); err == nil {
			t.Errorf("descriptor %d was left open", first+i)
		}
	}
	specs := []Spec{
		{Name: "web", Network: "tcp", Address: "127.0.0.1:1"}, {Name: "web", Network: "udp", Address: "127.0.0.1:1"},
		{Name: "web", Network: "tcp", Address: "127.0.0.1:0"}, {Name: "other", Network: "tcp", Address: "127.0.0.1:0"},
	}
	sockets, err := Bind(specs, in)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{webAddr, quicAddr, "", ""} {
		s := sockets[i]
		if s.Inherited != (want != "") || want != "" && s.Addr().String() != want {
			t.Errorf("socket %d: got %v, inherited %v, want %q", i, s.Addr(), s.Inherited, want)
		}
	}
	if got := in.Unused(); !slices.Equal(got, []string{"spare"}) {
		t.Errorf("got unused %q", got)
	}
	in.Close()
	if got := in.Unused(); len(got) != 0 {
		t.Errorf("got unused %q after Close", got)
	}
	// A connection arrives at the inherited socket.
	l := NewListener(sockets[0].TCP, nil, nil)
	done := make(chan error)
	go func() { done <- l.Serve(func(c *Conn) { c.Close() }) }()
	c, err := net.Dial("tcp", webAddr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	settle(t, "accepted", func() bool { return l.Accepted() == 1 })
	l.Stop()
	<-done
	for _, s := range sockets[1:] {
		s.Close()
	}
}

func TestInheritRefuses(t *testing.T) {
	for name, test := range map[string]struct{ pid, fds, names, err string }{
		"nothing":              {"", "", "", ""},
		"another process":      {"1", "1", "web", ""},
		"pid no number":        {"x", "1", "web", "LISTEN_PID"},
		"count no number":      {"", "x", "web", "LISTEN_FDS"},
		"count negative":       {"", "-1", "", "LISTEN_FDS"},
		"none":                 {"", "0", "", ""},
		"no such descriptors":  {"", "2", "web", `inherited socket "web" (descriptor 500)`},
		"descriptor, no names": {"", "1", "", `inherited socket "LISTEN_FD_500"`},
	} {
		in, err := inherit(test.pid, test.fds, test.names, 77, 500)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got error %v", name, err)
		}
		if got := in.Unused(); len(got) != 0 {
			t.Errorf("%s: got sockets %q", name, got)
		}
		in.Close()
	}
	// One descriptor of several is no socket: all are closed.
	web, addr := tcpFile(t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	spare, _ := tcpFile(t)
	first := handOver(t, web, file, spare)
	if _, err := inherit("", "3", "web:null:spare", 0, first); err == nil || !strings.Contains(err.Error(), `"null"`) {
		t.Errorf("got error %v", err)
	}
	for i := range 3 {
		if err := syscall.Close(first + i); err == nil {
			t.Errorf("descriptor %d was left open", first+i)
		}
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the first socket still listens")
	}
}

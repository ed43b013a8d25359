package sock

import (
	"net"
	"syscall"
	"testing"
)

// What the listening socket was given once must hold for what it accepts.
func TestKeepAliveIsInherited(t *testing.T) {
	l := NewListener(bound(t, "tcp").TCP, nil, nil)
	done := make(chan error)
	options := make(chan [3]int, 1)
	go func() {
		done <- l.Serve(func(c *Conn) {
			defer c.Close()
			raw, _ := c.TCP().SyscallConn()
			var got [3]int
			raw.Control(func(fd uintptr) {
				got[0], _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
				got[1], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
				got[2], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
			})
			options <- got
		})
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := <-options, [3]int{1, 180, 1}; got != want {
		t.Errorf("got keep-alive, idle seconds and no-delay %v, want %v", got, want)
	}
	l.Stop()
	<-done
}

package flow

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/wire/sock"
)

const (
	// events is how many sockets one call of epoll_wait reports.
	events = 128
	// turn is how many datagrams of one socket are read before the others have theirs.
	turn = 16
)

// polled is a group with one goroutine.
type polled struct {
	set    *os.File // the epoll set, as the runtime's poller watches it
	fd     int
	reader sync.WaitGroup

	mu    sync.RWMutex
	flows []*polledFlow // by descriptor
}

// newPolled returns nil where the system has no such sets, or where they cannot be watched themselves.
func newPolled() Group {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd) // never used
		return nil
	}
	g := &polled{set: os.NewFile(uintptr(fd), "flows"), fd: fd}
	// Only what the poller watches can have deadlines.
	raw, err := g.set.SyscallConn()
	if err != nil || g.set.SetReadDeadline(time.Time{}) != nil {
		_ = g.set.Close() // never used
		return nil
	}
	g.reader.Go(func() { g.read(raw) })
	return g
}

// Open implements Group.
func (g *polled) Open(to netip.AddrPort, sink Sink) (Flow, error) {
	address, domain, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, address); err != nil {
		_ = unix.Close(fd) // the error of connecting is what matters
		return nil, os.NewSyscallError("connect", err)
	}
	f := &polledFlow{group: g, sink: sink, fd: fd}
	g.put(fd, f)
	if err := unix.EpollCtl(g.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		f.Close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return f, nil
}

// sockaddr gives to the form of the system.
func sockaddr(to netip.AddrPort) (address unix.Sockaddr, domain int, err error) {
	if a := to.Addr().Unmap(); a.Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: a.As4()}, unix.AF_INET, nil
	}
	s := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		in, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, 0, err
		}
		s.ZoneId = uint32(in.Index)
	}
	return s, unix.AF_INET6, nil
}

func (g *polled) put(fd int, f *polledFlow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.flows) <= fd {
		g.flows = append(g.flows, nil)
	}
	g.flows[fd] = f
}

func (g *polled) at(fd int) *polledFlow {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if fd < len(g.flows) {
		return g.flows[fd]
	}
	return nil
}

// read hands what arrives on all sockets to their sinks until Close.
func (g *polled) read(raw syscall.RawConn) {
	var list [events]unix.EpollEvent
	buf := make([]byte, sock.MaxDatagram)
	n := 0
	// The runtime hears of an event by its edge, so the set is emptied before each wait.
	ready := func(fd uintptr) bool {
		n, _ = unix.EpollWait(int(fd), list[:], 0)
		return n > 0
	}
	for raw.Read(ready) == nil {
		for i := range list[:n] {
			// The descriptor may be another flow's by now: that one is then asked for nothing.
			if f := g.at(int(list[i].Fd)); f != nil {
				f.receive(buf)
			}
		}
	}
}

// Close implements Group.
func (g *polled) Close() {
	_ = g.set.Close() // nothing is left to be done about it
	g.reader.Wait()
}

// polledFlow is a flow of a polled group.
type polledFlow struct {
	group *polled
	sink  Sink

	mu sync.RWMutex // held for writing to close, so that nobody uses a descriptor that has become another's
	fd int          // -1 once closed
}

// receive reads what is there.
func (f *polledFlow) receive(buf []byte) {
	for range turn {
		n, err := f.next(buf)
		switch err {
		case nil:
			f.sink.Received(buf[:n])
		case unix.EINTR:
		case unix.EAGAIN, net.ErrClosed:
			return
		default:
			f.sink.Failed(os.NewSyscallError("read", err))
		}
	}
}

func (f *polledFlow) next(buf []byte) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return 0, net.ErrClosed
	}
	return unix.Read(f.fd, buf)
}

// Send implements Flow.
func (f *polledFlow) Send(p []byte) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return net.ErrClosed
	}
	for {
		switch err := unix.Sendto(f.fd, p, unix.MSG_NOSIGNAL, nil); {
		case err == unix.EINTR:
		case err == nil, lost(err):
			return nil
		default:
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Close implements Flow.
func (f *polledFlow) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return
	}
	f.group.put(f.fd, nil) // before the number can become another flow's
	_ = unix.Close(f.fd)   // which takes it out of the set as well
	f.fd = -1
}

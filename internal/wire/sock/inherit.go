package sock

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// firstInherited is the first descriptor that a service manager hands over (sd_listen_fds(3)).
const firstInherited = 3

// Inherited holds sockets that a service manager bound for us, by name. A nil *Inherited holds none.
type Inherited struct {
	byName map[string][]*Socket
	names  []string // in the order handed over
}

// Inherit takes over the sockets of systemd's socket activation. pid, fds and names are the values of LISTEN_PID, LISTEN_FDS
// and LISTEN_FDNAMES; self is our own process id. It returns nil if they are not meant for this process or there are
// none. Each descriptor must be a TCP or UDP socket; otherwise all are closed and an error tells which is not. Calling it twice
// with the same values would take over foreign descriptors: call it once, at start.
func Inherit(pid, fds, names string, self int) (*Inherited, error) {
	return inherit(pid, fds, names, self, firstInherited)
}

func inherit(pid, fds, names string, self, first int) (*Inherited, error) {
	if fds == "" {
		return nil, nil
	}
	if pid != "" {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return nil, fmt.Errorf("LISTEN_PID %q is not a number", pid)
		}
		if n != self {
			return nil, nil
		}
	}
	count, err := strconv.Atoi(fds)
	if err != nil || count < 0 || count > 1<<16 {
		return nil, fmt.Errorf("LISTEN_FDS %q is not a number of descriptors", fds)
	}
	named := strings.Split(names, ":")
	in := &Inherited{byName: map[string][]*Socket{}}
	for i := range count {
		fd := first + i
		name := "LISTEN_FD_" + strconv.Itoa(fd)
		if i < len(named) && named[i] != "" {
			name = named[i]
		}
		s, err := adopt(fd, name)
		if err != nil {
			in.Close()
			for rest := fd + 1; rest < first+count; rest++ {
				// The rest is ours to close too. A number that is no descriptor makes no difference.
				_ = os.NewFile(uintptr(rest), name).Close()
			}
			return nil, fmt.Errorf("inherited socket %q (descriptor %d): %w", name, fd, err)
		}
		in.byName[name] = append(in.byName[name], s)
		in.names = append(in.names, name)
	}
	return in, nil
}

// adopt makes a Socket of a descriptor and closes it: the Socket has a duplicate.
func adopt(fd int, name string) (*Socket, error) {
	closeOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	s := &Socket{Spec: Spec{Name: name}, Inherited: true}
	ln, err := net.FileListener(f)
	if err == nil {
		tcp, ok := ln.(*net.TCPListener)
		if !ok {
			_ = ln.Close()
			return nil, fmt.Errorf("listens on %s, not on TCP", ln.Addr().Network())
		}
		s.TCP, s.Network, s.Address = tcp, "tcp", tcp.Addr().String()
		return s, nil
	}
	pc, packetErr := net.FilePacketConn(f)
	if packetErr != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("is a packet socket of %s, not of UDP", pc.LocalAddr().Network())
	}
	s.UDP, s.Network, s.Address = udp, "udp", udp.LocalAddr().String()
	return s, nil
}

// take hands out the socket for spec, nil if there is none. Each is handed out once, in the order of the descriptors.
func (in *Inherited) take(spec Spec) *Socket {
	if in == nil {
		return nil
	}
	list := in.byName[spec.Name]
	i := slices.IndexFunc(list, func(s *Socket) bool { return s.Network == spec.Network })
	if i < 0 {
		return nil
	}
	s := list[i]
	in.byName[spec.Name] = slices.Delete(slices.Clone(list), i, i+1)
	s.ReusePort = spec.ReusePort
	if s.TCP != nil && keepAliveIsInherited {
		if raw, err := s.TCP.SyscallConn(); err == nil {
			// A socket that refuses probes still serves.
			_ = setOptions(raw, Spec{Network: "tcp"})
		}
	}
	return s
}

// Unused returns the names of the sockets that no Spec has taken, in the order handed over. They stay open until Close.
func (in *Inherited) Unused() []string {
	if in == nil {
		return nil
	}
	left := map[string]int{}
	for name, list := range in.byName {
		left[name] = len(list)
	}
	var names []string
	for _, name := range slices.Backward(in.names) {
		if left[name] > 0 {
			left[name]--
			names = append(names, name)
		}
	}
	slices.Reverse(names)
	return names
}

// Close closes the sockets that were not taken.
func (in *Inherited) Close() {
	if in == nil {
		return
	}
	for _, list := range in.byName {
		for _, s := range list {
			_ = s.Close() // nobody was served from it
		}
	}
	clear(in.byName)
}

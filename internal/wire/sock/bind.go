package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// keepAlive is the period of TCP keep-alive probes on accepted connections.
const keepAlive = 3 * time.Minute

// Spec names one socket to bind.
type Spec struct {
	// Name is the entry point's name, which inherited sockets are looked up by.
	Name string
	// Network is tcp or udp.
	Network string
	// Address is [host]:port; without a host all interfaces, IPv4 and IPv6.
	Address string
	// ReusePort lets several processes bind the address, where the system has a way to share it out.
	ReusePort bool
}

// Socket is a bound Spec: TCP or UDP is set, as its Network says.
type Socket struct {
	Spec
	TCP *net.TCPListener
	UDP *net.UDPConn
	// Inherited tells that the socket was handed to us and not bound by us.
	Inherited bool
}

// Close closes the socket.
func (s *Socket) Close() error {
	if s.TCP != nil {
		return s.TCP.Close()
	}
	return s.UDP.Close()
}

// Addr returns the address that is bound, with the port that the system chose for port 0.
func (s *Socket) Addr() net.Addr {
	if s.TCP != nil {
		return s.TCP.Addr()
	}
	return s.UDP.LocalAddr()
}

// Bind binds all specs, in their order, or none: on failure it closes what it bound, inherited sockets too, and returns an
// error that tells every address that could not be had. inherited may be nil; its sockets take the place of binding.
func Bind(specs []Spec, inherited *Inherited) ([]*Socket, error) {
	sockets := make([]*Socket, 0, len(specs))
	var errs []error
	for _, spec := range specs {
		s, err := bind(spec, inherited)
		if err != nil {
			errs = append(errs, fmt.Errorf("entry point %s: %w", spec.Name, err))
			continue
		}
		sockets = append(sockets, s)
	}
	if len(errs) > 0 {
		for _, s := range sockets {
			_ = s.Close() // the error of the bind is the one that matters
		}
		return nil, errors.Join(errs...)
	}
	return sockets, nil
}

func bind(spec Spec, inherited *Inherited) (*Socket, error) {
	if s := inherited.take(spec); s != nil {
		return s, nil
	}
	s := &Socket{Spec: spec}
	lc := net.ListenConfig{
		KeepAlive: keepAlive,
		Control: func(_, _ string, c syscall.RawConn) error {
			return setOptions(c, spec)
		},
	}
	if keepAliveIsInherited {
		// Optimization: set once on the listening socket instead of four times for each connection.
		lc.KeepAlive = -1
	}
	lc.SetMultipathTCP(false)
	switch spec.Network {
	case "tcp":
		ln, err := lc.Listen(context.Background(), "tcp", spec.Address)
		if err != nil {
			return nil, err
		}
		s.TCP = ln.(*net.TCPListener)
	case "udp":
		pc, err := lc.ListenPacket(context.Background(), "udp", spec.Address)
		if err != nil {
			return nil, err
		}
		s.UDP = pc.(*net.UDPConn)
	default:
		return nil, fmt.Errorf("unknown network %q", spec.Network)
	}
	return s, nil
}

// setOptions sets what must be set before the address is bound.
func setOptions(raw syscall.RawConn, spec Spec) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		if spec.ReusePort {
			if err = setReusePort(fd); err != nil {
				return
			}
		}
		if spec.Network == "tcp" {
			err = setInheritedKeepAlive(fd)
		}
	})
	return errors.Join(controlErr, err)
}

package flow

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"sluice/internal/wire/sock"
)

// threaded is a group with a goroutine for each flow.
type threaded struct{ readers sync.WaitGroup }

// Open implements Group.
func (g *threaded) Open(to netip.AddrPort, sink Sink) (Flow, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	g.readers.Go(func() {
		buf := make([]byte, sock.MaxDatagram)
		for {
			n, err := conn.Read(buf)
			switch {
			case err == nil:
				sink.Received(buf[:n])
			case errors.Is(err, net.ErrClosed):
				return
			default:
				sink.Failed(err)
			}
		}
	})
	return threadedFlow{conn}, nil
}

// Close implements Group.
func (g *threaded) Close() { g.readers.Wait() }

type threadedFlow struct{ conn *net.UDPConn }

// Send implements Flow.
func (f threadedFlow) Send(p []byte) error {
	if _, err := f.conn.Write(p); err != nil && !lost(err) {
		return err
	}
	return nil
}

// Close implements Flow.
func (f threadedFlow) Close() { _ = f.conn.Close() } // nothing is left to be done about it

//go:build !linux

package sock

import (
	"net"
	"net/netip"
)

// localAddresses knows nothing here: the system chooses the address that answers come from.
type localAddresses struct {
	on  bool
	oob []byte
}

func (*localAddresses) ask(*net.UDPConn) {}

func (*localAddresses) read(int) netip.Addr { return netip.Addr{} }

func (*localAddresses) source(netip.Addr) []byte { return nil }

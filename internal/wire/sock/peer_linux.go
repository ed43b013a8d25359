package sock

import (
	"encoding/binary"
	"syscall"
)

// peerState reads the TCP state from the kernel (tcp(7), TCP_INFO). Unlike a peek it sees a FIN or a reset behind bytes that
// were not read yet, and leaves a pending error where it is.
func peerState(fd int) PeerState {
	const (
		established = 1
		synRecv     = 3
		finWait1    = 4
		finWait2    = 5
		closeWait   = 8
		lastAck     = 9
		closing     = 11
	)
	// The kernel copies as much of the struct as fits: its first byte is the state.
	v, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_INFO)
	if err != nil {
		return PeerOpen // not TCP, as a socket handed to us may be: nothing is known
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(v))
	switch b[0] {
	case established, synRecv, finWait1, finWait2:
		return PeerOpen
	case closeWait, lastAck, closing:
		return PeerFinished
	}
	return PeerGone
}

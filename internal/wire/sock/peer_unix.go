//go:build unix && !linux

package sock

import "syscall"

// peerState peeks. A FIN or reset behind bytes that were not read yet is not seen.
func peerState(fd int) PeerState {
	var one [1]byte
	for {
		n, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN || n > 0:
			return PeerOpen
		case err != nil:
			return PeerGone
		}
		return PeerFinished
	}
}

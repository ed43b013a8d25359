package sock

// PeerState is what is known of the other end of a connection.
type PeerState uint8

const (
	// PeerOpen means that the peer may still send.
	PeerOpen PeerState = iota
	// PeerFinished means that the peer has sent a FIN: it sends nothing more, but may still read.
	PeerFinished
	// PeerGone means that the connection is over in both directions: it was reset, timed out, or both sides have finished.
	PeerGone
)

// String names the state for logs.
func (s PeerState) String() string { return [...]string{"open", "finished", "gone"}[s] }

// PeerState asks the socket, without reading and without waiting. It costs one system call and may be called from any goroutine,
// the one of a watch too. Where the connection is no socket, or one that was closed, the answer is PeerOpen or PeerGone.
func (c *Conn) PeerState() PeerState {
	if c.closed.Load() || c.gone.Load() {
		return PeerGone
	}
	if c.raw == nil {
		return PeerOpen
	}
	state := PeerGone
	if c.raw.Control(func(fd uintptr) { state = peerState(int(fd)) }) != nil {
		return PeerGone
	}
	if state == PeerGone {
		// Asking may take the error from the socket, after which it looks merely finished.
		c.gone.Store(true)
	}
	return state
}

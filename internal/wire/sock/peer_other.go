//go:build !unix

package sock

func peerState(int) PeerState { return PeerOpen }

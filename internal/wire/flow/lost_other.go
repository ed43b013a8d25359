//go:build !unix

package flow

// lost tells an error that concerns one datagram only from one that concerns the peer.
func lost(error) bool { return false }

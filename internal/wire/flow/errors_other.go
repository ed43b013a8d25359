//go:build !unix

package flow

// lost tells an error that concerns one datagram only from one that concerns the peer.
func lost(error) bool { return false }

// Exhausted reports whether opening a flow failed for want of descriptors or memory, which ends when others are closed. It
// cannot be told here.
func Exhausted(error) bool { return false }

//go:build unix

package flow

import (
	"errors"
	"syscall"
)

// lost tells an error that concerns one datagram only from one that concerns the peer.
func lost(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EMSGSIZE)
}

// Exhausted reports whether opening a flow failed for want of descriptors or memory, which ends when others are closed.
func Exhausted(err error) bool {
	for _, want := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

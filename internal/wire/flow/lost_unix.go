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

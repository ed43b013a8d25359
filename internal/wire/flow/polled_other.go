//go:build !linux

package flow

// newPolled returns nil: there is no epoll here.
func newPolled() Group { return nil }

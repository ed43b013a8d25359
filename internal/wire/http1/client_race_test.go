//go:build race

package http1

// racing tells that the race detector is on: it makes sync.Pool forget at random, so allocations cannot be counted.
const racing = true

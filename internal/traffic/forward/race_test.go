//go:build race

package forward

// racing tells that the race detector is on: pools forget at random then, so allocations cannot be counted.
const racing = true

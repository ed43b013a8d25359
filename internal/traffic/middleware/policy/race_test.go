//go:build race

package policy

// raceEnabled: the race detector makes pools forget at random, so allocations are not counted under it.
const raceEnabled = true

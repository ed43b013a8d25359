//go:build race

package route

// raceEnabled tells tests that sync.Pool, which regexp uses, drops items on purpose, and that everything is slower.
const raceEnabled = true

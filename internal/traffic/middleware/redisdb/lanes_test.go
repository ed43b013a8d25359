package redisdb

import "testing"

func TestLanes(t *testing.T) {
	for _, c := range [][3]int{{0, 0, 0}, {1, 0, -1}, {2, 0, 1}, {3, 0, 2}, {10, 0, 4}, {10_000, 0, 8}, {0, 1, -1}, {0, 3, 1}, {0, 100, 2}, {10, 5, 2}} {
		if got := lanes(c[0], c[1]); got != c[2] {
			t.Errorf("pool %d, most %d: got %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

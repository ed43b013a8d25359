package forward

import "sync"

// tally chooses which requests go to which mirrors, by counting: at any time each mirror has got its percentage, rounded up,
// of all requests. So the first one goes to every mirror that gets any. Safe for concurrent use.
type tally struct {
	key      string
	percents []int

	mu    sync.Mutex
	total uint64
	sent  []uint64 // by position
}

// choose counts a request and returns the positions of the mirrors that get it, nil for none.
func (t *tally) choose() (chosen []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	for i, percent := range t.percents {
		if t.sent[i]*100 < t.total*uint64(percent) {
			t.sent[i]++
			chosen = append(chosen, i)
		}
	}
	return chosen
}

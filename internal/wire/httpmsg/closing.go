package httpmsg

import "sync"

// Pinner is what Exchange.Conn is where state can be tied to the client's connection.
type Pinner interface {
	// OnClose has f called when the connection has ended; at once if it has already. f must return soon.
	OnClose(f func())
}

var _ Pinner = (*Closing)(nil)

// Closing remembers what is to be done at the end of a client's connection. The zero value is ready. Safe for concurrent
// use.
type Closing struct {
	mu   sync.Mutex
	then []func()
	over bool
}

// OnClose implements Pinner.
func (c *Closing) OnClose(f func()) {
	c.mu.Lock()
	over := c.over
	if !over {
		c.then = append(c.then, f)
	}
	c.mu.Unlock()
	if over {
		f()
	}
}

// Closed calls what was registered. The owner of the connection calls it once.
func (c *Closing) Closed() {
	c.mu.Lock()
	then := c.then
	c.then, c.over = nil, true
	c.mu.Unlock()
	for _, f := range then {
		f()
	}
}

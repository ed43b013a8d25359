package sock

import (
	"time"
)

// lingerBytes bounds what Linger reads from a client that goes on sending.
const lingerBytes = 1 << 20

var lingerPool = NewPool(4 << 10)

// Linger ends the connection so that what was written arrives: it sends a FIN, reads and forgets what the client still
// sends until its FIN, for at most d and one MiB, and closes. A close with bytes unread would send a reset, which
// destroys our last answer on its way and tells a scanner more than a FIN does. It needs no Arm; deadlines that
// expired do not count any more.
func (c *Conn) Linger(d time.Duration) {
	defer c.Close()
	c.release()
	if c.closed.Load() {
		return
	}
	if c.watch != nil {
		// From here on no expiry can come and set a past deadline again.
		c.watch.Remove(&c.entry)
	}
	if c.nc.SetDeadline(time.Now().Add(d)) != nil {
		return
	}
	if c.CloseWrite() != nil {
		return
	}
	r := NewReader(c.nc)
	for total := 0; total < lingerBytes; {
		b, n, err := r.Read(lingerPool)
		if err != nil {
			return
		}
		total += n
		lingerPool.Put(b)
	}
}

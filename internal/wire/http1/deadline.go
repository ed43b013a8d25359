package http1

import (
	"net/http"
	"sync/atomic"
	"time"

	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// dateCache has the text of the Date field for the current second.
type dateCache struct {
	now atomic.Pointer[dateText]
}

type dateText struct {
	until int64 // on the clock of the watch
	text  httpmsg.View
}

// get returns the date (RFC 9110 section 6.6.1). now is Watch.Now, so it may lag by a tick.
func (d *dateCache) get(now int64) httpmsg.View {
	t := d.now.Load()
	if t == nil || now >= t.until {
		wall := time.Now()
		t = &dateText{
			until: now + int64(time.Second) - int64(wall.Nanosecond()),
			text:  httpmsg.View(wall.UTC().AppendFormat(nil, http.TimeFormat)),
		}
		d.now.Store(t)
	}
	return t.text
}

var past = time.Unix(1, 0)

// readWatch and writeWatch are the two deadlines of a connection: one goroutine may wait for the client's bytes while
// another waits for the client to take ours.
type readWatch struct {
	watch.Entry
	k *conn
}

type writeWatch struct {
	watch.Entry
	k *conn
}

// Expire wakes the reader.
func (w *readWatch) Expire() { w.k.c.SetReadDeadline(past) }

// CheckPeer looks whether the client of a long exchange is still there.
func (w *readWatch) CheckPeer() { w.k.checkPeer() }

// Expire wakes the writer.
func (w *writeWatch) Expire() { w.k.c.SetWriteDeadline(past) }

// CheckPeer is never asked for.
func (w *writeWatch) CheckPeer() {}

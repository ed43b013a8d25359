// Package admin has the endpoints of Sluice itself: what answers for services called NAME@internal.
package admin

import (
	"net/http"
	"sync/atomic"

	"sluice/internal/wire/httpmsg"
)

// Ping answers 200 OK while the process is well, and another status from the stop signal on, so that a balancer in front
// of us takes us out before our sockets close.
type Ping struct {
	// Terminating is the status after Turn.
	Terminating int

	stopping atomic.Bool
}

// Turn makes Ping answer with its terminating status. Safe for concurrent use.
func (p *Ping) Turn() { p.stopping.Store(true) }

// Serve implements httpmsg.Handler.
func (p *Ping) Serve(x *httpmsg.Exchange) error {
	status, text := http.StatusOK, "OK"
	if p.stopping.Load() {
		status = p.Terminating
		text = http.StatusText(status)
	}
	x.Respond(status, "text/plain; charset=utf-8", text)
	return nil
}

// Noop answers 418: it stands behind routers whose middlewares answer everything.
type Noop struct{}

// Serve implements httpmsg.Handler.
func (Noop) Serve(x *httpmsg.Exchange) error {
	x.Respond(http.StatusTeapot, "text/plain; charset=utf-8", http.StatusText(http.StatusTeapot))
	return nil
}

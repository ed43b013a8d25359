package httpcache

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/internal/wire/httpmsg"
)

const (
	// maxRefreshes is how many responses of a cache are asked about in the background at a time.
	maxRefreshes = 64
	// refreshLimit is how long one may take.
	refreshLimit = 30 * time.Second
)

// refresher keeps count of the exchanges that ask about responses while nobody waits. Safe for concurrent use.
type refresher struct {
	mu     sync.Mutex
	all    map[*httpmsg.Exchange]struct{}
	closed bool
}

var (
	errRefreshSlow = errors.New("the server did not answer in time")
	errCacheClosed = errors.New("the cache is gone")
)

func (r *refresher) begin(x *httpmsg.Exchange) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.all) >= maxRefreshes {
		return false
	}
	if r.all == nil {
		r.all = map[*httpmsg.Exchange]struct{}{}
	}
	r.all[x] = struct{}{}
	return true
}

func (r *refresher) end(x *httpmsg.Exchange) {
	r.mu.Lock()
	delete(r.all, x)
	r.mu.Unlock()
}

func (r *refresher) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for x := range r.all {
		x.Cancel(errCacheClosed)
	}
}

// refresh asks the server about e in the background, unless somebody does already.
func (h *handler) refresh(x *httpmsg.Exchange, e *entry, k key) {
	f, leads := h.flights.join(k)
	if !leads {
		return
	}
	q := &question{a: &asking{directives: parseDirectives(&httpmsg.Header{})}, e: e, k: k, common: k, flight: f, why: "stale"}
	y := detached(x)
	if !h.begin(y) {
		h.land(q, nil)
		return
	}
	q.a.aim = h.aim(targetOf(y))
	go h.runRefresh(y, q)
}

func (h *handler) runRefresh(y *httpmsg.Exchange, q *question) {
	slow := time.AfterFunc(refreshLimit, func() { y.Cancel(errRefreshSlow) })
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		slow.Stop()
		h.end(y)
		if err != nil && h.log != nil {
			h.log.Debug("a kept response could not be refreshed", "target", string(q.a.aim.text), "err", err)
		}
	}()
	defer y.Finish()
	if err = h.lead(y, q); err == nil && y.Upgrade == nil {
		err = y.Deliver(nowhere{})
	}
}

// detached returns a request like x's that belongs to no client: for the whole response, whatever x asked for.
func detached(x *httpmsg.Exchange) *httpmsg.Exchange {
	y := &httpmsg.Exchange{Peer: x.Peer, Local: x.Local, TLS: x.TLS, TLSOptions: x.TLSOptions}
	y.Reset(nil)
	r := &y.Req
	r.Method, r.Host, r.Path = httpmsg.Text("GET"), x.Req.Host.Clone(), x.Req.Path.Clone()
	r.Query, r.HasQuery, r.TLS, r.Proto = x.Req.Query.Clone(), x.Req.HasQuery, x.Req.TLS, x.Req.Proto
	r.KeepForwardedFor = x.Req.KeepForwardedFor
	r.Header = x.Req.Header.Clone()
	r.Header.DeleteFunc(0, func(f *httpmsg.Field) bool {
		switch f.ID {
		case httpmsg.HdrRange, httpmsg.HdrCacheControl, httpmsg.HdrCookie:
			// What is kept for all is asked for without the user who happened to come by.
			return true
		}
		return f.Name.EqualFold("Pragma") || len(f.Name) > 3 && f.Name[:3].EqualFold("If-")
	})
	y.Facts.EntryPoint, y.Facts.Router = x.Facts.EntryPoint, x.Facts.Router
	return y
}

// nowhere is where the client of a refresh would be.
type nowhere struct{}

// Head implements httpmsg.Outlet.
func (nowhere) Head(*httpmsg.Exchange, bool) error { return nil }

// Body implements httpmsg.Outlet.
func (nowhere) Body([]byte) error { return nil }

// Flush implements httpmsg.Outlet.
func (nowhere) Flush() error { return nil }

// End implements httpmsg.Outlet.
func (nowhere) End(*httpmsg.Header) error { return nil }

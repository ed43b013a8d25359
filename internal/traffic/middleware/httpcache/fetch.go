package httpcache

import (
	"encoding/binary"
	"net/http"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// fetch gets the answer to a GET request from the server, or from another request that is getting the same. e is what the
// store has under k and may not use without asking, nil where it has nothing.
func (h *handler) fetch(x *httpmsg.Exchange, a *asking, e *entry, k key) error {
	q := question{a: a, e: e, k: k, why: "uri-miss"}
	switch {
	case a.noCache:
		q.why = "request"
	case e != nil:
		q.why = "stale"
	case a.aim.target != nil:
		q.why = "vary-miss"
	}
	q.common = h.commonKey(x, a, e, k)
	if a.noCache || a.noStore || e != nil && e.policy.asksAlways() || h.passes.has(q.common) {
		return h.lead(x, &q)
	}
	f, leads := h.underWay(x, a, e), false
	at := q.common
	if f == nil {
		if f, leads = h.flights.join(q.common); leads {
			q.flight = f
			return h.lead(x, &q)
		}
	} else {
		at = h.firstKey(x, a)
	}
	landed, err := h.follow(x, f, at)
	if err != nil {
		return err
	}
	if now := time.Now(); landed && h.fits(x, f, e, k) && f.entry.usable(&a.directives, now) != ask {
		h.serve(x, f.entry, now, came{why: q.why, collapsed: true})
		return nil
	}
	// The store has moved on meanwhile, perhaps without us.
	a.aim = h.aim(a.aim.text)
	return h.lead(x, &q)
}

// commonKey is what requests that may have one answer have in common, as far as can be known.
func (h *handler) commonKey(x *httpmsg.Exchange, a *asking, e *entry, k key) key {
	switch t := a.aim.target; {
	case e != nil:
		return byCredentials(k, x)
	case t != nil:
		return byCredentials(h.keyOf(x, t.number, (*t.specs.Load())[0]), x)
	}
	return h.firstKey(x, a)
}

// firstKey is the common key of requests for a target of which nothing is known.
func (h *handler) firstKey(x *httpmsg.Exchange, a *asking) key {
	return byCredentials(h.keyOf(x, binary.BigEndian.Uint64(a.aim.key[:]), nil), x)
}

// byCredentials keeps requests with credentials or cookies apart from others: what they get is less often for all.
func byCredentials(k key, x *httpmsg.Exchange) key {
	for i, id := range [...]httpmsg.ID{httpmsg.HdrCookie, httpmsg.HdrAuthorization} {
		if x.Req.Header.Has(id) {
			k[4] ^= 1 << i
		}
	}
	return k
}

// underWay returns the flight that brings the first response of a target whose place is known by now, if it is the one for
// this request.
func (h *handler) underWay(x *httpmsg.Exchange, a *asking, e *entry) *flight {
	if e != nil || a.aim.target == nil {
		return nil
	}
	if f := h.flights.peek(h.firstKey(x, a)); f != nil && f.announced() && f.key == h.keyOf(x, f.target, f.vary) {
		return f
	}
	return nil
}

// fits reports whether a flight brought an answer to the request, which found e under k or nothing.
func (h *handler) fits(x *httpmsg.Exchange, f *flight, e *entry, k key) bool {
	if f.entry == nil || !f.entry.policy.shared && x.Req.Header.Has(httpmsg.HdrAuthorization) {
		return false
	}
	return e != nil && f.key == k || f.key == h.keyOf(x, f.target, f.vary)
}

// follow waits for another request's answer, but not for long.
func (h *handler) follow(x *httpmsg.Exchange, f *flight, k key) (landed bool, err error) {
	for _, stage := range [...]struct {
		done     <-chan struct{}
		patience time.Duration
	}{{f.head, headPatience}, {f.done, bodyPatience}} {
		closed, err := x.Await(stage.done, stage.patience)
		if err != nil {
			return false, fault.New(fault.ClientGone, "httpCache: waiting for the answer to another request", err)
		}
		if !closed {
			h.flights.leave(k, f)
			return false, nil
		}
	}
	return true, nil
}

// question is what the server is asked, and on whose behalf.
type question struct {
	a *asking
	e *entry // what it is about, nil for a new response
	k key    // of e
	// common is the key of flight, which is nil where nobody waits for the answer.
	common key
	flight *flight
	why    string
}

// land tells those who wait what came of the question.
func (h *handler) land(q *question, r *result) {
	if q.flight != nil {
		h.flights.land(q.common, q.flight, r)
	}
}

// lead asks the server and keeps its answer where that is allowed.
func (h *handler) lead(x *httpmsg.Exchange, q *question) error {
	handed := false // the body lands the flight
	defer func() {
		if !handed {
			h.land(q, nil) // also after a panic
		}
	}()
	mark := x.Mark()
	conditional := q.e != nil && q.e.askAbout(&x.Req.Header)
	asked := time.Now()
	err := h.next.Serve(x)
	if err == nil && x.Upgrade != nil {
		return nil
	}
	if err == nil {
		err = x.Seal(&mark)
	}
	now := time.Now()
	status := x.Res.Status
	if err != nil {
		status = fault.Status(err)
	}
	switch {
	case q.e != nil && failed(status) && q.e.covers(&q.a.directives, now):
		x.Rewind(&mark)
		h.serve(x, q.e, now, came{why: q.why, status: status})
		return nil
	case err != nil:
		return err
	case conditional && status == http.StatusNotModified:
		handed = true
		return h.confirmed(x, q, &mark, asked, now)
	}
	x.RewindRequest(&mark)
	d := parseDirectives(&x.Res.Header)
	p, keep := h.terms.judge(&x.Res, &d, &x.Req.Header, &q.a.directives)
	if !keep || x.Res.ContentLength > h.maxEntry {
		h.notKept(x, q)
		return nil
	}
	vary, _ := varying(&x.Res.Header)
	t, vary := h.claim(&q.a.aim, vary)
	if t == nil {
		say(x, came{why: q.why}, 0)
		return nil
	}
	r := &result{newEntry(&x.Res, &d, p, asked, now), place{h.keyOf(x, t.number, vary), t.number, vary}}
	say(x, came{why: q.why, stored: true}, 0)
	if p.asksAlways() {
		h.passes.add(q.common) // each request has to ask for itself
	}
	if x.Res.Body == nil {
		h.put(r.key, r.entry)
		h.land(q, r)
		return nil
	}
	x.Res.Body = newTee(h, q, r, x.Res.Body, x.Res.ContentLength)
	handed = true
	if q.flight != nil {
		q.flight.announce(r.place)
	}
	return nil
}

// failed reports whether a status is one that a kept response may stand in for (RFC 5861 section 4).
func failed(status int) bool {
	switch status {
	case 500, 502, 503, 504:
		return true
	}
	return false
}

// askAbout makes a request ask whether e still holds (RFC 9111 section 4.3.1), and reports whether there is anything to
// ask by. The client's own conditions give way: what they ask for is told from the answer.
func (e *entry) askAbout(h *httpmsg.Header) bool {
	if e.etag == nil && e.modifiedTime.IsZero() {
		return false
	}
	h.Del("If-None-Match")
	h.Del("If-Modified-Since")
	if e.etag != nil {
		h.Append(httpmsg.Field{Name: httpmsg.Text("If-None-Match"), Value: e.etag})
	}
	if !e.modifiedTime.IsZero() {
		h.Append(httpmsg.Field{Name: httpmsg.Text("If-Modified-Since"), Value: e.modified})
	}
	return true
}

// confirmed serves a response of which the server says that it still holds.
func (h *handler) confirmed(x *httpmsg.Exchange, q *question, mark *httpmsg.Mark, asked, now time.Time) error {
	if tag := x.Res.Header.Get(httpmsg.HdrETag); isETag(tag) && q.e.etag != nil && !sameTag(tag, q.e.etag) {
		// It speaks of another one. Nothing that we have can be the answer.
		h.drop(q.k)
		x.Rewind(mark)
		q.e = nil
		return h.lead(x, q)
	}
	answer := x.Res.Header.Clone()
	x.Rewind(mark)
	e, keep := q.e.freshened(&h.terms, &answer, &x.Req.Header, &q.a.directives, asked, now)
	if keep {
		h.put(q.k, e)
		h.land(q, &result{e, place{key: q.k}})
	} else {
		if !q.a.personal(x) {
			h.drop(q.k)
		}
		h.land(q, nil)
	}
	h.serve(x, e, now, came{why: q.why, status: http.StatusNotModified, stored: keep})
	return nil
}

// personal reports whether it may be the request's doing that its answer is not to be kept.
func (a *asking) personal(x *httpmsg.Exchange) bool {
	return a.noStore || x.Req.Header.Has(httpmsg.HdrCookie) || x.Req.Header.Has(httpmsg.HdrAuthorization)
}

// notKept passes a response on that is not to be kept, and forgets the one that it replaces.
func (h *handler) notKept(x *httpmsg.Exchange, q *question) {
	if q.e != nil && x.Res.Status < 500 && x.Res.Status != http.StatusNotModified && !q.a.personal(x) {
		h.drop(q.k)
	}
	h.passes.add(q.common)
	say(x, came{why: q.why}, 0)
}

// askHead passes a HEAD request on. Its answer shows whether a kept response to GET still holds (RFC 9111 section 4.3.5).
func (h *handler) askHead(x *httpmsg.Exchange, a *asking, e *entry, k key) error {
	mark := x.Mark()
	asked := time.Now()
	if err := h.next.Serve(x); err != nil || x.Upgrade != nil {
		return err
	}
	if err := x.Seal(&mark); err != nil {
		return err
	}
	x.RewindRequest(&mark)
	how := came{why: "miss"}
	if e != nil {
		how.why = "stale"
		if x.Res.Status == http.StatusOK && !e.is(&x.Res) {
			h.drop(k)
		} else if x.Res.Status == http.StatusOK {
			if f, keep := e.freshened(&h.terms, &x.Res.Header, &x.Req.Header, &a.directives, asked, time.Now()); keep {
				h.put(k, f)
			}
		}
	}
	say(x, how, 0)
	return nil
}

// is reports whether a head is that of e, by its validators and length.
func (e *entry) is(res *httpmsg.Response) bool {
	tag, modified := res.Header.Get(httpmsg.HdrETag), res.Header.Lookup("Last-Modified")
	if len(tag) == 0 && len(modified) == 0 || res.ContentLength > 0 && res.ContentLength != int64(len(e.body)) {
		return false
	}
	return string(tag) == string(e.etag) && string(modified) == string(e.modified)
}

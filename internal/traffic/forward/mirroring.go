package forward

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// Mirroring is a service that answers by its main service, and sends copies of a share of the requests to other ones, whose
// answers nobody sees.
//
// The main request does not wait for anything: its body is copied while the main service reads it, and the copies are sent
// when its response is complete. A body that is longer than allowed, that the main service did not read to its end, or
// for which there is no memory is not mirrored, and neither is the request of a client that left. Safe for concurrent use.
type Mirroring struct {
	main    Child
	mirrors []Child
	live    *Live
	tally   *tally // nil where no request is ever mirrored
	body    bool
	maxBody int64 // less than zero: as far as the budget goes
	copies  *Copies
}

// NewMirroring builds a mirroring service. mirrors are in the order of the configuration, which must be valid.
func NewMirroring(c *dynamic.Mirroring, main Child, mirrors []Child, live *Live, copies *Copies) *Mirroring {
	m := &Mirroring{main: main, mirrors: mirrors, live: live, copies: copies, maxBody: -1, body: c.MirrorBody == nil || *c.MirrorBody}
	if c.MaxBodySize != nil {
		m.maxBody = *c.MaxBodySize
	}
	if slices.ContainsFunc(c.Mirrors, func(o *dynamic.Mirror) bool { return o.Percent > 0 }) {
		m.tally = live.tallyFor(c.Mirrors)
	}
	return m
}

// Publish does nothing: which requests are mirrored is counted in the live state.
func (m *Mirroring) Publish() {}

// Close does nothing: copies under way finish.
func (m *Mirroring) Close() {}

// Up reports whether the main service is up, for services that contain this one.
func (m *Mirroring) Up() bool { return m.main.up() }

// Serve implements httpmsg.Handler.
func (m *Mirroring) Serve(x *httpmsg.Exchange) error {
	// A switched connection has no copy.
	if m.tally == nil || len(x.Req.UpgradeTo) > 0 {
		return m.main.Handler.Serve(x)
	}
	if chosen := m.tally.choose(); chosen != nil {
		m.copy(x, chosen)
	}
	return m.main.Handler.Serve(x)
}

// copy prepares what the chosen mirrors get.
func (m *Mirroring) copy(x *httpmsg.Exchange, chosen []int) {
	req := &x.Req
	withBody := m.body && req.Body != nil
	if withBody && m.maxBody >= 0 && req.ContentLength > m.maxBody {
		return
	}
	c := &copied{m: m, chosen: chosen, budget: m.copies.budget, size: req.ContentLength}
	c.head.take(x)
	if withBody {
		if b, ok := req.Body.(*httpmsg.Bytes); ok {
			c.memory = b
		} else {
			c.src = req.Body
			req.Body = c
		}
	} else {
		c.whole = true
	}
	x.OnFinish(c)
}

// copied is one request being copied. While the main service reads the body, it is that body.
type copied struct {
	m      *Mirroring
	chosen []int
	budget *httpmsg.Budget
	head   head

	src    httpmsg.Body   // of the main request
	memory *httpmsg.Bytes // instead of src, where the body is in memory already
	size   int64          // as announced, -1 if unknown
	data   []byte
	read   bool // Next was called
	whole  bool
	given  bool // the copy was given up
}

// Next implements httpmsg.Body.
func (c *copied) Next() ([]byte, error) {
	c.read = true
	p, err := c.src.Next()
	switch {
	case c.given:
	case err == io.EOF:
		c.whole = true
	case err != nil:
		c.giveUp()
	default:
		c.keep(p)
	}
	return p, err
}

func (c *copied) keep(p []byte) {
	n := int64(len(c.data) + len(p))
	if c.m.maxBody >= 0 && n > c.m.maxBody {
		c.giveUp()
		return
	}
	if have := int64(cap(c.data)); n > have {
		want := max(n, 2*have)
		if c.size >= 0 {
			want = max(n, min(want, c.size))
		}
		if !c.budget.Take(want - have) {
			c.giveUp()
			return
		}
		bigger := make([]byte, len(c.data), want)
		copy(bigger, c.data)
		c.data = bigger
	}
	c.data = append(c.data, p...)
	c.whole = n == c.size // whoever knows the length need not wait for the end
}

// giveUp lets go of the copy; the main request goes on.
func (c *copied) giveUp() {
	c.given, c.whole = true, false
	c.release()
}

func (c *copied) release() {
	c.budget.Give(int64(cap(c.data)))
	c.data = nil
}

// Unread returns the body of the main request while nothing of it was read, see upstream.Untouched.
func (c *copied) Unread() httpmsg.Body {
	if c.read {
		return nil
	}
	return c.src
}

// Ready implements httpmsg.Body.
func (c *copied) Ready() bool { return c.src.Ready() }

// Trailer implements httpmsg.Body.
func (c *copied) Trailer() *httpmsg.Header { return c.src.Trailer() }

// Close implements httpmsg.Body.
func (c *copied) Close() { c.src.Close() }

// Interrupt implements httpmsg.Interrupter.
func (c *copied) Interrupt() {
	if i, ok := c.src.(httpmsg.Interrupter); ok {
		i.Interrupt()
	}
}

// Finish implements httpmsg.Finisher: the main response is complete.
func (c *copied) Finish(x *httpmsg.Exchange) {
	if c.memory != nil {
		c.keepMemory()
	}
	gone := x.Cancelled() != nil || x.Facts.Err != nil && fault.Of(x.Facts.Err).Kind.Side() == fault.Client
	if gone || !c.whole || !c.m.copies.start(c) {
		c.release()
	}
}

// keepMemory copies a body that was in memory from the beginning, now that nobody waits any more.
func (c *copied) keepMemory() {
	n := int64(len(c.memory.Data))
	if c.m.maxBody >= 0 && n > c.m.maxBody || !c.budget.Take(n) {
		return
	}
	c.data = append(make([]byte, 0, n), c.memory.Data...)
	c.whole = true
}

// head is the head of a request, kept beyond the end of its exchange.
type head struct{ x httpmsg.Exchange }

// take copies the head of x as it is now: what the main service is about to get.
func (h *head) take(x *httpmsg.Exchange) {
	to, from := &h.x.Req, &x.Req
	to.Method, to.Host, to.Path, to.Query = from.Method.Clone(), from.Host.Clone(), from.Path.Clone(), from.Query.Clone()
	to.HasQuery, to.TLS, to.Proto, to.Trailers, to.KeepForwardedFor = from.HasQuery, from.TLS, from.Proto, from.Trailers, from.KeepForwardedFor
	to.Header = from.Header.Clone()
	h.x.Peer, h.x.Local, h.x.TLS, h.x.TLSOptions = x.Peer, x.Local, x.TLS, x.TLSOptions
	h.x.Facts = httpmsg.Facts{EntryPoint: x.Facts.EntryPoint, Router: x.Facts.Router, Start: x.Facts.Start,
		Quiet: httpmsg.Quiet{AccessLog: true, Metrics: true, Tracing: true}}
}

// exchange makes a request of the head; several share its bytes.
func (h *head) exchange(body []byte) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	x.Reset(nil)
	x.Req = h.x.Req
	x.Req.Header = httpmsg.Header{}
	x.Req.Header.CopyFrom(&h.x.Req.Header)
	x.Peer, x.Local, x.TLS, x.TLSOptions, x.Facts = h.x.Peer, h.x.Local, h.x.TLS, h.x.TLSOptions, h.x.Facts
	if len(body) > 0 {
		x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: body}, int64(len(body))
	}
	return x
}

// mirrorsKey tells lists of mirrors apart.
func mirrorsKey(list []*dynamic.Mirror) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(strconv.Itoa(m.Percent) + " " + m.Name + "\n")
	}
	return b.String()
}

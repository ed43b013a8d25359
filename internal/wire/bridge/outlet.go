package bridge

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// writePiece is the largest write that Options.Stall is for.
const writePiece = 16 << 10

// outlet writes a response to an http.ResponseWriter. It implements httpmsg.Outlet.
type outlet struct {
	e       *exchange
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	by      int64 // when the response must be over, on the clock of the watch; 0 for no limit
	watched bool

	status   int // of the final head once there is one, which then waits for the first byte
	headSent bool
	left     int64 // of the announced length; -1 when none was
	watch    watch.Entry
}

func (o *outlet) start(e *exchange, w http.ResponseWriter) {
	opts := &e.s.opts
	o.e, o.w, o.control, o.stall, o.by = e, w, http.NewResponseController(w), opts.Stall, 0
	o.status, o.headSent, o.left = 0, false, -1
	if o.watched = opts.WriteTimeout > 0 || opts.Stall > 0; o.watched {
		opts.Watch.Add(&o.watch, o)
	}
	if opts.WriteTimeout > 0 {
		o.by = opts.Watch.Now() + int64(opts.WriteTimeout)
	}
}

// stop ends the deadlines.
func (o *outlet) stop() {
	if o.watched {
		o.e.s.opts.Watch.Remove(&o.watch)
		o.watched = false
	}
}

func (o *outlet) release() { o.w, o.control = nil, nil }

// interim sends a 1xx head at once. 101 is not ours to send here.
func (o *outlet) interim(status int, h *httpmsg.Header) error {
	if o.status != 0 || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		return nil
	}
	out := o.w.Header()
	if h != nil {
		copyFields(out, h)
	}
	o.w.WriteHeader(status)
	clear(out)
	return nil
}

// Head implements httpmsg.Outlet. The head leaves with the first byte of the body: a response that breaks before that
// can still become an honest answer, as on HTTP/1.
func (o *outlet) Head(x *httpmsg.Exchange, bodiless bool) error {
	out := o.w.Header()
	clear(out)
	copyFields(out, &x.Res.Header)
	if out["Content-Type"] == nil {
		out["Content-Type"] = nil // a key without value keeps net/http from guessing
	}
	if x.CloseAfter {
		out["Connection"] = []string{"close"} // net/http makes GOAWAY of it
	}
	o.status, o.left = x.Res.Status, -1
	n := x.Res.ContentLength
	switch {
	case x.Res.Status == http.StatusNoContent, x.Res.Status == http.StatusNotModified:
		// RFC 9110 section 8.6: never with 204. With 304 it may stand, but there are HTTP/2 clients, net/http's among
		// them, that then wait for the bytes.
	case n >= 0:
		out["Content-Length"] = []string{strconv.FormatInt(n, 10)}
		if !bodiless {
			o.left = n
		}
	}
	return nil
}

// commit sends the head, if that has not happened.
func (o *outlet) commit() {
	if !o.headSent {
		o.headSent = true
		o.w.WriteHeader(o.status)
	}
}

// copyFields copies h, without what belongs to one connection or to framing. The strings are copies, because net/http
// may look at them after the exchange has ended.
func copyFields(out http.Header, h *httpmsg.Header) {
	for i := range h.Len() {
		f := h.At(i)
		if httpmsg.HopByHop.Has(f.ID) || f.ID == httpmsg.HdrContentLength {
			continue
		}
		name := f.ID.String()
		if f.ID == httpmsg.HdrOther {
			name = f.Name.String()
		}
		out[name] = append(out[name], f.Value.String())
	}
}

// Body implements httpmsg.Outlet.
func (o *outlet) Body(p []byte) error {
	if o.left >= 0 {
		if o.left -= int64(len(p)); o.left < 0 {
			return fault.New(fault.UpstreamProtocol, "the response is longer than announced", nil)
		}
	}
	o.commit()
	for len(p) > 0 {
		piece := p[:min(len(p), writePiece)]
		p = p[len(piece):]
		err := o.arm()
		if err == nil {
			_, err = o.w.Write(piece)
			o.disarm()
		}
		if err != nil {
			return fault.New(fault.ClientGone, "writing the response", err)
		}
	}
	return nil
}

// Flush implements httpmsg.Outlet.
func (o *outlet) Flush() error {
	o.commit()
	err := o.arm()
	if err == nil {
		err = o.control.Flush()
		o.disarm()
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fault.New(fault.ClientGone, "writing the response", err)
	}
	return nil
}

// End implements httpmsg.Outlet.
func (o *outlet) End(trailer *httpmsg.Header) error {
	if o.left > 0 {
		return fault.New(fault.UpstreamCut, "the response is shorter than announced", nil)
	}
	o.commit()
	if trailer == nil || trailer.Len() == 0 {
		return nil
	}
	out := o.w.Header()
	for i := range trailer.Len() {
		f := trailer.At(i)
		if httpmsg.HopByHop.Has(f.ID) || f.ID == httpmsg.HdrContentLength {
			continue
		}
		name := http.TrailerPrefix + http.CanonicalHeaderKey(f.Name.String())
		out[name] = append(out[name], f.Value.String())
	}
	return nil
}

// arm sets the deadline of a write. It fails if the response should have been over.
func (o *outlet) arm() error {
	if !o.watched {
		return nil
	}
	limit := o.stall
	if o.by > 0 {
		rest := time.Duration(o.by - o.e.s.opts.Watch.Now())
		if rest <= 0 {
			return os.ErrDeadlineExceeded
		}
		if limit <= 0 || rest < limit {
			limit = rest
		}
	}
	o.watch.Arm(limit)
	return nil
}

func (o *outlet) disarm() {
	if o.watched {
		o.watch.Disarm()
	}
}

// Expire implements watch.Target: the stream is reset, so that the write that waits returns.
func (o *outlet) Expire() {
	o.e.late.Go(func() { o.control.SetWriteDeadline(past) }) // net/http may wait for its own loop there
}

// CheckPeer implements watch.Target.
func (o *outlet) CheckPeer() {}

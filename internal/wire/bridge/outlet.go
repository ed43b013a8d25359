package bridge

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// writePiece is the largest write that one write timeout is for.
const writePiece = 16 << 10

// outlet writes a response to an http.ResponseWriter. It implements httpmsg.Outlet.
type outlet struct {
	e       *exchange
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration

	headSent bool
	left     int64 // of the announced length; -1 when none was
	watch    watch.Entry
}

func (o *outlet) start(e *exchange, w http.ResponseWriter) {
	o.e, o.w, o.control, o.timeout = e, w, http.NewResponseController(w), e.s.opts.WriteTimeout
	o.headSent, o.left = false, -1
	if o.timeout > 0 {
		e.s.opts.Watch.Add(&o.watch, o)
	}
}

// stop ends the deadlines.
func (o *outlet) stop() {
	if o.timeout > 0 {
		o.e.s.opts.Watch.Remove(&o.watch)
	}
}

func (o *outlet) release() { o.w, o.control = nil, nil }

// interim sends a 1xx head at once. 101 is not ours to send here.
func (o *outlet) interim(status int, h *httpmsg.Header) error {
	if o.headSent || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
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

// Head implements httpmsg.Outlet.
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
	o.headSent = true
	o.w.WriteHeader(x.Res.Status)
	return nil
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
	for len(p) > 0 {
		piece := p[:min(len(p), writePiece)]
		p = p[len(piece):]
		o.arm()
		_, err := o.w.Write(piece)
		o.disarm()
		if err != nil {
			return fault.New(fault.ClientGone, "writing the response", err)
		}
	}
	return nil
}

// Flush implements httpmsg.Outlet.
func (o *outlet) Flush() error {
	o.arm()
	err := o.control.Flush()
	o.disarm()
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

func (o *outlet) arm() {
	if o.timeout > 0 {
		o.watch.Arm(o.timeout)
	}
}

func (o *outlet) disarm() {
	if o.timeout > 0 {
		o.watch.Disarm()
	}
}

// Expire implements watch.Target: the stream is reset, so that the write that waits returns.
func (o *outlet) Expire() {
	o.e.late.Go(func() { o.control.SetWriteDeadline(past) }) // net/http may wait for its own loop there
}

// CheckPeer implements watch.Target.
func (o *outlet) CheckPeer() {}

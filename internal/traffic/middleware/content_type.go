package middleware

import (
	"net/http"
	"sync"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// contentType guesses the type of responses that do not tell it, from the first bytes of the body.
type contentType struct{ next httpmsg.Handler }

func checkContentType(c *dynamic.Middleware) diag.List {
	var l diag.List
	if c.ContentType.AutoDetect != nil {
		l.Add(Odd("contentType.autoDetect", "autoDetect has no effect: what counts is that the middleware is there", "remove it"))
	}
	return l
}

func buildContentType(_ *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	return &contentType{next}, nil
}

// Serve looks at the response after it has been made. Whether the type is missing shows when all edits have run.
func (c *contentType) Serve(x *httpmsg.Exchange) error {
	if err := c.next.Serve(x); err != nil {
		return err
	}
	if x.Res.Body != nil && x.Upgrade == nil && !x.Bodiless() && !x.Res.Header.Has(httpmsg.HdrContentType) {
		x.AddFilter(sniffers.Get().(*sniffer))
	}
	return nil
}

// sniffLen is what the algorithm looks at (MIME Sniffing standard, section 5.2).
const sniffLen = 512

// sniffer is a filter that holds the head until it has seen enough of the body, or until the body has a pause: a stream of
// events is not held up.
type sniffer struct {
	x       *httpmsg.Exchange // nil when there is nothing to do any more
	n       int
	holding [sniffLen]byte
}

var sniffers = sync.Pool{New: func() any { return new(sniffer) }}

// Head holds the head if a type is to be found.
func (s *sniffer) Head(x *httpmsg.Exchange) bool {
	s.x, s.n = nil, 0
	h := &x.Res.Header
	// An encoded body shows nothing of what it is.
	if x.Res.Body == nil || x.Bodiless() || h.Has(httpmsg.HdrContentType) || h.Has(httpmsg.HdrContentEncoding) {
		return false
	}
	s.x = x
	return true
}

// Data passes bytes on, the first of them when the type has been set.
func (s *sniffer) Data(p []byte, flush bool, out func([]byte) error) error {
	if s.x == nil {
		return out(p)
	}
	if s.n == 0 && len(p) >= sniffLen {
		s.set(p)
		return out(p)
	}
	took := copy(s.holding[s.n:], p)
	s.n += took
	if s.n < sniffLen && (!flush || s.n == 0) {
		return nil
	}
	if err := s.emit(out); err != nil || took == len(p) {
		return err
	}
	return out(p[took:])
}

// emit sets the type and passes on what was held.
func (s *sniffer) emit(out func([]byte) error) error {
	s.set(s.holding[:s.n])
	return out(s.holding[:s.n])
}

func (s *sniffer) set(p []byte) {
	s.x.Res.Header.AddID(httpmsg.HdrContentType, httpmsg.Text(http.DetectContentType(p)))
	s.x = nil
}

// End passes on a short body. An empty one has no type.
func (s *sniffer) End(out func([]byte) error) error {
	if s.x == nil || s.n == 0 {
		return nil
	}
	return s.emit(out)
}

// Close takes the memory back.
func (s *sniffer) Close() {
	s.x = nil
	sniffers.Put(s)
}

package bridge

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/watch"
)

// progress is how many bytes of a body must arrive while it is waited for as long as the read timeout.
const progress = 1 << 10

// sourceBuffer is what one read of a request body may bring, the usual size of a DATA frame.
const sourceBuffer = 16 << 10

var buffers = sync.Pool{New: func() any { return new([sourceBuffer]byte) }}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// source is the body of a net/http request. It is used by one goroutine at a time, but Interrupt may come from any.
type source struct {
	e       *exchange
	r       *http.Request
	control *http.ResponseController
	buf     *[sourceBuffer]byte
	err     error
	trailer httpmsg.Header

	watch   watch.Entry
	watched bool
	timeout time.Duration
	left    time.Duration // of the timeout, for the bytes that are still to come
	bytes   int           // arrived since left was full

	interrupted, expired atomic.Bool
	closed               bool
}

func (s *source) start(e *exchange, w http.ResponseWriter, r *http.Request) {
	s.e, s.r, s.control = e, r, http.NewResponseController(w)
	s.err, s.closed, s.bytes = nil, false, 0
	s.interrupted.Store(false)
	s.expired.Store(false)
	s.trailer.Reset()
	s.timeout = e.s.opts.ReadTimeout
	s.left = s.timeout
	if s.timeout > 0 {
		e.s.opts.Watch.Add(&s.watch, s)
		s.watched = true
	}
}

// stop ends the deadlines.
func (s *source) stop() {
	if s.watched {
		s.e.s.opts.Watch.Remove(&s.watch)
		s.watched = false
	}
}

// release forgets the request. Nobody may use the source any more.
func (s *source) release() {
	if s.e == nil {
		return
	}
	s.Close()
	s.e, s.r, s.control = nil, nil, nil
}

// Next implements httpmsg.Body.
func (s *source) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.closed {
		return nil, io.EOF
	}
	if s.buf == nil {
		s.buf = buffers.Get().(*[sourceBuffer]byte)
	}
	for {
		n, err := s.read()
		if n > 0 {
			// An error that came with bytes comes again with the next read.
			s.e.x.Facts.BytesIn += int64(n)
			return s.buf[:n], nil
		}
		if err != nil {
			s.err = s.explain(err)
			return nil, s.err
		}
	}
}

// read reads once under the progress rule: only time spent waiting for the client counts, and every KiB that has
// arrived buys the whole timeout again.
func (s *source) read() (int, error) {
	if s.timeout <= 0 {
		return s.r.Body.Read(s.buf[:])
	}
	began := s.e.s.opts.Watch.Now()
	s.watch.Arm(s.left)
	n, err := s.r.Body.Read(s.buf[:])
	s.watch.Disarm()
	s.left -= time.Duration(s.e.s.opts.Watch.Now() - began)
	if s.bytes += n; s.bytes >= progress {
		s.bytes, s.left = 0, s.timeout
	}
	return n, err
}

func (s *source) explain(err error) error {
	switch {
	case err == io.EOF:
		s.readTrailer()
		return io.EOF
	case s.interrupted.Load():
		return httpmsg.ErrInterrupted
	case s.expired.Load(), errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.BodyStalled, "the request body did not arrive", err)
	case s.r.Context().Err() != nil:
		return fault.New(fault.ClientGone, "the client went away in its request body", err)
	default:
		return fault.New(fault.BodyCut, "the request body broke off", err)
	}
}

func (s *source) readTrailer() {
	for _, name := range slices.Sorted(maps.Keys(s.r.Trailer)) {
		for _, v := range s.r.Trailer[name] {
			f := httpmsg.Field{Name: httpmsg.Text(name), Value: httpmsg.Text(v), ID: httpmsg.IDOf(name)}
			if httpmsg.IsToken(f.Name) && httpmsg.IsFieldValue(f.Value) && s.trailer.Len() < httpmsg.MaxFields {
				s.trailer.Append(f)
			}
		}
	}
}

// Ready implements httpmsg.Body. net/http does not tell what it has buffered, so every piece counts as the last one for now.
func (s *source) Ready() bool { return s.closed || s.err != nil }

// Trailer implements httpmsg.Body.
func (s *source) Trailer() *httpmsg.Header {
	if s.err != io.EOF || s.trailer.Len() == 0 {
		return nil
	}
	return &s.trailer
}

// Close implements httpmsg.Body. net/http throws the rest of the body away itself.
func (s *source) Close() {
	s.closed = true
	if s.buf != nil {
		httpmsg.Poison(s.buf[:])
		buffers.Put(s.buf)
		s.buf = nil
	}
}

// Interrupt implements httpmsg.Interrupter.
func (s *source) Interrupt() {
	s.interrupted.Store(true)
	s.control.SetReadDeadline(past)
}

// Expire implements watch.Target.
func (s *source) Expire() {
	s.expired.Store(true)
	s.e.late.Go(func() { s.control.SetReadDeadline(past) }) // net/http may take locks there
}

// CheckPeer implements watch.Target; net/http's request context tells when the client is gone.
func (s *source) CheckPeer() {}

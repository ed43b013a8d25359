package http1

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

const (
	writePiece = 64 << 10 // the largest write that one stall time is for

	// ours are the fields of a response that we write ourselves or that end here.
	ours = httpmsg.Set(1 << httpmsg.HdrContentLength)
)

// sender writes the response of the exchange under way. It implements httpmsg.Outlet for the loop's goroutine; interim may
// also come from whoever reads the request body.
type sender struct {
	k   *conn
	mem *[sendBuffer]byte
	buf []byte // not yet written

	mode    framing // of the response
	left    int64   // of a counted body
	by      int64   // when the whole response must be out, on the clock of the watch; 0 is never
	err     error   // of the first write that failed
	sent    bool    // bytes of the final response have been written
	closing bool    // the connection ends after this response

	mu        sync.Mutex // guards what follows and, until committed, buf
	committed bool       // the final head is on its way: no more 1xx
	continued bool       // 100 was sent

	begun atomic.Bool // for the watch: sent

	vec net.Buffers
	iov [2][]byte
}

// begin makes s ready for a response.
func (s *sender) begin() {
	if s.mem == nil {
		s.mem = new([sendBuffer]byte)
	}
	s.buf = s.mem[:0]
	s.mode, s.left, s.by, s.err, s.sent, s.closing = noBody, 0, 0, nil, false, false
	s.committed, s.continued = false, false
	if s.begun.Load() {
		s.begun.Store(false)
	}
}

// release forgets the connection. A buffer that had to grow is not kept.
func (s *sender) release() { s.k, s.buf, s.err = nil, nil, nil }

// drop gives the memory up for a long time to come.
func (s *sender) drop() { s.mem, s.buf = nil, nil }

// retract takes back a response of which nothing has been written.
func (s *sender) retract() { s.buf = s.mem[:0] }

// interim sends a 1xx head at once (RFC 9110 section 15.2), if the client can take it and no final response has begun.
func (s *sender) interim(status int, h *httpmsg.Header) error {
	req := &s.k.w.x.Req
	if req.Proto == httpmsg.HTTP10 || status < 100 || status > 199 || status == 101 || status == 100 && !req.Continue {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.committed || status == 100 && s.continued {
		return nil
	}
	s.continued = s.continued || status == 100
	b := appendStatus(s.buf[:0], status)
	if h != nil {
		b = appendFields(b, h, httpmsg.HopByHop|ours)
	}
	return s.write(append(b, '\r', '\n'))
}

// ends decides whether the connection ends after the response.
func (s *sender) ends(x *httpmsg.Exchange) bool {
	k := s.k
	srv, body := k.s, &k.w.body
	switch {
	case !k.w.head.persist || x.CloseAfter || srv.draining.Load(),
		srv.MaxRequests > 0 && k.served >= srv.MaxRequests,
		srv.MaxAge > 0 && srv.Watch.Now()-k.born >= int64(srv.MaxAge),
		len(x.Req.UpgradeTo) > 0: // bytes of the other protocol may be under way
		return true
	case body.framing == noBody:
		return false
	case body.started.Load():
		// Whoever reads it may still be at it; nextMessage sees how it ended. Only after a fault of its own there is
		// no next message for certain, and the client is told so.
		return ofBody(x.Facts.Err)
	}
	if x.Req.Continue && !s.continued && body.behind != 0 {
		return true // whether the body will come is unknown (RFC 9110 section 10.1.1)
	}
	return body.behind > drainBytes
}

// ofBody reports whether err is what became of a request's body.
func ofBody(err error) bool {
	f, ok := err.(*fault.Fault)
	return ok && (f.Kind == fault.BadRequest || f.Kind == fault.BodyCut || f.Kind == fault.BodyStalled)
}

// Head implements httpmsg.Outlet.
func (s *sender) Head(x *httpmsg.Exchange, bodiless bool) error {
	if x.Req.Continue {
		s.mu.Lock() // whoever reads the body may be about to send 100
		s.committed = true
		s.mu.Unlock()
	} else {
		s.committed = true
	}
	res := &x.Res
	old := x.Req.Proto == httpmsg.HTTP10
	s.closing = s.ends(x)
	n := res.ContentLength
	if res.Body == nil && len(x.Filters()) == 0 && !bodiless {
		n = 0
	}
	b := appendStatus(s.buf, res.Status)
	b = appendFields(b, &res.Header, httpmsg.HopByHop|ours)
	if !res.Header.Has(httpmsg.HdrDate) {
		b = append(b, "Date: "...)
		b = append(b, s.k.s.date.get(s.k.s.Watch.Now())...)
		b = append(b, '\r', '\n')
	}
	s.mode = noBody
	switch {
	case bodiless:
		// With HEAD and 304 the length is that of another message: information only (RFC 9110 section 8.6).
		if n > 0 && res.Status != 204 || n == 0 && res.Status != 204 && res.Status != 304 {
			b = appendLength(b, n)
		}
	case n >= 0:
		s.mode, s.left = counted, n
		b = appendLength(b, n)
	case old:
		s.mode, s.closing = toClose, true
	default:
		s.mode = chunked
		if t := res.Header.Get(httpmsg.HdrTrailer); t != nil {
			b = appendField(b, &httpmsg.Field{Name: httpmsg.Text("Trailer"), Value: t, ID: httpmsg.HdrTrailer})
		}
		b = append(b, chunkedField...)
	}
	switch {
	case s.closing:
		b = append(b, "Connection: close\r\n"...)
	case old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	s.buf = append(b, '\r', '\n')
	return nil
}

// Body implements httpmsg.Outlet.
func (s *sender) Body(p []byte) error {
	for len(p) > writePiece {
		if err := s.piece(p[:writePiece]); err != nil {
			return err
		}
		p = p[writePiece:]
	}
	return s.piece(p)
}

func (s *sender) piece(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	room := sendBuffer - len(s.buf)
	switch s.mode {
	case counted:
		if int64(len(p)) > s.left {
			return fault.New(fault.UpstreamProtocol, "response body longer than its Content-Length", nil)
		}
		s.left -= int64(len(p))
	case chunked:
		s.buf = appendChunkSize(s.buf, len(p))
		room = sendBuffer - len(s.buf) - 2
	case noBody:
		return fault.New(fault.Internal, "body behind a head that allows none", nil)
	}
	if len(p) <= room {
		s.buf = append(s.buf, p...)
	} else if err := s.gather(p); err != nil {
		return err
	}
	if s.mode == chunked {
		s.buf = append(s.buf, '\r', '\n')
	}
	return nil
}

// gather writes what is kept and p, with one system call where that can be had.
func (s *sender) gather(p []byte) error {
	if len(s.buf) == 0 {
		return s.final(p)
	}
	if tcp := s.k.tcp; tcp != nil && s.err == nil {
		s.mark()
		s.iov = [2][]byte{s.buf, p}
		s.vec = s.iov[:]
		s.arm()
		_, err := s.vec.WriteTo(tcp)
		s.disarm(err)
		s.iov = [2][]byte{}
		s.buf = s.mem[:0]
		return s.err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	return s.final(p)
}

// Flush implements httpmsg.Outlet.
func (s *sender) Flush() error {
	if len(s.buf) == 0 {
		return s.err
	}
	err := s.final(s.buf)
	s.buf = s.mem[:0]
	return err
}

// End implements httpmsg.Outlet.
func (s *sender) End(trailer *httpmsg.Header) error {
	switch s.mode {
	case counted:
		if s.left > 0 {
			return fault.New(fault.UpstreamCut, "response body shorter than its Content-Length", nil)
		}
	case chunked:
		s.buf = appendLastChunk(s.buf, trailer)
	}
	return s.Flush()
}

// switching sends the head of a 101 (RFC 9110 section 15.2.2) and the bytes of the other protocol that came with it.
func (s *sender) switching(x *httpmsg.Exchange, behind []byte) error {
	s.mu.Lock()
	s.committed = true
	s.mu.Unlock()
	b := appendStatus(s.buf, 101)
	b = appendFields(b, &x.Res.Header, httpmsg.HopByHop|ours)
	b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
	b = append(b, x.Req.UpgradeTo...)
	s.buf = append(b, "\r\n\r\n"...)
	if len(behind) > 0 {
		return s.gather(behind)
	}
	return s.Flush()
}

func (s *sender) mark() {
	if !s.sent {
		s.sent = true
		s.begun.Store(true)
	}
}

// final writes bytes of the final response.
func (s *sender) final(p []byte) error {
	s.mark()
	return s.write(p)
}

// write writes p under a deadline. After an error nothing is written any more.
func (s *sender) write(p []byte) error {
	if s.err == nil {
		s.arm()
		_, err := s.k.c.Write(p)
		s.disarm(err)
	}
	return s.err
}

func (s *sender) arm() {
	limit := s.k.s.Timeouts.Stall
	if s.by != 0 {
		left := time.Duration(s.by - s.k.s.Watch.Now())
		if limit <= 0 || left < limit {
			limit = max(left, 1)
		}
	}
	if limit > 0 {
		s.k.out.Arm(limit)
	}
}

func (s *sender) disarm(err error) {
	late := (s.by != 0 || s.k.s.Timeouts.Stall > 0) && !s.k.out.Disarm()
	switch {
	case late && err != nil:
		s.err = fault.New(fault.ClientGone, "the client took the response too slowly", err)
	case late:
		s.err = fault.New(fault.ClientGone, "the client took the response too slowly", nil)
	case err != nil:
		s.err = fault.New(fault.ClientGone, "writing to the client", err)
	}
}

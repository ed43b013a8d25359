package http1

import "sluice/internal/wire/httpmsg"

// stream cuts the body of one message out of the bytes that a connection delivers. It does no I/O: whoever owns it gives it
// bytes with feed when take has used up what there was.
type stream struct {
	framing framing
	left    int64  // of a counted body
	in      []byte // bytes delivered and not yet taken; when the body is done, what follows it
	chunks  chunkReader
}

// begin makes s stand before a body. rest is what is already there behind the head.
func (s *stream) begin(f framing, size int64, rest []byte) {
	tail, fields := s.chunks.tail[:0], s.chunks.header
	fields.Reset()
	httpmsg.Poison(tail[:cap(tail)])
	*s = stream{framing: f, left: size, in: rest, chunks: chunkReader{tail: tail, header: fields}}
}

// piece is what take found.
type piece uint8

const (
	pieceData piece = iota // a piece of the body
	pieceMore              // the bytes are used up: feed some
	pieceEnd               // the end of the body
	pieceBad               // malformed
)

// take returns the next piece of the body that is already there, without waiting. The slice is part of what was fed.
func (s *stream) take() (p []byte, what piece, reason string) {
	switch s.framing {
	case counted:
		if s.left == 0 {
			return nil, pieceEnd, ""
		}
		if len(s.in) == 0 {
			return nil, pieceMore, ""
		}
		p = s.in
		if int64(len(p)) > s.left {
			p = p[:s.left]
		}
		s.left -= int64(len(p))
		s.in = s.in[len(p):]
		return p, pieceData, ""
	case chunked:
		p, n, reason := s.chunks.next(s.in)
		s.in = s.in[n:]
		switch {
		case reason != "":
			return nil, pieceBad, reason
		case len(p) > 0:
			return p, pieceData, ""
		case s.chunks.state == chunkDone:
			return nil, pieceEnd, ""
		}
		return nil, pieceMore, ""
	case toClose:
		if len(s.in) == 0 {
			return nil, pieceMore, ""
		}
		p, s.in = s.in, nil
		return p, pieceData, ""
	}
	return nil, pieceEnd, ""
}

// ready reports whether take would find a piece or the end in what is there. It may move over framing bytes.
func (s *stream) ready() bool {
	switch s.framing {
	case counted:
		return s.left == 0 || len(s.in) > 0
	case toClose:
		return len(s.in) > 0
	case chunked:
		// Bytes of framing say nothing about data to come, except that the body is over.
		for len(s.in) > 0 && s.chunks.bad == "" && s.chunks.state != chunkData && s.chunks.state != chunkDone {
			if s.chunks.state == chunkTrailer {
				_, n, _ := s.chunks.next(s.in)
				s.in = s.in[n:]
				continue
			}
			s.chunks.bad = s.chunks.step(s.in[0])
			s.in = s.in[1:]
		}
		return s.chunks.bad != "" || s.chunks.state == chunkDone || s.chunks.state == chunkData && len(s.in) > 0
	}
	return true
}

// feed gives s bytes to go on with; what was there must have been used up.
func (s *stream) feed(b []byte) { s.in = b }

// ended reports whether the body has been read to its end.
func (s *stream) ended() bool {
	return s.framing == noBody || s.framing == counted && s.left == 0 || s.framing == chunked && s.chunks.state == chunkDone
}

// trailer returns the fields behind a chunked body, nil if there are none.
func (s *stream) trailer() *httpmsg.Header {
	if s.framing != chunked || s.chunks.state != chunkDone || s.chunks.header.Len() == 0 {
		return nil
	}
	return &s.chunks.header
}

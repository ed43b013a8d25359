package http1

import (
	"bytes"

	"sluice/internal/wire/httpmsg"
)

// Limits bound one head. The zero value of a member means its default.
type Limits struct {
	// Head is the whole head in bytes (1 MiB and 4 KiB of slack).
	Head int
	// Line is the first line in bytes (16 KiB).
	Line int
	// Field is one field line in bytes (64 KiB).
	Field int
	// Fields is the number of fields (1000).
	Fields int
}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		at    *int
		value int
	}{{&l.Head, 1<<20 + 4<<10}, {&l.Line, httpmsg.MaxTarget}, {&l.Field, 64 << 10}, {&l.Fields, httpmsg.MaxFields}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
}

// verdict is what a look at the bytes of a head came to.
type verdict uint8

const (
	more  verdict = iota // not all there yet
	done                 // parsed
	bad                  // malformed
	large                // beyond a limit
)

// fieldNotes are what the framing of a message hangs on, gathered while its fields are read.
type fieldNotes struct {
	lengths, codings, hosts int // how often the field occurs
	length, coding, host    httpmsg.View
	expect, upgrade         httpmsg.View
	close, keepAlive        bool // Connection: close, keep-alive
	switching               bool // Connection: upgrade
	trailers                bool // TE: trailers
	settings                bool // HTTP2-Settings is there
}

// head reads a head out of a growing buffer.
type head struct {
	start int // where the head begins in the buffer
	pos   int // start of the first line that was not parsed yet; behind the head when it is done
	seen  int // buf[pos:seen] is known to have no line end
	lined bool
	fieldNotes
}

// waiting tells whether a look at buf would only find an incomplete long line again. It keeps the work for a head that
// comes byte by byte in proportion to its length; a fault in such a line is then found at its end. limit is the size at
// which an incomplete line must be judged anyway.
func (s *head) waiting(buf []byte, limit int) bool {
	const long = 512
	if s.seen < s.pos+long || len(buf) >= limit {
		return false
	}
	if bytes.IndexByte(buf[s.seen:], '\n') >= 0 {
		return false
	}
	s.seen = len(buf)
	return true
}

// fields goes on reading field lines into h until the empty line. The reason is for bad and large.
func (s *head) fields(buf []byte, h *httpmsg.Header, lim *Limits) (verdict, string) {
	if s.waiting(buf, min(s.start+lim.Head, s.pos+lim.Field)) {
		return more, ""
	}
	full := len(buf) >= s.start+lim.Head
	if full {
		buf = buf[:s.start+lim.Head]
	}
	for {
		b := buf[s.pos:]
		capped := len(b) >= lim.Field
		if capped {
			b = b[:lim.Field]
		}
		name, value, n, reason := fieldLine(b)
		switch {
		case reason != "":
			return bad, reason
		case n == 0 && capped:
			return large, "a field is too long"
		case n == 0 && full:
			return large, "the head is too large"
		case n == 0:
			s.seen = len(buf)
			return more, ""
		}
		s.pos += n
		if name == nil {
			return done, ""
		}
		id := httpmsg.IDOfView(name)
		if id != httpmsg.HdrOther && id <= httpmsg.HdrHTTP2Settings && s.note(id, value) {
			continue
		}
		if h.Len() >= lim.Fields {
			return large, "too many fields"
		}
		h.Append(httpmsg.Field{Name: name, Value: value, ID: id})
	}
}

// fieldLine reads one field line from the front of b and returns its length n: 0 if b ends first. At the empty line that
// ends the section name is nil. RFC 9112 section 5 is followed without its leniences: no folding, no bare CR or LF, no
// space around the name (section 5.1), no control character in the value (RFC 9110 section 5.5).
func fieldLine(b []byte) (name, value httpmsg.View, n int, reason string) {
	j := 0
	for j < len(b) && isToken[b[j]] {
		j++
	}
	if j == len(b) {
		return nil, nil, 0, ""
	}
	if j == 0 && b[0] == '\r' {
		if len(b) == 1 {
			return nil, nil, 0, ""
		}
		if b[1] != '\n' {
			return nil, nil, 0, "bare CR in the head"
		}
		return nil, nil, 2, ""
	}
	if b[j] != ':' || j == 0 {
		return nil, nil, 0, badName(b, j)
	}
	name = b[:j:j]
	j++
	for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
		j++
	}
	from := j
	for {
		k := controlAt(b[j:])
		if k < 0 {
			return nil, nil, 0, ""
		}
		j += k
		if b[j] != '\t' {
			break
		}
		j++
	}
	switch {
	case b[j] == '\n':
		return nil, nil, 0, "bare LF in the head"
	case b[j] != '\r':
		return nil, nil, 0, "control character in a field value"
	case j+1 == len(b):
		return nil, nil, 0, ""
	case b[j+1] != '\n':
		return nil, nil, 0, "bare CR in the head"
	}
	to := j
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return name, b[from:to:to], j + 2, ""
}

// badName says what is wrong at b[j], where a field name had to go on or end.
func badName(b []byte, j int) string {
	switch c := b[j]; {
	case (c == ' ' || c == '\t') && j == 0:
		return "folded or indented field line"
	case c == '\n':
		return "bare LF in the head"
	case c == '\r':
		return "field line without a colon"
	case c == ':':
		return "empty field name"
	case c == ' ' || c == '\t':
		return "space in or after a field name"
	default:
		return "invalid character in a field name"
	}
}

// note takes down a framing field. It reports whether the field is kept out of the list.
func (n *fieldNotes) note(id httpmsg.ID, v httpmsg.View) (hide bool) {
	switch id {
	case httpmsg.HdrContentLength:
		n.lengths++
		n.length = v
	case httpmsg.HdrTransferEncoding:
		n.codings++
		n.coding = v
	case httpmsg.HdrHost:
		n.hosts++
		n.host = v
		return true
	case httpmsg.HdrConnection:
		for rest := []byte(v); rest != nil; {
			var e []byte
			e, rest = nextElement(rest)
			switch e := httpmsg.View(e); {
			case e.EqualFold("close"):
				n.close = true
			case e.EqualFold("keep-alive"):
				n.keepAlive = true
			case e.EqualFold("upgrade"):
				n.switching = true
			}
		}
	case httpmsg.HdrTE:
		n.trailers = n.trailers || hasElement(v, "trailers")
	case httpmsg.HdrUpgrade:
		if n.upgrade == nil {
			n.upgrade = v
		}
	case httpmsg.HdrExpect:
		if n.expect == nil || n.expect.EqualFold("100-continue") {
			n.expect = v
		}
	case httpmsg.HdrHTTP2Settings:
		n.settings = true
	}
	return false
}

// hasElement reports whether a comma-separated list holds the token, case aside. Parameters behind it do not count.
func hasElement(list httpmsg.View, token string) bool {
	for rest := []byte(list); rest != nil; {
		var e []byte
		e, rest = nextElement(rest)
		if i := bytes.IndexByte(e, ';'); i >= 0 {
			e = trimOWS(e[:i])
		}
		if httpmsg.View(e).EqualFold(token) {
			return true
		}
	}
	return false
}

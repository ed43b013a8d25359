package http1

import (
	"math"

	"sluice/internal/wire/httpmsg"
)

const (
	maxChunkExt     = 256     // bytes of extensions behind one size
	maxChunkExts    = 4 << 10 // the same in a whole message
	maxTrailer      = 64 << 10
	maxTrailerField = 100
)

// States of a chunkReader, each naming what must come next.
const (
	chunkSize      = iota // first digit of a size
	chunkSizeRest         // more digits, an extension or CR
	chunkExtOrCR          // white space before an extension: only ';' may follow
	chunkExtName          // first byte of an extension name, or white space before it
	chunkExtNameIn        // more of it
	chunkExtEqual         // white space behind it
	chunkExtValue         // first byte of a value, or white space before it
	chunkExtToken         // more of a token value
	chunkExtQuoted        // inside a quoted value
	chunkExtEscape        // behind a backslash in it
	chunkExtEnd           // behind a quoted value
	chunkSizeLF           // LF behind the CR of a size line
	chunkData             // data
	chunkDataCR           // CR behind data
	chunkDataLF           // LF behind it
	chunkTrailer          // trailer section
	chunkDone
)

// chunkReader takes a chunked body apart (RFC 9112 section 7.1). It is fed the bytes of the connection in any pieces. The
// zero value stands before the first size.
type chunkReader struct {
	state  uint8
	digits uint8          // of the size being read
	ext    int16          // bytes of extensions in this line
	exts   int32          // and in the message
	left   int64          // of the size or of the data
	tail   []byte         // trailer section
	header httpmsg.Header // what of it is kept; views of tail
	bad    string         // why nothing more can be read
}

// next looks at in and returns the first piece of data in it and how many bytes it went over, the data included. If data
// is empty, either all of in was used and more is needed, or the body is done (state chunkDone) and used may be less than
// len(in), or reason says what is malformed.
func (c *chunkReader) next(in []byte) (data []byte, used int, reason string) {
	for used < len(in) && c.bad == "" {
		switch c.state {
		case chunkData:
			rest := in[used:]
			if int64(len(rest)) > c.left {
				rest = rest[:c.left]
			}
			c.left -= int64(len(rest))
			if c.left == 0 {
				c.state = chunkDataCR
			}
			return rest, used + len(rest), ""
		case chunkTrailer:
			n, reason := c.trailer(in[used:])
			c.bad = reason
			return nil, used + n, reason
		case chunkDone:
			return nil, used, ""
		}
		c.bad = c.step(in[used])
		used++
	}
	return nil, used, c.bad
}

// step takes one byte that is not data.
func (c *chunkReader) step(b byte) string {
	switch c.state {
	case chunkSize, chunkSizeRest:
		if d := unhex(b); d >= 0 {
			c.digits++
			if c.digits > 16 || c.left > math.MaxInt64>>4 {
				return "chunk size too large"
			}
			c.left = c.left<<4 | int64(d)
			c.state = chunkSizeRest
			return ""
		}
		if c.state == chunkSize {
			return "malformed chunk size"
		}
		switch b {
		case '\r':
			c.state = chunkSizeLF
		case ';':
			c.state = chunkExtName
			return c.extra()
		case ' ', '\t':
			c.state = chunkExtOrCR
			return c.extra()
		default:
			return "malformed chunk size"
		}
		return ""
	case chunkSizeLF:
		if b != '\n' {
			return "bare CR in a chunk line"
		}
		c.digits, c.ext = 0, 0
		if c.state = chunkData; c.left == 0 {
			c.state = chunkTrailer
		}
		return ""
	case chunkDataCR:
		if b != '\r' {
			return "chunk data longer than its size"
		}
		c.state = chunkDataLF
		return ""
	case chunkDataLF:
		if b != '\n' {
			return "chunk data longer than its size"
		}
		c.state = chunkSize
		return ""
	}
	return c.extension(b)
}

// extra counts a byte of extensions.
func (c *chunkReader) extra() string {
	c.ext++
	c.exts++
	if c.ext > maxChunkExt || c.exts > maxChunkExts {
		return "chunk extensions too long"
	}
	return ""
}

// extension goes through chunk extensions (RFC 9112 section 7.1.1), which are checked and dropped:
// *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ).
func (c *chunkReader) extension(b byte) string {
	const wrong = "malformed chunk extension"
	space := b == ' ' || b == '\t'
	if b == '\r' {
		switch c.state {
		case chunkExtNameIn, chunkExtToken, chunkExtEnd:
			c.state = chunkSizeLF
			return ""
		}
		return wrong
	}
	switch c.state {
	case chunkExtOrCR:
		switch {
		case b == ';':
			c.state = chunkExtName
		case !space:
			return wrong
		}
	case chunkExtName:
		switch {
		case isToken[b]:
			c.state = chunkExtNameIn
		case !space:
			return wrong
		}
	case chunkExtNameIn, chunkExtEqual:
		switch {
		case b == '=':
			c.state = chunkExtValue
		case b == ';':
			c.state = chunkExtName
		case space:
			c.state = chunkExtEqual
		case c.state == chunkExtEqual || !isToken[b]:
			return wrong
		}
	case chunkExtValue:
		switch {
		case b == '"':
			c.state = chunkExtQuoted
		case isToken[b]:
			c.state = chunkExtToken
		case !space:
			return wrong
		}
	case chunkExtToken:
		switch {
		case b == ';':
			c.state = chunkExtName
		case space:
			c.state = chunkExtOrCR
		case !isToken[b]:
			return wrong
		}
	case chunkExtQuoted:
		switch {
		case b == '"':
			c.state = chunkExtEnd
		case b == '\\':
			c.state = chunkExtEscape
		case b < ' ' && b != '\t' || b == 0x7f:
			return wrong
		}
	case chunkExtEscape:
		if b < ' ' && b != '\t' || b == 0x7f {
			return wrong
		}
		c.state = chunkExtQuoted
	case chunkExtEnd:
		switch {
		case b == ';':
			c.state = chunkExtName
		case space:
			c.state = chunkExtOrCR
		default:
			return wrong
		}
	}
	return c.extra()
}

// trailer takes bytes of the trailer section (RFC 9112 section 7.1.2), which has the rules of the head. They are gathered
// until the section is complete, because lines may come in pieces.
func (c *chunkReader) trailer(in []byte) (used int, reason string) {
	if len(c.tail) == 0 && len(in) >= 2 && in[0] == '\r' && in[1] == '\n' {
		c.state = chunkDone
		return 2, ""
	}
	for used < len(in) {
		line := in[used:]
		if i := indexLF(line); i >= 0 {
			line = line[:i+1]
		}
		if len(c.tail)+len(line) > maxTrailer {
			return used, "trailer section too large"
		}
		c.tail = append(c.tail, line...)
		used += len(line)
		n := len(c.tail)
		switch {
		case c.tail[n-1] != '\n':
			return used, ""
		case n < 2 || c.tail[n-2] != '\r':
			return used, "bare LF in a trailer section"
		case n == 2 || c.tail[n-3] == '\n':
			return used, c.closeTrailer()
		}
	}
	return used, ""
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func indexLF(b []byte) int {
	for i, c := range b {
		if c == '\n' {
			return i
		}
	}
	return -1
}

// closeTrailer parses the section that has been gathered.
func (c *chunkReader) closeTrailer() string {
	for pos := 0; ; {
		name, value, n, reason := fieldLine(c.tail[pos:])
		switch {
		case reason != "":
			return "trailer: " + reason
		case n == 0:
			return "malformed trailer section"
		case name == nil:
			c.state = chunkDone
			return ""
		case c.header.Len() == maxTrailerField:
			return "too many trailer fields"
		}
		if id := httpmsg.IDOfView(name); trailerAllowed(id) {
			c.header.Append(httpmsg.Field{Name: name, Value: value, ID: id})
		}
		pos += n
	}
}

// trailerAllowed tells whether a field may stand behind a body: not what frames, routes, authenticates or describes the
// message (RFC 9110 section 6.5.1).
func trailerAllowed(id httpmsg.ID) bool {
	switch id {
	case httpmsg.HdrAuthorization, httpmsg.HdrCookie, httpmsg.HdrSetCookie, httpmsg.HdrCacheControl, httpmsg.HdrContentEncoding,
		httpmsg.HdrContentType, httpmsg.HdrRange, httpmsg.HdrLocation, httpmsg.HdrRetryAfter, httpmsg.HdrVary, httpmsg.HdrWWWAuthenticate:
		return false
	}
	return id == httpmsg.HdrOther || id > httpmsg.HdrForwarded
}

// appendChunkSize appends the size line of a chunk of n bytes; n must not be 0, which would end the body.
func appendChunkSize(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return append(b, '\r', '\n')
}

// appendLastChunk ends a chunked body; trailer may be nil.
func appendLastChunk(b []byte, trailer *httpmsg.Header) []byte {
	b = append(b, "0\r\n"...)
	if trailer != nil {
		for i := range trailer.Len() {
			if f := trailer.At(i); trailerAllowed(f.ID) {
				b = appendField(b, f)
			}
		}
	}
	return append(b, '\r', '\n')
}

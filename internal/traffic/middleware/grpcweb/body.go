package grpcweb

import (
	"encoding/base64"
	"encoding/binary"
	"io"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// trailerFrame marks the frame that holds the trailers.
const trailerFrame = 0x80

// framer is the body of an answer with the trailers as its last frame, in base64 if text is set. It implements httpmsg.Body.
type framer struct {
	x    *httpmsg.Exchange // is told the status of the call; nil in tests of the framing
	src  httpmsg.Body
	text bool

	out   []byte
	rest  [2]byte // of bytes that base64 has no group for yet
	nRest int
	ended bool // the last frame is out
}

// Next implements httpmsg.Body.
func (f *framer) Next() ([]byte, error) {
	for !f.ended {
		p, err := f.src.Next()
		if err == io.EOF {
			f.ended = true
			p = f.trailers()
		} else if err != nil {
			return nil, err
		}
		if f.text {
			// Where the server pauses the group is filled up, so that the client can decode what there is.
			p = f.encode(p, f.ended || !f.src.Ready())
		}
		if len(p) > 0 {
			return p, nil
		}
	}
	return nil, io.EOF
}

// trailers returns the last frame: its mark, its length, and fields in lower case as HTTP/1 writes them.
func (f *framer) trailers() []byte {
	t := f.src.Trailer()
	if t == nil {
		return nil
	}
	if f.x != nil {
		f.x.Facts.GRPCStatus = t.Lookup("Grpc-Status").String() // nobody behind us sees the trailers
	}
	frame := []byte{trailerFrame, 0, 0, 0, 0}
	for i := range t.Len() {
		field := t.At(i)
		if httpmsg.HopByHop.Has(field.ID) {
			continue
		}
		for _, c := range field.Name {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			frame = append(frame, c)
		}
		frame = append(frame, ": "...)
		frame = append(frame, field.Value...)
		frame = append(frame, '\r', '\n')
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	return frame
}

// encode returns p in base64 with what was left before it; up to two bytes are left for the next time unless all is set.
func (f *framer) encode(p []byte, all bool) []byte {
	f.out = f.out[:0]
	if f.nRest > 0 {
		var group [3]byte
		n := copy(group[:], f.rest[:f.nRest])
		m := copy(group[n:], p)
		p = p[m:]
		if n+m < 3 && !all {
			f.nRest = copy(f.rest[:], group[:n+m])
			return nil
		}
		f.out = base64.StdEncoding.AppendEncode(f.out, group[:n+m])
		f.nRest = 0
	}
	whole := len(p)
	if !all {
		whole -= len(p) % 3
	}
	f.nRest = copy(f.rest[:], p[whole:])
	f.out = base64.StdEncoding.AppendEncode(f.out, p[:whole])
	return f.out
}

// Ready implements httpmsg.Body.
func (f *framer) Ready() bool { return f.ended || f.src.Ready() }

// Trailer implements httpmsg.Body.
func (f *framer) Trailer() *httpmsg.Header { return nil }

// Close implements httpmsg.Body.
func (f *framer) Close() { f.ended = true; f.src.Close() }

// decoder is the body of a call, out of base64. Every group of four characters may end a part, so padding may stand
// anywhere. It implements httpmsg.Body and httpmsg.Interrupter.
type decoder struct {
	src   httpmsg.Body
	group [4]byte
	n     int
	out   []byte
	err   error
}

// digits are the values of base64's characters; above 63 are strangers, padding among them.
var digits = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(set) {
		t[set[i]] = uint8(i)
	}
	return t
}()

// Next implements httpmsg.Body.
func (d *decoder) Next() ([]byte, error) {
	for d.err == nil {
		p, err := d.src.Next()
		switch {
		case err == io.EOF && d.n > 0:
			d.err = fault.New(fault.BadRequest, "grpcWeb: the body ends inside a group of base64", nil)
		case err == httpmsg.ErrInterrupted:
			return nil, err
		case err != nil:
			d.err = err
		default:
			d.out = d.out[:0]
			if d.decode(p); d.err == nil && len(d.out) > 0 {
				return d.out, nil
			}
		}
	}
	return nil, d.err
}

func (d *decoder) decode(p []byte) {
	for _, c := range p {
		d.group[d.n] = c
		if d.n++; d.n < 4 {
			continue
		}
		d.n = 0
		g := &d.group
		a, b, e, f := digits[g[0]], digits[g[1]], digits[g[2]], digits[g[3]]
		switch {
		case a|b|e|f < 64:
			d.out = append(d.out, a<<2|b>>4, b<<4|e>>2, e<<6|f)
		case a|b|e < 64 && g[3] == '=':
			d.out = append(d.out, a<<2|b>>4, b<<4|e>>2)
		case a|b < 64 && g[2] == '=' && g[3] == '=':
			d.out = append(d.out, a<<2|b>>4)
		default:
			d.err = fault.New(fault.BadRequest, "grpcWeb: the body is not base64", nil)
			return
		}
	}
}

// Ready implements httpmsg.Body.
func (d *decoder) Ready() bool { return d.err != nil || d.src.Ready() }

// Trailer implements httpmsg.Body.
func (d *decoder) Trailer() *httpmsg.Header { return nil }

// Close implements httpmsg.Body.
func (d *decoder) Close() { d.src.Close() }

// Interrupt implements httpmsg.Interrupter.
func (d *decoder) Interrupt() {
	if i, ok := d.src.(httpmsg.Interrupter); ok {
		i.Interrupt()
	}
}

package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"sluice/internal/wire/httpmsg"
)

// piecewise is a connection that delivers one piece at a time and takes everything.
type piecewise struct {
	net.Conn
	pieces [][]byte
}

func (c *piecewise) Read(p []byte) (int, error) {
	for len(c.pieces) > 0 && len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	return n, nil
}

func (c *piecewise) Write(p []byte) (int, error)   { return len(p), nil }
func (c *piecewise) SetDeadline(t time.Time) error { return nil }
func (c *piecewise) Close() error                  { return nil }

// outcome is what an exchange came to, as text.
func outcome(method string, pieces ...[]byte) string {
	c := NewClientConn(&piecewise{pieces: pieces}, &ClientOptions{MaxHead: 16 << 10}, nil, &bag{})
	x := request(method + " /")
	if err := c.RoundTrip(x, &Target{}); err != nil {
		x.Finish()
		return "fault: " + err.Error()
	}
	if x.Res.Status < 200 || x.Res.Status > 999 {
		panic("status out of range")
	}
	out := string(httpmsg.AppendInt(nil, int64(x.Res.Status)))
	for i := range x.Res.Header.Len() {
		f := x.Res.Header.At(i)
		out += "\n" + f.Name.String() + ":" + f.Value.String()
		if httpmsg.NotReturned.Has(f.ID) {
			panic("a field of the connection was left")
		}
	}
	body, err := readBody(x)
	if x.Res.ContentLength >= 0 && err == nil && !x.Bodiless() && int64(len(body)) != x.Res.ContentLength {
		panic("body and its length differ")
	}
	out += "\n\n" + body
	if err != nil {
		out += "\ncut: " + err.Error()
	}
	x.Finish()
	return out
}

// FuzzClientResponse feeds a server's bytes: whatever they are, the exchange ends, within its limits, and in the same way
// wherever they were cut.
func FuzzClientResponse(f *testing.F) {
	for _, a := range answers {
		if len(a.raw) < 1000 {
			f.Add(a.method == "HEAD", uint16(10), []byte(a.raw))
		}
	}
	f.Fuzz(func(t *testing.T, head bool, cut uint16, raw []byte) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		at := min(int(cut), len(raw))
		whole, split := outcome(method, raw), outcome(method, raw[:at], raw[at:])
		if whole != split {
			t.Errorf("in one piece:\n%s\ncut at %d:\n%s", whole, at, split)
		}
	})
}

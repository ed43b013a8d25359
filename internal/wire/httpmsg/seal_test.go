package httpmsg_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	. "sluice/internal/wire/httpmsg"
)

// capitals writes a body in capital letters. It holds the head until it has seen enough bytes.
type capitals struct {
	x      *Exchange
	held   []byte
	enough int
	closed int
	fail   error
}

func (c *capitals) Head(x *Exchange) bool {
	c.x = x
	x.Res.Header.Set("Capitals", "maybe")
	return c.enough > 0
}

func (c *capitals) Data(p []byte, _ bool, out func([]byte) error) error {
	if c.fail != nil {
		return c.fail
	}
	c.held = append(c.held, p...)
	if len(c.held) < c.enough {
		return nil
	}
	c.enough = 0
	c.x.Res.Header.Set("Capitals", "yes")
	p = bytes.ToUpper(c.held)
	c.held = nil
	return out(p)
}

func (c *capitals) End(out func([]byte) error) error {
	if err := out(bytes.ToUpper(c.held)); err != nil {
		return err
	}
	return out([]byte("!"))
}
func (c *capitals) Close() { c.closed++ }

func filtering(f Filter, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		err := next.Serve(x)
		x.AddFilter(f)
		return err
	})
}

// TestSeal seals in the middle of a chain: what is inside is part of the response by then, what is outside works on it as on
// any other, and the client gets what it would have got anyway.
func TestSeal(t *testing.T) {
	for _, enough := range []int{0, 4, 100} {
		inner, outer := &capitals{enough: enough}, &capitals{}
		sealed := false
		chain := editing("outer", filtering(outer, HandlerFunc(func(x *Exchange) error {
			m := x.Mark()
			err := editing("inner", filtering(inner, origin(200, "ab", "cd", "ef"))).Serve(x)
			if err != nil {
				return err
			}
			if err := x.Seal(&m); err != nil {
				return err
			}
			sealed = true
			if got := x.Res.Header.Lookup("Edits").String(); got != "inner" {
				t.Errorf("enough %d: edits are %q", enough, got)
			}
			if got := x.Res.Header.Lookup("Capitals").String(); got != map[int]string{0: "yes", 4: "yes", 100: "maybe"}[enough] && enough != 0 {
				t.Errorf("enough %d: the filter says %q", enough, got)
			}
			return nil
		})))
		l := &loop{}
		x := l.begin("GET", "/", nil)
		if err := l.finish(x, chain.Serve(x)); err != nil || !sealed {
			t.Fatal(err, sealed)
		}
		if x.Facts.BytesOut != int64(len("ABCDEF!!")) {
			t.Errorf("%d bytes are counted", x.Facts.BytesOut)
		}
		if inner.closed != 1 || outer.closed != 1 {
			t.Errorf("closed %d and %d times", inner.closed, outer.closed)
		}
	}
}

func TestSealedBody(t *testing.T) {
	trailer := &Header{}
	trailer.Add("After", "all")
	seal := func(f *capitals, body *pieces) (*Exchange, error) {
		x := (&loop{}).begin("GET", "/", nil)
		m := x.Mark()
		x.Res.Status, x.Res.Body, x.Res.ContentLength = 200, body, -1
		x.AddFilter(f)
		return x, x.Seal(&m)
	}
	read := func(b Body) (string, error) {
		var all []byte
		for {
			p, err := b.Next()
			if err != nil {
				return string(all), err
			}
			all = append(all, p...)
		}
	}
	x, err := seal(&capitals{}, &pieces{data: []string{"a", "b"}, trailer: trailer})
	if err != nil {
		t.Fatal(err)
	}
	if x.Res.Body.Trailer() != nil {
		t.Error("trailers before the end")
	}
	if text, err := read(x.Res.Body); text != "AB!" || err != io.EOF || x.Res.Body.Trailer() != trailer {
		t.Errorf("got %q, %v, %v", text, err, x.Res.Body.Trailer())
	}
	broke := errors.New("broke")
	if x, err = seal(&capitals{enough: 10}, &pieces{data: []string{"a"}, err: broke}); err != broke {
		t.Errorf("a body that breaks while the head is held: %v", err)
	}
	x.Finish()
	f := &capitals{}
	if x, err = seal(f, &pieces{data: []string{"a"}, err: broke}); err != nil {
		t.Fatal(err)
	}
	if text, err := read(x.Res.Body); text != "A" || err != broke {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := x.Res.Body.Next(); err != broke {
		t.Errorf("then %v", err)
	}
	x.Finish()
	if f.closed != 1 {
		t.Errorf("closed %d times", f.closed)
	}
	// Without a body there is nothing to read.
	x = (&loop{}).begin("HEAD", "/", nil)
	m := x.Mark()
	x.Res.Status = 200
	x.AddFilter(f)
	if err := x.Seal(&m); err != nil || x.Res.Body != nil || len(x.Filters()) != 0 || f.closed != 2 {
		t.Errorf("HEAD: %v, %v", err, x.Res.Body)
	}
}

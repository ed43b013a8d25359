package upstream

import (
	"io"
	"testing"

	"sluice/internal/wire/httpmsg"
)

// plainBody is a body that can be read once.
type plainBody struct{ httpmsg.Bytes }

// overBody stands before another one, and knows whether that was read.
type overBody struct {
	httpmsg.Body
	read bool
}

func (o *overBody) Next() ([]byte, error) {
	o.read = true
	return o.Body.Next()
}

func (o *overBody) Unread() httpmsg.Body {
	if o.read {
		return nil
	}
	return o.Body
}

func TestUntouched(t *testing.T) {
	source, memory := &plainBody{}, &httpmsg.Bytes{Data: []byte("text")}
	read := &overBody{Body: source}
	if _, err := read.Next(); err != io.EOF {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		before, body httpmsg.Body
		want         bool
	}{
		{"no body", nil, nil, true},
		{"a body where there was none", nil, source, true},
		{"the same", source, source, true},
		{"one over it", source, &overBody{Body: source}, true},
		{"two over it", source, &overBody{Body: &overBody{Body: source}}, true},
		{"one over it that was read", source, read, false},
		{"one over another one that was read", source, &overBody{Body: read}, false},
		{"another one", source, &plainBody{}, false},
		{"taken away", source, nil, false},
		{"read into memory", source, memory, false},
		{"in memory from the beginning", memory, &plainBody{}, true},
	} {
		x := &httpmsg.Exchange{}
		x.Req.Body = c.body
		if got := Untouched(x, c.before); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

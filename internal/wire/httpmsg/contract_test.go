package httpmsg_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/internal/core/fault"
	. "sluice/internal/wire/httpmsg"
)

// loop is a protocol's loop without a protocol: it runs one exchange the way they all do and writes down what the client gets.
type loop struct {
	log    []string // in order: heads, pieces, flushes, ends, interim heads
	failAt int      // the write with this number fails, counted from 1; 0 never
	writes int
	headed bool
}

func (l *loop) say(format string, args ...any) error {
	l.log = append(l.log, fmt.Sprintf(format, args...))
	if l.writes++; l.writes == l.failAt {
		return fault.New(fault.ClientGone, "write", nil)
	}
	return nil
}

func (l *loop) Head(x *Exchange, bodiless bool) error {
	l.headed = true
	s := fmt.Sprintf("%d length=%d", x.Res.Status, x.Res.ContentLength)
	if bodiless {
		s += " bodiless"
	}
	for i := range x.Res.Header.Len() {
		f := x.Res.Header.At(i)
		s += fmt.Sprintf(" %s=%s", f.Name, f.Value)
	}
	return l.say("%s", s)
}

func (l *loop) Body(p []byte) error { return l.say("[%s]", p) }
func (l *loop) Flush() error        { return l.say("flush") }
func (l *loop) End(trailer *Header) error {
	if trailer != nil {
		return l.say("end %s=%s", trailer.At(0).Name, trailer.At(0).Value)
	}
	return l.say("end")
}

func (l *loop) interim(status int, _ *Header) error { return l.say("interim %d", status) }

// begin makes an exchange stand where a loop calls the handler.
func (l *loop) begin(method, path string, body Body) *Exchange {
	x := &Exchange{}
	x.Reset(l.interim)
	x.Req.Method, x.Req.Path, x.Req.Host, x.Req.Proto = Text(method), Text(path), Text("a.test"), HTTP11
	if body != nil {
		x.Req.Body, x.Req.ContentLength = body, -1
	}
	return x
}

// finish is what a loop does once the handler has returned.
func (l *loop) finish(x *Exchange, err error) error {
	if err == nil && x.Upgrade != nil {
		x.RunEdits()
		l.Head(x, true)
		x.Upgrade.Server.Close()
		x.Finish()
		return nil
	}
	if err != nil {
		x.Fail(err)
	}
	err = x.Deliver(l)
	if err != nil && !l.headed {
		x.Fail(err)
		err = x.Deliver(l)
	}
	x.Finish()
	return err
}

func (l *loop) run(x *Exchange, h Handler) string {
	err := l.finish(x, h.Serve(x))
	s := strings.Join(l.log, " ")
	if err != nil {
		s += " error: " + err.Error()
	}
	return s
}

// pieces is a body of a server's response: it is ready while the piece at hand was read ahead.
type pieces struct {
	data    []string
	ahead   int // how many further pieces are there without waiting
	err     error
	trailer *Header
	closed  int
}

func (b *pieces) Next() ([]byte, error) {
	if len(b.data) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		return nil, io.EOF
	}
	p := b.data[0]
	b.data = b.data[1:]
	b.ahead--
	return []byte(p), nil
}
func (b *pieces) Ready() bool      { return b.ahead > 0 }
func (b *pieces) Trailer() *Header { return b.trailer }
func (b *pieces) Close()           { b.closed++ }

// origin answers with a server's response.
func origin(status int, data ...string) HandlerFunc {
	return func(x *Exchange) error {
		x.Res.Status, x.Res.ContentLength, x.Res.Origin = status, -1, true
		x.Res.Header.Add("From", "origin")
		x.Res.Body = &pieces{data: data, ahead: 100}
		return nil
	}
}

// edit is a named response edit that appends its name to a field, and tells when it was run.
type edit struct {
	name      string
	onUpgrade bool
}

func (e edit) EditResponse(x *Exchange) {
	if v := x.Res.Header.Lookup("Edits"); v != nil {
		x.Res.Header.Set("Edits", v.String()+","+e.name)
		return
	}
	x.Res.Header.Set("Edits", e.name)
}
func (e edit) OnUpgrade() bool { return e.onUpgrade }

func editing(name string, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		x.OnCommit(edit{name: name, onUpgrade: name == "up"})
		return next.Serve(x)
	})
}

func TestEditsRunInnermostFirst(t *testing.T) {
	chain := func(last HandlerFunc) Handler { return editing("outer", editing("middle", editing("up", last))) }
	for _, c := range []struct {
		name string
		last HandlerFunc
		want string
	}{
		{"a server's response", origin(200, "x"), "200 length=-1 From=origin Edits=up,middle,outer [x] end"},
		{"a local answer", func(x *Exchange) error { x.Respond(403, "", "no"); return nil }, "403 length=2 Edits=up,middle,outer [no] end"},
		{"a fault", func(x *Exchange) error { return fault.New(fault.NoServer, "none up", nil) },
			"503 length=19 Content-Type=text/plain; charset=utf-8 Sluice-Error=NO-SERVER Edits=up,middle,outer [Service Unavailable] end"},
		{"an error that is no fault", func(x *Exchange) error { return errors.New("odd") },
			"500 length=21 Content-Type=text/plain; charset=utf-8 Sluice-Error=INTERNAL Edits=up,middle,outer [Internal Server Error] end"},
		{"a response that breaks before it begins", func(x *Exchange) error {
			x.AddFilter(&upper{holds: true})
			origin(200)(x)
			x.Res.Body = &pieces{err: fault.New(fault.UpstreamCut, "cut", nil)}
			return nil
		}, "502 length=11 Content-Type=text/plain; charset=utf-8 Sluice-Error=UPSTREAM-CUT Edits=up,middle,outer [Bad Gateway] end"},
		{"101", func(x *Exchange) error {
			x.Res.Status, x.Upgrade = 101, &Upgrade{Server: nopStream{}}
			return nil
		}, "101 length=0 bodiless Edits=up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &loop{}
			if got := l.run(l.begin("GET", "/", nil), chain(c.last)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

type nopStream struct{ Stream }

func (nopStream) Close() error { return nil }

// upper makes letters capitals. It may hold the head, or keep data until it is flushed, as a compressor does.
type upper struct {
	holds, keeps bool
	kept         []byte
	closed       int
	name         string
}

func (f *upper) Head(x *Exchange) bool {
	if !f.holds {
		x.Res.Header.Add("Filter", f.name+"upper")
	}
	return f.holds
}

func (f *upper) Data(p []byte, flush bool, out func([]byte) error) error {
	p = []byte(strings.ToUpper(string(p)))
	if f.keeps && !flush {
		f.kept = append(f.kept, p...)
		return nil
	}
	p = append(f.kept, p...)
	f.kept = nil
	return out(p)
}

func (f *upper) End(out func([]byte) error) error {
	if len(f.kept) > 0 {
		return out(f.kept)
	}
	return nil
}

func (f *upper) Close() { f.closed++ }

func TestDeliver(t *testing.T) {
	trailer := &Header{}
	trailer.Add("Sum", "1")
	wide := func(data ...string) *pieces { return &pieces{data: data, ahead: 100} }
	for _, c := range []struct {
		name    string
		method  string
		status  int
		body    Body
		filters []Filter
		want    string
	}{
		{"plain", "GET", 200, wide("ab", "cd"), nil, "200 length=-1 [ab] [cd] end"},
		{"none", "GET", 200, nil, nil, "200 length=-1 end"},
		{"trailer", "GET", 200, &pieces{data: []string{"ab"}, ahead: 9, trailer: trailer}, nil, "200 length=-1 [ab] end Sum=1"},
		{"a slow source is flushed before each wait", "GET", 200, &pieces{data: []string{"ab", "cd"}}, nil, "200 length=-1 flush [ab] flush [cd] flush end"},
		{"a source that reads ahead", "GET", 200, &pieces{data: []string{"ab", "cd", "ef"}, ahead: 2}, nil, "200 length=-1 [ab] [cd] flush [ef] flush end"},
		{"HEAD", "HEAD", 200, wide("ab"), []Filter{&upper{}}, "200 length=-1 bodiless Filter=upper end"},
		{"204", "GET", 204, wide("ab"), []Filter{&upper{holds: true}}, "204 length=-1 bodiless end"},
		{"304", "GET", 304, wide("ab"), nil, "304 length=-1 bodiless end"},
		{"filter", "GET", 200, wide("ab", "cd"), []Filter{&upper{}}, "200 length=-1 Filter=upper [AB] [CD] end"},
		{"filter without a body", "GET", 200, nil, []Filter{&upper{}}, "200 length=-1 Filter=upper end"},
		{"filter that keeps", "GET", 200, wide("ab", "cd"), []Filter{&upper{keeps: true}}, "200 length=-1 Filter=upper [ABCD] end"},
		{"filter that keeps, slow source", "GET", 200, &pieces{data: []string{"ab", "cd"}}, []Filter{&upper{keeps: true}},
			"200 length=-1 Filter=upper flush [AB] flush [CD] flush end"},
		{"two that keep, slow source", "GET", 200, &pieces{data: []string{"ab", "cd"}}, []Filter{&upper{keeps: true, name: "1"}, &upper{keeps: true, name: "2"}},
			"200 length=-1 Filter=1upper Filter=2upper flush [AB] flush [CD] flush end"},
		{"inner holds: the outer sees its head later", "GET", 200, wide("ab", "cd"), []Filter{&gzipLike{min: 3}, &upper{}},
			"200 length=-1 Vary=Accept-Encoding Content-Encoding=like Filter=upper [<ABCD>] end"},
		{"inner holds to the end", "GET", 200, wide("ab"), []Filter{&gzipLike{min: 3}, &upper{}}, "200 length=-1 Vary=Accept-Encoding Filter=upper [AB] end"},
		{"inner holds an empty body", "GET", 200, wide(), []Filter{&gzipLike{min: 3}, &upper{}}, "200 length=-1 Vary=Accept-Encoding Filter=upper end"},
		{"held, slow source: nothing is flushed before there is a head", "GET", 200, &pieces{data: []string{"ab", "cd"}}, []Filter{&gzipLike{min: 3}},
			"200 length=-1 Vary=Accept-Encoding Content-Encoding=like [<ab] flush [cd] flush [>] end"},
		{"source breaks", "GET", 200, &pieces{data: []string{"ab"}, ahead: 9, err: errors.New("cut")}, []Filter{&upper{}}, "200 length=-1 Filter=upper [AB] error: cut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &loop{}
			x := l.begin(c.method, "/", nil)
			got := l.run(x, HandlerFunc(func(x *Exchange) error {
				x.Res.Status, x.Res.ContentLength, x.Res.Body = c.status, -1, c.body
				for _, f := range c.filters {
					x.AddFilter(f)
				}
				return nil
			}))
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if b, ok := c.body.(*pieces); ok && b.closed != 1 {
				t.Errorf("body closed %d times", b.closed)
			}
			for _, f := range c.filters {
				if u, ok := f.(*upper); ok && u.closed != 1 {
					t.Errorf("filter closed %d times", u.closed)
				}
			}
		})
	}
}

func TestDeliverStopsAtTheFirstFailedWrite(t *testing.T) {
	for at := 1; at <= 4; at++ {
		l := &loop{failAt: at}
		got := l.run(l.begin("GET", "/", nil), origin(200, "ab", "cd"))
		if len(l.log) != at || !strings.HasSuffix(got, "error: write") {
			t.Errorf("write %d fails: %s", at, got)
		}
	}
}

// A filtered exchange costs nothing more once its memory has grown.
func TestDeliverAllocates(t *testing.T) {
	l := &loop{}
	x := l.begin("GET", "/", nil)
	var body Bytes
	f, g := &quiet{}, &quiet{}
	o := discard{}
	n := testing.AllocsPerRun(100, func() {
		x.Reset(nil)
		x.Req.Method = Text("GET")
		m := x.Mark()
		x.Res.Status, x.Res.ContentLength = 200, 3
		body = Bytes{Data: Text("abc")}
		x.Rewind(&m)
		x.Res.Status, x.Res.ContentLength, x.Res.Body = 200, 3, &body
		x.AddFilter(f)
		x.AddFilter(g)
		release := x.HoldInterim()
		release()
		if err := x.Deliver(o); err != nil {
			t.Fatal(err)
		}
		x.Finish()
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type quiet struct{}

func (*quiet) Head(*Exchange) bool                                 { return false }
func (*quiet) Data(p []byte, _ bool, out func([]byte) error) error { return out(p) }
func (*quiet) End(func([]byte) error) error                        { return nil }
func (*quiet) Close()                                              {}

type discard struct{}

func (discard) Head(*Exchange, bool) error { return nil }
func (discard) Body([]byte) error          { return nil }
func (discard) Flush() error               { return nil }
func (discard) End(*Header) error          { return nil }

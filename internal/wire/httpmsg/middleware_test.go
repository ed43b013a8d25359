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

// The handlers below are the bones of the middlewares that ask most of the exchange. They are here to show that its shape
// carries them; the real ones are elsewhere.

// retry calls next again while it fails in a way that allows it.
func retry(times int, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		release := x.HoldInterim()
		defer release()
		m := x.Mark()
		for i := 0; ; i++ {
			err := next.Serve(x)
			again := err != nil && fault.Of(err).Retry != fault.Never || err == nil && x.Res.Status == 503
			if !again || i == times {
				return err
			}
			x.Rewind(&m)
			x.Facts.Retries++
		}
	})
}

// errorsPage replaces the bodies of bad answers by those of another service, and keeps their status.
func errorsPage(service, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		m := x.Mark()
		err := next.Serve(x)
		status := x.Res.Status
		if err != nil {
			status = fault.Status(err)
		}
		if status < 500 {
			return err
		}
		x.Rewind(&m)
		x.Req.Method, x.Req.Body, x.Req.ContentLength = Text("GET"), nil, 0
		x.SetPath(Text(fmt.Sprintf("%d.html", status)))
		if pageErr := service.Serve(x); pageErr != nil {
			return err
		}
		x.Res.Status = status
		return nil
	})
}

// buffer reads the whole request before next sees it, so that it can be repeated, and takes its memory from a budget.
func buffer(b *Budget, limit int, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		if x.Req.Body == nil {
			return next.Serve(x)
		}
		var all []byte
		for {
			p, err := x.Req.Body.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if len(all)+len(p) > limit || !b.Take(int64(len(p))) {
				b.Give(int64(len(all)))
				return fault.New(fault.BodyTooLarge, "buffering", nil)
			}
			all = append(all, p...)
		}
		x.OnFinish(finishing(func(*Exchange) { b.Give(int64(len(all))) }))
		x.Req.Body, x.Req.ContentLength = &Bytes{Data: all}, int64(len(all))
		return next.Serve(x)
	})
}

type finishing func(*Exchange)

func (f finishing) Finish(x *Exchange) { f(x) }

// gzipLike is the filter of a compressor: it holds the head until it has seen enough to decide.
type gzipLike struct {
	min  int
	kept []byte
	on   bool
	x    *Exchange
}

func (f *gzipLike) Head(x *Exchange) bool {
	f.x = x
	x.Res.Header.Add("Vary", "Accept-Encoding")
	return true
}

func (f *gzipLike) Data(p []byte, flush bool, out func([]byte) error) error {
	f.kept = append(f.kept, p...)
	if !f.on {
		if len(f.kept) < f.min && !flush {
			return nil
		}
		f.on = true
		f.x.Res.Header.Add("Content-Encoding", "like")
		f.x.Res.ContentLength = -1
		f.kept = append([]byte("<"), f.kept...)
	}
	if flush {
		p := f.kept
		f.kept = nil
		return out(p)
	}
	return nil
}

func (f *gzipLike) End(out func([]byte) error) error {
	if f.on {
		f.kept = append(f.kept, '>')
	}
	return out(f.kept)
}

func (f *gzipLike) Close() { f.kept = nil }

func compress(next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		err := next.Serve(x)
		if err == nil && !x.Bodiless() {
			x.AddFilter(&gzipLike{min: 3})
		}
		return err
	})
}

// mirror sends a copy of the request elsewhere, with memory of its own, and forgets the answer.
func mirror(to Handler, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		copied := &Exchange{}
		copied.Reset(nil)
		copied.Req.Method, copied.Req.Host, copied.Req.Path = x.Req.Method.Clone(), x.Req.Host.Clone(), x.Req.Path.Clone()
		copied.Req.Header = x.Req.Header.Clone()
		if b, ok := x.Req.Body.(*Bytes); ok {
			copied.Req.Body, copied.Req.ContentLength = &Bytes{Data: append([]byte(nil), b.Data...)}, x.Req.ContentLength
		}
		if err := to.Serve(copied); err == nil {
			copied.DropResponse()
		}
		copied.Finish()
		return next.Serve(x)
	})
}

// forwardAuth asks another service first: what it denies goes to the client as it is, what it grants goes on with its
// fields, and never with the client's own of these names.
func forwardAuth(auth Handler, next Handler) Handler {
	return HandlerFunc(func(x *Exchange) error {
		x.Req.Header.Del("X-User")
		ask := &Exchange{}
		ask.Reset(nil)
		ask.Req.Method, ask.Req.Path = Text("GET"), Text("/auth")
		ask.Req.Header.CopyFrom(&x.Req.Header)
		if err := auth.Serve(ask); err != nil {
			ask.Finish()
			return err
		}
		// Its views live as long as ask, and ask as long as x.
		x.OnRelease(releasing(ask.Finish))
		if ask.Res.Status >= 300 {
			x.Res.Status, x.Res.ContentLength = ask.Res.Status, ask.Res.ContentLength
			x.Res.Header.CopyFrom(&ask.Res.Header)
			x.Res.Body, ask.Res.Body = ask.Res.Body, nil
			return nil
		}
		if u := ask.Res.Header.Lookup("X-User"); u != nil {
			x.Req.Header.Append(Field{Name: Text("X-User"), Value: u})
		}
		return next.Serve(x)
	})
}

type releasing func()

func (r releasing) Release() { r() }

// cache keeps answers whole and gives them again without asking next.
type cache struct {
	next  Handler
	store map[string]*entry
}

type entry struct {
	status int
	header Header
	body   []byte
}

func (c *cache) Serve(x *Exchange) error {
	key := x.Req.Host.String() + x.Req.Path.String()
	if e := c.store[key]; e != nil {
		x.Res.Status, x.Res.ContentLength = e.status, int64(len(e.body))
		x.Res.Header.CopyFrom(&e.header)
		x.Res.Body = &Bytes{Data: e.body}
		return nil
	}
	err := c.next.Serve(x)
	if err == nil && x.Res.Status == 200 {
		x.AddFilter(&tee{c: c, key: key, e: entry{status: 200, header: x.Res.Header.Clone()}})
	}
	return err
}

// tee stores what goes by, once it was seen to its end.
type tee struct {
	c   *cache
	key string
	e   entry
}

func (t *tee) Head(*Exchange) bool { return false }
func (t *tee) Data(p []byte, _ bool, out func([]byte) error) error {
	t.e.body = append(t.e.body, p...)
	return out(p)
}
func (t *tee) End(func([]byte) error) error { t.c.store[t.key] = &t.e; return nil }
func (t *tee) Close()                       {}

// flaky fails in the given ways, one after the other, and then answers.
func flaky(log *[]string, outcomes ...any) HandlerFunc {
	return func(x *Exchange) error {
		seen := fmt.Sprintf("%s %s x=%s", x.Req.Method, x.Req.Path, x.Req.Header.Lookup("X"))
		if x.Req.Body != nil {
			b, err := x.Req.Body.Next()
			seen += fmt.Sprintf(" body=%s/%v", b, err)
		}
		*log = append(*log, seen)
		x.Interim(103, nil)
		x.Req.Header.Set("X", "spoilt")
		x.Req.Path = Text("/spoilt")
		x.OnCommit(edit{name: "attempt"})
		x.OnFinish(finishing(func(x *Exchange) { *log = append(*log, fmt.Sprintf("finish status=%d", x.Res.Status)) }))
		if len(outcomes) == 0 {
			return origin(200, "ok")(x)
		}
		o := outcomes[0]
		outcomes = outcomes[1:]
		if status, ok := o.(int); ok {
			origin(status, "bad")(x)
			x.AddFilter(&upper{})
			return nil
		}
		return o.(error)
	}
}

func TestRetryShape(t *testing.T) {
	var log []string
	refused := fault.New(fault.DialFailed, "refused", nil).WithRetry(fault.Always)
	// Buffering belongs outside of what repeats: a mark taken before it remembers the body that can be read once.
	l := &loop{}
	x := l.begin("PUT", "/a", &pieces{data: []string{"body"}})
	x.Req.Header.Add("X", "client")
	budget := NewBudget(100)
	got := l.run(x, buffer(budget, 100, retry(3, flaky(&log, refused, 503))))
	if want := "200 length=-1 From=origin Edits=attempt [ok] end"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	attempt := "PUT /a x=client body=body/<nil>"
	if want := strings.Join([]string{attempt, "finish status=0", attempt, "finish status=0", attempt, "finish status=200"}, "; "); strings.Join(log, "; ") != want {
		t.Errorf("attempts: %s", strings.Join(log, "; "))
	}
	if x.Facts.Retries != 2 {
		t.Errorf("%d retries", x.Facts.Retries)
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes of the budget kept", budget.Used())
	}

	// What may not be repeated is not, and gives up as it is.
	log, l = nil, &loop{}
	got = l.run(l.begin("GET", "/a", nil), retry(3, flaky(&log, fault.New(fault.UpstreamCut, "cut", nil))))
	if !strings.HasPrefix(got, "502 ") || len(log) != 2 {
		t.Errorf("got %s after %q", got, log)
	}
}

func TestErrorsPageShape(t *testing.T) {
	pages := HandlerFunc(func(x *Exchange) error { return origin(200, "page ", x.Req.Method.String(), x.Req.Path.String())(x) })
	for _, c := range []struct {
		name string
		next HandlerFunc
		want string
	}{
		{"good", origin(200, "ok"), "200 length=-1 From=origin Edits=outer [ok] end"},
		{"bad", origin(502, "bad"), "502 length=-1 From=origin Edits=outer [page ] [GET] [/502.html] end"},
		{"fault", func(*Exchange) error { return fault.New(fault.NoServer, "", nil) }, "503 length=-1 From=origin Edits=outer [page ] [GET] [/503.html] end"},
	} {
		l := &loop{}
		if got := l.run(l.begin("POST", "/a", &pieces{}), editing("outer", errorsPage(pages, c.next))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	l := &loop{}
	broken := HandlerFunc(func(*Exchange) error { return errors.New("no pages") })
	if got := l.run(l.begin("GET", "/a", nil), errorsPage(broken, HandlerFunc(func(*Exchange) error { return fault.New(fault.NoServer, "", nil) }))); !strings.HasPrefix(got, "503 ") {
		t.Errorf("broken page service: got %s", got)
	}
}

func TestBufferShape(t *testing.T) {
	budget := NewBudget(6)
	for _, c := range []struct {
		name, want string
		limit      int
		data       []string
	}{
		{"fits", "200 ", 10, []string{"abc", "def"}},
		{"over its limit", "413 ", 5, []string{"abc", "def"}},
		{"over the budget", "413 ", 100, []string{"abc", "def", "g"}},
	} {
		l := &loop{}
		if got := l.run(l.begin("POST", "/a", &pieces{data: c.data}), buffer(budget, c.limit, origin(200, "ok"))); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s", c.name, got)
		}
		if budget.Used() != 0 {
			t.Errorf("%s: %d bytes of the budget kept", c.name, budget.Used())
		}
	}
}

// A cache outside of a compressor stores compressed answers, inside of it plain ones: filters run in the order of the chain.
func TestCacheAndCompressShape(t *testing.T) {
	for _, c := range []struct {
		name, first, stored string
		build               func(next Handler) (Handler, *cache)
	}{
		{"cache outside", "200 length=-1 From=origin Vary=Accept-Encoding Content-Encoding=like [<abcd>] end", "<abcd>", func(next Handler) (Handler, *cache) {
			k := &cache{next: compress(next), store: map[string]*entry{}}
			return k, k
		}},
		{"cache inside", "200 length=-1 From=origin Vary=Accept-Encoding Content-Encoding=like [<abcd>] end", "abcd", func(next Handler) (Handler, *cache) {
			k := &cache{next: next, store: map[string]*entry{}}
			return compress(k), k
		}},
	} {
		calls := 0
		h, k := c.build(HandlerFunc(func(x *Exchange) error { calls++; return origin(200, "ab", "cd")(x) }))
		l := &loop{}
		if got := l.run(l.begin("GET", "/a", nil), h); got != c.first {
			t.Errorf("%s: got %s, want %s", c.name, got, c.first)
		}
		if e := k.store["a.test/a"]; e == nil || string(e.body) != c.stored {
			t.Errorf("%s: stored %+v", c.name, e)
		}
		l = &loop{}
		if got := l.run(l.begin("GET", "/a", nil), h); !strings.Contains(got, strings.Trim(c.stored, "<>")) || calls != 1 {
			t.Errorf("%s: got %s after %d calls", c.name, got, calls)
		}
	}
	// A response that breaks off is not stored.
	k := &cache{store: map[string]*entry{}, next: HandlerFunc(func(x *Exchange) error {
		origin(200)(x)
		x.Res.Body = &pieces{data: []string{"ab"}, ahead: 9, err: errors.New("cut")}
		return nil
	})}
	l := &loop{}
	l.run(l.begin("GET", "/a", nil), k)
	if len(k.store) != 0 {
		t.Error("half a response was stored")
	}
}

func TestMirrorShape(t *testing.T) {
	var log []string
	to := flaky(&log)
	l := &loop{}
	x := l.begin("POST", "/a", &Bytes{Data: []byte("body")})
	x.Req.Header.Add("X", "client")
	got := l.run(x, mirror(to, HandlerFunc(func(x *Exchange) error {
		b, _ := x.Req.Body.Next()
		return origin(200, string(b), x.Req.Path.String(), x.Req.Header.Lookup("X").String())(x)
	})))
	if want := "200 length=-1 From=origin [body] [/a] [client] end"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "POST /a x=client body=body/<nil>; finish status=0"; strings.Join(log, "; ") != want {
		t.Errorf("mirror: %s", strings.Join(log, "; "))
	}
}

func TestForwardAuthShape(t *testing.T) {
	service := HandlerFunc(func(x *Exchange) error { return origin(200, "user "+x.Req.Header.Lookup("X-User").String())(x) })
	for _, c := range []struct {
		name string
		auth HandlerFunc
		want string
	}{
		{"granted", func(x *Exchange) error {
			if x.Req.Header.Lookup("X-User") != nil {
				t.Error("the client's field reached the auth service")
			}
			x.Res.Header.Add("X-User", "ann")
			return origin(200, "ignored")(x)
		}, "200 length=-1 From=origin [user ann] end"},
		{"granted without a name", origin(204), "200 length=-1 From=origin [user ] end"},
		{"denied", origin(401, "login"), "401 length=-1 From=origin [login] end"},
		{"broken", func(*Exchange) error { return fault.New(fault.DialFailed, "", nil) }, "502 "},
	} {
		l := &loop{}
		x := l.begin("GET", "/a", nil)
		x.Req.Header.Add("x-USER", "root")
		if got := l.run(x, forwardAuth(c.auth, service)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

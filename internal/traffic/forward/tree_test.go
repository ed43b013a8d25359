package forward

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// puppet is a service that does what the test says.
type puppet struct {
	name string

	mu     sync.Mutex
	down   bool
	answer int   // 0 is 200
	err    error // instead of an answer
	skip   bool  // leaves the body unread
	got    []string
}

func (p *puppet) Up() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.down
}

func (p *puppet) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *puppet) Serve(x *httpmsg.Exchange) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	body := ""
	if x.Req.Body != nil && !p.skip {
		text, err := readAll(x.Req.Body)
		if err != nil {
			return err
		}
		body = text
	}
	line := fmt.Sprintf("%s %s%s %s", x.Req.Method, x.Req.Host, x.Req.Path, body)
	for i := range x.Req.Header.Len() {
		name, value := x.Req.Header.Field(i)
		line += " " + name + "=" + value
	}
	p.got = append(p.got, line)
	x.Req.Header.Set("X-Edited", p.name)
	x.OnCommit(marked(p.name))
	if p.err != nil {
		return p.err
	}
	status := 200
	if p.answer != 0 {
		status = p.answer
	}
	x.Respond(status, "text/plain", p.name)
	return nil
}

// seen returns what the service got and forgets it.
func (p *puppet) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

type marked string

func (m marked) EditResponse(x *httpmsg.Exchange) { x.Res.Header.Add("X-By", string(m)) }

func readAll(b httpmsg.Body) (string, error) {
	var s strings.Builder
	for {
		p, err := b.Next()
		if err == io.EOF {
			return s.String(), nil
		}
		if err != nil {
			return s.String(), err
		}
		s.Write(p)
	}
}

// trickle is a body that comes in pieces and can be read once.
type trickle struct {
	pieces []string
	err    error // at the end, instead of io.EOF
}

func (t *trickle) Next() ([]byte, error) {
	if len(t.pieces) == 0 {
		if t.err != nil {
			return nil, t.err
		}
		return nil, io.EOF
	}
	p := t.pieces[0]
	t.pieces = t.pieces[1:]
	return []byte(p), nil
}
func (t *trickle) Ready() bool              { return true }
func (t *trickle) Trailer() *httpmsg.Header { return nil }
func (t *trickle) Close()                   { t.pieces = nil }

func question(method, path string, body httpmsg.Body, length int64) *httpmsg.Exchange {
	x := new(httpmsg.Exchange)
	x.Reset(nil)
	x.Req.Method, x.Req.Host, x.Req.Path, x.Req.Proto = httpmsg.Text(method), httpmsg.Text("a.test"), httpmsg.Text(path), httpmsg.HTTP11
	x.Req.Header.Add("X-Mine", "me")
	x.Req.Body, x.Req.ContentLength = body, length
	x.Peer = netip.MustParseAddrPort("192.0.2.1:1000")
	return x
}

// sink takes a response.
type sink struct {
	status int
	body   bytes.Buffer
	by     []string
	cookie string
}

func (s *sink) Head(x *httpmsg.Exchange, _ bool) error {
	s.status = x.Res.Status
	for i := range x.Res.Header.Len() {
		name, value := x.Res.Header.Field(i)
		switch name {
		case "X-By":
			s.by = append(s.by, value)
		case "Set-Cookie":
			s.cookie += value
		}
	}
	return nil
}
func (s *sink) Body(p []byte) error       { s.body.Write(p); return nil }
func (s *sink) Flush() error              { return nil }
func (s *sink) End(*httpmsg.Header) error { return nil }

// serve answers x as a connection's loop does.
func serve(t *testing.T, h httpmsg.Handler, x *httpmsg.Exchange) *sink {
	t.Helper()
	if err := h.Serve(x); err != nil {
		x.Fail(err)
	}
	out := new(sink)
	if err := x.Deliver(out); err != nil {
		t.Error(err)
	}
	x.Finish()
	return out
}

func pair() (a, b *puppet, children []Child) {
	a, b = &puppet{name: "a"}, &puppet{name: "b"}
	return a, b, []Child{{"a", a, a}, {"b", b, b}}
}

func shares(weights ...int) (list []*dynamic.WeightedChild) {
	for i, w := range weights {
		list = append(list, &dynamic.WeightedChild{Name: string(rune('a' + i)), Weight: &w})
	}
	return list
}

var unreachable = fault.New(fault.DialFailed, "dial", errors.New("refused")).WithRetry(fault.Always)
var closed = fault.New(fault.UpstreamClosed, "closed", nil).WithRetry(fault.Idempotent)
var spent = fault.New(fault.UpstreamClosed, "closed", nil)

// A weighted service that follows health passes over what is down and gives what could not be delivered to another child;
// one that does not keeps to the shares whatever happens.
func TestWeightedFollows(t *testing.T) {
	for _, row := range []struct {
		name    string
		follows bool
		prepare func(a *puppet)
		method  string
		status  int
		body    string
		retried int
	}{
		{"all well", true, func(*puppet) {}, "GET", 200, "a", 0},
		{"down", true, func(a *puppet) { a.down = true }, "GET", 200, "b", 0},
		{"down and not followed", false, func(a *puppet) { a.down = true }, "GET", 200, "a", 0},
		{"unreachable", true, func(a *puppet) { a.err = unreachable }, "POST", 200, "b", 1},
		{"unreachable and not followed", false, func(a *puppet) { a.err = unreachable }, "GET", 502, "Bad Gateway", 0},
		{"closed", true, func(a *puppet) { a.err = closed }, "GET", 200, "b", 1},
		{"closed under POST", true, func(a *puppet) { a.err = closed }, "POST", 502, "Bad Gateway", 0},
		{"may not be repeated", true, func(a *puppet) { a.err = spent }, "GET", 502, "Bad Gateway", 0},
		{"no server", true, func(a *puppet) { a.err = noServer(0) }, "POST", 200, "b", 1},
		{"an answer is an answer", true, func(a *puppet) { a.answer = 503 }, "GET", 503, "a", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b, children := pair()
			c := &dynamic.Weighted{Services: shares(1000, 1), Sticky: &dynamic.Sticky{Cookie: &dynamic.Cookie{Name: "k"}}}
			if row.follows {
				c.HealthCheck = &dynamic.HealthMarker{}
			}
			w := NewWeighted("w@file", c, children, NewLive())
			w.Publish()
			row.prepare(a)
			x := question(row.method, "/", nil, 0)
			got := serve(t, w, x)
			if got.status != row.status || got.body.String() != row.body || x.Facts.Retries != row.retried {
				t.Errorf("got %d %q after %d retries", got.status, got.body.String(), x.Facts.Retries)
			}
			if row.retried > 0 {
				if fmt.Sprint(got.by) != "[b]" {
					t.Errorf("the failed try left its edits: %v", got.by)
				}
				if want := b.seen(); len(want) != 1 || strings.Contains(want[0], "X-Edited") {
					t.Errorf("the second child got %q", want)
				}
				if !strings.HasPrefix(got.cookie, "k=3e23e8160039594a") { // SHA-256 of "b"
					t.Errorf("cookie %q", got.cookie)
				}
			}
		})
	}
}

// A body that was read may not be sent to another child, whoever read it.
func TestWeightedBodyIsGone(t *testing.T) {
	a, b, children := pair()
	a.err = closed
	reader := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		text, _ := readAll(x.Req.Body)
		x.Req.Body = &httpmsg.Bytes{Data: []byte(text)}
		return a.Serve(x)
	})
	children[0].Handler = reader
	w := NewWeighted("w@file", &dynamic.Weighted{Services: shares(1000, 1), HealthCheck: &dynamic.HealthMarker{}}, children, NewLive())
	w.Publish()
	if got := serve(t, w, question("PUT", "/", &trickle{pieces: []string{"x"}}, 1)); got.status != 502 || len(b.seen()) > 0 {
		t.Errorf("got %d", got.status)
	}
}

// A mirroring service in between changes nothing about that, as long as nothing of the body was read.
func TestRetryThroughMirroring(t *testing.T) {
	for _, read := range []bool{false, true} {
		mirrored(t, &dynamic.Mirroring{Mirrors: mirrors(100)}, nil, func(m *Mirroring, a, b *puppet) {
			other := &puppet{name: "other"}
			a.skip, a.err = !read, unreachable
			f := NewFailover(&dynamic.Failover{}, Child{"m", m, nil}, Child{"other", other, nil})
			got := serve(t, f, question("POST", "/", &trickle{pieces: []string{"abc"}}, 3))
			want := 200
			if read {
				want = 502
			}
			if sent := other.seen(); got.status != want || !read && !strings.Contains(sent[0], "abc") {
				t.Errorf("read %v: %d, the fallback got %q", read, got.status, sent)
			}
			synctest.Wait()
			if copies := b.seen(); len(copies) > 0 && !read {
				t.Errorf("a request that was not delivered is mirrored: %q", copies)
			}
		})
	}
}

// Every request of an outage is not multiplied: second and later retries are a tenth of all requests.
func TestWeightedRetryBudget(t *testing.T) {
	var children []Child
	asked := 0
	for i := range 5 {
		children = append(children, Child{Name: string(rune('a' + i)), Handler: httpmsg.HandlerFunc(func(*httpmsg.Exchange) error { asked++; return closed })})
	}
	w := NewWeighted("w@file", &dynamic.Weighted{Services: shares(1, 1, 1, 1, 1), HealthCheck: &dynamic.HealthMarker{}}, children, NewLive())
	w.Publish()
	const n = 1000
	for range n {
		serve(t, w, question("GET", "/", nil, 0))
	}
	if most := 2*n + n/10 + budgetStart/budgetShare; asked > most {
		t.Errorf("%d requests became %d, more than %d", n, asked, most)
	}
}

// Nesting keeps exact shares, and a new generation goes on where the one before stopped.
func TestWeightedNested(t *testing.T) {
	a, b, children := pair()
	c := &puppet{name: "c"}
	inner := NewWeighted("inner@file", &dynamic.Weighted{Services: shares(2, 1)}, children, NewLive())
	inner.Publish()
	live := NewLive()
	outer := func() *Weighted {
		w := NewWeighted("outer@file", &dynamic.Weighted{Services: shares(3, 1)}, []Child{{"a", inner, nil}, {"b", c, nil}}, live)
		w.Publish()
		return w
	}
	w := outer()
	for i := range 120 {
		if i%7 == 0 {
			w = outer()
		}
		serve(t, w, question("GET", "/", nil, 0))
	}
	if na, nb, nc := len(a.seen()), len(b.seen()), len(c.seen()); na != 60 || nb != 30 || nc != 30 {
		t.Errorf("shares %d, %d, %d", na, nb, nc)
	}
}

// The distribution over children is that of the servers of strategy hrw: by peer and name, in proportion to the weights.
func TestHighestRandomWeightShares(t *testing.T) {
	a, b, children := pair()
	w := NewHighestRandomWeight(&dynamic.HighestRandomWeight{Services: shares(3, 1), HealthCheck: &dynamic.HealthMarker{}}, children, NewLive())
	w.Publish()
	first := map[int]string{}
	ask := func(i int) string {
		x := question("GET", "/", nil, 0)
		x.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i))
		return serve(t, w, x).body.String()
	}
	const n = 4000
	for i := range n {
		first[i] = ask(i)
	}
	na := len(a.seen())
	b.seen()
	// The sum is fixed, so this is no chance: three quarters to within two in a hundred.
	if na < n*73/100 || na > n*77/100 {
		t.Errorf("%d of %d went to the child with weight 3 of 4", na, n)
	}
	b.set(func() { b.down = true })
	for i := range n {
		if ask(i) != "a" {
			t.Fatal("a child that is down got a request")
		}
	}
	b.set(func() { b.down = false })
	for i := range n {
		if got := ask(i); got != first[i] {
			t.Fatalf("client %d moved from %s to %s", i, first[i], got)
		}
	}
}

func TestFailoverDecides(t *testing.T) {
	byStatus := &dynamic.FailoverErrors{Status: []string{"500-599"}}
	for _, row := range []struct {
		name    string
		errors  *dynamic.FailoverErrors
		prepare func(a, b *puppet)
		method  string
		want    string
	}{
		{"all well", nil, func(_, _ *puppet) {}, "GET", "200 a"},
		{"main is down", nil, func(a, _ *puppet) { a.down = true }, "POST", "200 b"},
		{"both are down", nil, func(a, b *puppet) { a.down, b.down = true, true }, "GET", "503 Service Unavailable"},
		{"main is unreachable", nil, func(a, _ *puppet) { a.err = unreachable }, "POST", "200 b"},
		{"main has no server", nil, func(a, _ *puppet) { a.err = noServer(0) }, "POST", "200 b"},
		{"main closed on a POST", nil, func(a, _ *puppet) { a.err = closed }, "POST", "502 Bad Gateway"},
		{"main unreachable, fallback down", nil, func(a, b *puppet) { a.err, b.down = unreachable, true }, "GET", "502 Bad Gateway"},
		{"a status that is not listed", nil, func(a, _ *puppet) { a.answer = 500 }, "GET", "500 a"},
		{"a listed status", byStatus, func(a, _ *puppet) { a.answer = 500 }, "POST", "200 b"},
		{"a listed status of our own", byStatus, func(a, _ *puppet) { a.err = closed }, "POST", "200 b"},
		{"the fallback's word is the last", byStatus, func(a, b *puppet) { a.answer, b.answer = 500, 501 }, "GET", "501 b"},
		{"a listed status, fallback down", byStatus, func(a, b *puppet) { a.answer, b.down = 500, true }, "GET", "500 a"},
		{"a fault of the client", byStatus, func(a, _ *puppet) { a.err = fault.New(fault.BodyCut, "cut", nil) }, "POST", "400 Bad Request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b, children := pair()
			row.prepare(a, b)
			f := NewFailover(&dynamic.Failover{Errors: row.errors}, children[0], children[1])
			got := serve(t, f, question(row.method, "/", nil, 0))
			if text := fmt.Sprint(got.status, " ", got.body.String()); text != row.want {
				t.Errorf("got %s, want %s", text, row.want)
			}
			if a.down == b.down && f.Up() == a.down {
				t.Errorf("up %v", f.Up())
			}
		})
	}
}

// Both services get the whole body; one that is too long gets nowhere; a call that waits for answers is not read ahead.
func TestFailoverBody(t *testing.T) {
	a, b, children := pair()
	a.answer = 503
	limit := int64(6)
	f := NewFailover(&dynamic.Failover{Errors: &dynamic.FailoverErrors{Status: []string{"503"}, MaxRequestBodyBytes: &limit}}, children[0], children[1])
	if got := serve(t, f, question("POST", "/p", &trickle{pieces: []string{"abc", "def"}}, -1)); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	if one, two := a.seen(), b.seen(); len(one) != 1 || fmt.Sprint(one) != fmt.Sprint(two) || !strings.Contains(one[0], "abcdef") {
		t.Errorf("main got %q, the fallback %q", one, two)
	}
	for _, length := range []int64{-1, 7} {
		if got := serve(t, f, question("POST", "/", &trickle{pieces: []string{"abc", "defg"}}, length)); got.status != 413 || len(a.seen()) > 0 {
			t.Errorf("a body too long got %d", got.status)
		}
	}
	x := question("POST", "/", &trickle{pieces: []string{"abcdefghi"}}, -1)
	x.Req.Header.Add("Content-Type", "application/grpc+proto")
	if got := serve(t, f, x); got.status != 503 || len(a.seen()) != 1 || len(b.seen()) != 0 {
		t.Errorf("a call got %d", got.status)
	}
}

// mirrored runs body with a mirroring service inside a bubble, where waiting for copies is waiting for everything.
func mirrored(t *testing.T, c *dynamic.Mirroring, budget *httpmsg.Budget, body func(m *Mirroring, a, b *puppet)) {
	synctest.Test(t, func(t *testing.T) {
		a, b, children := pair()
		copies := NewCopies(budget, slog.New(slog.DiscardHandler))
		m := NewMirroring(c, children[0], children[1:], NewLive(), copies)
		body(m, a, b)
		copies.Close()
		if used := budget.Used(); used != 0 {
			t.Errorf("%d bytes of the budget are not given back", used)
		}
	})
}

func mirrors(percent int) []*dynamic.Mirror {
	return []*dynamic.Mirror{{Name: "b", Percent: percent}}
}

// The copy is what the main service got: head and body, before anything further in edited it.
func TestMirrorGetsTheSame(t *testing.T) {
	limit := int64(10)
	for _, row := range []struct {
		name    string
		body    httpmsg.Body
		length  int64
		prepare func(x *httpmsg.Exchange, a *puppet)
		copied  bool
	}{
		{"no body", nil, 0, nil, true},
		{"counted", &trickle{pieces: []string{"abc", "defghij"}}, 10, nil, true},
		{"of unknown length", &trickle{pieces: []string{"abc", "defghij"}}, -1, nil, true},
		{"in memory", &httpmsg.Bytes{Data: []byte("abcdefghij")}, 10, nil, true},
		{"one byte too long", &trickle{pieces: []string{"abc", "defghijk"}}, -1, nil, false},
		{"said to be too long", &trickle{pieces: []string{"abc", "defghijk"}}, 11, nil, false},
		{"in memory and too long", &httpmsg.Bytes{Data: []byte("abcdefghijk")}, 11, nil, false},
		{"broken", &trickle{pieces: []string{"abc"}, err: fault.New(fault.BodyCut, "cut", nil)}, -1, nil, false},
		{"not read to its end", &trickle{pieces: []string{"abc"}}, -1, func(_ *httpmsg.Exchange, a *puppet) { a.skip = true }, false},
		{"main fails", nil, 0, func(_ *httpmsg.Exchange, a *puppet) { a.err = spent }, true},
		{"the client left", nil, 0, func(x *httpmsg.Exchange, _ *puppet) { x.Cancel(errors.New("gone")) }, false},
		{"an upgrade", nil, 0, func(x *httpmsg.Exchange, _ *puppet) { x.Req.UpgradeTo = httpmsg.Text("websocket") }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			mirrored(t, &dynamic.Mirroring{MaxBodySize: &limit, Mirrors: mirrors(100)}, httpmsg.NewBudget(1000), func(m *Mirroring, a, b *puppet) {
				x := question("PUT", "/p", row.body, row.length)
				if row.prepare != nil {
					row.prepare(x, a)
				}
				serve(t, m, x)
				synctest.Wait()
				got, sent := b.seen(), a.seen()
				if (len(got) == 1) != row.copied || len(got) > 1 {
					t.Errorf("the mirror got %q", got)
				}
				if row.copied && got[0] != sent[0] {
					t.Errorf("the mirror got %q, the main service %q", got, sent)
				}
			})
		})
	}
}

// Without room in the budget there is no copy, and the request does not notice.
func TestMirrorBudget(t *testing.T) {
	mirrored(t, &dynamic.Mirroring{Mirrors: mirrors(100)}, httpmsg.NewBudget(100), func(m *Mirroring, a, b *puppet) {
		for range 3 {
			serve(t, m, question("PUT", "/", &trickle{pieces: []string{strings.Repeat("x", 60), strings.Repeat("x", 60)}}, -1))
			serve(t, m, question("PUT", "/", &trickle{pieces: []string{strings.Repeat("x", 60)}}, 60))
			synctest.Wait()
		}
		if na, nb := len(a.seen()), len(b.seen()); na != 6 || nb != 3 {
			t.Errorf("main got %d, the mirror %d", na, nb)
		}
	})
}

// Shares are counted, the first request goes to every mirror, and counts go on over changes.
func TestMirrorShares(t *testing.T) {
	for _, percent := range []int{0, 1, 33, 50, 99, 100} {
		tl := &tally{percents: []int{percent}, sent: make([]uint64, 1)}
		for total := 1; total <= 1000; total++ {
			tl.choose()
			if want := (total*percent + 99) / 100; int(tl.sent[0]) != want {
				t.Fatalf("%d%% of %d: %d, want %d", percent, total, tl.sent[0], want)
			}
		}
	}
	live := NewLive()
	one := live.tallyFor(mirrors(10))
	if live.tallyFor(mirrors(10)) != one {
		t.Error("counts began anew")
	}
	if live.tallyFor(mirrors(20)) == one {
		t.Error("another share goes on with old counts")
	}
}

// A mirror that hangs holds a bounded number of copies, is called off in the end, and is nothing to the main service.
func TestMirrorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		started, ended := 0, 0
		hangs := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			mu.Lock()
			started++
			mu.Unlock()
			gone := make(chan struct{})
			f := func(error) { close(gone) }
			x.OnCancel(&f)
			<-gone
			mu.Lock()
			ended++
			mu.Unlock()
			return fault.New(fault.ClientGone, "called off", x.Cancelled())
		})
		main := &puppet{name: "main"}
		var log bytes.Buffer
		copies := NewCopies(nil, slog.New(slog.NewTextHandler(&log, nil)))
		m := NewMirroring(&dynamic.Mirroring{Mirrors: mirrors(100)}, Child{"a", main, nil}, []Child{{"b", hangs, nil}}, NewLive(), copies)
		for range 2 * copiesOfService {
			if got := serve(t, m, question("GET", "/", nil, 0)); got.status != 200 {
				t.Fatal(got.status)
			}
		}
		synctest.Wait()
		if started != copiesOfService || strings.Count(log.String(), "dropped") != 1 {
			t.Errorf("%d copies are under way, log %s", started, log.String())
		}
		time.Sleep(copyTimeout)
		synctest.Wait()
		if ended != started {
			t.Errorf("%d of %d copies were called off", ended, started)
		}
		serve(t, m, question("GET", "/", nil, 0))
		synctest.Wait()
		if started != copiesOfService+1 {
			t.Error("nothing is copied any more")
		}
		copies.Close()
		if ended != started {
			t.Error("the end does not call copies off")
		}
		serve(t, m, question("GET", "/", nil, 0))
		if started != copiesOfService+1 {
			t.Error("a copy was sent after the end")
		}
	})
}

// A panic in a mirror is its own.
func TestMirrorPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main := &puppet{name: "main"}
		copies := NewCopies(nil, slog.New(slog.DiscardHandler))
		bad := httpmsg.HandlerFunc(func(*httpmsg.Exchange) error { panic("bad mirror") })
		good := &puppet{name: "good"}
		m := NewMirroring(&dynamic.Mirroring{Mirrors: append(mirrors(100), mirrors(100)...)}, Child{"a", main, nil},
			[]Child{{"b", bad, nil}, {"b", good, nil}}, NewLive(), copies)
		serve(t, m, question("GET", "/", nil, 0))
		synctest.Wait()
		if len(good.seen()) != 1 {
			t.Error("the next mirror got nothing")
		}
		copies.Close()
	})
}

func TestTreesAllocateNothing(t *testing.T) {
	answer := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Res.Status = 200; return nil })
	children := []Child{{Name: "a", Handler: answer}, {Name: "b", Handler: answer}}
	for name, h := range map[string]interface {
		httpmsg.Handler
		Publish()
	}{
		"weighted":            NewWeighted("w@file", &dynamic.Weighted{Services: shares(1, 2)}, children, NewLive()),
		"following":           NewWeighted("w@file", &dynamic.Weighted{Services: shares(1, 2), HealthCheck: &dynamic.HealthMarker{}}, children, NewLive()),
		"highestRandomWeight": NewHighestRandomWeight(&dynamic.HighestRandomWeight{Services: shares(1, 2)}, children, NewLive()),
		"failover":            NewFailover(&dynamic.Failover{}, children[0], children[1]),
		"by status":           NewFailover(&dynamic.Failover{Errors: &dynamic.FailoverErrors{Status: []string{"500"}}}, children[0], children[1]),
		"mirroring": NewMirroring(&dynamic.Mirroring{Mirrors: mirrors(0)}, children[0], children[1:], NewLive(),
			NewCopies(nil, slog.New(slog.DiscardHandler))),
	} {
		h.Publish()
		x := question("GET", "/", nil, 0)
		if n := testing.AllocsPerRun(100, func() {
			x.Res.Status = 0
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			x.Finish()
			m := x.Mark()
			_ = m
			x.Reset(nil)
			x.Req.Method, x.Peer = httpmsg.Text("GET"), netip.MustParseAddrPort("192.0.2.1:1")
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

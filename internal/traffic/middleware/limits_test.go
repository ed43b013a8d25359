package middleware

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

func inFlight(amount int64, c *dynamic.SourceCriterion) *dynamic.Middleware {
	return &dynamic.Middleware{InFlightReq: &dynamic.InFlightReq{Amount: amount, SourceCriterion: c}}
}

func TestInFlightReq(t *testing.T) {
	env := Env{Name: "m@file", Router: "r@file", State: &State{}}
	h := build(t, env, silent, inFlight(2, nil))
	one, two := serve(t, h, ask{host: "a.test"}), serve(t, h, ask{host: "A.test"})
	three := serve(t, h, ask{host: "a.test", upgrade: "websocket"})
	if one.Res.Status != 200 || two.Res.Status != 200 || three.Res.Status != 429 || body(three) != "max connections reached: 2" {
		t.Errorf("got %d %d %d %q", one.Res.Status, two.Res.Status, three.Res.Status, body(three))
	}
	three.Finish()
	if x := serve(t, h, ask{host: "b.test"}); x.Res.Status != 200 {
		t.Error("another host is refused")
	}
	// A reload with another amount counts what is under way.
	more := build(t, env, silent, inFlight(3, nil))
	if x := serve(t, more, ask{host: "a.test"}); x.Res.Status != 200 {
		t.Error("a higher amount has no effect")
	}
	if x := serve(t, more, ask{host: "a.test"}); x.Res.Status != 429 {
		t.Error("requests before the reload are forgotten")
	}
	other := env
	other.Router = "other@file"
	if x := serve(t, build(t, other, silent, inFlight(1, nil)), ask{host: "a.test"}); x.Res.Status != 200 {
		t.Error("routers share counts")
	}
	one.Finish()
	two.Finish()
	if x := serve(t, h, ask{host: "a.test"}); x.Res.Status != 200 {
		t.Error("ended requests still count")
	}
	if x := serve(t, build(t, Env{}, silent, inFlight(0, nil)), ask{}); x.Res.Status != 429 {
		t.Error("zero lets requests pass")
	}
	refuses(t, inFlight(1, &dynamic.SourceCriterion{RequestHost: true, RequestHeaderName: "X"}), "inFlightReq.sourceCriterion")
	allocations(t, build(t, Env{}, silent, inFlight(1, nil)), ask{})
	allocations(t, build(t, Env{}, silent, inFlight(1, &dynamic.SourceCriterion{IPStrategy: &dynamic.IPStrategy{}})), ask{})
}

func TestInFlightReqRewound(t *testing.T) {
	h := build(t, Env{}, silent, inFlight(1, nil))
	x := ask{}.exchange(t)
	m := x.Mark()
	for range 3 {
		if err := h.Serve(x); err != nil {
			t.Fatal(err)
		}
		x.Rewind(&m)
	}
}

// TestInFlightReqLeavesNothing runs many sources side by side, and looks for what is left.
func TestInFlightReqLeavesNothing(t *testing.T) {
	c := newFlightCounts()
	var wait sync.WaitGroup
	var mu sync.Mutex
	running, most := map[string]int{}, 0
	for w := range 8 {
		wait.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint("source", (i+w)%5)
				f := c.begin([]byte(key), 2)
				if f == nil {
					continue
				}
				mu.Lock()
				running[key]++
				most = max(most, running[key])
				mu.Unlock()
				mu.Lock()
				running[key]--
				mu.Unlock()
				f.Finish(nil)
			}
		})
	}
	wait.Wait()
	if most > 2 {
		t.Errorf("%d at once", most)
	}
	for i := range c.shards {
		if n := len(c.shards[i].counts); n > 0 {
			t.Errorf("INV-6: %d sources are left", n)
		}
	}
}

// pieces is a body that comes in pieces, with a pause after each that ends in "|".
type pieces struct {
	list   []string
	paused bool
	end    error
	closed bool
	called bool
}

func (p *pieces) Next() ([]byte, error) {
	p.paused = false
	if len(p.list) == 0 {
		if p.end != nil {
			return nil, p.end
		}
		return nil, io.EOF
	}
	s := p.list[0]
	p.list = p.list[1:]
	if strings.HasSuffix(s, "|") {
		p.paused, s = true, s[:len(s)-1]
	}
	return []byte(s), nil
}
func (p *pieces) Ready() bool              { return !p.paused }
func (p *pieces) Trailer() *httpmsg.Header { return nil }
func (p *pieces) Close()                   { p.closed = true }
func (p *pieces) Interrupt()               { p.called = true }

// reader is an end of a chain that reads the request's body.
func reader(got *bytes.Buffer) httpmsg.Handler {
	return httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
		for x.Req.Body != nil {
			p, err := x.Req.Body.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return fault.New(fault.UpstreamCut, "the request was cut", err)
			}
			got.Write(p)
		}
		x.Respond(200, "", "ok")
		return nil
	})
}

func TestBodyLimit(t *testing.T) {
	m := &dynamic.Middleware{BodyLimit: &dynamic.BodyLimit{MaxBytes: 10}}
	for _, c := range []struct {
		name   string
		body   *pieces
		length int64
		status int
		got    string
	}{
		{"none", nil, 0, 200, ""},
		{"length fits", &pieces{list: []string{"0123456789"}}, 10, 200, "0123456789"},
		{"length is too large", &pieces{list: []string{"0123456789x"}}, 11, 413, ""},
		{"chunks fit", &pieces{list: []string{"01234", "56789"}}, -1, 200, "0123456789"},
		{"chunks are too large", &pieces{list: []string{"01234", "56789", "x"}}, -1, 413, "0123456789"},
		{"one chunk is too large", &pieces{list: []string{strings.Repeat("x", 100)}}, -1, 413, ""},
		{"broken", &pieces{list: []string{"01"}, end: errors.New("cut")}, -1, 502, "01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got bytes.Buffer
			h := build(t, Env{}, reader(&got), m)
			x := ask{method: "POST"}.exchange(t)
			if c.body != nil {
				x.Req.Body, x.Req.ContentLength = c.body, c.length
			}
			finish(x, h)
			if x.Res.Status != c.status || got.String() != c.got {
				t.Errorf("got %d %q, want %d %q", x.Res.Status, got.String(), c.status, c.got)
			}
			if c.length < 0 {
				x.Req.Body.(httpmsg.Interrupter).Interrupt()
				x.Req.Body.Close()
				if !c.body.called || !c.body.closed {
					t.Error("the body does not hear of it")
				}
			}
			x.Finish()
		})
	}
	refuses(t, &dynamic.Middleware{BodyLimit: &dynamic.BodyLimit{}}, "bodyLimit.maxBytes")
	h := build(t, Env{}, silent, m)
	allocations(t, h, ask{})
}

func ban(change func(*dynamic.IPBan)) *dynamic.Middleware {
	b := &dynamic.IPBan{}
	b.SetDefaults()
	b.MaxAttempts = 3
	if change != nil {
		change(b)
	}
	return &dynamic.Middleware{IPBan: b}
}

func TestIPBan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		env := Env{Name: "ban@file", State: &State{}, Log: slog.New(slog.NewTextHandler(&text, nil))}
		status := 404
		end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error {
			if status == 401 {
				return turnAway
			}
			x.Respond(status, "", "")
			return nil
		})
		h := build(t, env, end, ban(func(b *dynamic.IPBan) { b.ExemptRange = []string{"192.0.2.9", "2001:db8::9"} }))
		try := func(peer string, want int) {
			t.Helper()
			if x := serve(t, h, ask{peer: peer}); x.Res.Status != want {
				t.Errorf("%s: got %d, want %d", peer, x.Res.Status, want)
			}
		}
		try("192.0.2.1:1", 404)
		try("192.0.2.1:1", 404)
		status = 500
		try("192.0.2.1:1", 500) // does not count
		status = 401
		try("[::ffff:192.0.2.1]:1", 401)
		status = 200
		try("192.0.2.1:1", 403)
		try("192.0.2.2:1", 200)
		if n := strings.Count(text.String(), "A client is banned"); n != 1 || !strings.Contains(text.String(), "192.0.2.1") {
			t.Errorf("got log %q", text.String())
		}
		// Another router with the same middleware knows the ban, and so does the next generation.
		env.Router = "other"
		h = build(t, env, end, ban(func(b *dynamic.IPBan) { b.ExemptRange = []string{"192.0.2.9", "2001:db8::9"} }))
		try("192.0.2.1:1", 403)
		time.Sleep(10*time.Minute - time.Second)
		try("192.0.2.1:1", 403)
		time.Sleep(time.Second)
		try("192.0.2.1:1", 200)
		status = 404
		for range 5 {
			try("192.0.2.9:1", 404) // exempt
			try("[2001:db8::9]:1", 404)
		}
		try("[2001:db8::1]:1", 404)
		try("[2001:db8::2]:1", 404)
		try("[2001:db8::3]:1", 404)
		try("[2001:db8::4]:1", 403) // one /64 is one client
		try("[2001:db8::9]:1", 404)
		for range 10 {
			try("192.0.2.3:1", 404)
			time.Sleep(45 * time.Second) // fewer than three in a minute
		}
		try("192.0.2.4:1", 404)
		try("192.0.2.4:1", 404)
		time.Sleep(59 * time.Second)
		try("192.0.2.4:1", 404)
		try("192.0.2.4:1", 403)
	})
}

func TestIPBanSliding(t *testing.T) {
	// Two halves of a burst around the end of a window are one burst.
	b := newBanTable(10, time.Minute, time.Minute, 100)
	a, start := netip.MustParseAddr("192.0.2.1"), time.Now()
	b.count(a, start)
	for range 7 {
		if b.count(a, start.Add(59*time.Second)) {
			t.Fatal("banned too early")
		}
	}
	banned := false
	for range 3 {
		banned = banned || b.count(a, start.Add(61*time.Second))
	}
	if !banned {
		t.Error("ten answers within three seconds bring no ban")
	}
}

func TestIPBanIsBounded(t *testing.T) {
	const room = 1600
	b := newBanTable(2, time.Minute, time.Hour, room)
	now := time.Now()
	bad := netip.MustParseAddr("192.0.2.1")
	b.count(bad, now)
	if !b.count(bad, now) {
		t.Fatal("no ban")
	}
	for i := range 100_000 {
		b.count(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	n := 0
	for i := range b.shards {
		n += len(b.shards[i].clients)
	}
	if n > room {
		t.Errorf("INV-6: %d clients are remembered", n)
	}
	if !b.banned(bad, now) {
		t.Error("a flood of others ends a ban")
	}
	if b.banned(bad, now.Add(time.Hour)) || b.some.Load() != 0 {
		t.Errorf("%d bans are left", b.some.Load())
	}
}

func TestIPBanForwarded(t *testing.T) {
	// XFF-06: without a strategy the peer is banned, whatever the field says; with one, the client, and junk bans nobody.
	end := httpmsg.HandlerFunc(func(x *httpmsg.Exchange) error { x.Respond(404, "", ""); return nil })
	h := build(t, Env{}, end, ban(nil))
	for i := range 4 {
		x := serve(t, h, ask{fields: []string{fmt.Sprintf("X-Forwarded-For: 10.0.0.%d", i)}})
		if want := map[bool]int{true: 403, false: 404}[i == 3]; x.Res.Status != want {
			t.Errorf("request %d: got %d", i, x.Res.Status)
		}
	}
	h = build(t, Env{}, end, ban(func(b *dynamic.IPBan) { b.IPStrategy = &dynamic.IPStrategy{ExcludedIPs: []string{"10.0.0.0/8"}} }))
	for range 5 {
		if x := serve(t, h, ask{fields: []string{"X-Forwarded-For: junk, 10.0.0.1"}}); x.Res.Status != 404 {
			t.Errorf("XFF-03: got %d", x.Res.Status)
		}
	}
}

func TestIPBanRefuses(t *testing.T) {
	for key, change := range map[string]func(*dynamic.IPBan){
		"ipBan.status":           func(b *dynamic.IPBan) { b.Status = nil },
		"ipBan.status[1]":        func(b *dynamic.IPBan) { b.Status = []string{"404", "40x"} },
		"ipBan.maxAttempts":      func(b *dynamic.IPBan) { b.MaxAttempts = 0 },
		"ipBan.window":           func(b *dynamic.IPBan) { b.Window = 0 },
		"ipBan.banDuration":      func(b *dynamic.IPBan) { b.BanDuration = -1 },
		"ipBan.rejectStatusCode": func(b *dynamic.IPBan) { b.RejectStatusCode = 999 },
		"ipBan.exemptRange":      func(b *dynamic.IPBan) { b.ExemptRange = []string{"x"} },
		"ipBan.ipStrategy.depth": func(b *dynamic.IPBan) { b.IPStrategy = &dynamic.IPStrategy{Depth: -2} },
	} {
		refuses(t, ban(change), key)
	}
	allocations(t, build(t, Env{}, silent, ban(nil)), ask{})
}

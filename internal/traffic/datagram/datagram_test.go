package datagram

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
)

func TestSession(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, nil)
	r.servers(s.address())
	one, two := r.client(), r.client()
	one.want("1", "a:1")
	two.want("2", "a:2")
	one.want("", "a:")
	one.want(strings.Repeat("x", 60000), "a:"+strings.Repeat("x", 60000))
	if n := r.entry.Open(); n != 2 {
		t.Errorf("got %d sessions", n)
	}
	if cut := r.shutdown(canceled()); cut != 2 {
		t.Errorf("cut %d", cut)
	}
	list := r.ended()
	if len(list) != 2 {
		t.Fatalf("got %d records", len(list))
	}
	for _, rec := range list {
		if rec.Client == one.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort() && (rec.BytesIn != 60001 || rec.BytesOut != 60007) {
			t.Errorf("got %d bytes in, %d out", rec.BytesIn, rec.BytesOut)
		}
		if !rec.UDP || rec.EntryPoint != "udp" || rec.Router != "router@file" || rec.Service != "s@file" || rec.Server != s.address() ||
			rec.Local.String() != r.entry.Addr().String() || rec.Duration <= 0 || rec.Fault == nil || rec.Fault.Kind != fault.ShuttingDown {
			t.Errorf("got %+v", rec)
		}
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestRoundRobin spreads sessions, not datagrams.
func TestRoundRobin(t *testing.T) {
	a, b := newEcho(t, "a", "127.0.0.1:0"), newEcho(t, "b", "127.0.0.1:0")
	r := start(t, nil)
	r.servers(a.address(), b.address())
	got := count(20, func(int) string {
		c := r.client()
		first := c.ask("x")
		for range 3 {
			c.want("x", first)
		}
		return first
	})
	if got != "map[a:x:10 b:x:10]" {
		t.Error(got)
	}
}

func TestWeighted(t *testing.T) {
	a, b, c := newEcho(t, "a", "127.0.0.1:0"), newEcho(t, "b", "127.0.0.1:0"), newEcho(t, "c", "127.0.0.1:0")
	r := start(t, nil)
	service := func(s *echo) *Service { return NewService(s.name, []string{s.address()}, r.live(s.name)) }
	parts := []*Service{service(a), service(b), service(c)}
	for _, p := range parts {
		p.Publish()
	}
	inner := NewWeighted("inner", []Child{{"a", 3, parts[0]}, {"b", 1, parts[1]}}, r.live("inner"))
	inner.Publish()
	r.route(NewWeighted("outer", []Child{{"inner", 4, inner}, {"c", 1, parts[2]}, {"never", 0, parts[2]}}, r.live("outer")))
	if got := count(50, func(int) string { return r.client().ask("x") }); got != "map[a:x:30 b:x:10 c:x:10]" {
		t.Error(got)
	}
	// A part that is out of reach leaves its share to the others, at any depth.
	b.stop()
	c.stop()
	got := count(30, func(int) string { return r.client().ask("x") })
	if got != "map[a:x:30]" {
		t.Error(got)
	}
}

func TestNoServer(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, nil)
	c := r.client()
	part := NewService("s@file", []string{s.address()}, r.live("s@file"))
	for name, service := range map[string]*Service{
		"no router":   nil,
		"no servers":  NewService("none@file", nil, r.live("none@file")),
		"weight zero": NewWeighted("zero@file", []Child{{"s", 0, part}}, r.live("zero@file")),
	} {
		r.route(service)
		if !c.silent("x") || r.entry.Open() != 0 {
			t.Errorf("%s: a session began", name)
		}
	}
	r.servers(s.address())
	c.want("x", "a:x")
}

// longestPause does something n times and returns the longest time that one took: what a loaded machine makes of it.
func longestPause(n int, do func()) (longest time.Duration) {
	for range n {
		begun := time.Now()
		do()
		longest = max(longest, time.Since(begun))
	}
	return longest
}

// TestTimeout ends a session that is silent, and none in which either side sends.
func TestTimeout(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	r.servers(s.address())
	c := r.client()
	pause := longestPause(8, func() {
		c.want("x", "a:x")
		time.Sleep(100 * time.Millisecond)
	})
	if list := r.ended(); len(list) != 0 && pause < 250*time.Millisecond {
		t.Errorf("%d sessions ended while they were used", len(list))
	}
	eventually(t, "the session ends", func() bool { return r.entry.Open() == 0 })
	list := r.ended()
	if last := list[len(list)-1]; last.Fault != nil || last.Phase != record.Done || last.Duration < 300*time.Millisecond {
		t.Errorf("got %+v", last)
	}
	c.want("y", "a:y")
}

// TestServerAlone keeps a session for which only the server sends.
func TestServerAlone(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeout = 500 * time.Millisecond })
	conn := newEcho(t, "a", "127.0.0.1:0")
	r.servers(conn.address())
	c := r.client()
	c.want("x", "a:x")
	var at *session
	r.entry.mu.Lock()
	for _, s := range r.entry.sessions {
		at = s
	}
	r.entry.mu.Unlock()
	pause := longestPause(20, func() {
		at.Received([]byte("news"))
		time.Sleep(50 * time.Millisecond)
	})
	if len(r.ended()) > 0 && pause < 400*time.Millisecond {
		t.Error("the session ended although the server was sending")
	}
}

// TestUnreachable passes a server over that nobody listens on, and goes back to it.
func TestUnreachable(t *testing.T) {
	a := newEcho(t, "a", "127.0.0.1:0")
	dead := unused(t)
	r := start(t, nil)
	r.servers(a.address(), dead)
	// The first session of the dead server is told by the network; from then on none goes there.
	if got := count(20, func(int) string { return r.client().ask("x") }); got != "map[a:x:20]" {
		t.Error(got)
	}
	told := 0
	for _, rec := range r.ended() {
		if rec.Server != dead || rec.Fault == nil || rec.Fault.Kind != fault.DialFailed || rec.Phase != record.Connecting || rec.EndedBy != fault.Upstream {
			t.Errorf("got %+v", rec)
		}
		told++
	}
	if told == 0 {
		t.Error("no session failed")
	}
	// When all are out of reach each is tried, so that one that is back is found at once.
	a.stop()
	c := r.client()
	if !c.silent("x") {
		t.Error("answered by nobody")
	}
	b := newEcho(t, "b", dead)
	c.want("y", "b:y")
	b.stop()
	newEcho(t, "c", a.address())
	c.want("z", "c:z")
}

// TestReload keeps sessions whose server stays, and moves those whose server goes.
func TestReload(t *testing.T) {
	a, b := newEcho(t, "a", "127.0.0.1:0"), newEcho(t, "b", "127.0.0.1:0")
	r := start(t, nil)
	r.servers(a.address())
	c := r.client()
	c.want("1", "a:1")
	r.servers(b.address(), a.address())
	for range 4 {
		c.want("2", "a:2")
	}
	if len(r.ended()) > 0 {
		t.Error("the session did not live")
	}
	r.servers(b.address())
	c.want("3", "b:3")
	if list := r.ended(); len(list) != 1 || list[0].Server != a.address() || list[0].Fault != nil {
		t.Errorf("got %+v", list)
	}
	r.route(nil)
	if !c.silent("4") || r.entry.Open() != 0 {
		t.Error("the session lived without a router")
	}
}

// TestServerTalksOn ends a session whose server is taken away, also where only the server sends.
func TestServerTalksOn(t *testing.T) {
	a, b := newEcho(t, "a", "127.0.0.1:0"), newEcho(t, "b", "127.0.0.1:0")
	for name, after := range map[string]struct {
		servers []string
		lives   bool
	}{"another server": {[]string{b.address()}, false}, "one more server": {[]string{b.address(), a.address()}, true}, "no router": {nil, false}} {
		r := start(t, nil)
		r.servers(a.address())
		c := r.client()
		c.want("x", "a:x")
		r.entry.mu.Lock()
		at := r.entry.idle.next
		r.entry.mu.Unlock()
		if r.route(nil); after.servers != nil {
			r.servers(after.servers...)
		}
		at.Received([]byte("news"))
		if lives := r.entry.Open() == 1; lives != after.lives {
			t.Errorf("%s: the session lives: %v", name, lives)
		}
		if list := r.ended(); !after.lives && (len(list) != 1 || list[0].Fault != nil || list[0].BytesOut != 3) {
			t.Errorf("%s: got %+v", name, list)
		}
	}
}

// TestLimit ends the session that has been silent longest.
func TestLimit(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, func(o *Options) { o.MaxSessions = 3 })
	r.servers(s.address())
	clients := []*client{r.client(), r.client(), r.client()}
	for _, c := range clients {
		c.want("x", "a:x")
	}
	clients[0].want("again", "a:again")
	r.client().want("x", "a:x")
	if n := r.entry.Open(); n != 3 {
		t.Errorf("got %d sessions", n)
	}
	list := r.ended()
	if len(list) != 1 || list[0].Client.String() != clients[1].conn.LocalAddr().String() || list[0].Fault.Kind != fault.OutOfBudget {
		t.Errorf("got %+v", list)
	}
}

// TestNames looks names up without keeping anybody waiting, and again when the server moves.
func TestNames(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	_, port, _ := strings.Cut(s.address(), ":")
	r := start(t, nil)
	release := make(chan struct{})
	var asked atomic.Int64
	r.lives["s@file"] = NewLive(func(ctx context.Context, host string) ([]netip.Addr, error) {
		asked.Add(1)
		select {
		case <-release:
			if host == "gone.test" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r.servers("server.test:" + port)
	c, other := r.client(), r.client()
	for i := range 3 {
		fmt.Fprint(c.conn, i)
	}
	fmt.Fprint(other.conn, "other")
	eventually(t, "both sessions wait", func() bool { return r.entry.Open() == 2 })
	close(release)
	buf := make([]byte, 100)
	for i := range 3 {
		c.conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := c.conn.Read(buf); err != nil || string(buf[:n]) != fmt.Sprint("a:", i) {
			t.Errorf("got %q, %v", buf[:n], err)
		}
	}
	for range 10 {
		c.want("x", "a:x")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	r.servers("gone.test:" + port)
	if !c.silent("x") {
		t.Error("answered by nobody")
	}
	// The other client has said nothing since, so that its session is still the server's.
	eventually(t, "the session ends", func() bool { return r.entry.Open() == 1 })
	list := r.ended()
	if last := list[len(list)-1]; last.Fault == nil || last.Fault.Kind != fault.DialFailed {
		t.Errorf("got %+v", last)
	}
}

// TestHeldIsBounded drops what does not fit while a name is looked up.
func TestHeldIsBounded(t *testing.T) {
	r := start(t, nil)
	r.lives["s@file"] = NewLive(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r.servers("server.test:53")
	var clients []*client
	for range 40 {
		clients = append(clients, r.client())
	}
	held := func() int {
		t := r.lives["s@file"].server("server.test:53")
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.held
	}
	eventually(t, "datagrams wait", func() bool {
		for _, c := range clients {
			c.conn.Write(make([]byte, 9000))
		}
		return held() > maxHeldBytes-9000
	})
	if n := held(); n > maxHeldBytes {
		t.Errorf("%d bytes wait", n)
	}
	r.route(nil)
	eventually(t, "all is given back", func() bool {
		for _, c := range clients {
			c.conn.Write(nil)
		}
		return r.entry.Open() == 0
	})
	if n := held(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// TestShutdown lets sessions go on for the grace, and begins no new ones.
func TestShutdown(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	r.servers(s.address())
	c := r.client()
	c.want("1", "a:1")
	var cut int
	var done sync.WaitGroup
	done.Go(func() { cut = r.shutdown(context.Background()) })
	eventually(t, "it drains", func() bool {
		r.entry.mu.Lock()
		defer r.entry.mu.Unlock()
		return r.entry.draining
	})
	c.want("2", "a:2")
	if !r.client().silent("3") {
		t.Error("a session began")
	}
	done.Wait()
	if cut != 0 {
		t.Errorf("cut %d sessions that had ended", cut)
	}
	if list := r.ended(); len(list) != 1 || list[0].Fault != nil {
		t.Errorf("got %+v", list)
	}
}

// TestGraceIsOver cuts sessions that go on for longer than the grace.
func TestGraceIsOver(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, func(o *Options) { o.Grace = 50 * time.Millisecond })
	r.servers(s.address())
	r.client().want("1", "a:1")
	if cut := r.shutdown(context.Background()); cut != 1 {
		t.Errorf("cut %d", cut)
	}
}

// TestThousands opens thousands of sessions: no goroutine each, and nothing is left when they have timed out.
func TestThousands(t *testing.T) {
	const sessions = 3000
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, func(o *Options) { o.Timeout = time.Second })
	r.servers(s.address())
	r.client().want("x", "a:x")
	before := runtime.NumGoroutine()
	for range sessions {
		r.client().want("x", "a:x")
	}
	if runtime.GOOS == "linux" {
		if n := runtime.NumGoroutine() - before; n > 10 {
			t.Errorf("%d goroutines more for %d sessions", n, sessions)
		}
	}
	eventually(t, "all sessions end", func() bool { return r.entry.Open() == 0 })
	if n := len(r.ended()); n < sessions {
		t.Errorf("got %d records", n)
	}
}

// TestChurn changes everything at once: clients, servers, configuration.
func TestChurn(t *testing.T) {
	var list []string
	for i := range 3 {
		list = append(list, newEcho(t, fmt.Sprint(i), "127.0.0.1:0").address())
	}
	list = append(list, unused(t), "localhost:9")
	r := start(t, func(o *Options) { o.Timeout, o.MaxSessions = 20*time.Millisecond, 40 })
	r.servers(list...)
	var clients sync.WaitGroup
	for range 4 {
		var own []*client
		for range 20 {
			own = append(own, r.client())
		}
		clients.Go(func() {
			for i := range 2000 {
				c := own[i%len(own)]
				c.conn.Write([]byte("x"))
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for i := range 200 {
		switch i % 4 {
		case 0:
			r.servers(list[i%len(list):]...)
		case 1:
			r.route(nil)
		default:
			r.servers(list...)
		}
		time.Sleep(time.Millisecond)
	}
	clients.Wait()
	r.servers(list[:3]...)
	if got := r.client().ask("y"); !strings.HasSuffix(got, ":y") {
		t.Errorf("got %q", got)
	}
	eventually(t, "all sessions end", func() bool { return r.entry.Open() == 0 })
}

// TestEstablishedDoesNotAllocate holds for a datagram and its answer.
func TestEstablishedDoesNotAllocate(t *testing.T) {
	s := newEcho(t, "a", "127.0.0.1:0")
	r := start(t, nil)
	r.servers(s.address())
	c := r.client()
	c.want("x", "a:x")
	r.entry.mu.Lock()
	at := r.entry.idle.next
	r.entry.mu.Unlock()
	p := []byte("x")
	before := s.got.Load()
	n := testing.AllocsPerRun(200, func() {
		r.entry.datagram(p, at.key)
		at.Received(p)
	})
	eventually(t, "the server has got them", func() bool { return s.got.Load() > before })
	if n > 2 { // the server beside us counts too
		t.Errorf("got %v allocations", n)
	}
}

// BenchmarkSession measures a datagram and its answer in a session, and a whole session of one datagram.
func BenchmarkSession(b *testing.B) {
	s := newEcho(b, "a", "127.0.0.1:0")
	r := start(b, nil)
	r.servers(s.address())
	buf := make([]byte, 100)
	b.Run("established", func(b *testing.B) {
		c := r.client()
		for b.Loop() {
			c.conn.Write([]byte("x"))
			c.conn.Read(buf)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			c := r.client()
			c.conn.Write([]byte("x"))
			c.conn.Read(buf)
			c.conn.Close()
		}
	})
}

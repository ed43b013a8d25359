package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/testkit"
)

// switchboard is an in-memory network whose servers can be switched off. Each server says its address.
type switchboard struct {
	mu     sync.Mutex
	off    map[string]bool
	dialed map[string]int
}

func (b *switchboard) set(off bool, addresses ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range addresses {
		b.off[a] = off
	}
}

func (b *switchboard) dial(_ context.Context, _, address string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialed[address]++
	if b.off[address] {
		return nil, errors.New("connection refused")
	}
	ours, theirs := testkit.Pipe()
	go func() {
		defer theirs.Close()
		answer(address)(theirs)
	}()
	return ours, nil
}

// count says how often each server is reached by n clients.
func (b *switchboard) count(t *testing.T, s *Service, n int) string {
	b.mu.Lock()
	clear(b.dialed)
	b.mu.Unlock()
	got := map[string]int{}
	for range n {
		text, r := through(t, s, "x", false)
		if r.Fault != nil {
			text = r.Fault.Kind.Code()
		}
		got[text]++
	}
	return fmt.Sprint(got)
}

var everySecond = &dynamic.TCPHealthCheck{Interval: dynamic.Seconds(1)}

func checkedService(b *switchboard, name string, live *Live, c *dynamic.TCPHealthCheck, addresses ...string) *Service {
	var servers []Server
	for _, a := range addresses {
		servers = append(servers, Server{Address: a})
	}
	s := New(name, servers, live, Options{Dial: b.dial, Health: c})
	s.Publish()
	return s
}

// TestHealth gives servers that are down no connection, and finds them again.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &switchboard{off: map[string]bool{}, dialed: map[string]int{}}
		live := NewLive()
		var mu sync.Mutex
		var told []string
		live.Changed = func(address string, up bool, why error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(address, " ", up))
		}
		s := checkedService(b, "s", live, everySecond, "a:1", "b:1")
		defer func() { s.Close() }()
		if got := b.count(t, s, 4); got != "map[a:1:2 b:1:2]" {
			t.Error(got)
		}
		b.set(true, "b:1")
		time.Sleep(1600 * time.Millisecond)
		if got := b.count(t, s, 4); got != "map[a:1:4]" || b.dialed["b:1"] != 0 {
			t.Error(got, b.dialed)
		}
		if up := s.Status(); !up["a:1"] || up["b:1"] || !s.Up() {
			t.Errorf("got %v", up)
		}
		// Another generation knows what this one found out, and goes on with the round of checks.
		next := checkedService(b, "s", live, everySecond, "b:1", "a:1", "c:1")
		s.Close()
		s = next
		if got := b.count(t, s, 4); got != "map[a:1:2 c:1:2]" {
			t.Error(got)
		}
		// All down: the client is not kept waiting for a dial that cannot succeed.
		b.set(true, "a:1", "c:1")
		time.Sleep(1600 * time.Millisecond)
		if got := b.count(t, s, 3); got != "map[NO-SERVER:3]" || len(b.dialed) != 0 || s.Up() {
			t.Error(got, b.dialed)
		}
		b.set(false, "b:1")
		time.Sleep(1600 * time.Millisecond)
		if got := b.count(t, s, 3); got != "map[b:1:3]" {
			t.Error(got)
		}
		// Another check knows nothing yet.
		next = checkedService(b, "s", live, &dynamic.TCPHealthCheck{Interval: dynamic.Seconds(60)}, "a:1", "b:1")
		s.Close()
		s = next
		if up := s.Status(); !up["a:1"] || !up["b:1"] {
			t.Errorf("got %v", up)
		}
		if got := fmt.Sprint(told); got != "[b:1 false a:1 false c:1 false b:1 true]" && got != "[b:1 false c:1 false a:1 false b:1 true]" {
			t.Errorf("told %s", got)
		}
	})
}

// TestHealthOfATree passes over children all of whose servers are down, where the parent follows.
func TestHealthOfATree(t *testing.T) {
	for _, follow := range []bool{true, false} {
		t.Run(fmt.Sprint("follow ", follow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &switchboard{off: map[string]bool{}, dialed: map[string]int{}}
				one := checkedService(b, "one", NewLive(), everySecond, "a:1", "b:1")
				two := checkedService(b, "two", NewLive(), everySecond, "c:1")
				three := checkedService(b, "three", NewLive(), everySecond, "d:1")
				defer one.Close()
				defer two.Close()
				defer three.Close()
				inner := NewWeighted("inner", []Child{{"one", 2, one, follow}, {"two", 1, two, follow}}, NewLive())
				inner.Publish()
				outer := NewWeighted("outer", []Child{{"inner", 1, inner, follow}, {"three", 1, three, follow}}, NewLive())
				outer.Publish()
				if got := b.count(t, outer, 12); got != "map[a:1:2 b:1:2 c:1:2 d:1:6]" {
					t.Error(got)
				}
				b.set(true, "a:1", "b:1")
				time.Sleep(1600 * time.Millisecond)
				if got := b.count(t, outer, 12); got != "map[c:1:6 d:1:6]" {
					t.Error(got)
				}
				b.set(true, "c:1")
				time.Sleep(1600 * time.Millisecond)
				if got := b.count(t, outer, 12); got != "map[d:1:12]" || b.dialed["a:1"]+b.dialed["c:1"] != 0 {
					t.Error(got, b.dialed)
				}
				if inner.Up() == follow || outer.Up() != true {
					t.Errorf("inner %v, outer %v", inner.Up(), outer.Up())
				}
				b.set(true, "d:1")
				time.Sleep(1600 * time.Millisecond)
				if got := b.count(t, outer, 2); got != "map["+fault.NoServer.Code()+":2]" || len(b.dialed) != 0 {
					t.Error(got, b.dialed)
				}
			})
		})
	}
}

// TestHealthByTLS checks a server in the way that its clients are brought there.
func TestHealthByTLS(t *testing.T) {
	ca := testkit.NewCA(t)
	config := ca.Leaf(t, "db.test").ServerConfig()
	now := time.Now() // the certificates know nothing of the clock below
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := testkit.Pipe()
			go func() {
				defer theirs.Close()
				c := tls.Server(theirs, config)
				if question, _ := testkit.ReadUntil(c, "\n"); question == "well?\n" {
					io.WriteString(c, "well")
				}
				io.Copy(io.Discard, c)
			}()
			return ours, nil
		}
		check := &dynamic.TCPHealthCheck{Interval: dynamic.Seconds(1), Send: "well?\n", Expect: "well"}
		servers := []Server{{Address: "db.test:1", TLS: true}, {Address: "other.test:1", TLS: true}, {Address: "plain.test:1"}}
		s := New("s", servers, NewLive(), Options{Dial: dial, Health: check, TLS: &tls.Config{RootCAs: ca.Pool(), Time: func() time.Time { return now }}, ProxyVersion: 2})
		s.Publish()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		s.Close()
		if got := fmt.Sprint(s.Status()); got != "map[db.test:1:true other.test:1:false plain.test:1:false]" {
			t.Error(got)
		}
	})
}

package docker

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/core/static"
)

// BenchmarkOneChange is the cost of one container's change among a thousand, from the engine's answer to the fragments.
func BenchmarkOneChange(b *testing.B) {
	w := testWorld(nil)
	m := newMerger()
	for i := range 1000 {
		c := makeContainer(b, fmt.Sprintf("c%04d", i), fmt.Sprintf("net=10.0.%d.%d", i/250, i%250+1), "80/tcp", fmt.Sprintf("age=%d", i), "traefik.http.routers."+fmt.Sprintf("r%d", i)+".rule=Host(`a`)",
			fmt.Sprintf("traefik.http.services.s%d.loadbalancer.server.port=80", i))
		m.put(c.id, w.derive(c.id, "container "+c.name, c, live, ""))
	}
	m.snapshot()
	data := []byte(recorded(b, "inspect-1.41.json"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c, err := readContainer(data)
		if err != nil {
			b.Fatal(err)
		}
		p := presence(live)
		if n%2 == 1 {
			p = away
		}
		m.put(c.id, w.derive(c.id, "container "+c.name, c, p, "is exited"))
		if list, _ := m.snapshot(); len(list) != 1001 {
			b.Fatalf("%d fragments", len(list))
		}
	}
}

// BenchmarkOneReplica is the same where the thousand are replicas of one service.
func BenchmarkOneReplica(b *testing.B) {
	w := testWorld(nil)
	m := newMerger()
	var list []*container
	for i := range 1000 {
		list = append(list, makeContainer(b, fmt.Sprintf("c%04d", i), fmt.Sprintf("net=10.0.%d.%d", i/250, i%250+1), "80/tcp", fmt.Sprintf("age=%d", i), "traefik.http.routers.r.rule=Host(`a`)",
			"traefik.http.services.s.loadbalancer.server.port=80"))
		m.put(list[i].id, w.derive(list[i].id, "container "+list[i].name, list[i], live, ""))
	}
	m.snapshot()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c := list[500]
		p := presence(live)
		if n%2 == 1 {
			p = away
		}
		m.put(c.id, w.derive(c.id, "container "+c.name, c, p, "is exited"))
		m.snapshot()
	}
}

// BenchmarkEvent is the cost of an event to the follower itself, with a thousand containers known.
func BenchmarkEvent(b *testing.B) {
	o := static.Docker{}
	o.SetDefaults()
	f := &follower{settings: dockerSettings(&o)[0], members: map[string]*member{}, changed: map[string]bool{}, self: func(string) bool { return false },
		host: func() string { return "127.0.0.1" }, publish: func([]change, bool) {}, synced: true}
	f.settings.watch = false
	for i := range 1000 {
		c := makeContainer(b, fmt.Sprintf("c%04d", i), fmt.Sprintf("net=10.0.%d.%d", i/250, i%250+1), "80/tcp")
		f.members[c.id] = &member{id: c.id, c: c, seen: true, asking: -1}
	}
	now := time.Now()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%2 == 0 {
			f.event(event{id: "c0500", action: "pause"})
		} else {
			c := *f.members["c0500"].c
			c.status = stateRunning
			f.known(f.members["c0500"], &c)
		}
		f.settle(now)
	}
}

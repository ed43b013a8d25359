package engine

import (
	"fmt"
	"log/slog"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/watch"
)

// fragments makes n fragments, each with a router and a service of its own, as a directory of small files has them.
func fragments(n int) []*dynamic.Fragment {
	out := make([]*dynamic.Fragment, n)
	for i := range out {
		out[i] = oneRouter(i, "10.0.0.1")
	}
	return out
}

func oneRouter(i int, server string) *dynamic.Fragment {
	name := fmt.Sprintf("r%d", i)
	lb := &dynamic.LoadBalancer{}
	lb.SetDefaults()
	lb.Servers = []*dynamic.Server{{URL: fmt.Sprintf("http://%s:%d", server, 1024+i%50000)}}
	return &dynamic.Fragment{Name: name, Config: &dynamic.Config{HTTP: &dynamic.HTTP{
		Routers: map[string]*dynamic.Router{name: {EntryPoints: []string{"web"}, Service: name,
			Rule: fmt.Sprintf("Host(`host%d.example.com`) && PathPrefix(`/api`)", i)}},
		Services: map[string]*dynamic.Service{name: {LoadBalancer: lb}},
	}}}
}

func snapshot(f []*dynamic.Fragment) []dynamic.Snapshot {
	return []dynamic.Snapshot{{Provider: "file", Fragments: f}}
}

// BenchmarkChange is one small file that changes among 10 000: plan and engine together.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := static.New()
			c.EntryPoints["web"] = &static.EntryPoint{Address: "127.0.0.1:0"}
			st := static.Effective(c)
			var current entrypoint.Current
			w := watch.New()
			e := New(Options{Static: st, Log: slog.New(slog.DiscardHandler), Watch: w, EntryPoints: []string{"web"}, Current: &current})
			list := fragments(n)
			p := plan.Build(nil, st, snapshot(list))
			e.Apply(p)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := append([]*dynamic.Fragment{}, list...)
				next[i%n] = oneRouter(i%n, fmt.Sprintf("10.0.1.%d", i%250))
				p = plan.Build(p, st, snapshot(next))
				e.Apply(p)
				list = next
			}
		})
	}
}

// BenchmarkRewrite is all of 10 000 routers read anew with the same content.
func BenchmarkRewrite(b *testing.B) {
	c := static.New()
	c.EntryPoints["web"] = &static.EntryPoint{Address: "127.0.0.1:0"}
	st := static.Effective(c)
	var current entrypoint.Current
	e := New(Options{Static: st, Log: slog.New(slog.DiscardHandler), Watch: watch.New(), EntryPoints: []string{"web"}, Current: &current})
	p := plan.Build(nil, st, snapshot(fragments(10000)))
	e.Apply(p)
	for b.Loop() {
		b.StopTimer()
		next := fragments(10000)
		b.StartTimer()
		p = plan.Build(p, st, snapshot(next))
		e.Apply(p)
	}
}

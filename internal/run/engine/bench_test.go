package engine

import (
	"fmt"
	"log/slog"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/traffic/datagram"
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
	r := &dynamic.Router{EntryPoints: []string{"web"}, Service: name, Rule: fmt.Sprintf("Host(`host%d.example.com`) && PathPrefix(`/api`)", i)}
	if i%2 == 0 {
		r.EntryPoints, r.TLS = []string{"websecure"}, &dynamic.RouterTLS{}
	}
	return &dynamic.Fragment{Name: name, Config: &dynamic.Config{HTTP: &dynamic.HTTP{
		Routers: map[string]*dynamic.Router{name: r}, Services: map[string]*dynamic.Service{name: {LoadBalancer: lb}},
	}}}
}

// joined puts the elements of fragments into one, as one large file has them.
func joined(list []*dynamic.Fragment) *dynamic.Fragment {
	out := &dynamic.Fragment{Name: "all", Config: &dynamic.Config{HTTP: &dynamic.HTTP{
		Routers: map[string]*dynamic.Router{}, Services: map[string]*dynamic.Service{}}}}
	for _, f := range list {
		for name, r := range f.Config.HTTP.Routers {
			out.Config.HTTP.Routers[name] = r
		}
		for name, s := range f.Config.HTTP.Services {
			out.Config.HTTP.Services[name] = s
		}
	}
	return out
}

func snapshot(f ...*dynamic.Fragment) []dynamic.Snapshot {
	return []dynamic.Snapshot{{Provider: "file", Fragments: f}}
}

// bed is an engine with what it needs around it.
type bed struct {
	*Engine
	static    *static.Config
	current   entrypoint.Current
	datagrams datagram.Current
	plan      *plan.Plan
}

func newBed() *bed {
	c := static.New()
	c.EntryPoints["web"] = &static.EntryPoint{Address: ":80"}
	c.EntryPoints["websecure"] = &static.EntryPoint{Address: ":443"}
	b := &bed{static: static.Effective(c)}
	b.Engine = New(Options{Static: b.static, Log: slog.New(slog.DiscardHandler), Watch: watch.New(), EntryPoints: []string{"web", "websecure"},
		Current: &b.current, Datagrams: &b.datagrams})
	return b
}

func (b *bed) apply(f ...*dynamic.Fragment) {
	b.plan = plan.Build(b.plan, b.static, snapshot(f...))
	b.Apply(b.plan)
}

// BenchmarkChange is one small file that changes among many: plan and engine together. cpu-ms/op is the CPU time of the
// whole process, the garbage collector's included.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bed := newBed()
			list := fragments(n)
			bed.apply(list...)
			b.ReportAllocs()
			cpu := startCPU()
			for i := 0; b.Loop(); i++ {
				list = append([]*dynamic.Fragment{}, list...)
				list[i%n] = oneRouter(i%n, fmt.Sprintf("10.0.1.%d", i%250))
				bed.apply(list...)
			}
			cpu.report(b)
		})
	}
}

// BenchmarkRewrite is one file with 10 000 routers that is read anew, with one router changed.
func BenchmarkRewrite(b *testing.B) {
	bed := newBed()
	bed.apply(joined(fragments(10_000)))
	b.ReportAllocs()
	cpu := startCPU()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		cpu.stop()
		list := fragments(10_000)
		list[i] = oneRouter(i, "10.0.1.1")
		next := joined(list)
		cpu.start()
		b.StartTimer()
		bed.apply(next)
	}
	cpu.report(b)
}

// BenchmarkBuild is the first configuration: everything is made from nothing.
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := fragments(n)
			b.ReportAllocs()
			cpu := startCPU()
			for b.Loop() {
				newBed().apply(list...)
			}
			cpu.report(b)
		})
	}
}

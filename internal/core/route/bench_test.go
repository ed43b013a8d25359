package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sluice/internal/core/rule"
)

var sizes = []int{10, 1_000, 10_000, 100_000}

// shapes are ways in which people have many routers, each with a request that matches router i.
var shapes = []struct {
	name    string
	rule    func(i int) string
	request func(i int) (host, path string)
}{
	{"hosts",
		func(i int) string { return fmt.Sprintf("Host(`app-%d.example.com`)", i) },
		func(i int) (string, string) { return fmt.Sprintf("app-%d.example.com", i), "/index.html" }},
	{"paths",
		func(i int) string { return fmt.Sprintf("Host(`www.example.com`) && PathPrefix(`/team-%d/`)", i) },
		func(i int) (string, string) { return "www.example.com", fmt.Sprintf("/team-%d/index.html", i) }},
	{"wildcards",
		func(i int) string { return fmt.Sprintf("Host(`*.app-%d.example.com`)", i) },
		func(i int) (string, string) { return fmt.Sprintf("x.app-%d.example.com", i), "/index.html" }},
	{"mixed",
		func(i int) string {
			switch i % 4 {
			case 0:
				return fmt.Sprintf("Host(`app-%d.example.com`, `www.app-%d.example.com`) && PathPrefix(`/api`) && Method(`GET`, `POST`)", i, i)
			case 1:
				return fmt.Sprintf("Host(`*.app-%d.example.com`)", i)
			case 2:
				return fmt.Sprintf("(Host(`app-%d.example.com`) || Host(`old-%d.example.com`)) && !PathPrefix(`/admin`)", i, i)
			}
			return fmt.Sprintf("PathPrefix(`/shared/%d/`) && !Host(`app-1.example.com`)", i)
		},
		func(i int) (string, string) {
			switch i % 4 {
			case 0:
				return fmt.Sprintf("www.app-%d.example.com", i), "/api/v1"
			case 1:
				return fmt.Sprintf("x.app-%d.example.com", i), "/"
			case 2:
				return fmt.Sprintf("old-%d.example.com", i), "/"
			}
			return "any.example.org", fmt.Sprintf("/shared/%d/x", i)
		}},
}

func benchEntries(b *testing.B, text func(int) string, n int) []Entry {
	out := make([]Entry, n)
	for i := range out {
		r := parse(b, text(i), rule.V3, rule.HTTP)
		out[i] = Entry{Rule: r, Priority: r.DefaultPriority(), Tie: fmt.Sprintf("router-%d@docker", i)}
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.compare(&b) })
	return out
}

func BenchmarkLookup(b *testing.B) {
	for _, s := range shapes {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				table := CompileHTTP(nil, benchEntries(b, s.rule, n))
				rnd := rand.New(rand.NewPCG(1, 1))
				reqs := make([]Request, 8192)
				for i := range reqs {
					host, path := s.request(rnd.IntN(n))
					reqs[i] = Request{Host: []byte(host), Path: []byte(path), Method: []byte("GET")}
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok := table.Lookup(&reqs[i%len(reqs)]); !ok {
						b.Fatalf("no match for %s%s", reqs[i%len(reqs)].Host, reqs[i%len(reqs)].Path)
					}
					i++
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, s := range shapes {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				entries := benchEntries(b, s.rule, n)
				b.ReportAllocs()
				for b.Loop() {
					CompileHTTP(nil, entries)
				}
			})
		}
	}
}

// BenchmarkChange replaces one router among 10 000 with another.
func BenchmarkChange(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			const n = 10_000
			entries := benchEntries(b, s.rule, n)
			other := slices.Clone(entries)
			spare := parse(b, s.rule(n+1), rule.V3, rule.HTTP)
			other[n/2] = Entry{Rule: spare, Priority: other[n/2].Priority, Tie: other[n/2].Tie}
			table := CompileHTTP(nil, entries)
			b.ReportAllocs()
			for b.Loop() {
				table = CompileHTTP(table, other)
				entries, other = other, entries
			}
		})
	}
}

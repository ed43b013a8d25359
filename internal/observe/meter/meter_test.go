package meter

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
)

type fieldList [][2]string

func (f fieldList) Len() int                         { return len(f) }
func (f fieldList) Field(i int) (name, value string) { return f[i][0], f[i][1] }

func request(router, service string, status int) *record.Record {
	return &record.Record{EntryPoint: "web", Router: router, Service: service, Method: "GET", Protocol: record.HTTP, GRPCStatus: -1,
		Status: status, OriginStatus: status, BytesIn: 1, BytesOut: 10, Duration: 300 * time.Millisecond, OriginDuration: 200 * time.Millisecond}
}

func all() Options {
	return Options{EntryPoints: true, Routers: true, Services: true, Bounds: []float64{0.1, 0.25, 1}}
}

// shown is every series of request counts as text.
func shown(m *Meter) map[string]uint64 {
	out := map[string]uint64{}
	m.Counts.Peek(func(k Requests, v *atomic.Uint64) {
		name := fmt.Sprintf("%s %s %d %s %s", k.Level, strings.TrimSpace(k.Name+" "+k.Service), k.Code, k.Method, k.Protocol)
		if k.Headers != "" {
			name += " " + strings.ReplaceAll(k.Headers, "\x00", ",")
		}
		out[name] += v.Load()
	})
	return out
}

func TestLevels(t *testing.T) {
	m := New(all())
	m.Record(request("r@file", "s@file", 200))
	changed := request("r@file", "s@file", 404) // the errors middleware made a page of the server's answer
	changed.OriginStatus = 500
	changed.Retries = 2
	m.Record(changed)
	own := request("r@file", "", 401)
	own.OriginStatus, own.OriginDuration = 0, 0
	m.Record(own)
	m.Record(request("ping@internal", "ping@internal", 200))
	quiet := request("q@file", "s@file", 200)
	quiet.Quiet.Metrics = true
	m.Record(quiet)
	lost := request("", "", 404)
	lost.OriginStatus, lost.Method, lost.Fault = 0, "BREW\xff", fault.New(fault.NoRouter, "no", nil)
	m.Record(lost)
	call := request("r@file", "s@file", 200)
	call.Method, call.Protocol, call.GRPCStatus = "POST", record.GRPC, 7
	m.Record(call)
	got := shown(m)
	for name, want := range map[string]uint64{
		"entrypoint web 200 GET http": 1, "entrypoint web 404 GET http": 1, "entrypoint web 401 GET http": 1,
		"entrypoint web 404 NON_UTF8_HTTP_METHOD http": 1, "entrypoint web 7 POST grpc": 1,
		"router r@file s@file 200 GET http": 1, "router r@file s@file 404 GET http": 1, "router r@file 401 GET http": 1, "router r@file s@file 7 POST grpc": 1,
		"service s@file 200 GET http": 1, "service s@file 500 GET http": 1, "service s@file 7 POST grpc": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %d, want %d", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more: %v", got)
	}
	if n := m.Retries.at("s@file", "").Load(); n != 2 {
		t.Errorf("retries: %d", n)
	}
	if n := m.Faults.at(Faults{"web", "NO-ROUTER", "proxy"}, Faults{}).Load(); n != 1 {
		t.Errorf("faults: %d", n)
	}
	ep := m.Traffic.at(Requests{Subject: Subject{EntryPoint, "web", ""}, Code: 200, Method: "GET", Protocol: "http"}, Requests{})
	if count, sum, upTo := ep.Durations.Read(); count != 1 || sum != 300*time.Millisecond || fmt.Sprint(upTo) != "[0 0 1]" || ep.BytesOut.Load() != 10 {
		t.Errorf("durations: %d %v %v", count, sum, upTo)
	}
	s := m.Traffic.at(Requests{Subject: Subject{Service, "s@file", ""}, Code: 200, Method: "GET", Protocol: "http"}, Requests{})
	if _, _, upTo := s.Durations.Read(); fmt.Sprint(upTo) != "[0 1 1]" {
		t.Errorf("the server's durations: %v", upTo)
	}
	if count, _, _ := m.Overhead.Read(); count != 3 {
		t.Errorf("overhead: %d", count)
	}
}

func TestConnections(t *testing.T) {
	m := New(all())
	m.Record(&record.Record{EntryPoint: "web", Router: "vm@file", Service: "vm@file", SNI: "vm.test", Passthrough: true, BytesIn: 3, BytesOut: 4})
	m.Record(&record.Record{EntryPoint: "web", Router: "db@file", Service: "db@file"})
	m.Record(&record.Record{EntryPoint: "web", Fault: fault.New(fault.RequestTimeout, "slow", nil)})
	if f := m.Tunnels.at(Tunnels{"web", "vm@file", "vm@file", "passthrough"}, Tunnels{}); f.Count.Load() != 1 || f.BytesIn.Load() != 3 || f.BytesOut.Load() != 4 {
		t.Errorf("passthrough: %+v", f)
	}
	if m.Tunnels.Len() != 2 || m.Counts.Len() != 0 || m.Faults.Len() != 1 {
		t.Errorf("%d tunnels, %d counts, %d faults", m.Tunnels.Len(), m.Counts.Len(), m.Faults.Len())
	}
}

// Whatever clients send and however many routers there are, memory is bounded, and nothing goes uncounted.
func TestBounded(t *testing.T) {
	o := all()
	o.MaxSeries, o.Headers = 100, []string{"X-Tenant", "X-Zone"}
	m := New(o)
	const n = 1000
	for i := range n {
		r := request(fmt.Sprintf("r%d@file", i), fmt.Sprintf("s%d@file", i), 200+i%300)
		r.Request = fieldList{{"x-tenant", fmt.Sprint(i)}}
		m.Record(r)
	}
	if m.Counts.Len() > 2000 || m.Traffic.Len() > 2000 {
		t.Errorf("%d and %d series", m.Counts.Len(), m.Traffic.Len())
	}
	var counted uint64
	m.Counts.Peek(func(k Requests, v *atomic.Uint64) {
		counted += v.Load()
		if len(strings.Split(k.Headers, "\x00")) != 2 {
			t.Errorf("labels %q", k.Headers)
		}
	})
	if counted != 3*n {
		t.Errorf("%d requests counted", counted)
	}
}

// The series of what is gone are read once more; those of what came back stay.
func TestRetain(t *testing.T) {
	m := New(all())
	m.Record(request("old@file", "old@file", 200))
	m.Record(request("new@file", "new@file", 200))
	m.Retain(func(_ Level, name string) bool { return name == "new@file" })
	names := func() (out []string) {
		m.Counts.Each(func(k Requests, _ *atomic.Uint64) { out = append(out, k.Name) })
		return out
	}
	if got := len(names()); got != 5 {
		t.Errorf("the first reading sees %d series", got)
	}
	if got := len(names()); got != 3 {
		t.Errorf("the second reading sees %d series", got)
	}
	m.Retain(func(Level, string) bool { return false })
	m.Record(request("new@file", "new@file", 200))
	m.Retain(func(Level, string) bool { return true })
	names()
	if got := len(names()); got != 3 {
		t.Errorf("after it came back: %d", got)
	}
}

func TestConcurrent(t *testing.T) {
	m := New(all())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				m.Record(request(fmt.Sprint("r", i%7), "s", 200))
				if i%100 == 0 {
					m.Retain(func(Level, string) bool { return true })
					m.Counts.Each(func(Requests, *atomic.Uint64) {})
				}
			}
		})
	}
	wg.Wait()
	var n uint64
	m.Counts.Peek(func(k Requests, v *atomic.Uint64) {
		if k.Level == Router {
			n += v.Load()
		}
	})
	if n != 4000 {
		t.Errorf("%d counted", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	m := New(all())
	r := request("r@file", "s@file", 200)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Record(r)
		}
	})
}

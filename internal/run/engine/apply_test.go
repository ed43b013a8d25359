package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// inventory lists all that an engine holds, by keys that do not depend on how it came to hold it.
func (b *bed) inventory() string {
	var lines []string
	list := func(kind string, keys ...string) {
		for _, key := range keys {
			lines = append(lines, kind+" "+key)
		}
	}
	for id, s := range b.services {
		list("service", s.name.String()+" "+s.live)
		if n := b.Engine.plan.HTTP.Services.Get(s.name); n == nil || n.Identity != id {
			list("stale service", s.name.String())
		}
	}
	for id, s := range b.tunnels {
		list("tunnel", fmt.Sprint(s.name, len(s.machines), s.refused))
		if n := b.Engine.plan.TCP.Services.Get(s.name); n == nil || n.Identity != id {
			list("stale tunnel", s.name.String())
		}
	}
	list("live", slices.Collect(maps.Keys(b.lives))...)
	list("round", slices.Collect(maps.Keys(b.rounds))...)
	list("transport", slices.Collect(maps.Keys(b.transports))...)
	for _, name := range b.o.EntryPoints {
		ep, routes := b.plan.EntryPoints[name], b.generation.Routes[slices.Index(b.o.EntryPoints, name)]
		for i, r := range ep.Plain {
			list("plain", fmt.Sprintf("%s %d %s %T", name, i, r.Name, routes.Plain.Routers[i].Handler), routes.Plain.Routers[i].Name)
		}
		for i, r := range ep.Secure {
			list("secure", fmt.Sprintf("%s %d %s %T", name, i, r.Name, routes.Secure.Routers[i].Handler), routes.Secure.Routers[i].Name)
		}
		for i, r := range ep.TCP {
			list("tcp", fmt.Sprint(name, i, r.Name, routes.TCP[i].Name, routes.TCP[i].Serve != nil))
		}
		for i, r := range ep.TLS {
			list("tls", fmt.Sprint(name, i, r.Name, routes.TLS[i].Name, routes.TLS[i].Serve != nil, routes.TLS[i].TLS != nil, routes.TLS[i].Machine != nil))
		}
		for i, o := range routes.Options {
			if (o == nil) != (ep.Options[i].Effective == nil) {
				list("options", fmt.Sprint(name, i, o))
			}
		}
	}
	b.named.Range(func(name, s any) bool {
		list("named", fmt.Sprint(name, s.(*service).name, len(s.(*service).balancers)))
		return true
	})
	list("chains", fmt.Sprint(len(b.chains)))
	for _, f := range b.findings() {
		list("finding", f.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// someFragment makes a few elements out of few names, so that services are shared, come back, and lose their users.
func someFragment(rnd *rand.Rand, name string) *dynamic.Fragment {
	pick := func(words string) string {
		list := strings.Split(words, " ")
		return list[rnd.IntN(len(list))]
	}
	c := &dynamic.Config{HTTP: &dynamic.HTTP{Routers: map[string]*dynamic.Router{}, Services: map[string]*dynamic.Service{},
		Middlewares: map[string]*dynamic.Middleware{}, ServersTransports: map[string]*dynamic.ServersTransport{}},
		TCP: &dynamic.TCP{Routers: map[string]*dynamic.TCPRouter{}, Services: map[string]*dynamic.TCPService{}, Middlewares: map[string]*dynamic.TCPMiddleware{}}}
	for range 1 + rnd.IntN(3) {
		switch rnd.IntN(8) {
		case 0, 1, 2:
			c.HTTP.Routers[pick("r1 r2 r3 r4")] = &dynamic.Router{Rule: "Host(`" + pick("a b c") + "`)", Service: pick("s1 s2 s3"),
				Middlewares: strings.Fields(pick("m1 m2 m3  ")), EntryPoints: []string{pick("web websecure")}}
		case 3, 4:
			lb := &dynamic.LoadBalancer{Servers: []*dynamic.Server{{URL: "http://10.0.0." + pick("1 2 3")}}, ServersTransport: pick("t1 t2")}
			lb.SetDefaults()
			if rnd.IntN(2) == 0 {
				lb.ServersTransport = ""
			}
			c.HTTP.Services[pick("s1 s2 s3")] = &dynamic.Service{LoadBalancer: lb, Middlewares: strings.Fields(pick("m1 m2   "))}
			if rnd.IntN(3) == 0 {
				c.HTTP.Services["s3"] = &dynamic.Service{Weighted: &dynamic.Weighted{Services: []*dynamic.WeightedChild{{Name: pick("s1 s2")}}}}
			}
		case 5:
			m := &dynamic.Middleware{InFlightReq: &dynamic.InFlightReq{Amount: int64(1 + rnd.IntN(2))}}
			if rnd.IntN(2) == 0 {
				m = &dynamic.Middleware{Errors: &dynamic.Errors{Status: []string{pick("500 x")}, Service: pick("s1 s2"), Query: "/"}}
			}
			c.HTTP.Middlewares[pick("m1 m2 m3")] = m
		case 6:
			c.HTTP.ServersTransports[pick("t1 t2")] = &dynamic.ServersTransport{ServerName: pick("a b"), MaxIdleConnsPerHost: 10}
		case 7:
			c.TCP.Routers[pick("r1 r2")] = &dynamic.TCPRouter{Rule: "HostSNI(`" + pick("a b c") + "`)", Service: pick("s1 s2"), EntryPoints: []string{"websecure"},
				Middlewares: strings.Fields(pick("m1  ")), TLS: &dynamic.TCPRouterTLS{Passthrough: rnd.IntN(2) == 0}}
			c.TCP.Services[pick("s1 s2")] = &dynamic.TCPService{LoadBalancer: &dynamic.TCPLoadBalancer{Servers: []*dynamic.TCPServer{{Address: "10.0.0." + pick("1 2") + ":1"}}}}
			c.TCP.Middlewares["m1"] = &dynamic.TCPMiddleware{InFlightConn: &dynamic.InFlightConn{Amount: 1}}
		}
	}
	return &dynamic.Fragment{Name: name, Config: c}
}

// TestApplyAgreesWithNothing applies many changes one after the other. After each the engine holds what one holds that has
// seen only the last plan: nothing is missing and nothing is left over.
func TestApplyAgreesWithNothing(t *testing.T) {
	for seed := range 6 {
		rnd := rand.New(rand.NewPCG(uint64(seed), 5))
		changed := newBed()
		fragments := map[string]*dynamic.Fragment{}
		for step := range 60 {
			name := fmt.Sprint("f", rnd.IntN(8))
			if fragments[name] = someFragment(rnd, name); rnd.IntN(4) == 0 {
				delete(fragments, name)
			}
			var list []*dynamic.Fragment
			for _, name := range slices.Sorted(maps.Keys(fragments)) {
				list = append(list, fragments[name])
			}
			changed.apply(list...)
			fresh := newBed()
			fresh.apply(list...)
			got, want := changed.inventory(), fresh.inventory()
			fresh.Close()
			if got != want {
				t.Fatalf("seed %d, step %d: got\n%s\n\nwant\n%s", seed, step, got, want)
			}
		}
		changed.Close()
		if n := len(changed.services) + len(changed.tunnels) + len(changed.lives) + len(changed.transports) + len(changed.rounds); n > 0 {
			t.Errorf("a closed engine holds %d objects", n)
		}
	}
}

// TestApplyKeepsWhatStays changes one of two routers: the other keeps its chain, its service and its state.
func TestApplyKeepsWhatStays(t *testing.T) {
	b := newBed()
	defer b.Close()
	list := fragments(2)
	b.apply(list...)
	name := plan.Name{Local: "r0", Provider: "file"}
	before := b.services[b.plan.HTTP.Services.Get(name).Identity]
	handler := b.generation.Routes[1].Secure.Routers[0].Handler
	b.apply(list[0], oneRouter(1, "10.0.9.9"))
	if b.services[b.plan.HTTP.Services.Get(name).Identity] != before {
		t.Error("the service of the other router was built again")
	}
	if b.generation.Routes[1].Secure.Routers[0].Handler != handler {
		t.Error("the chain of the other router was built again")
	}
	same := *list[0]
	b.apply(&same, oneRouter(1, "10.0.9.9"))
	if b.services[b.plan.HTTP.Services.Get(name).Identity] != before {
		t.Error("the service was built again when its file was read again")
	}
}

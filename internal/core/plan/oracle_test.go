package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
	"sluice/internal/core/secret"
	"sluice/internal/core/static"
)

// garden is a set of fragments that a random gardener edits. Names, hosts and paths are few, so that elements refer to
// each other, are missed, get duplicated, go in circles and stand in each other's way.
type garden struct {
	rnd       *rand.Rand
	fragments map[string]map[string]*dynamic.Fragment // by provider and name
	layers    bool                                    // routers stand below others
}

func (g *garden) pick(words string) string {
	list := strings.Split(words, " ")
	return list[g.rnd.IntN(len(list))]
}

// some returns up to n random words.
func (g *garden) some(n int, words string) (out []string) {
	for range g.rnd.IntN(n + 1) {
		out = append(out, g.pick(words))
	}
	return out
}

const (
	serviceNames    = "s1 s2 s3 s4 s5 s1@docker s2@file nobody noop@internal"
	middlewareNames = "m1 m2 m3 m4 m1@docker m2@file nobody"
	optionNames     = "default strict lax strict@docker nobody"
	hosts           = "a.test b.test *.test x.a.test *.a.test *"
)

func (g *garden) rule() string {
	host := "Host(`" + g.pick(hosts) + "`)"
	switch g.rnd.IntN(12) {
	case 0:
		return "PathPrefix(`" + g.pick("/ /a /a/b") + "`)"
	case 1:
		return host + " && PathPrefix(`" + g.pick("/ /a /a/b") + "`)"
	case 2:
		return host + " || Host(`" + g.pick(hosts) + "`)"
	case 3:
		return "HostRegexp(`" + g.pick("^.+$ ^a") + "`)"
	case 4:
		return host + " && Method(`GET`)"
	case 5:
		return "!" + host
	case 6:
		return g.pick("Hots(`a`) Host( Path(`a`)")
	case 7:
		return host + " && Path(`" + g.pick("/a /a/b") + "`)"
	}
	return host
}

func (g *garden) router() *dynamic.Router {
	r := &dynamic.Router{Rule: g.rule(), Service: g.pick(serviceNames), Middlewares: g.some(2, middlewareNames), EntryPoints: g.some(2, "web web websecure alt wbe")}
	if g.rnd.IntN(4) == 0 {
		r.Priority = g.rnd.IntN(30)
	}
	if g.rnd.IntN(3) == 0 {
		r.TLS = &dynamic.RouterTLS{Options: g.pick(optionNames)}
	}
	if g.layers && g.rnd.IntN(2) == 0 {
		r.ParentRefs = append(g.some(1, "r1 r2 r3 r4 r5 r6 r1@docker nobody"), g.pick("r1 r2 r3 r4"))
		if g.rnd.IntN(5) > 0 {
			r.TLS, r.EntryPoints = nil, nil
		}
	}
	if g.layers && g.rnd.IntN(2) == 0 {
		r.Service = ""
	}
	return r
}

func (g *garden) service() *dynamic.Service {
	switch g.rnd.IntN(8) {
	case 0:
		return &dynamic.Service{Weighted: &dynamic.Weighted{Services: []*dynamic.WeightedChild{{Name: g.pick(serviceNames)}, {Name: g.pick(serviceNames)}}}}
	case 1:
		return &dynamic.Service{Mirroring: &dynamic.Mirroring{Service: g.pick(serviceNames)}}
	case 2:
		return &dynamic.Service{}
	case 3:
		return &dynamic.Service{Weighted: &dynamic.Weighted{}}
	}
	lb := &dynamic.LoadBalancer{ServersTransport: g.pick("t1 t2") + g.pick("@file @docker")}
	if g.rnd.IntN(3) > 0 {
		lb.ServersTransport = ""
	}
	for range g.rnd.IntN(3) {
		lb.Servers = append(lb.Servers, &dynamic.Server{URL: g.pick("http://10.0.0.1 http://127.0.0.1 http://10.0.0.300 http://a.test ftp://x")})
	}
	s := &dynamic.Service{LoadBalancer: lb}
	if g.rnd.IntN(4) == 0 {
		s.Middlewares = g.some(2, middlewareNames)
	}
	return s
}

func (g *garden) middleware() *dynamic.Middleware {
	switch g.rnd.IntN(9) {
	case 6:
		return &dynamic.Middleware{RedirectRegex: &dynamic.RedirectRegex{Regex: g.pick("^http://a.test/(.*) ^(.*)$ ("), Replacement: "http://" + g.pick("a b") + ".test/x/$1"}}
	case 7:
		return &dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{Prefixes: []string{g.pick("/a /c")}}}
	case 8:
		return &dynamic.Middleware{RedirectScheme: &dynamic.RedirectScheme{Scheme: g.pick("http https")}}
	case 0:
		return &dynamic.Middleware{Chain: &dynamic.Chain{Middlewares: g.some(3, middlewareNames)}}
	case 1:
		return &dynamic.Middleware{Errors: &dynamic.Errors{Service: g.pick(serviceNames), Status: []string{"500"}, Query: "/e"}}
	case 2:
		return &dynamic.Middleware{}
	case 3:
		return &dynamic.Middleware{BasicAuth: &dynamic.BasicAuth{Users: []secret.String{secret.New("a:b")}}}
	}
	return &dynamic.Middleware{AddPrefix: &dynamic.AddPrefix{Prefix: g.pick("/a /b")}}
}

func (g *garden) tcpRouter() *dynamic.TCPRouter {
	r := &dynamic.TCPRouter{Rule: "HostSNI(`" + g.pick(hosts) + "`)", Service: g.pick("s1 s2 nobody"), EntryPoints: g.some(2, "web websecure alt")}
	if g.rnd.IntN(3) > 0 {
		r.TLS = &dynamic.TCPRouterTLS{Passthrough: g.rnd.IntN(2) == 0, Options: g.pick(optionNames)}
	}
	if g.rnd.IntN(4) == 0 {
		r.Middlewares = g.some(2, "m1 m2")
	}
	return r
}

func (g *garden) options() *dynamic.TLSOptions {
	o := dynamic.BuiltinTLSOptions()
	o.SNIStrict = g.rnd.IntN(2) == 0
	if g.rnd.IntN(3) == 0 {
		o.MinVersion = g.pick("VersionTLS13 VersionTLS19")
	}
	return o
}

// fragment makes a fragment with a few elements.
func (g *garden) fragment(name string) *dynamic.Fragment {
	c := &dynamic.Config{HTTP: &dynamic.HTTP{Routers: map[string]*dynamic.Router{}, Services: map[string]*dynamic.Service{},
		Middlewares: map[string]*dynamic.Middleware{}, ServersTransports: map[string]*dynamic.ServersTransport{}}}
	for range 1 + g.rnd.IntN(4) {
		switch g.rnd.IntN(14) {
		default:
			c.HTTP.Routers[g.pick("r1 r2 r3 r4 r5 r6 web-r1 alt-r2")] = g.router()
		case 5, 6, 7:
			c.HTTP.Services[g.pick("s1 s2 s3 s4 s5")] = g.service()
		case 8, 9:
			c.HTTP.Middlewares[g.pick("m1 m2 m3 m4")] = g.middleware()
		case 10:
			c.HTTP.ServersTransports[g.pick("t1 t2")] = &dynamic.ServersTransport{InsecureSkipVerify: g.rnd.IntN(2) == 0}
		case 11:
			c.TCP = &dynamic.TCP{Routers: map[string]*dynamic.TCPRouter{g.pick("r1 r2"): g.tcpRouter()},
				Services:    map[string]*dynamic.TCPService{g.pick("s1 s2"): {LoadBalancer: &dynamic.TCPLoadBalancer{Servers: []*dynamic.TCPServer{{Address: g.pick("10.0.0.1:1 x")}}}}},
				Middlewares: map[string]*dynamic.TCPMiddleware{g.pick("m1 m2"): {InFlightConn: &dynamic.InFlightConn{Amount: 1}}}}
			if g.rnd.IntN(3) == 0 {
				c.TCP.Services["s2"] = &dynamic.TCPService{Weighted: &dynamic.TCPWeighted{Services: []*dynamic.WeightedChild{{Name: g.pick("s1 s2 nobody")}}}}
			}
		case 12:
			c.TLS = &dynamic.TLS{Options: map[string]*dynamic.TLSOptions{g.pick("default strict lax"): g.options()}}
			if g.rnd.IntN(2) == 0 {
				c.TLS.Stores = map[string]*dynamic.TLSStore{g.pick("default other"): {}}
			}
		case 13:
			c.UDP = &dynamic.UDP{Routers: map[string]*dynamic.UDPRouter{g.pick("r1 r2"): {Service: g.pick("s1 s2 nobody"), EntryPoints: g.some(1, "udp web")}},
				Services: map[string]*dynamic.UDPService{g.pick("s1 s2"): {Weighted: &dynamic.UDPWeighted{Services: []*dynamic.WeightedChild{{Name: g.pick("s1 s2 nobody")}}}}}}
		}
	}
	f := &dynamic.Fragment{Name: name, Config: c}
	if g.rnd.IntN(5) == 0 {
		f.Findings = diag.List{{Place: diag.Place{Source: name}, Severity: diag.Error, Key: "http.routers.r1", Code: "UNKNOWN-KEY", Message: "no such key"}}
		f.Broken = map[string]diag.List{"http.routers.r1": f.Findings}
	}
	return f
}

// edit changes, adds or removes one fragment, or several.
func (g *garden) edit() {
	for range 1 + g.rnd.IntN(3)*g.rnd.IntN(2) {
		provider, name := g.pick("file file docker"), fmt.Sprint("f", g.rnd.IntN(9))
		if g.fragments[provider] == nil {
			g.fragments[provider] = map[string]*dynamic.Fragment{}
		}
		switch g.rnd.IntN(4) {
		case 0:
			delete(g.fragments[provider], name)
		case 1: // read anew with the same content
			if f := g.fragments[provider][name]; f != nil {
				same := *f
				g.fragments[provider][name] = &same
			}
		default:
			g.fragments[provider][name] = g.fragment(name)
		}
	}
}

func (g *garden) snapshots() (out []dynamic.Snapshot) {
	for _, provider := range slices.Sorted(maps.Keys(g.fragments)) {
		s := dynamic.Snapshot{Provider: provider}
		for _, name := range slices.Sorted(maps.Keys(g.fragments[provider])) {
			s.Fragments = append(s.Fragments, g.fragments[provider][name])
		}
		out = append(out, s)
	}
	return out
}

// details prints what render leaves out: what every element refers to and what is said about it, and what the tables answer.
func details(p *plan.Plan) string {
	var b strings.Builder
	about := func(n *plan.Node) {
		status, findings := p.About(n)
		fmt.Fprintln(&b, n.Key(), n.Name, status, findings)
	}
	name := func(n *plan.Node, is bool) string {
		if !is {
			return "none"
		}
		status, _ := p.About(n)
		return fmt.Sprint(n.Name, " ", status)
	}
	for _, r := range p.HTTP.Routers {
		about(&r.Node)
		fmt.Fprint(&b, r.EntryPoints, r.Priority, r.TLS, r.Observability)
		if r.Service != nil {
			fmt.Fprint(&b, " ", name(&r.Service.Node, p.HTTP.Services.Get(r.Service.Name) == r.Service))
		}
		for _, m := range r.Middlewares {
			fmt.Fprint(&b, " ", name(&m.Node, p.HTTP.Middlewares.Get(m.Name) == m))
		}
		if r.Options != nil {
			fmt.Fprint(&b, " ", name(&r.Options.Node, p.TLS.Options.Get(r.Options.Name) == r.Options))
		}
		fmt.Fprint(&b, " absent=", r.Absent(), r.Parents)
		for _, c := range r.Children {
			fmt.Fprint(&b, " above ", name(&c.Node, slices.Contains(p.HTTP.Routers, c)))
		}
		if r.Table != nil {
			at, ok := r.Table.Lookup(&route.Request{Host: []byte("a.test"), Path: []byte("/a"), Method: []byte("GET")})
			fmt.Fprint(&b, at, ok)
		}
		fmt.Fprintln(&b)
	}
	for _, s := range p.HTTP.Services {
		about(&s.Node)
		for _, c := range s.Children {
			if c != nil {
				fmt.Fprint(&b, name(&c.Node, p.HTTP.Services.Get(c.Name) == c), " ")
			}
		}
		if s.Transport != nil {
			fmt.Fprint(&b, name(&s.Transport.Node, p.HTTP.Transports.Get(s.Transport.Name) == s.Transport), " ")
		}
		for _, m := range s.Middlewares {
			fmt.Fprint(&b, name(&m.Node, p.HTTP.Middlewares.Get(m.Name) == m), " ")
		}
		fmt.Fprintln(&b)
	}
	for _, m := range p.HTTP.Middlewares {
		about(&m.Node)
	}
	for _, r := range p.TCP.Routers {
		about(&r.Node)
		if r.Options != nil {
			fmt.Fprintln(&b, name(&r.Options.Node, p.TLS.Options.Get(r.Options.Name) == r.Options))
		}
	}
	for _, s := range p.TCP.Services {
		about(&s.Node)
	}
	for _, s := range p.UDP.Services {
		about(&s.Node)
	}
	for _, r := range p.UDP.Routers {
		about(&r.Node)
	}
	if p.TLS.Default != nil {
		about(&p.TLS.Default.Node)
	}
	for _, key := range slices.Sorted(maps.Keys(p.EntryPoints)) {
		ep := p.EntryPoints[key]
		for _, host := range strings.Split("a.test b.test x.a.test y.test q.a.test any.invalid", " ") {
			for _, path := range []string{"/", "/a", "/a/b"} {
				q := &route.Request{Host: []byte(host), Path: []byte(path), Method: []byte("GET")}
				i, ok := ep.PlainTable.Lookup(q)
				j, okay := ep.SecureTable.Lookup(q)
				fmt.Fprint(&b, i, ok, j, okay, " ")
			}
			for _, opening := range []route.Opening{route.Silent, route.NotTLS, route.TLSHello} {
				d := ep.Conn.Decide(&route.Conn{Opening: opening, SNI: host}, nil)
				fmt.Fprint(&b, d.Action, d.Router, ep.Conn.Passthrough)
				if d.Action == route.HTTPS {
					if o := ep.Options[d.Options]; o.Effective != nil {
						fmt.Fprint(&b, o.Options.Name, p.TLS.Options.Get(o.Options.Name) == o.Options, *o.Effective)
					}
				}
			}
			fmt.Fprintln(&b)
		}
	}
	return b.String()
}

// identities collects the identity of every element.
func identities(p *plan.Plan) map[string]*plan.Identity {
	out := map[string]*plan.Identity{}
	for i, r := range p.HTTP.Routers {
		out[fmt.Sprint(r.Kind, r.Name, i > 0 && p.HTTP.Routers[i-1].Name == r.Name)] = r.Identity
	}
	for _, s := range p.HTTP.Services {
		out[fmt.Sprint(s.Kind, s.Name)] = s.Identity
	}
	for _, m := range p.HTTP.Middlewares {
		out[fmt.Sprint(m.Kind, m.Name)] = m.Identity
	}
	for _, r := range p.TCP.Routers {
		out[fmt.Sprint(r.Kind, r.Name)] = r.Identity
	}
	for _, s := range p.TCP.Services {
		out[fmt.Sprint(s.Kind, s.Name)] = s.Identity
	}
	for _, o := range p.TLS.Options {
		out[fmt.Sprint(o.Kind, o.Name)] = o.Identity
	}
	return out
}

// TestChangesAgreeWithNothing edits configurations many times. Each plan is made from the one before, and must be the plan
// that is made from nothing; a plan made again from the same configuration keeps all identities.
func TestChangesAgreeWithNothing(t *testing.T) {
	gardens, steps := 12, 100
	if testing.Short() {
		gardens = 2
	}
	for seed := range gardens {
		c := static.New()
		c.EntryPoints["web"] = &static.EntryPoint{Address: ":80"}
		c.EntryPoints["websecure"] = &static.EntryPoint{Address: ":443"}
		c.EntryPoints["alt"] = &static.EntryPoint{Address: ":8081"}
		c.EntryPoints["udp"] = &static.EntryPoint{Address: ":53/udp"}
		if seed%2 == 1 {
			c.EntryPoints["web"].HTTP.Middlewares = []string{"m1@file"}
			c.EntryPoints["alt"].HTTP.TLS = &dynamic.RouterTLS{Options: "strict@file"}
		}
		st := static.Effective(c)
		if seed%4 == 3 {
			st = nil
		}
		g := &garden{rand.New(rand.NewPCG(uint64(seed), 17)), map[string]map[string]*dynamic.Fragment{}, seed%2 == 0}
		var p *plan.Plan
		for step := range steps {
			g.edit()
			s := g.snapshots()
			before := p
			p = plan.Build(p, st, s)
			whole := plan.Build(nil, st, s)
			got, want := render(p)+details(p), render(whole)+details(whole)
			if got != want {
				t.Fatalf("garden %d, step %d: got\n%s\nwant\n%s", seed, step, firstDifference(got, want), firstDifference(want, got))
			}
			ids, again := identities(p), identities(plan.Build(p, st, s))
			for name, id := range ids {
				if again[name] != id {
					t.Fatalf("garden %d, step %d: %s got another identity without a change", seed, step, name)
				}
			}
			if before == nil {
				continue
			}
			// From a plan that knows no nodes to take over, identities are kept by comparison alone.
			other := static.Effective(c)
			if st == nil {
				continue
			}
			moved := plan.Build(before, other, s)
			for name, id := range identities(moved) {
				if old := identities(before)[name]; (old == id) != (old == ids[name]) && old != nil {
					t.Fatalf("garden %d, step %d: %s kept its identity: %v, and %v when all was compared", seed, step, name, old == ids[name], old == id)
				}
			}
		}
	}
}

// firstDifference returns the lines of a from the first one that b does not share, a few of them.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	return strings.Join(x[i:min(i+4, len(x))], "\n")
}

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/route"
)

// TestShadowsAreTrue builds many small sets of routers out of few hosts and paths, so that they often cover each other,
// and tries every request that can tell them apart: a router that is said to get nothing must get nothing.
func TestShadowsAreTrue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 11))
	matchers := strings.Split("Host(`a.test`) Host(`b.a.test`) Host(`*.a.test`) Host(`*`) HostRegexp(`^.+$`) HostRegexp(`.*`) HostRegexp(`a`) "+
		"PathPrefix(`/`) PathPrefix(`/x`) PathPrefix(`/x/`) Path(`/x`) Path(`/x/y`) PathRegexp(`y$`) Method(`GET`) Method(`PUT`) Host(`a.test`,`c.test`)", " ")
	hosts := []string{"", "a.test", "b.a.test", "c.a.test", "c.test", "d.b.a.test"}
	paths := []string{"/", "/x", "/xz", "/x/", "/x/y", "/z"}
	var expression func(depth int) string
	expression = func(depth int) string {
		if depth == 0 || rnd.IntN(3) == 0 {
			return matchers[rnd.IntN(len(matchers))]
		}
		switch rnd.IntN(5) {
		case 0:
			return "!(" + expression(depth-1) + ")"
		case 1:
			return "(" + expression(depth-1) + " || " + expression(depth-1) + ")"
		default:
			return "(" + expression(depth-1) + " && " + expression(depth-1) + ")"
		}
	}
	claims := 0
	for range 3000 {
		routers := map[string]*dynamic.Router{}
		for i := range 4 {
			routers[fmt.Sprint("r", i)] = &dynamic.Router{Rule: expression(2), Service: "s", EntryPoints: []string{"web"}, Priority: rnd.IntN(4) + 1}
		}
		config := &dynamic.Config{HTTP: &dynamic.HTTP{Routers: routers, Services: map[string]*dynamic.Service{"s": {LoadBalancer: &dynamic.LoadBalancer{
			Servers: []*dynamic.Server{{URL: "http://10.0.0.1"}}}}}}}
		p := plan.Build(nil, nil, []dynamic.Snapshot{{Provider: "file", Fragments: []*dynamic.Fragment{{Name: "f", Config: config}}}})
		ep := p.EntryPoints["web"]
		for i, r := range ep.Plain {
			_, findings := p.About(&r.Node)
			said := slices.ContainsFunc(findings, func(f diag.Finding) bool {
				return f.Severity == diag.Warning && (f.Code == plan.CodeShadowed || f.Code == plan.CodeTie)
			})
			if !said {
				continue
			}
			claims++
			for _, host := range hosts {
				for _, path := range paths {
					for _, method := range []string{"GET", "PUT", "POST"} {
						at, ok := ep.PlainTable.Lookup(&route.Request{Host: []byte(host), Path: []byte(path), Method: []byte(method)})
						if ok && at == i {
							t.Fatalf("%s is said to be shadowed and gets %s %s%s\n%v", r.Name, method, host, path, findings)
						}
					}
				}
			}
		}
	}
	if claims < 200 {
		t.Errorf("only %d claims were put to the test", claims)
	}
}

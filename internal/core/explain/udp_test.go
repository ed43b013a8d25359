package explain_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/core/explain"
)

func TestAskUDP(t *testing.T) {
	p := build(t, `
entryPoints:
  web: {address: ":53"}
  dns: {address: ":53/udp"}
  logs: {address: ":514/udp"}
  idle: {address: ":69/udp"}
`, `
udp:
  routers:
    a: {service: names, entryPoints: [dns]}
    b: {service: names, entryPoints: [dns]}
    c: {service: gone, entryPoints: [dns, logs]}
  services:
    names: {weighted: {services: [{name: one}, {name: two}, {name: three, weight: 0}]}}
    one: {loadBalancer: {servers: [{address: "10.0.0.1:53"}]}}
    two: {loadBalancer: {servers: [{address: "10.0.0.2:53"}]}}
    three: {loadBalancer: {servers: [{address: "10.0.0.3:53"}]}}
`)
	for _, c := range []struct{ url, entryPoint, cause string }{
		{"udp://any:53", "dns", `the UDP router "b@file" sends the session to 10.0.0.1:53 or 10.0.0.2:53`},
		{"udp://any:514", "logs", `datagrams are dropped: the UDP router "c@file" is disabled: the service "gone@file" does not exist`},
		{"udp://any:69", "idle", `datagrams are dropped: no UDP router listens on entry point "idle"`},
	} {
		q, err := explain.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		a := explain.Ask(p, q, explain.Facts{})
		if len(a.Ways) != 1 || a.Ways[0].EntryPoint != c.entryPoint || !strings.Contains(a.Cause, c.cause) {
			t.Errorf("%s: got %q, %+v", c.url, a.Cause, a.Ways)
		}
	}
	q, _ := explain.Parse("udp://any:53")
	var lost []string
	for _, c := range explain.Ask(p, q, explain.Facts{}).Ways[0].Candidates {
		lost = append(lost, c.Router+" "+c.Lost)
	}
	if got := strings.Join(lost, "; "); got != `c@file disabled: the service "gone@file" does not exist (did you mean "one"?); b@file ; a@file "b@file" comes first, since it is the last by name` {
		t.Error(got)
	}
	q.EntryPoint = "web"
	if a := explain.Ask(p, q, explain.Facts{}); len(a.Ways) != 0 || !strings.Contains(a.Cause, `"web" does not exist`) {
		t.Errorf("got %+v", a)
	}
}

// TestUDPServicesInManyPlaces answers in bounded time where each service stands twice below the one above it.
func TestUDPServicesInManyPlaces(t *testing.T) {
	text := "udp:\n  routers:\n    a: {service: s0}\n  services:\n"
	const layers = 60
	for i := range layers {
		text += fmt.Sprintf("    s%d: {weighted: {services: [{name: s%d}, {name: s%d}]}}\n", i, i+1, i+1)
	}
	text += fmt.Sprintf("    s%d: {loadBalancer: {servers: [{address: \"10.0.0.1:53\"}]}}\n", layers)
	p := build(t, "entryPoints:\n  dns: {address: \":53/udp\"}\n", text)
	q, err := explain.Parse("udp://any:53")
	if err != nil {
		t.Fatal(err)
	}
	if a := explain.Ask(p, q, explain.Facts{}); !strings.Contains(a.Cause, "10.0.0.1:53") {
		t.Errorf("got %q", a.Cause)
	}
}

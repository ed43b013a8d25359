package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// layered is a tree of routers: the root strips a prefix and sets a header, and those below see the request like that.
func layered(one, two, three *machine, more string) string {
	return `
http:
  routers:
    root: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/v1/`" + `)", middlewares: [strip, mark], entryPoints: [web]}
    root-tls: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/v1/`" + `)", middlewares: [strip, mark], entryPoints: [secure], tls: {}}
    beside: {rule: "Host(` + "`a.test`" + `)", service: three, priority: 1, entryPoints: [web]}
    beside-tls: {rule: "Host(` + "`a.test`" + `)", service: three, priority: 1, entryPoints: [secure], tls: {}}
    users: {rule: "PathPrefix(` + "`/users/`" + `)", service: one, parentRefs: [root, root-tls]}
    prefixed: {rule: "PathPrefix(` + "`/v1/`" + `)", service: three, priority: 1000, parentRefs: [root, root-tls]}
    marked: {rule: "Header(` + "`X-Layer`, `on`" + `) && PathPrefix(` + "`/marked`" + `)", service: two, parentRefs: [root, root-tls]}
    encoded: {rule: "Path(` + "`/a b`" + `)", service: two, parentRefs: [root, root-tls]}
    orders: {rule: "PathPrefix(` + "`/orders/`" + `)", middlewares: [deeper], parentRefs: [root, root-tls]}
    order: {rule: "PathPrefix(` + "`/`" + `)", service: one, parentRefs: [orders]}
    first: {rule: "Path(` + "`/1`" + `)", service: two, priority: 50, parentRefs: [orders]}
    refuses: {rule: "Path(` + "`/users/closed`" + `)", service: one, middlewares: [nobody], parentRefs: [root, root-tls]}
` + more + `
  middlewares:
    strip: {stripPrefix: {prefixes: [/v1]}}
    deeper: {stripPrefix: {prefixes: [/orders]}}
    mark: {headers: {customRequestHeaders: {X-Layer: "on"}, customResponseHeaders: {X-Root: "yes"}}}
  services:
    one: {loadBalancer: {servers: [{url: "` + one.url() + `"}]}}
    two: {loadBalancer: {servers: [{url: "` + two.url() + `"}]}}
    three: {loadBalancer: {servers: [{url: "` + three.url() + `"}]}}
`
}

// Routers below others: the rule of a child sees the request as the middlewares above have left it, nothing falls back to
// routers beside the root, and the middlewares above act on every answer.
func TestLayers(t *testing.T) {
	one, two, three := newMachine(t, "one"), newMachine(t, "two"), newMachine(t, "three")
	r := start(t, twoEntryPoints, layered(one, two, three, ""))
	eachTransport(t, r, func(t *testing.T, client *http.Client, origin func(string) string) {
		for _, c := range []struct {
			path   string
			status int
			body   string
			server string // the path that the server sees
		}{
			{"/v1/users/7?q=1", 200, "one", "/users/7?q=1"},
			{"/v1/marked", 200, "two", "/marked"},
			{"/v1/a%20b", 200, "two", "/a%20b"},
			{"/v1/orders/1", 200, "two", "/1"},
			{"/v1/orders/2", 200, "one", "/2"},
			{"/v1/nobody", 404, "", ""},
			{"/v1/users/closed", 503, "", ""},
			{"/elsewhere", 200, "three", "/elsewhere"},
		} {
			for _, m := range []*machine{one, two, three} {
				m.forget()
			}
			got := must(t, client, "GET", origin("a.test")+c.path, "")
			if got.status != c.status || c.body != "" && got.body != c.body {
				t.Errorf("%s: %d %q, want %d %q", c.path, got.status, got.body, c.status, c.body)
			}
			if root := got.header.Get("X-Root"); (root == "yes") != (c.path != "/elsewhere") {
				t.Errorf("%s: X-Root is %q", c.path, root)
			}
			var seen []seenRequest
			for _, m := range []*machine{one, two, three} {
				seen = append(seen, m.requests()...)
			}
			if c.server == "" {
				if len(seen) > 0 {
					t.Errorf("%s: came to a server as %s", c.path, seen[0].url)
				}
			} else if len(seen) != 1 || seen[0].url != c.server {
				t.Errorf("%s: servers saw %v", c.path, seen)
			}
		}
	})
}

// A change below a root reaches it, and what stays is kept.
func TestLayersChange(t *testing.T) {
	one, two, three := newMachine(t, "one"), newMachine(t, "two"), newMachine(t, "three")
	r := start(t, twoEntryPoints, layered(one, two, three, ""))
	client := r.client("h1")
	for i, more := range []string{
		"    late: {rule: \"Path(`/late`)\", service: two, parentRefs: [root]}",
		"    late: {rule: \"Path(`/late`)\", service: three, parentRefs: [root]}",
		"",
	} {
		r.reload(layered(one, two, three, more))
		want := []string{"200 two", "200 three", "404"}[i]
		got := must(t, client, "GET", "http://a.test/v1/late", "")
		if text := fmt.Sprintf("%d %s", got.status, got.body); !strings.HasPrefix(text, want) {
			t.Errorf("step %d: %s, want %s", i, text, want)
		}
		if got := must(t, client, "GET", "http://a.test/v1/users/1", ""); got.body != "one" {
			t.Errorf("step %d: %d %s", i, got.status, got.body)
		}
	}
}

package explain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/explain"
)

const treeSide = `
http:
  routers:
    all: {rule: "Host(` + "`a.test`" + `)", service: top, entryPoints: [web]}
    split: {rule: "Host(` + "`split.test`" + `)", service: split, entryPoints: [web]}
    one: {rule: "Host(` + "`one.test`" + `)", service: a, entryPoints: [web]}
    lone: {rule: "Host(` + "`lone.test`" + `)", service: lone, entryPoints: [web]}
  services:
    a: {loadBalancer: {healthCheck: {path: /}, servers: [{url: "http://a1"}, {url: "http://a2"}, {url: "http://a3", weight: 0}]}}
    b: {loadBalancer: {healthCheck: {path: /}, servers: [{url: "http://b"}]}}
    c: {loadBalancer: {servers: [{url: "http://c"}]}}
    ab: {weighted: {healthCheck: {}, services: [{name: a, weight: 3}, {name: b, weight: 1}]}}
    copied: {mirroring: {healthCheck: {}, service: ab, mirrors: [{name: c, percent: 10}, {name: b}]}}
    top: {failover: {service: copied, fallback: c}}
    split: {weighted: {services: [{name: a}, {name: c, weight: 0}, {name: round}]}}
    round: {highestRandomWeight: {services: [{name: b}, {name: c}]}}
    lone: {failover: {service: a, fallback: b, errors: {status: ["503"]}}}
`

// flat writes a tree in one line for each service.
func flat(b *explain.Branch, depth int) string {
	text := strings.Repeat(" ", depth) + b.Service + " " + b.Role + ": " + b.Takes
	for _, m := range b.Servers {
		text += fmt.Sprintf(" [%s %s %s]", m.URL, m.Status, m.Note)
	}
	text += "\n"
	for _, c := range b.Children {
		text += flat(c, depth+1)
	}
	return text
}

// The way of a request through services, by what is up.
func TestTree(t *testing.T) {
	p := build(t, staticSide, treeSide)
	for _, row := range []struct {
		name, host string
		down       []string // nil: nobody looks
		cause      string   // its end
		status     int
		servers    string
		tree       string
	}{
		{"nobody looks", "a.test", nil, `sends it to http://a1 or http://a2 or http://b`, 0, "http://a1 http://a2 http://b", ""},
		{"all up", "a.test", []string{}, `sends it to http://a1 or http://a2 or http://b`, 0, "http://a1 http://a2 http://b", `top@file : takes the request
 copied@file main: takes the request
  ab@file main: takes the request
   a@file weight 3 of 4: takes its share [http://a1 UP ] [http://a2 UP ] [http://a3  its weight is 0]
   b@file weight 1 of 4: takes its share [http://b UP ]
  c@file mirror, 10%: gets a copy [http://c UP ]
  b@file mirror, 0%: takes nothing [http://b UP ]
 c@file fallback: takes what the main service does not deliver [http://c UP ]
`},
		{"one server down", "one.test", []string{"http://a1"}, `sends it to http://a2`, 0, "http://a2", `a@file : takes the request [http://a1 DOWN it is down] [http://a2 UP ] [http://a3  its weight is 0]
`},
		{"one child down", "a.test", []string{"http://b"}, `or http://a2; the service "b@file" is down and passed over`, 0, "http://a1 http://a2", ""},
		{"main down", "a.test", []string{"http://a1", "http://a2", "http://b"}, `; the service "copied@file" is down, so "c@file" takes its place`, 0, "http://c", `top@file : takes the request
 copied@file main: takes nothing: it is down
  ab@file main: takes nothing
   a@file weight 3 of 4: takes nothing [http://a1 DOWN it is down] [http://a2 DOWN it is down] [http://a3  its weight is 0]
   b@file weight 1 of 4: takes nothing [http://b DOWN it is down]
  c@file mirror, 10%: takes nothing [http://c UP ]
  b@file mirror, 0%: takes nothing [http://b DOWN it is down]
 c@file fallback: takes the request [http://c UP ]
`},
		{"not followed", "split.test", []string{"http://a1", "http://a2"}, `sends it to http://b or http://c`, 0, "http://b http://c", `split@file : takes the request
 a@file weight 1 of 2: takes it and has no server that is up [http://a1 DOWN it is down] [http://a2 DOWN it is down] [http://a3  its weight is 0]
 c@file weight 0 of 2: takes nothing: its weight is 0 [http://c UP ]
 round@file weight 1 of 2: takes its share
  b@file weight 1 of 2: takes the clients whose addresses fall to it [http://b UP ]
  c@file weight 1 of 2: takes the clients whose addresses fall to it [http://c UP ]
`},
		{"everything down", "lone.test", []string{"http://a1", "http://a2", "http://b"}, `the service "lone@file" has no server that is up`, 503, "", ""},
		{"by status", "lone.test", []string{}, `sends it to http://a1 or http://a2`, 0, "http://a1 http://a2", `lone@file : takes the request
 a@file main: takes the request [http://a1 UP ] [http://a2 UP ] [http://a3  its weight is 0]
 b@file fallback: takes what the main service answers with a listed status, or does not deliver [http://b UP ]
`},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := explain.Parse("http://" + row.host + "/")
			if err != nil {
				t.Fatal(err)
			}
			var facts explain.Facts
			if row.down != nil {
				facts.ServerStatus = func(service string) map[string]bool {
					out := map[string]bool{}
					for _, url := range map[string][]string{"a@file": {"http://a1", "http://a2"}, "b@file": {"http://b"}, "c@file": {"http://c"}}[service] {
						out[url] = !slices.Contains(row.down, url)
					}
					return out
				}
			}
			w := explain.Ask(p, q, facts).Ways[0]
			if !strings.HasSuffix(w.Cause, row.cause) || w.Status != row.status {
				t.Errorf("%d, %s", w.Status, w.Cause)
			}
			if got := strings.Join(w.Router.Servers, " "); got != row.servers {
				t.Errorf("servers %s", got)
			}
			if got := flat(w.Router.Tree, 0); row.tree != "" && got != row.tree {
				t.Errorf("tree:\n%s", got)
			}
		})
	}
}

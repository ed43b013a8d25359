package app

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Shares of a weighted service, its cookie, nesting and names of other providers, on every version of HTTP.
func TestWeighted(t *testing.T) {
	a, b, c := newMachine(t, "a"), newMachine(t, "b"), newMachine(t, "c")
	r := start(t, twoEntryPoints, tree(`
a: {loadBalancer: {servers: [{url: "`+a.url()+`"}]}}
b: {loadBalancer: {servers: [{url: "`+b.url()+`"}]}}
c: {loadBalancer: {servers: [{url: "`+c.url()+`"}]}}
split: {weighted: {services: [{name: a, weight: 3}, {name: b@file, weight: 1}, {name: c, weight: 0}]}}
nested: {weighted: {services: [{name: split, weight: 1}, {name: c, weight: 1}]}}
pinned: {weighted: {sticky: {cookie: {name: side, httpOnly: true, sameSite: lax, path: /p, maxAge: 60}}, services: [{name: a}, {name: b@file}]}}
twofold: {weighted: {sticky: {cookie: {}}, services: [{name: many}, {name: c}]}}
many: {loadBalancer: {sticky: {cookie: {}}, servers: [{url: "`+a.url()+`"}, {url: "`+b.url()+`"}]}}
empty: {weighted: {services: [{name: a, weight: 0}]}}
`, "split", "nested", "pinned", "twofold", "empty"))
	eachTransport(t, r, func(t *testing.T, client *http.Client, origin func(string) string) {
		for host, want := range map[string]map[string]int{"split.test": {"a": 30, "b": 10}, "nested.test": {"a": 15, "b": 5, "c": 20}} {
			got := map[string]int{}
			for range 40 {
				got[must(t, client, "GET", origin(host)+"/", "").body]++
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: shares %v, want %v", host, got, want)
			}
		}
		first := must(t, client, "GET", origin("pinned.test")+"/", "")
		// The values are the first sixteen digits of SHA-256 over "a" and "b@file".
		values := map[string]string{"a": "ca978112ca1bbdca", "b": "f668813aab151233"}
		want := "side=" + values[first.body] + "; Path=/p; Max-Age=60; HttpOnly; SameSite=Lax"
		if got := first.header.Get("Set-Cookie"); got != want {
			t.Errorf("cookie %q, want %q", got, want)
		}
		for name, value := range values {
			for range 3 {
				if again := must(t, client, "GET", origin("pinned.test")+"/", "", "Cookie", "x=1; side="+value); again.body != name || len(again.cookies) > 0 {
					t.Errorf("%q went to %q with %v", value, again.body, again.cookies)
				}
			}
		}
		if lost := must(t, client, "GET", origin("pinned.test")+"/", "", "Cookie", "side=nothing"); len(lost.cookies) != 1 {
			t.Errorf("an unknown value got %v", lost.cookies)
		}
		// Each level has a cookie of its own, with a name of its own.
		names := map[string]bool{}
		for range 4 {
			for _, k := range must(t, client, "GET", origin("twofold.test")+"/", "").cookies {
				names[k.Name] = true
			}
		}
		if len(names) != 2 {
			t.Errorf("cookies of two levels: %v", names)
		}
		if e := must(t, client, "GET", origin("empty.test")+"/", ""); e.status != 503 || e.body != "no available server" || e.header.Get("Sluice-Error") != "NO-SERVER" {
			t.Errorf("without children: %+v", e)
		}
	})
}

// Health goes up the tree where the parents follow it, and down servers get nothing.
func TestHealthGoesUp(t *testing.T) {
	a, b, c := newMachine(t, "a"), newMachine(t, "b"), newMachine(t, "c")
	balancer := func(m *machine) string {
		return `{loadBalancer: {healthCheck: {path: /health, interval: 20ms, timeout: 5s}, servers: [{url: "` + m.url() + `"}]}}`
	}
	services := `
a: ` + balancer(a) + `
b: ` + balancer(b) + `
c: ` + balancer(c) + `
ab: {weighted: {healthCheck: {}, services: [{name: a}, {name: b}]}}
hab: {highestRandomWeight: {healthCheck: {}, services: [{name: a}, {name: b}]}}
mab: {mirroring: {healthCheck: {}, service: ab}}
top: {failover: {service: mab, fallback: c}}
deaf: {weighted: {services: [{name: a}, {name: b}]}}
all: {failover: {healthCheck: {}, service: hab, fallback: c}}
over: {weighted: {healthCheck: {}, services: [{name: all}]}}
`
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, secure: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true}
`, tree(services, "top", "deaf", "hab", "over"))
	get := func(host string) string {
		resp, body := r.get("web", "http://"+host+".test/")
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	// answers are what some requests in a row get, each once, in order.
	answers := func(host string) string {
		var got []string
		for range 6 {
			got = append(got, get(host))
		}
		slices.Sort(got)
		return strings.Join(slices.Compact(got), ", ")
	}
	status := func(service string) string {
		_, body := r.get("traefik", "http://x/api/http/services/"+service+"@file")
		_, after, _ := strings.Cut(body, `"serverStatus":{`)
		got, _, _ := strings.Cut(after, "}")
		for _, m := range []*machine{a, b, c} {
			got = strings.ReplaceAll(got, `"`+m.url()+`":`, m.name+" ")
		}
		list := strings.Split(strings.ReplaceAll(got, `"`, ""), ",")
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	settle := func(want string) {
		t.Helper()
		soon(t, "servers are "+want, func() bool { return status("top") == want })
	}
	settle("a UP, b UP, c UP")
	if got := answers("top"); got != "200 a, 200 b" {
		t.Errorf("all up: %s", got)
	}
	a.sick(true)
	settle("a DOWN, b UP, c UP")
	for host, want := range map[string]string{"top": "200 b", "hab": "200 b", "over": "200 b", "deaf": "200 b, 503 no available server"} {
		if got := answers(host); got != want {
			t.Errorf("a is down: %s gets %s, want %s", host, got, want)
		}
	}
	a.forget()
	r.reload(tree(services, "top", "deaf", "hab", "over", "ab"))
	if got := status("top"); got != "a DOWN, b UP, c UP" {
		t.Errorf("after a reload the servers are %s", got)
	}
	if got := answers("ab"); got != "200 b" || len(a.requests()) > 0 {
		t.Errorf("after a reload %s, and the server that is down got %d", got, len(a.requests()))
	}
	b.kill()
	settle("a DOWN, b DOWN, c UP")
	for host, want := range map[string]string{"top": "200 c", "over": "200 c", "hab": "503 no available server", "deaf": "503 no available server"} {
		if got := answers(host); got != want {
			t.Errorf("a and b are down: %s gets %s, want %s", host, got, want)
		}
	}
	if _, told := r.get("traefik", "http://x/api/explain?url=http://top.test/&entryPoint=web"); !strings.Contains(told, `the service \"mab@file\" is down, so \"c@file\" takes its place`) ||
		!strings.Contains(told, `{"note":"it is down","status":"DOWN","url":"`+a.url()+`"}`) {
		t.Errorf("explained as %s", told)
	}
	c.sick(true)
	settle("a DOWN, b DOWN, c DOWN")
	for host, want := range map[string]string{"top": "503 Service Unavailable", "over": "503 no available server"} {
		if got := answers(host); got != want {
			t.Errorf("all are down: %s gets %s, want %s", host, got, want)
		}
	}
	b.start()
	defer b.kill()
	settle("a DOWN, b UP, c DOWN")
	if got := answers("top"); got != "200 b" {
		t.Errorf("b is back: %s", got)
	}
}

// Copies of requests are whole and the same, come behind the answer, and in the share that is asked for.
func TestMirroring(t *testing.T) {
	main, all, some, bodiless := newMachine(t, "main"), newMachine(t, "all"), newMachine(t, "some"), newMachine(t, "bodiless")
	main.answer(201)
	r := start(t, twoEntryPoints, tree(`
main: {loadBalancer: {servers: [{url: "`+main.url()+`"}]}}
all: {loadBalancer: {servers: [{url: "`+all.url()+`"}]}}
some: {loadBalancer: {servers: [{url: "`+some.url()+`"}]}}
bodiless: {loadBalancer: {servers: [{url: "`+bodiless.url()+`"}]}}
m: {mirroring: {service: main, maxBodySize: 100000, mirrors: [{name: all, percent: 100}, {name: some, percent: 25}]}, middlewares: [edit]}
nobody: {mirroring: {service: main, mirrorBody: false, mirrors: [{name: bodiless, percent: 100}, {name: all}]}}
`, "m", "nobody")+`
  middlewares: {edit: {headers: {customRequestHeaders: {X-Added: "1"}}}}
`)
	eachTransport(t, r, func(t *testing.T, client *http.Client, origin func(string) string) {
		for _, m := range []*machine{main, all, some, bodiless} {
			m.forget()
		}
		large := strings.Repeat("0123456789", 8000)
		sent := 0
		for _, body := range []string{"", "small", large} {
			for range 4 {
				sent++
				if a := must(t, client, "POST", origin("m.test")+"/p?q=1", body, "X-Mine", "me"); a.status != 201 || a.body != "main" {
					t.Fatalf("answer %+v", a)
				}
			}
		}
		soon(t, "copies arrive", func() bool { return len(all.requests()) == sent && len(some.requests()) == sent/4 })
		// Every copy is the same as the request that it was made of. They may come in another order.
		want, got := texts(main.requests()), texts(all.requests())
		if !slices.Equal(got, want) {
			t.Errorf("copies differ:\n%.300q\n%.300q", got, want)
		}
		all.forget()
		if a := must(t, client, "POST", origin("m.test")+"/", strings.Repeat("x", 100001)); a.status != 201 {
			t.Errorf("a body too large to copy got %d", a.status)
		}
		if a := must(t, client, "POST", origin("nobody.test")+"/", "secret"); a.status != 201 {
			t.Errorf("answer %d", a.status)
		}
		soon(t, "the copy without a body arrives", func() bool { return len(bodiless.requests()) == 1 })
		if c := bodiless.requests()[0]; c.method != "POST" || c.body != "" || c.length > 0 {
			t.Errorf("the copy has a body: %+v", c)
		}
		if n := len(all.requests()); n > 0 {
			t.Errorf("%d copies that ought not to be", n)
		}
	})
	// A mirror that is not there, or does not answer, is nothing to the client.
	resume := some.stop()
	defer resume()
	all.kill()
	client := r.client("h1")
	for range 20 {
		if a := must(t, client, "POST", "http://m.test/", "x"); a.status != 201 {
			t.Errorf("with broken mirrors: %+v", a)
		}
	}
}

// texts writes requests as lines, in order, without what a repetition may change.
func texts(list []seenRequest) (out []string) {
	for _, r := range list {
		out = append(out, fmt.Sprintf("%s %s %s %v %s", r.method, r.url, r.host, r.header, r.body))
	}
	slices.Sort(out)
	return out
}

// A failover by status replays the request, body included, and its fallback has the last word.
func TestFailoverByStatus(t *testing.T) {
	main, fallback := newMachine(t, "main"), newMachine(t, "fallback")
	r := start(t, twoEntryPoints, tree(`
main: {loadBalancer: {sticky: {cookie: {name: m}}, servers: [{url: "`+main.url()+`"}]}, middlewares: [edit]}
fallback: {loadBalancer: {servers: [{url: "`+fallback.url()+`"}]}}
f: {failover: {service: main, fallback: fallback, errors: {status: ["500-504", "429"], maxRequestBodyBytes: 200000}}}
`, "f")+`
  middlewares: {edit: {headers: {customRequestHeaders: {X-Main: "1"}, customResponseHeaders: {X-Main: "1"}}}}
`)
	eachTransport(t, r, func(t *testing.T, client *http.Client, origin func(string) string) {
		url := origin("f.test") + "/p"
		for _, row := range []struct {
			main, fallback int
			want           string
			status         int
		}{{200, 200, "main", 200}, {404, 200, "main", 404}, {503, 200, "fallback", 200}, {429, 200, "fallback", 200}, {500, 502, "fallback", 502}} {
			main.forget()
			fallback.forget()
			main.answer(row.main)
			fallback.answer(row.fallback)
			for _, body := range []string{"", strings.Repeat("body", 30000)} {
				a := must(t, client, "POST", url, body)
				if a.status != row.status || a.body != row.want {
					t.Errorf("%+v: got %d %q", row, a.status, a.body)
				}
				if marked := a.header.Get("X-Main") != "" || len(a.cookies) > 0; marked != (row.want == "main") {
					t.Errorf("%+v: the answer has the main one's fields: %v", row, a.header)
				}
			}
			if row.want == "fallback" {
				sent, replayed := main.requests(), fallback.requests()
				if len(sent) != 2 || len(replayed) != 2 || sent[1].body != replayed[1].body || replayed[0].header.Get("X-Main") != "" {
					t.Errorf("%+v: main got %d, fallback %d", row, len(sent), len(replayed))
				}
			}
		}
		if a := must(t, client, "POST", url, strings.Repeat("x", 200001)); a.status != 413 || a.header.Get("Sluice-Error") != "BODY-TOO-LARGE" {
			t.Errorf("a body too large got %d", a.status)
		}
	})
	main.kill()
	fallback.answer(200)
	if a := must(t, r.client("h1"), "POST", "http://f.test/", "x"); a.status != 200 || a.body != "fallback" {
		t.Errorf("main is gone: %+v", a)
	}
}

// A client goes to one child by its address, whatever else it says.
func TestHighestRandomWeight(t *testing.T) {
	a, b := newMachine(t, "a"), newMachine(t, "b")
	r := start(t, twoEntryPoints, tree(`
a: {loadBalancer: {servers: [{url: "`+a.url()+`"}]}}
b: {loadBalancer: {servers: [{url: "`+b.url()+`"}]}}
h: {highestRandomWeight: {services: [{name: a}, {name: b}]}}
`, "h"))
	seen := map[string]bool{}
	eachTransport(t, r, func(t *testing.T, client *http.Client, origin func(string) string) {
		for i := range 10 {
			seen[must(t, client, "GET", origin("h.test")+"/", "", "X-Forwarded-For", fmt.Sprintf("10.0.0.%d", i)).body] = true
		}
	})
	if len(seen) != 1 {
		t.Errorf("one address went to %v", seen)
	}
}

// What is above a service that cannot be built, and circles, refuse; a service whose error page is its own works.
func TestBrokenTrees(t *testing.T) {
	a := newMachine(t, "a")
	a.answer(404)
	r := start(t, twoEntryPoints, tree(`
a: {loadBalancer: {servers: [{url: "`+a.url()+`"}]}}
odd: {loadBalancer: {sticky: {cookie: {sameSite: never}}, servers: [{url: "`+a.url()+`"}]}}
over: {weighted: {services: [{name: a}, {name: odd}]}}
ring: {weighted: {services: [{name: ring2}]}}
ring2: {mirroring: {service: ring}}
own: {loadBalancer: {servers: [{url: "`+a.url()+`"}]}, middlewares: [page]}
ownover: {weighted: {services: [{name: own}]}, middlewares: [page]}
badstatus: {failover: {service: a, fallback: a, errors: {status: ["1"]}}}
blind: {weighted: {healthCheck: {}, services: [{name: a}]}}
`, "over", "ring", "own", "ownover", "badstatus", "blind")+`
  middlewares: {page: {errors: {status: ["404"], service: own, query: /page}}}
`)
	client := r.client("h1")
	for _, host := range []string{"over", "ring", "badstatus", "blind"} {
		if got := must(t, client, "GET", "http://"+host+".test/", ""); got.status != 503 || got.header.Get("Sluice-Error") != "ROUTER-REFUSED" {
			t.Errorf("%s: %+v", host, got)
		}
	}
	for _, host := range []string{"own", "ownover"} {
		a.forget()
		if got := must(t, client, "GET", "http://"+host+".test/x", ""); got.status != 404 {
			t.Errorf("%s: %+v", host, got)
		}
	}
}

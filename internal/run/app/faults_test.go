package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kindsUnderFire are services of every kind over the machines a, b and c, each of which must go on as long as one of those that
// it has is there.
func kindsUnderFire(a, b, c *machine) string {
	lb := func(more string, machines ...*machine) string {
		var servers []string
		for _, m := range machines {
			servers = append(servers, `{url: "`+m.url()+`"}`)
		}
		return `{loadBalancer: {` + more + `servers: [` + strings.Join(servers, ", ") + `]}}`
	}
	const check = `healthCheck: {path: /health, interval: 30ms, timeout: 500ms}, `
	return `
wrr: ` + lb("", a, b, c) + `
p2c: ` + lb("strategy: p2c, ", a, b, c) + `
hrw: ` + lb("strategy: hrw, ", a, b, c) + `
leasttime: ` + lb("strategy: leasttime, ", a, b, c) + `
checked: ` + lb(check, a, b, c) + `
passive: ` + lb("passiveHealthCheck: {failureWindow: 50ms}, ", a, b, c) + `
sticky: ` + lb("sticky: {cookie: {}}, ", a, b, c) + `
a: ` + lb(check, a) + `
b: ` + lb(check, b) + `
c: ` + lb(check, c) + `
ab: ` + lb(check, a, b) + `
weighted: {weighted: {healthCheck: {}, services: [{name: a}, {name: b}, {name: c}]}}
rendezvous: {highestRandomWeight: {healthCheck: {}, services: [{name: a}, {name: b}, {name: c}]}}
mirroring: {mirroring: {service: wrr, mirrors: [{name: a, percent: 100}]}}
failover: {failover: {service: ab, fallback: c}}
bystatus: {failover: {service: ab, fallback: c, errors: {status: ["500-599"]}}}
nested: {failover: {service: mab, fallback: c}}
mab: {mirroring: {healthCheck: {}, service: wab, mirrors: [{name: c, percent: 10}]}}
wab: {weighted: {healthCheck: {}, services: [{name: a}, {name: b}]}}
`
}

var hostsUnderFire = []string{"wrr", "p2c", "hrw", "leasttime", "checked", "passive", "sticky", "weighted", "rendezvous", "mirroring", "failover", "bystatus", "nested"}

// Servers are killed, hang, and are started again under load: as long as one is there, no request that may be repeated
// fails, on no kind of service and no version of HTTP. c stays, at first; then a and b do.
func TestServersUnderFire(t *testing.T) {
	a, b, c := newMachine(t, "a"), newMachine(t, "b"), newMachine(t, "c")
	r := start(t, twoEntryPoints, tree(kindsUnderFire(a, b, c), hostsUnderFire...))
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	var load sync.WaitGroup
	var asked atomic.Int64
	var mu sync.Mutex
	failed := map[string]int{}
	for i, host := range hostsUnderFire {
		transport := transports[i%len(transports)]
		client := r.client(transport)
		url := origin(transport, host+".test") + "/p"
		load.Go(func() {
			for stop.Err() == nil {
				asked.Add(1)
				got, err := send(client, "GET", url, "")
				if err == nil && got.status != 200 {
					err = fmt.Errorf("%d %s %s", got.status, got.body, got.header.Get("Sluice-Error"))
				}
				if err != nil {
					mu.Lock()
					failed[host+" on "+transport+": "+err.Error()]++
					mu.Unlock()
				}
			}
		})
	}
	// under lets some requests pass.
	under := func() {
		t.Helper()
		goal := asked.Load() + 600
		soon(t, "requests are answered", func() bool { return asked.Load() >= goal })
	}
	under()
	for range 2 {
		a.kill()
		under()
		b.kill()
		under()
		b.start()
		a.start()
		under()
		resume := b.stop()
		for range 5 { // those that wait for b hold up their own client only
			time.Sleep(10 * time.Millisecond)
		}
		resume()
		under()
		c.kill()
		under()
		c.start()
		under()
	}
	cancel()
	load.Wait()
	for text, n := range failed {
		t.Errorf("%d times %s", n, text)
	}
	t.Logf("%d requests", asked.Load())
	for _, m := range []*machine{a, b, c} {
		m.kill()
	}
}

// When everything is down the answer is there at once, and when something is back nobody has to do anything.
func TestAllDownAndBack(t *testing.T) {
	a, b, c := newMachine(t, "a"), newMachine(t, "b"), newMachine(t, "c")
	checked := []string{"checked", "weighted", "rendezvous", "failover", "bystatus", "nested"}
	r := start(t, twoEntryPoints, tree(kindsUnderFire(a, b, c), hostsUnderFire...))
	client := r.client("h1")
	statuses := func() (list []int) {
		for _, host := range checked {
			list = append(list, must(t, client, "GET", "http://"+host+".test/", "").status)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	for _, m := range []*machine{a, b, c} {
		m.sick(true)
	}
	soon(t, "everything is down", func() bool { return slices.Equal(statuses(), []int{503}) })
	for _, m := range []*machine{a, b, c} {
		m.forget()
	}
	began := time.Now()
	for range 20 {
		statuses()
	}
	if n := len(a.requests()) + len(b.requests()) + len(c.requests()); n > 0 {
		t.Errorf("servers that are down got %d requests", n)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d answers of 503 took %s", 20*len(checked), took) // they wait for nothing
	}
	a.sick(false)
	c.sick(false)
	soon(t, "everything is back", func() bool { return slices.Equal(statuses(), []int{200}) })
}

// A server that does not answer keeps nobody waiting but those whom it was given.
func TestSlowServerSlowsNobodyElse(t *testing.T) {
	slow, fast := newMachine(t, "slow"), newMachine(t, "fast")
	r := start(t, twoEntryPoints, tree(`
p2c: {loadBalancer: {strategy: p2c, servers: [{url: "`+slow.url()+`"}, {url: "`+fast.url()+`"}]}}
leasttime: {loadBalancer: {strategy: leasttime, servers: [{url: "`+slow.url()+`"}, {url: "`+fast.url()+`"}]}}
wrr: {loadBalancer: {servers: [{url: "`+slow.url()+`"}, {url: "`+fast.url()+`"}]}}
`, "p2c", "leasttime", "wrr"))
	for _, host := range []string{"p2c", "leasttime", "wrr"} {
		for _, transport := range []string{"h1", "h2"} {
			t.Run(host+" "+transport, func(t *testing.T) {
				resume := slow.stop()
				defer resume()
				client := r.client(transport)
				url := origin(transport, host+".test") + "/"
				ctx, giveUp := context.WithCancel(context.Background())
				var waiting sync.WaitGroup
				defer waiting.Wait()
				defer giveUp()
				answers := make(chan string, 100)
				for range 40 {
					waiting.Go(func() {
						req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := client.Do(req)
						if err != nil {
							if !errors.Is(err, context.Canceled) {
								t.Error(err)
							}
							return
						}
						resp.Body.Close()
						answers <- resp.Status
					})
				}
				// Half of them is what a round robin gives to the fast one; the others give it more.
				for i := range 18 {
					select {
					case <-answers:
					case <-time.After(10 * time.Second):
						t.Fatalf("only %d answers came while one server is silent", i)
					}
				}
			})
		}
	}
}

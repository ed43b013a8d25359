package app

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who looks sees requests as they come, failures with their reason, and what happens to the configuration.
func TestLive(t *testing.T) {
	good := backend(t, "good")
	text := func(host string) string {
		return `
http:
  routers:
    app: {rule: "Host(` + "`" + host + "`" + `)", service: app, entryPoints: [web]}
    bad: {rule: "Host(` + "`bad.test`" + `)", service: bad, entryPoints: [web]}
  services:
    app: {loadBalancer: {servers: [{url: "` + good.URL + `"}]}}
    bad: {loadBalancer: {healthCheck: {path: /, interval: 50ms}, servers: [{url: "http://127.0.0.1:1"}]}}
`
	}
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true}
`, text("a.test"))
	req, err := http.NewRequest("GET", "http://"+r.addr("traefik")+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	await := func(what, event, data string) {
		t.Helper()
		name := ""
		for deadline := time.Now().Add(15 * time.Second); lines.Scan() && time.Now().Before(deadline); {
			if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = n
			}
			if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok && name == event && strings.Contains(d, data) {
				return
			}
		}
		t.Fatalf("%s: nothing came", what)
	}
	await("the first configuration", "event", `"kind":"configuration"`)
	await("a server that is down", "event", `127.0.0.1:1 is down`)
	for range 10 {
		r.get("web", "http://a.test/")
	}
	r.get("web", "http://bad.test/")
	await("figures", "live", `"app@file":{"requests":`)
	r.reload(text("b.test"))
	await("another configuration", "configuration", `"routers"`)

	var failures []struct{ Router, Code, Host string }
	_, body := r.get("traefik", "http://x/api/failures?router=bad@file")
	if err := json.Unmarshal([]byte(body), &failures); err != nil || len(failures) != 1 || failures[0].Code != "NO-SERVER" || failures[0].Host != "bad.test" {
		t.Errorf("failures: %v %s", err, body)
	}
	if _, body := r.get("traefik", "http://x/api/failures"); !strings.Contains(body, "bad@file") {
		t.Errorf("all failures: %s", body)
	}
	var live struct {
		Routers, EntryPoints map[string]struct{ Requests, P99 float64 }
	}
	_, body = r.get("traefik", "http://x/api/live")
	if err := json.Unmarshal([]byte(body), &live); err != nil || live.Routers["app@file"].Requests <= 0 || live.EntryPoints["web"].P99 <= 0 || live.EntryPoints["traefik"].Requests != 0 {
		t.Errorf("live: %v %s", err, body)
	}
}

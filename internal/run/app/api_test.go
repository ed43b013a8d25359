package app

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The API answers on the internal entry point, about what is in force and about the health of servers.
func TestAPIInsecure(t *testing.T) {
	good := backend(t, "good")
	dynamicText := func(rule string) string {
		return `
http:
  routers: {r: {rule: "` + rule + `", service: s, entryPoints: [web]}, shut: {rule: "Host(` + "`b.test`" + `)", service: s, middlewares: [m], entryPoints: [web]}, fileless: {rule: "Host(` + "`d.test`" + `)", service: s, middlewares: [f], entryPoints: [web]}}
  middlewares: {m: {ipAllowList: {sourceRange: [nonsense]}}, f: {basicAuth: {usersFile: /nowhere/users}}}
  services:
    s:
      loadBalancer:
        healthCheck: {path: /, interval: 50ms, timeout: 1s}
        servers: [{url: "` + good.URL + `"}, {url: "http://127.0.0.1:1"}]
`
	}
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true}
`, dynamicText("Host(`a.test`)"))
	ask := func(path string, into any) *http.Response {
		t.Helper()
		resp, body := r.get("traefik", "http://127.0.0.1"+path)
		if into != nil {
			if err := json.Unmarshal([]byte(body), into); err != nil {
				t.Fatalf("%s: %d %q: %v", path, resp.StatusCode, body, err)
			}
		}
		return resp
	}
	var router struct{ Status, Rule, Provider string }
	if resp := ask("/api/http/routers/r@file", &router); resp.Header.Get("Content-Type") != "application/json" ||
		router.Status != "enabled" || router.Rule != "Host(`a.test`)" || router.Provider != "file" {
		t.Errorf("router: %v %+v", resp.Header, router)
	}
	if ask("/api/http/routers/shut@file", &router); router.Status != "disabled" {
		t.Errorf("router with a middleware that cannot be built: %+v", router)
	}
	var service struct{ ServerStatus map[string]string }
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ask("/api/http/services/s@file", &service); service.ServerStatus["http://127.0.0.1:1"] == "DOWN" && service.ServerStatus[good.URL] == "UP" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("health: %v", service.ServerStatus)
		}
	}
	r.reload(dynamicText("Host(`c.test`)"))
	if ask("/api/http/routers/r@file", &router); router.Rule != "Host(`c.test`)" {
		t.Errorf("after a change: %+v", router)
	}
	if ask("/api/http/routers/fileless@file", &router); router.Status != "disabled" {
		t.Errorf("router with a middleware that was not built, after a change elsewhere: %+v", router)
	}
	var answer struct{ Cause string }
	if ask("/api/explain?url=http://c.test/&entryPoint=web", &answer); !strings.Contains(answer.Cause, "r@file") {
		t.Errorf("explain: %+v", answer)
	}
	if resp := ask("/api/nothing", nil); resp.StatusCode != 404 {
		t.Errorf("unknown path: %d", resp.StatusCode)
	}
	if resp, _ := r.get("web", "http://127.0.0.1/api/version"); resp.StatusCode != 404 {
		t.Errorf("on another entry point: %d", resp.StatusCode)
	}
	for method, want := range map[string]int{"HEAD": 200, "POST": 405} {
		req, err := http.NewRequest(method, "http://"+r.addr("traefik")+"/api/rawdata", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || method == "HEAD" && len(body) > 0 {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
	}
}

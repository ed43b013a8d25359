package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Configuration that is put is in force at once: on the internal entry point without anything in front, or behind what
// the operator puts in front of rest@internal.
func TestRESTProvider(t *testing.T) {
	good := backend(t, "good")
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
api: {insecure: true, debug: true}
providers: {rest: {insecure: true}}
`, `
http:
  routers: {put: {rule: "Host(`+"`config.test`"+`)", service: rest@internal, entryPoints: [web], middlewares: [auth]}}
  middlewares: {auth: {basicAuth: {users: ["me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]}}}
`)
	put := func(entryPoint, host, user, path, document string) int {
		t.Helper()
		req, err := http.NewRequest("PUT", "http://"+r.addr(entryPoint)+path, strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Close = host, true
		if user != "" {
			req.SetBasicAuth(user, "password")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	document := func(host string) string {
		return `{"http": {"routers": {"r": {"rule": "Host(` + "`" + host + "`" + `)", "service": "s", "entryPoints": ["web"]}},
			"services": {"s": {"loadBalancer": {"servers": [{"url": "` + good.URL + `"}]}}}}}`
	}
	served := func(host string, want int) {
		t.Helper()
		soon(t, host, func() bool {
			resp, _ := r.get("web", "http://"+host+"/")
			return resp.StatusCode == want
		})
	}
	if code := put("traefik", "x", "", "/api/providers/rest", document("a.test")); code != 200 {
		t.Fatalf("put: %d", code)
	}
	served("a.test", 200)
	if code := put("traefik", "x", "", "/api/providers/rest", "not JSON"); code != 400 {
		t.Errorf("not JSON: %d", code)
	}
	served("a.test", 200)
	if code := put("web", "config.test", "", "/api/providers/rest", document("b.test")); code != 401 {
		t.Errorf("without a password: %d", code)
	}
	if code := put("web", "config.test", "me", "/api/providers/rest", document("b.test")); code != 200 {
		t.Errorf("with a password: %d", code)
	}
	served("b.test", 200)
	served("a.test", 404)
	if resp, body := r.get("traefik", "http://x/api/http/routers/r@rest"); resp.StatusCode != 200 || !strings.Contains(body, "b.test") {
		t.Errorf("in the API: %d %s", resp.StatusCode, body)
	}
	if resp, body := r.get("traefik", "http://x/debug/vars"); resp.StatusCode != 200 || !strings.Contains(body, "memstats") {
		t.Errorf("debug: %d", resp.StatusCode)
	}
}

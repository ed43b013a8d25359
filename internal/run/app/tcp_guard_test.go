package app

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// A TCP middleware that cannot be used is shown with its reason, and so is the router that it closes.
func TestBrokenTCPMiddlewareIsShown(t *testing.T) {
	r := start(t, `
entryPoints: {tcp: {address: "127.0.0.1:0"}, web: {address: "127.0.0.1:0"}}
api: {}
`, `
http: {routers: {api: {rule: "PathPrefix(`+"`/api`"+`)", service: api@internal, entryPoints: [web]}}}
tcp:
  routers: {r: {rule: "HostSNI(`+"`*`"+`)", service: s, entryPoints: [tcp], middlewares: [m]}}
  middlewares: {m: {ipAllowList: {sourceRange: ["10.0.0.0/99"]}}}
  services: {s: {loadBalancer: {servers: [{address: "127.0.0.1:1"}]}}}
`)
	for _, path := range []string{"middlewares/m@file", "routers/r@file"} {
		res, err := http.Get("http://" + r.addr("web") + "/api/tcp/" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		var got struct {
			Status string
			Error  []string
		}
		if err := json.Unmarshal(text, &got); err != nil || got.Status != "disabled" || len(got.Error) == 0 {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A cache outlives changes of the configuration that leave it alone, and ends with those that do not.
func TestCacheOutlivesReloads(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "answer %d to %s", calls.Add(1), r.Header.Get("X-Forwarded-Host"))
	}))
	defer server.Close()
	config := func(more string) string {
		return `
http:
  routers:
    r: {rule: "Host(` + "`a.test`" + `)", service: s, middlewares: [cache]` + more + `
  services:
    s: {loadBalancer: {servers: [{url: "` + server.URL + `"}]}}
`
	}
	same := "}\n  middlewares: {cache: {httpCache: {}}}"
	r := start(t, `entryPoints: {web: {address: "127.0.0.1:0"}}`, config(same))
	want := func(at, status string) {
		t.Helper()
		resp, body := r.get("web", "http://a.test/x")
		if got := resp.Header.Get("Cache-Status"); !strings.HasPrefix(got, status) || !strings.HasPrefix(body, "answer ") || !strings.HasSuffix(body, " a.test") {
			t.Errorf("%s: %q, %s", at, body, got)
		}
	}
	want("first", "Sluice; fwd=uri-miss; stored")
	want("second", "Sluice; hit")
	r.reload(config(", priority: 7" + same))
	want("after a change of the router", "Sluice; hit")
	r.reload(config("}\n  middlewares: {cache: {httpCache: {maxTTL: 500}}}"))
	want("after a change of the cache", "Sluice; fwd=uri-miss; stored")
}

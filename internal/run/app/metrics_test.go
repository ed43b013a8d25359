package app

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"sluice/internal/core/static"
	"sluice/internal/intake/decode"
)

// Metrics are on the internal entry point, or where somebody routes to them; counts cover every version of HTTP, and series
// of what was removed go.
func TestMetrics(t *testing.T) {
	good := backend(t, "good")
	text := func(name string) string {
		return `
http:
  routers:
    ` + name + `: {rule: "Host(` + "`a.test`" + `)", service: ` + name + `, entryPoints: [web]}
    ` + name + `-tls: {rule: "Host(` + "`a.test`" + `)", service: ` + name + `, entryPoints: [secure], tls: {}}
    own: {rule: "Host(` + "`own.test`" + `)", service: prometheus@internal, entryPoints: [web]}
  services: {` + name + `: {loadBalancer: {healthCheck: {path: /, interval: 1h}, servers: [{url: "` + good.URL + `"}]}}}
`
	}
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, secure: {address: "127.0.0.1:0"}, traefik: {address: "127.0.0.1:0"}}
metrics: {prometheus: {addRoutersLabels: true}}
`, text("first"))
	for _, transport := range transports {
		if o := r.tell(transport, ask{host: "a.test"}, false); o.status != 200 {
			t.Fatalf("%s: %+v", transport, o)
		}
	}
	metrics := func() string {
		t.Helper()
		resp, body := r.get("traefik", "http://x/metrics")
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		return body
	}
	want := []string{
		`traefik_entrypoint_requests_total{code="200",entrypoint="web",method="GET",protocol="http"} 2`,
		`traefik_entrypoint_requests_total{code="200",entrypoint="secure",method="GET",protocol="http"} 2`,
		`traefik_router_requests_total{code="200",method="GET",protocol="http",router="first@file",service="first@file"} 2`,
		`traefik_service_requests_total{code="200",method="GET",protocol="http",service="first@file"} 4`,
		`traefik_service_server_up{service="first@file",url="` + good.URL + `"} 1`,
		`traefik_config_reloads_total 1`,
		`traefik_open_connections{entrypoint="traefik",protocol="TCP"} 1`,
	}
	// A record is made when its exchange ends, which the client may see earlier.
	soon(t, "all requests are counted", func() bool {
		body := metrics()
		for _, line := range want {
			if !strings.Contains(body, line+"\n") {
				return false
			}
		}
		return true
	})
	if strings.Contains(metrics(), `entrypoint="traefik",method`) {
		t.Error("requests for metrics are counted")
	}
	if resp, body := r.get("web", "http://own.test/metrics"); resp.StatusCode != 200 || !strings.Contains(body, "traefik_config_reloads_total") {
		t.Errorf("routed to prometheus@internal: %d", resp.StatusCode)
	}
	r.reload(text("second"))
	metrics()
	if body := metrics(); strings.Contains(body, "first@file") || !strings.Contains(body, "traefik_config_reloads_total 2") {
		t.Error("the series of removed routers stay")
	}
}

// An address in use is an error at start, whatever was to be sent meanwhile.
func TestPushersAndAnAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	doc, err := decode.File("static.yml", []byte(`
entryPoints: {web: {address: "`+taken.Addr().String()+`"}}
metrics: {statsD: {address: "127.0.0.1:9", pushInterval: 1ms}, otlp: {pushInterval: 1ms, http: {endpoint: "http://127.0.0.1:9"}}}
`), decode.YAML)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := doc.Static(nil)
	if _, err := New(Options{Static: static.Effective(st), Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
}

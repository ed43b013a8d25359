package app

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes what is sent by OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*trace.Span
	service string
	metrics []string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			in = z
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case r.Header.Get("X-Key") != "k":
			w.WriteHeader(401)
		case r.URL.Path == "/v1/traces":
			var m collectortrace.ExportTraceServiceRequest
			if err := proto.Unmarshal(body, &m); err != nil {
				t.Error(err)
			}
			for _, rs := range m.ResourceSpans {
				c.service = attributesOf(rs.Resource.Attributes)["service.name"]
				for _, ss := range rs.ScopeSpans {
					c.spans = append(c.spans, ss.Spans...)
				}
			}
		case r.URL.Path == "/v1/metrics":
			var m collectormetrics.ExportMetricsServiceRequest
			if err := proto.Unmarshal(body, &m); err != nil {
				t.Error(err)
			}
			for _, rm := range m.ResourceMetrics {
				for _, sm := range rm.ScopeMetrics {
					for _, metric := range sm.Metrics {
						c.metrics = append(c.metrics, metric.Name)
					}
				}
			}
		default:
			w.WriteHeader(404)
		}
	}))
	return c
}

func attributesOf(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		out[kv.Key] = kv.Value.String()
		if s, ok := kv.Value.Value.(*common.AnyValue_StringValue); ok {
			out[kv.Key] = s.StringValue
		}
	}
	return out
}

// Requests over every version of HTTP have spans, which go on to the server; what is secret in them is not sent.
func TestTraces(t *testing.T) {
	c := newCollector(t)
	defer c.Close()
	var mu sync.Mutex
	var parents []string
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		parents = append(parents, r.Header.Get("Traceparent"))
		if r.URL.Path == "/broken" {
			w.WriteHeader(500)
		}
	}))
	defer origin.Close()
	r := start(t, `
entryPoints: {web: {address: "127.0.0.1:0"}, secure: {address: "127.0.0.1:0"}}
tracing:
  serviceName: edge
  capturedRequestHeaders: [X-Tenant, User-Agent]
  capturedResponseHeaders: [X-Edge]
  safeQueryParams: [page]
  otlp: {http: {endpoint: "`+c.URL+`/v1/traces", headers: {X-Key: k}}}
metrics: {otlp: {pushInterval: 1h, http: {endpoint: "`+c.URL+`/v1/metrics", headers: {X-Key: k}}}}
`, `
http:
  routers:
    app: {rule: "Host(`+"`a.test`"+`)", service: app, middlewares: [mark], entryPoints: [web]}
    tls: {rule: "Host(`+"`a.test`"+`)", service: app, middlewares: [mark], entryPoints: [secure], tls: {}}
    detailed: {rule: "Host(`+"`detailed.test`"+`)", service: app, middlewares: [mark], entryPoints: [web], observability: {traceVerbosity: detailed}}
    quiet: {rule: "Host(`+"`quiet.test`"+`)", service: app, entryPoints: [web], observability: {tracing: false}}
    own: {rule: "Host(`+"`own.test`"+`)", service: noop@internal, entryPoints: [web]}
  middlewares: {mark: {headers: {customResponseHeaders: {X-Edge: marked}}}}
  services: {app: {loadBalancer: {servers: [{url: "`+origin.URL+`"}]}}}
`)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, transport := range transports {
		if o := r.tell(transport, ask{target: "/x?page=2&token=verysecret", host: "a.test", fields: []string{"Traceparent", parent, "X-Tenant", "me", "User-Agent", "odd \xff"}}, false); o.status != 200 {
			t.Fatalf("%s: %+v", transport, o)
		}
	}
	for _, host := range []string{"a.test/broken", "detailed.test/", "quiet.test/", "own.test/", "nobody.test/"} {
		r.get("web", "http://"+host)
	}
	r.stop() // sends what is waiting

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service != "edge" {
		t.Errorf("service.name: %q", c.service)
	}
	var names []string
	byID := map[string]*trace.Span{}
	for _, s := range c.spans {
		names = append(names, s.Name)
		byID[string(s.SpanId)] = s
		if strings.Contains(s.String(), "verysecret") {
			t.Errorf("a secret was sent: %s", s)
		}
	}
	slices.Sort(names)
	// 4 requests, the broken one, the detailed one and the one of nobody; 6 of them went to the server.
	want := "GET GET GET GET GET GET GET ReverseProxy ReverseProxy ReverseProxy ReverseProxy ReverseProxy ReverseProxy Router Service headers"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("spans: %s", got)
	}
	continued := 0
	for _, s := range c.spans {
		a := attributesOf(s.Attributes)
		switch {
		case s.Name == "GET" && a["url.query"] == "page=2&token=REDACTED":
			continued++
			if a["entry_point"] == "" || a["http.request.method"] != "GET" || a["url.path"] != "/x" || a["server.address"] != "a.test" ||
				!strings.Contains(a["http.request.header.x-tenant"], "me") || !strings.Contains(a["http.response.header.x-edge"], "marked") ||
				!strings.Contains(a["http.response.status_code"], "200") || s.Kind != trace.Span_SPAN_KIND_SERVER {
				t.Errorf("attributes: %v", a)
			}
			if got := "00-" + hexOf(s.TraceId) + "-" + hexOf(s.ParentSpanId) + "-01"; got != parent {
				t.Errorf("the parent is %s", got)
			}
		case s.Name == "ReverseProxy":
			if p := byID[string(s.ParentSpanId)]; p == nil || s.Kind != trace.Span_SPAN_KIND_CLIENT {
				t.Errorf("parent of %s", s)
			}
			if !slices.ContainsFunc(parents, func(p string) bool { return strings.Contains(p, hexOf(s.SpanId)) }) {
				t.Errorf("the server saw %v, the span is %s", parents, hexOf(s.SpanId))
			}
			if strings.Contains(a["http.response.status_code"], "500") != (s.Status.Code == trace.Status_STATUS_CODE_ERROR) {
				t.Errorf("status of %s", s)
			}
		case s.Name == "Router":
			if a["traefik.router.name"] != "detailed@file" || a["traefik.service.name"] != "app@file" || !strings.Contains(a["http.route"], "detailed.test") {
				t.Errorf("router: %v", a)
			}
		case s.Name == "headers":
			if a["traefik.middleware.name"] != "mark@file" {
				t.Errorf("middleware: %v", a)
			}
		}
	}
	if continued != len(transports) {
		t.Errorf("%d spans of the requests that had a trace", continued)
	}
	for _, name := range []string{"traefik_entrypoint_requests_total", "http.server.request.duration", "http.client.request.duration", "traefik_config_reloads_total"} {
		if !slices.Contains(c.metrics, name) {
			t.Errorf("no metric %s among %v", name, c.metrics)
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

package prom

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sluice/internal/core/fault"
	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/record"
)

type fieldList [][2]string

func (f fieldList) Len() int                         { return len(f) }
func (f fieldList) Field(i int) (name, value string) { return f[i][0], f[i][1] }

// scrape reads the metrics as a server would.
func scrape(t *testing.T, m *meter.Meter, s meter.Sources) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	New(m, s).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func labels(m *dto.Metric) string {
	var out []string
	for _, l := range m.Label {
		out = append(out, l.GetName()+"="+l.GetValue())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// The names, types and labels are those that dashboards for Traefik ask for.
func TestNames(t *testing.T) {
	c := &static.Prometheus{}
	c.SetDefaults()
	c.AddRoutersLabels = true
	c.HeaderLabels = map[string]string{"zone": "X-Zone", "agent": "User-Agent"}
	m := meter.New(MeterOptions(c, false))
	m.Reloaded(time.Unix(1000, 0))
	m.Record(&record.Record{EntryPoint: "web", Router: "r@file", Service: "s@file", Method: "GET", Protocol: record.HTTP, GRPCStatus: -1, Status: 200, OriginStatus: 200,
		TLS: record.TLS{Version: 0x0304, Suite: 0x1301}, BytesIn: 5, BytesOut: 7, Duration: 2 * time.Second, OriginDuration: time.Second, Retries: 1,
		Request: fieldList{{"x-zone", "a\xff"}, {"user-agent", "curl"}}})
	m.Record(&record.Record{EntryPoint: "web", Router: "vm@file", Service: "vm@file", SNI: "vm.test", Passthrough: true, BytesIn: 3, BytesOut: 4})
	m.Record(&record.Record{EntryPoint: "web", Fault: fault.New(fault.RequestTimeout, "slow", nil)})
	families := scrape(t, m, meter.Sources{
		Open: func(yield func(string, string, int)) { yield("web", "TCP", 3) },
		Certificates: func() []meter.Certificate {
			return []meter.Certificate{{CommonName: "a.test", Serial: "7", Names: []string{"a.test", "b.test"}, NotAfter: time.Unix(2000, 0)}, {CommonName: "a.test", Serial: "7", NotAfter: time.Unix(2000, 0)}}
		},
		Servers:  func() []meter.Server { return []meter.Server{{Service: "s@file", URL: "http://10.0.0.1", Up: true}} },
		Findings: func() map[string]int { return map[string]int{"error": 2} },
		Dropped:  func() uint64 { return 4 },
		Version:  "1.0",
	})
	counter, gauge, histogram := dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM
	for _, want := range []struct {
		name   string
		kind   dto.MetricType
		labels string
		value  float64
	}{
		{"traefik_config_reloads_total", counter, "", 1},
		{"traefik_config_last_reload_success", gauge, "", 1000},
		{"traefik_open_connections", gauge, "entrypoint=web protocol=TCP", 3},
		{"traefik_tls_certs_not_after", gauge, "cn=a.test sans=a.test,b.test serial=7", 2000},
		{"traefik_entrypoint_requests_total", counter, "agent=curl code=200 entrypoint=web method=GET protocol=http zone=a\uFFFD", 1},
		{"traefik_entrypoint_requests_tls_total", counter, "entrypoint=web tls_cipher=TLS_AES_128_GCM_SHA256 tls_version=1.3", 1},
		{"traefik_entrypoint_request_duration_seconds", histogram, "code=200 entrypoint=web method=GET protocol=http", 2},
		{"traefik_entrypoint_requests_bytes_total", counter, "code=200 entrypoint=web method=GET protocol=http", 5},
		{"traefik_entrypoint_responses_bytes_total", counter, "code=200 entrypoint=web method=GET protocol=http", 7},
		{"traefik_router_requests_total", counter, "agent=curl code=200 method=GET protocol=http router=r@file service=s@file zone=a\uFFFD", 1},
		{"traefik_router_requests_tls_total", counter, "router=r@file service=s@file tls_cipher=TLS_AES_128_GCM_SHA256 tls_version=1.3", 1},
		{"traefik_router_request_duration_seconds", histogram, "code=200 method=GET protocol=http router=r@file service=s@file", 2},
		{"traefik_router_requests_bytes_total", counter, "code=200 method=GET protocol=http router=r@file service=s@file", 5},
		{"traefik_router_responses_bytes_total", counter, "code=200 method=GET protocol=http router=r@file service=s@file", 7},
		{"traefik_service_requests_total", counter, "agent=curl code=200 method=GET protocol=http service=s@file zone=a\uFFFD", 1},
		{"traefik_service_requests_tls_total", counter, "service=s@file tls_cipher=TLS_AES_128_GCM_SHA256 tls_version=1.3", 1},
		{"traefik_service_request_duration_seconds", histogram, "code=200 method=GET protocol=http service=s@file", 1},
		{"traefik_service_retries_total", counter, "service=s@file", 1},
		{"traefik_service_server_up", gauge, "service=s@file url=http://10.0.0.1", 1},
		{"sluice_tunnels_total", counter, "entrypoint=web kind=passthrough router=vm@file service=vm@file", 1},
		{"sluice_faults_total", counter, "code=REQUEST-TIMEOUT entrypoint=web side=client", 1},
		{"sluice_findings", gauge, "severity=error", 2},
		{"sluice_access_log_dropped_total", counter, "", 4},
		{"sluice_overhead_seconds", histogram, "", 1},
		{"sluice_build_info", gauge, "version=1.0", 1},
	} {
		f := families[want.name]
		if f == nil || f.GetType() != want.kind {
			t.Errorf("%s: %v", want.name, f)
			continue
		}
		var got []string
		for _, m := range f.Metric {
			if got = append(got, labels(m)); labels(m) != want.labels {
				continue
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum(); v != want.value {
				t.Errorf("%s is %v, want %v", want.name, v, want.value)
			}
			if h := m.GetHistogram(); strings.HasPrefix(want.name, "traefik") && h != nil && len(h.Bucket) != 5 {
				t.Errorf("%s has the buckets %v", want.name, h.Bucket)
			}
		}
		if !slices.Contains(got, want.labels) {
			t.Errorf("%s: %v, want %s", want.name, got, want.labels)
		}
	}
	if families["go_goroutines"] == nil || families["process_start_time_seconds"] == nil {
		t.Error("the figures of the process are missing")
	}
	if n := len(families["traefik_tls_certs_not_after"].Metric); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// Without labels of a level there is no series of it; an empty or odd configuration does not break the answer.
func TestLevelsOff(t *testing.T) {
	c := &static.Prometheus{Buckets: []float64{1, 0.5, 1}}
	m := meter.New(MeterOptions(c, false))
	m.Record(&record.Record{EntryPoint: "web", Router: "r@file", Service: "s@file", Method: "GET", Protocol: record.HTTP, Status: 200})
	for name := range scrape(t, m, meter.Sources{}) {
		if strings.Contains(name, "requests") {
			t.Errorf("%s is there", name)
		}
	}
}

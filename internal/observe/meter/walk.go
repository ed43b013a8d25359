package meter

import (
	"crypto/tls"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Certificate is what is told of a certificate that is served.
type Certificate struct {
	CommonName, Serial string
	// Names are sorted.
	Names    []string
	NotAfter time.Time
}

// Server is a server with a health check.
type Server struct {
	Service, URL string
	Up           bool
}

// Sources tell what is not counted but looked at when somebody asks. All of them are safe for concurrent use; nil ones
// have nothing to tell.
type Sources struct {
	// Open calls yield for each entry point with its open connections. protocol is TCP or UDP.
	Open func(yield func(entryPoint, protocol string, n int))
	// Certificates are those that are served.
	Certificates func() []Certificate
	// Servers are those with a health check.
	Servers func() []Server
	// Findings are how many remarks there are on the configuration in force, by severity.
	Findings func() map[string]int
	// Dropped is how many lines of the access log were lost.
	Dropped func() uint64
	// Version of the program.
	Version string
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Metric is what a Visitor is told a value of.
type Metric struct {
	// Name is the one in Prometheus, Dotted the one in StatsD and its kin, empty for metrics that those do not have.
	Name, Dotted string
	// Help says what it is.
	Help string
	// Labels have the same names in the same order for all values of one metric.
	Labels []Label
}

// Visitor takes the values of all metrics. It may keep the metric and its labels.
type Visitor interface {
	Counter(m Metric, v float64)
	Gauge(m Metric, v float64)
	Histogram(m Metric, h *Histogram)
}

// Walk tells v every metric, with the names and labels that dashboards for Traefik ask for; our own begin with sluice_. It
// is what ends the series of subjects that have gone (see Retain), so each Meter has one reader.
func (m *Meter) Walk(s *Sources, v Visitor) {
	n, last := m.Reloads()
	v.Counter(Metric{Name: "traefik_config_reloads_total", Dotted: "config.reload.total", Help: "Configurations put in force."}, float64(n))
	v.Gauge(Metric{Name: "traefik_config_last_reload_success", Dotted: "config.reload.lastSuccessTimestamp",
		Help: "When a configuration was last put in force, in seconds since 1970."}, float64(last))
	m.walkRequests(v)
	m.walkConnections(v)
	s.walk(v)
}

func (m *Meter) walkRequests(v Visitor) {
	m.Counts.Each(func(k Requests, n *atomic.Uint64) {
		labels := k.labels()
		if len(m.o.Headers) > 0 {
			for i, value := range strings.Split(k.Headers, "\x00") {
				labels = append(labels, Label{m.o.HeaderLabels[i], value})
			}
		}
		v.Counter(k.metric("requests_total", "request.total", "Requests.", labels), float64(n.Load()))
	})
	m.Traffic.Each(func(k Requests, t *Traffic) {
		labels := k.labels()
		v.Histogram(k.metric("request_duration_seconds", "request.duration", "How long requests took.", labels), &t.Durations)
		v.Counter(k.metric("requests_bytes_total", "requests.bytes.total", "Bytes of request bodies.", labels), float64(t.BytesIn.Load()))
		v.Counter(k.metric("responses_bytes_total", "responses.bytes.total", "Bytes of response bodies.", labels), float64(t.BytesOut.Load()))
	})
	m.TLS.Each(func(k Handshakes, n *atomic.Uint64) {
		labels := append([]Label{{"tls_version", strings.TrimPrefix(tls.VersionName(k.Version), "TLS ")},
			{"tls_cipher", tls.CipherSuiteName(k.Suite)}}, k.Subject.labels()...)
		v.Counter(k.metric("requests_tls_total", "request.tls.total", "Requests over TLS.", labels), float64(n.Load()))
	})
	m.Retries.Each(func(service string, n *atomic.Uint64) {
		v.Counter(Metric{"traefik_service_retries_total", "service.retries.total", "Requests sent once more.", []Label{{"service", service}}}, float64(n.Load()))
	})
	v.Histogram(Metric{Name: "sluice_overhead_seconds", Help: "Time that requests spent inside Sluice before a server was asked."}, &m.Overhead)
}

func (m *Meter) walkConnections(v Visitor) {
	m.Tunnels.Each(func(k Tunnels, f *Flow) {
		labels := []Label{{"entrypoint", k.EntryPoint}, {"router", k.Router}, {"service", k.Service}, {"kind", k.Kind}}
		v.Counter(Metric{Name: "sluice_tunnels_total", Help: "Connections that TCP routers took.", Labels: labels}, float64(f.Count.Load()))
		bytes := func(direction string, n uint64) {
			v.Counter(Metric{Name: "sluice_tunnel_bytes_total", Help: "Bytes of connections that TCP routers took.",
				Labels: append(slices.Clone(labels), Label{"direction", direction})}, float64(n))
		}
		bytes("in", f.BytesIn.Load())
		bytes("out", f.BytesOut.Load())
	})
	m.Faults.Each(func(k Faults, n *atomic.Uint64) {
		v.Counter(Metric{Name: "sluice_faults_total", Help: "Requests and connections that did not end regularly, by the code of the reason.",
			Labels: []Label{{"entrypoint", k.EntryPoint}, {"code", k.Code}, {"side", k.Side}}}, float64(n.Load()))
	})
}

// walk tells what is looked at rather than counted.
func (s *Sources) walk(v Visitor) {
	v.Gauge(Metric{Name: "sluice_build_info", Help: "The program.", Labels: []Label{{"version", s.Version}}}, 1)
	if s.Open != nil {
		s.Open(func(entryPoint, protocol string, n int) {
			v.Gauge(Metric{"traefik_open_connections", "open.connections", "Open connections.", []Label{{"entrypoint", entryPoint}, {"protocol", protocol}}}, float64(n))
		})
	}
	if s.Certificates != nil {
		// Several resolvers and files may hold the same certificate.
		seen := map[string]bool{}
		for _, c := range s.Certificates() {
			if key := c.Serial + " " + c.CommonName; !seen[key] {
				seen[key] = true
				v.Gauge(Metric{"traefik_tls_certs_not_after", "tls.certs.notAfterTimestamp", "End of a certificate, in seconds since 1970.",
					[]Label{{"cn", c.CommonName}, {"serial", c.Serial}, {"sans", strings.Join(c.Names, ",")}}}, float64(c.NotAfter.Unix()))
			}
		}
	}
	if s.Servers != nil {
		for _, server := range s.Servers() {
			up := 0.0
			if server.Up {
				up = 1
			}
			v.Gauge(Metric{"traefik_service_server_up", "service.server.up", "Whether a server with a health check is up.",
				[]Label{{"service", server.Service}, {"url", server.URL}}}, up)
		}
	}
	if s.Findings != nil {
		for severity, n := range s.Findings() {
			v.Gauge(Metric{Name: "sluice_findings", Help: "Remarks on the configuration in force.", Labels: []Label{{"severity", severity}}}, float64(n))
		}
	}
	if s.Dropped != nil {
		v.Counter(Metric{Name: "sluice_access_log_dropped_total", Help: "Lines of the access log that were lost."}, float64(s.Dropped()))
	}
}

// metric names a metric of a level.
func (s Subject) metric(name, dotted, help string, labels []Label) Metric {
	level := s.Level.String()
	return Metric{"traefik_" + level + "_" + name, level + "." + dotted, help, labels}
}

func (k Requests) labels() []Label {
	return append([]Label{{"code", strconv.Itoa(k.Code)}, {"method", k.Method}, {"protocol", k.Protocol}}, k.Subject.labels()...)
}

func (s Subject) labels() []Label {
	switch s.Level {
	case EntryPoint:
		return []Label{{"entrypoint", s.Name}}
	case Router:
		return []Label{{"router", s.Name}, {"service", s.Service}}
	default:
		return []Label{{"service", s.Name}}
	}
}

// Package prom publishes what package meter counts in Prometheus' formats, under the names and with the labels of Traefik's
// metrics, so that dashboards go on. Metrics of our own begin with sluice_.
package prom

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
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

// MeterOptions are what a meter for this configuration counts.
func MeterOptions(c *static.Prometheus, internals bool) meter.Options {
	return meter.Options{EntryPoints: c.AddEntryPointsLabels, Routers: c.AddRoutersLabels, Services: c.AddServicesLabels,
		Internals: internals, Bounds: ascending(c.Buckets), Headers: headerFields(c)}
}

// ascending sorts bounds and drops repetitions, which histograms do not allow.
func ascending(bounds []float64) []float64 {
	out := slices.Clone(bounds)
	slices.Sort(out)
	return slices.Compact(out)
}

// headerLabels are the labels that show request fields, sorted, and the fields in the same order.
func headerLabels(c *static.Prometheus) (labels []string) {
	for label := range c.HeaderLabels {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	return labels
}

func headerFields(c *static.Prometheus) (fields []string) {
	for _, label := range headerLabels(c) {
		fields = append(fields, c.HeaderLabels[label])
	}
	return fields
}

// New returns what serves the metrics of m, and of the process.
func New(c *static.Prometheus, m *meter.Meter, s Sources) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(c, m, s))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4,
		ErrorHandling: promhttp.ContinueOnError})
}

// collector turns series into metrics when they are asked for.
type collector struct {
	m *meter.Meter
	s Sources

	levels                                    [3]levelDescs
	tunnels, tunnelBytes, faults, retries, up *prometheus.Desc
	open, reloads, lastReload, notAfter       *prometheus.Desc
	overhead, findings, dropped, build        *prometheus.Desc
}

type levelDescs struct{ requests, tls, duration, in, out *prometheus.Desc }

// subjectLabels are what names a subject of each level.
var subjectLabels = [3][]string{meter.EntryPoint: {"entrypoint"}, meter.Router: {"router", "service"}, meter.Service: {"service"}}

func newCollector(c *static.Prometheus, m *meter.Meter, s Sources) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	out := &collector{m: m, s: s,
		reloads:     desc("traefik_config_reloads_total", "Configurations put in force."),
		lastReload:  desc("traefik_config_last_reload_success", "When a configuration was last put in force, in seconds since 1970."),
		open:        desc("traefik_open_connections", "Open connections.", "entrypoint", "protocol"),
		notAfter:    desc("traefik_tls_certs_not_after", "End of a certificate, in seconds since 1970.", "cn", "serial", "sans"),
		retries:     desc("traefik_service_retries_total", "Requests sent once more.", "service"),
		up:          desc("traefik_service_server_up", "Whether a server with a health check is up.", "service", "url"),
		tunnels:     desc("sluice_tunnels_total", "Connections that TCP routers took.", "entrypoint", "router", "service", "kind"),
		tunnelBytes: desc("sluice_tunnel_bytes_total", "Bytes of connections that TCP routers took.", "entrypoint", "router", "service", "kind", "direction"),
		faults:      desc("sluice_faults_total", "Requests and connections that did not end regularly, by the code of the reason.", "entrypoint", "code", "side"),
		overhead:    desc("sluice_overhead_seconds", "Time that requests spent inside Sluice before a server was asked."),
		findings:    desc("sluice_findings", "Remarks on the configuration in force.", "severity"),
		dropped:     desc("sluice_access_log_dropped_total", "Lines of the access log that were lost."),
		build:       desc("sluice_build_info", "The program.", "version"),
	}
	for level, labels := range subjectLabels {
		prefix := "traefik_" + meter.Level(level).String() + "_"
		all := append([]string{"code", "method", "protocol"}, labels...)
		out.levels[level] = levelDescs{
			requests: desc(prefix+"requests_total", "Requests.", append(slices.Clone(all), headerLabels(c)...)...),
			tls:      desc(prefix+"requests_tls_total", "Requests over TLS.", append([]string{"tls_version", "tls_cipher"}, labels...)...),
			duration: desc(prefix+"request_duration_seconds", "How long requests took.", all...),
			in:       desc(prefix+"requests_bytes_total", "Bytes of request bodies.", all...),
			out:      desc(prefix+"responses_bytes_total", "Bytes of response bodies.", all...),
		}
	}
	return out
}

// Describe implements prometheus.Collector. It tells nothing, since the labels of headers differ by configuration.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	n, last := c.m.Reloads()
	e.counter(c.reloads, float64(n))
	e.gauge(c.lastReload, float64(last))
	c.requests(e)
	c.connections(e)
	c.state(e)
}

func (c *collector) requests(e emitter) {
	headers := len(c.m.Headers())
	c.m.Counts.Each(func(k meter.Requests, v *counter) {
		labels := labelsOf(k)
		if headers > 0 {
			labels = append(labels, strings.Split(k.Headers, "\x00")...)
		}
		e.counter(c.levels[k.Level].requests, float64(v.Load()), labels...)
	})
	c.m.Traffic.Each(func(k meter.Requests, v *meter.Traffic) {
		labels, d := labelsOf(k), &c.levels[k.Level]
		e.histogram(d.duration, &v.Durations, labels...)
		e.counter(d.in, float64(v.BytesIn.Load()), labels...)
		e.counter(d.out, float64(v.BytesOut.Load()), labels...)
	})
	c.m.TLS.Each(func(k meter.Handshakes, v *counter) {
		version := strings.TrimPrefix(tls.VersionName(k.Version), "TLS ")
		e.counter(c.levels[k.Level].tls, float64(v.Load()), append([]string{version, tls.CipherSuiteName(k.Suite)}, subject(k.Subject)...)...)
	})
	c.m.Retries.Each(func(service string, v *counter) { e.counter(c.retries, float64(v.Load()), service) })
	e.histogram(c.overhead, &c.m.Overhead)
}

func (c *collector) connections(e emitter) {
	c.m.Tunnels.Each(func(k meter.Tunnels, v *meter.Flow) {
		e.counter(c.tunnels, float64(v.Count.Load()), k.EntryPoint, k.Router, k.Service, k.Kind)
		e.counter(c.tunnelBytes, float64(v.BytesIn.Load()), k.EntryPoint, k.Router, k.Service, k.Kind, "in")
		e.counter(c.tunnelBytes, float64(v.BytesOut.Load()), k.EntryPoint, k.Router, k.Service, k.Kind, "out")
	})
	c.m.Faults.Each(func(k meter.Faults, v *counter) {
		e.counter(c.faults, float64(v.Load()), k.EntryPoint, k.Code, k.Side)
	})
	if c.s.Open != nil {
		c.s.Open(func(entryPoint, protocol string, n int) { e.gauge(c.open, float64(n), entryPoint, protocol) })
	}
}

// state tells what is looked at rather than counted.
func (c *collector) state(e emitter) {
	e.gauge(c.build, 1, c.s.Version)
	if c.s.Certificates != nil {
		// Several resolvers and files may hold the same certificate.
		seen := map[string]bool{}
		for _, cert := range c.s.Certificates() {
			if !seen[cert.Serial+" "+cert.CommonName] {
				seen[cert.Serial+" "+cert.CommonName] = true
				e.gauge(c.notAfter, float64(cert.NotAfter.Unix()), cert.CommonName, cert.Serial, strings.Join(cert.Names, ","))
			}
		}
	}
	if c.s.Servers != nil {
		for _, s := range c.s.Servers() {
			up := 0.0
			if s.Up {
				up = 1
			}
			e.gauge(c.up, up, s.Service, s.URL)
		}
	}
	if c.s.Findings != nil {
		for severity, n := range c.s.Findings() {
			e.gauge(c.findings, float64(n), severity)
		}
	}
	if c.s.Dropped != nil {
		e.counter(c.dropped, float64(c.s.Dropped()))
	}
}

func labelsOf(k meter.Requests) []string {
	return append([]string{strconv.Itoa(k.Code), k.Method, k.Protocol}, subject(k.Subject)...)
}

func subject(s meter.Subject) []string {
	if s.Level == meter.Router {
		return []string{s.Name, s.Service}
	}
	return []string{s.Name}
}

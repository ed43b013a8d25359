package otel

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sluice/internal/observe/meter"
)

// Metrics pushes what a meter counts to a collector, in a period.
type Metrics struct{ provider *sdkmetric.MeterProvider }

// NewMetrics starts pushing. m has no other reader. Close ends it.
func NewMetrics(ctx context.Context, e Endpoint, i Identity, every time.Duration, m *meter.Meter, s meter.Sources) (*Metrics, error) {
	exporter, err := metricExporter(ctx, e)
	if err != nil {
		return nil, err
	}
	described, err := i.resource(ctx)
	if described == nil {
		return nil, fmt.Errorf("describing the process: %w", err)
	}
	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(every),
		sdkmetric.WithProducer(&producer{m: m, s: s, since: time.Now(), version: i.Version}))
	return &Metrics{sdkmetric.NewMeterProvider(sdkmetric.WithResource(described), sdkmetric.WithReader(reader))}, nil
}

func metricExporter(ctx context.Context, e Endpoint) (sdkmetric.Exporter, error) {
	if e.GRPC {
		o := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(e.Address), otlpmetricgrpc.WithHeaders(e.Headers), otlpmetricgrpc.WithCompressor("gzip")}
		if e.Insecure {
			o = append(o, otlpmetricgrpc.WithInsecure())
		} else {
			o = append(o, otlpmetricgrpc.WithTLSCredentials(e.credentials()))
		}
		return otlpmetricgrpc.New(ctx, o...)
	}
	t, err := e.target()
	if err != nil {
		return nil, err
	}
	o := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpoint(t.host), otlpmetrichttp.WithHeaders(e.Headers), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression)}
	if t.path != "" {
		o = append(o, otlpmetrichttp.WithURLPath(t.path))
	}
	switch {
	case t.insecure:
		o = append(o, otlpmetrichttp.WithInsecure())
	case e.TLS != nil:
		o = append(o, otlpmetrichttp.WithTLSClientConfig(e.TLS))
	}
	return otlpmetrichttp.New(ctx, o...)
}

// Close pushes once more, for a bounded time, and ends.
func (m *Metrics) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	return m.provider.Shutdown(ctx)
}

// producer turns a meter into the library's form. It implements metric.Producer.
type producer struct {
	m       *meter.Meter
	s       meter.Sources
	since   time.Time
	version string
}

// Produce implements metric.Producer.
func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	c := &collected{since: p.since, now: time.Now(), at: map[string]int{}}
	p.m.Walk(&p.s, c)
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scope, Version: p.version}, Metrics: c.all}}, nil
}

// collected gathers the points of each metric. It implements meter.Visitor.
type collected struct {
	since, now time.Time
	all        []metricdata.Metrics
	at         map[string]int // position in all, by name
}

// semantic are histograms that collectors know by another name as well: those of requests that come in and go out.
var semantic = map[string]string{
	"traefik_entrypoint_request_duration_seconds": "http.server.request.duration",
	"traefik_service_request_duration_seconds":    "http.client.request.duration",
}

// metric returns the metric of a name, making it with the data of its first point.
func (c *collected) metric(name, help string, first metricdata.Aggregation) *metricdata.Metrics {
	i, ok := c.at[name]
	if !ok {
		i = len(c.all)
		c.at[name] = i
		unit := "1"
		if strings.HasSuffix(name, "_seconds") || strings.HasSuffix(name, ".duration") {
			unit = "s"
		}
		c.all = append(c.all, metricdata.Metrics{Name: name, Description: help, Unit: unit, Data: first})
	}
	return &c.all[i]
}

func attributes(labels []meter.Label) attribute.Set {
	list := make([]attribute.KeyValue, len(labels))
	for i, l := range labels {
		list[i] = attribute.String(l.Name, strings.ToValidUTF8(l.Value, "\uFFFD"))
	}
	return attribute.NewSet(list...)
}

// Counter implements meter.Visitor.
func (c *collected) Counter(m meter.Metric, v float64) {
	to := c.metric(m.Name, m.Help, metricdata.Sum[float64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true})
	sum := to.Data.(metricdata.Sum[float64])
	sum.DataPoints = append(sum.DataPoints, c.point(&m, v))
	to.Data = sum
}

// Gauge implements meter.Visitor.
func (c *collected) Gauge(m meter.Metric, v float64) {
	to := c.metric(m.Name, m.Help, metricdata.Gauge[float64]{})
	gauge := to.Data.(metricdata.Gauge[float64])
	gauge.DataPoints = append(gauge.DataPoints, c.point(&m, v))
	to.Data = gauge
}

func (c *collected) point(m *meter.Metric, v float64) metricdata.DataPoint[float64] {
	return metricdata.DataPoint[float64]{Attributes: attributes(m.Labels), StartTime: c.since, Time: c.now, Value: v}
}

// Histogram implements meter.Visitor.
func (c *collected) Histogram(m meter.Metric, h *meter.Histogram) {
	point := histogramPoint(h)
	point.Attributes, point.StartTime, point.Time = attributes(m.Labels), c.since, c.now
	for _, name := range []string{m.Name, semantic[m.Name]} {
		if name == "" {
			continue
		}
		to := c.metric(name, m.Help, metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality})
		data := to.Data.(metricdata.Histogram[float64])
		data.DataPoints = append(data.DataPoints, point)
		to.Data = data
	}
}

// histogramPoint has counts of each bucket, where ours are of all up to it.
func histogramPoint(h *meter.Histogram) metricdata.HistogramDataPoint[float64] {
	count, sum, upTo := h.Read()
	out := metricdata.HistogramDataPoint[float64]{Count: count, Sum: sum.Seconds()}
	before := uint64(0)
	for i, bound := range h.Bounds() {
		out.Bounds = append(out.Bounds, bound.Seconds())
		out.BucketCounts = append(out.BucketCounts, upTo[i]-before)
		before = upTo[i]
	}
	out.BucketCounts = append(out.BucketCounts, count-before)
	return out
}

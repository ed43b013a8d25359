package prom

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/observe/meter"
)

// emitter hands metrics to whoever asked; it implements meter.Visitor. A metric that cannot be made is an invalid one, which
// fails by itself alone.
type emitter struct {
	ch    chan<- prometheus.Metric
	descs map[string]*prometheus.Desc
}

// desc returns the description of a metric, made once for each answer.
func (e *emitter) desc(m *meter.Metric) *prometheus.Desc {
	d := e.descs[m.Name]
	if d == nil {
		names := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			names[i] = l.Name
		}
		d = prometheus.NewDesc(m.Name, m.Help, names, nil)
		e.descs[m.Name] = d
	}
	return d
}

// values are the values of the labels as valid UTF-8: those of request fields need not be.
func values(m *meter.Metric) []string {
	out := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		out[i] = strings.ToValidUTF8(l.Value, "\uFFFD")
	}
	return out
}

// Counter implements meter.Visitor.
func (e *emitter) Counter(m meter.Metric, v float64) { e.constant(&m, prometheus.CounterValue, v) }

// Gauge implements meter.Visitor.
func (e *emitter) Gauge(m meter.Metric, v float64) { e.constant(&m, prometheus.GaugeValue, v) }

func (e *emitter) constant(m *meter.Metric, t prometheus.ValueType, v float64) {
	d := e.desc(m)
	out, err := prometheus.NewConstMetric(d, t, v, values(m)...)
	if err != nil {
		out = prometheus.NewInvalidMetric(d, err)
	}
	e.ch <- out
}

// Histogram implements meter.Visitor.
func (e *emitter) Histogram(m meter.Metric, h *meter.Histogram) {
	count, sum, upTo := h.Read()
	buckets := make(map[float64]uint64, len(upTo))
	for i, bound := range h.Bounds() {
		buckets[bound.Seconds()] = upTo[i]
	}
	d := e.desc(&m)
	out, err := prometheus.NewConstHistogram(d, count, sum.Seconds(), buckets, values(&m)...)
	if err != nil {
		out = prometheus.NewInvalidMetric(d, err)
	}
	e.ch <- out
}

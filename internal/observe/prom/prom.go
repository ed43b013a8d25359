// Package prom publishes what package meter counts in Prometheus' formats.
package prom

import (
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/internal/core/static"
	"sluice/internal/observe/meter"
)

// MeterOptions are what a meter for this configuration counts.
func MeterOptions(c *static.Prometheus, internals bool) meter.Options {
	o := meter.Options{EntryPoints: c.AddEntryPointsLabels, Routers: c.AddRoutersLabels, Services: c.AddServicesLabels,
		Internals: internals, Bounds: c.Buckets}
	for label := range c.HeaderLabels {
		o.HeaderLabels = append(o.HeaderLabels, label)
	}
	slices.Sort(o.HeaderLabels)
	for _, label := range o.HeaderLabels {
		o.Headers = append(o.Headers, c.HeaderLabels[label])
	}
	return o
}

// New returns what serves the metrics of m, whose only reader it is, and of the process.
func New(m *meter.Meter, s meter.Sources) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{m, s})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4,
		ErrorHandling: promhttp.ContinueOnError})
}

// collector turns series into metrics when they are asked for.
type collector struct {
	m *meter.Meter
	s meter.Sources
}

// Describe implements prometheus.Collector. It tells nothing, since what there is differs by configuration.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.m.Walk(&c.s, &emitter{ch: ch, descs: map[string]*prometheus.Desc{}})
}

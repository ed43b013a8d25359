package prom

import (
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/observe/meter"
)

type counter = atomic.Uint64

// emitter hands metrics to whoever asked. One that cannot be made is an invalid metric, which fails by itself alone.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) counter(d *prometheus.Desc, v float64, labels ...string) {
	e.constant(d, prometheus.CounterValue, v, labels)
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.constant(d, prometheus.GaugeValue, v, labels)
}

func (e emitter) constant(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) {
	m, err := prometheus.NewConstMetric(d, t, v, clean(labels)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	e.ch <- m
}

func (e emitter) histogram(d *prometheus.Desc, h *meter.Histogram, labels ...string) {
	count, sum, upTo := h.Read()
	buckets := make(map[float64]uint64, len(upTo))
	for i, bound := range h.Bounds() {
		buckets[bound.Seconds()] = upTo[i]
	}
	m, err := prometheus.NewConstHistogram(d, count, sum.Seconds(), buckets, clean(labels)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	e.ch <- m
}

// clean makes labels valid UTF-8: values of request fields need not be.
func clean(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
}

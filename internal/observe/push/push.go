// Package push sends what package meter counts to StatsD servers, Datadog agents and InfluxDB, in a period.
//
// Counters go out as what was added since the last time, gauges as they are. Durations are kept in narrow buckets; each
// bucket that grew goes out once, with the sampling rate that stands for how much it grew, so that percentiles hold to
// within the width of a bucket.
package push

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"sluice/internal/observe/meter"
)

// Bounds are the buckets of durations, in seconds: from 0.1 ms to a minute, each a fifth wider than the one before.
func Bounds() (out []float64) {
	for b := 1e-4; b < 60; b *= 1.2 {
		out = append(out, b)
	}
	return append(out, 60)
}

// complainEvery is the least time between two remarks about a receiver that is away.
const complainEvery = time.Minute

// sender writes metrics in one of the protocols. It is used by one goroutine.
type sender interface {
	counter(m *meter.Metric, added float64)
	gauge(m *meter.Metric, v float64)
	// durations tells that n durations of about d were added.
	durations(m *meter.Metric, d time.Duration, n uint64)
	// flush sends what was written since the last time.
	flush(ctx context.Context) error
	close()
}

// Pusher sends in a period until Close.
type Pusher struct {
	m     *meter.Meter
	s     meter.Sources
	to    sender
	name  string
	every time.Duration
	log   *slog.Logger

	counters   map[string]float64
	histograms map[string][]uint64
	seen       map[string]bool // in this round

	stop  chan struct{}
	ended sync.WaitGroup
	told  time.Time
}

// Options are what all receivers have in common.
type Options struct {
	// Meter has no other reader.
	Meter   *meter.Meter
	Sources meter.Sources
	// Every is the period.
	Every time.Duration
	// Log hears of receivers that are away.
	Log *slog.Logger
}

func start(name string, to sender, o Options) *Pusher {
	p := &Pusher{m: o.Meter, s: o.Sources, to: to, name: name, every: o.Every, log: o.Log,
		counters: map[string]float64{}, histograms: map[string][]uint64{}, stop: make(chan struct{})}
	p.ended.Go(p.run)
	return p
}

// Close sends once more and ends.
func (p *Pusher) Close() {
	close(p.stop)
	p.ended.Wait()
}

func (p *Pusher) run() {
	defer p.to.close()
	t := time.NewTicker(p.every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.push()
		case <-p.stop:
			p.push()
			return
		}
	}
}

// sendLimit bounds one sending.
const sendLimit = 5 * time.Second

func (p *Pusher) push() {
	p.seen = make(map[string]bool, len(p.counters)+len(p.histograms))
	p.m.Walk(&p.s, p)
	forget(p.counters, p.seen)
	forget(p.histograms, p.seen)
	ctx, cancel := context.WithTimeout(context.Background(), sendLimit)
	defer cancel()
	if err := p.to.flush(ctx); err != nil {
		if now := time.Now(); p.told.IsZero() || now.Sub(p.told) >= complainEvery {
			p.told = now
			p.log.Warn("Metrics could not be sent", "to", p.name, "error", err)
		}
	}
}

// forget drops the state of series that have gone.
func forget[V any](state map[string]V, seen map[string]bool) {
	for key := range state {
		if !seen[key] {
			delete(state, key)
		}
	}
}

// key names a series.
func (p *Pusher) key(m *meter.Metric) string {
	var b strings.Builder
	b.WriteString(m.Name)
	for _, l := range m.Labels {
		b.WriteByte(0)
		b.WriteString(l.Value)
	}
	key := b.String()
	p.seen[key] = true
	return key
}

// Counter implements meter.Visitor.
func (p *Pusher) Counter(m meter.Metric, v float64) {
	if m.Dotted == "" {
		return
	}
	key := p.key(&m)
	if added := v - p.counters[key]; added > 0 {
		p.to.counter(&m, added)
	}
	p.counters[key] = v
}

// Gauge implements meter.Visitor.
func (p *Pusher) Gauge(m meter.Metric, v float64) {
	if m.Dotted != "" {
		p.to.gauge(&m, v)
	}
}

// Histogram implements meter.Visitor.
func (p *Pusher) Histogram(m meter.Metric, h *meter.Histogram) {
	if m.Dotted == "" {
		return
	}
	key := p.key(&m)
	count, _, upTo := h.Read()
	upTo = append(upTo, count)
	before := p.histograms[key]
	bounds := h.Bounds()
	var below, belowBefore uint64
	for i, n := range upTo {
		was := uint64(0)
		if before != nil {
			was = before[i]
		}
		if added := n - below - (was - belowBefore); added > 0 {
			p.to.durations(&m, middle(bounds, i), added)
		}
		below, belowBefore = n, was
	}
	p.histograms[key] = upTo
}

// middle is a duration that stands for bucket i.
func middle(bounds []time.Duration, i int) time.Duration {
	switch {
	case len(bounds) == 0:
		return 0
	case i == 0:
		return bounds[0] / 2
	case i == len(bounds):
		return bounds[i-1]
	}
	return time.Duration(math.Sqrt(float64(bounds[i-1]) * float64(bounds[i])))
}

// Package meter counts what records tell: requests, durations and bytes for each entry point, router and service. What
// publishes the figures (package prom and those that push) reads them from here.
//
// The number of series is bounded: codes, methods and names come from clients and configuration, and neither may grow the
// memory without end. What finds no room is counted under the name Other.
package meter

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/observe/record"
)

// Other is the name, and the method, of what found no series of its own.
const Other = "other"

// MaxSeries is how many series of each kind there are at most.
const MaxSeries = 200_000

// Level is what a series is about.
type Level uint8

// The levels.
const (
	EntryPoint Level = iota
	Router
	Service
)

// String returns the name of the level as it stands in names of metrics.
func (l Level) String() string { return [...]string{"entrypoint", "router", "service"}[l] }

// Options say what is counted.
type Options struct {
	// EntryPoints, Routers and Services are the levels that have series.
	EntryPoints, Routers, Services bool
	// Internals counts requests to internal services as well.
	Internals bool
	// Bounds are the upper bounds of the buckets of durations, in seconds.
	Bounds []float64
	// Headers are the request fields whose values are labels of request counters, HeaderLabels the names of these labels in
	// the same order.
	Headers, HeaderLabels []string
	// MaxSeries replaces the constant; for tests.
	MaxSeries int
}

// Subject is what a series is about: the name of an entry point, of a router with its service, or of a service.
type Subject struct {
	Level         Level
	Name, Service string
}

// Requests names one series of requests.
type Requests struct {
	Subject
	// Code is the HTTP status, for gRPC the gRPC status.
	Code             int
	Method, Protocol string
	// Headers are the values of Options.Headers, one behind the other with a zero byte between; only on Counts.
	Headers string
}

// Handshakes names one series of requests by their TLS parameters.
type Handshakes struct {
	Subject
	Version, Suite uint16
}

// Tunnels names one series of TCP connections.
type Tunnels struct {
	EntryPoint, Router, Service string
	// Kind is tcp, tls (we ended it), passthrough or udp.
	Kind string
}

// Faults names one series of what did not end regularly.
type Faults struct{ EntryPoint, Code, Side string }

// Traffic holds durations and bytes of one series.
type Traffic struct {
	Durations         Histogram
	BytesIn, BytesOut atomic.Uint64
}

// Flow holds connections and bytes of one series.
type Flow struct{ Count, BytesIn, BytesOut atomic.Uint64 }

// Meter implements record.Sink. Its methods are safe for concurrent use.
type Meter struct {
	o Options

	// Counts are requests; Traffic the rest of what is known of them.
	Counts  Table[Requests, atomic.Uint64]
	Traffic Table[Requests, Traffic]
	TLS     Table[Handshakes, atomic.Uint64]
	// Retries are by the name of the service.
	Retries Table[string, atomic.Uint64]
	Tunnels Table[Tunnels, Flow]
	Faults  Table[Faults, atomic.Uint64]
	// Overhead is the time that requests spent inside Sluice, apart from waiting for servers.
	Overhead Histogram

	reloads    atomic.Uint64
	lastReload atomic.Int64
}

// overheadBounds are the buckets of Overhead, in seconds.
var overheadBounds = []float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 100e-3, 1}

// New makes a Meter with no series.
func New(o Options) *Meter {
	if o.MaxSeries == 0 {
		o.MaxSeries = MaxSeries
	}
	o.Bounds = slices.Clone(o.Bounds)
	slices.Sort(o.Bounds)
	o.Bounds = slices.Compact(o.Bounds)
	m := &Meter{o: o}
	m.Overhead.init(overheadBounds)
	m.Counts.limit, m.TLS.limit, m.Retries.limit, m.Tunnels.limit, m.Faults.limit = o.MaxSeries, o.MaxSeries, o.MaxSeries, o.MaxSeries, o.MaxSeries
	m.Traffic.limit = o.MaxSeries
	m.Traffic.fill = func(t *Traffic) { t.Durations.init(o.Bounds) }
	return m
}

// Reloaded notes that a configuration was put in force.
func (m *Meter) Reloaded(at time.Time) {
	m.reloads.Add(1)
	m.lastReload.Store(at.Unix())
}

// Reloads returns how many configurations were put in force, and when the last one was, zero for never.
func (m *Meter) Reloads() (n uint64, last int64) { return m.reloads.Load(), m.lastReload.Load() }

// Record implements record.Sink.
func (m *Meter) Record(r *record.Record) {
	if r.Quiet.Metrics || !m.o.Internals && r.Internal() {
		return
	}
	if f := r.Fault; f != nil {
		m.Faults.at(Faults{r.EntryPoint, f.Kind.Code(), f.Kind.Side().String()}, Faults{Other, f.Kind.Code(), f.Kind.Side().String()}).Add(1)
	}
	if r.Method == "" {
		m.connection(r)
		return
	}
	if r.OriginStatus != 0 {
		m.Overhead.Observe(r.Duration - r.OriginDuration)
	}
	key := Requests{Code: r.Status, Method: method(r.Method), Protocol: r.Protocol}
	if r.GRPCStatus >= 0 && (r.Protocol == record.GRPC || r.Protocol == record.GRPCWeb) {
		key.Code = r.GRPCStatus
	}
	var headers string
	if len(m.o.Headers) > 0 {
		headers = m.headers(r)
	}
	if m.o.EntryPoints {
		key.Subject = Subject{EntryPoint, r.EntryPoint, ""}
		m.count(key, headers, r, r.Duration)
	}
	if m.o.Routers && r.Router != "" {
		key.Subject = Subject{Router, r.Router, r.Service}
		m.count(key, headers, r, r.Duration)
	}
	if m.o.Services && r.Service != "" {
		key.Subject = Subject{Service, r.Service, ""}
		took := r.Duration
		if r.OriginStatus != 0 {
			// Middlewares may have changed the answer: this is about the server's.
			took = r.OriginDuration
			if key.Code == r.Status {
				key.Code = r.OriginStatus
			}
		}
		m.count(key, headers, r, took)
		if r.Retries > 0 {
			m.Retries.at(r.Service, Other).Add(uint64(r.Retries))
		}
	}
}

// count adds a request to the series of one subject.
func (m *Meter) count(key Requests, headers string, r *record.Record, took time.Duration) {
	other := key
	other.Name, other.Method = Other, Other
	if key.Service != "" {
		other.Service = Other
	}
	t := m.Traffic.at(key, other)
	t.Durations.Observe(took)
	t.BytesIn.Add(uint64(max(r.BytesIn, 0)))
	t.BytesOut.Add(uint64(max(r.BytesOut, 0)))
	key.Headers, other.Headers = headers, strings.Repeat("\x00", max(len(m.o.Headers)-1, 0))
	m.Counts.at(key, other).Add(1)
	if r.TLS.Version != 0 {
		m.TLS.at(Handshakes{key.Subject, r.TLS.Version, r.TLS.Suite}, Handshakes{other.Subject, r.TLS.Version, r.TLS.Suite}).Add(1)
	}
}

// maxLabel bounds the value of a label that a client writes, in bytes.
const maxLabel = 256

func (m *Meter) headers(r *record.Record) string {
	values := make([]string, len(m.o.Headers))
	for i, name := range m.o.Headers {
		v, _ := record.Value(r.Request, name)
		values[i] = strings.ReplaceAll(v[:min(len(v), maxLabel)], "\x00", "")
	}
	return strings.Join(values, "\x00") // a copy, as r must not be kept
}

func (m *Meter) connection(r *record.Record) {
	if r.Router == "" {
		return // refused before anybody took it: a fault, counted above
	}
	kind := "tcp"
	switch {
	case r.UDP:
		kind = "udp"
	case r.Passthrough:
		kind = "passthrough"
	case r.SNI != "" || r.TLS.Version != 0:
		kind = "tls"
	}
	f := m.Tunnels.at(Tunnels{r.EntryPoint, r.Router, r.Service, kind}, Tunnels{Other, Other, Other, kind})
	f.Count.Add(1)
	f.BytesIn.Add(uint64(max(r.BytesIn, 0)))
	f.BytesOut.Add(uint64(max(r.BytesOut, 0)))
}

// methods are those with a series of their own.
var methods = []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"}

// Methods that clients make up.
const (
	ExtensionMethod = "EXTENSION_METHOD"
	NonUTF8Method   = "NON_UTF8_HTTP_METHOD"
)

// method returns a text that may be kept.
func method(s string) string {
	if i := slices.Index(methods, s); i >= 0 {
		return methods[i]
	}
	if strings.ToValidUTF8(s, "") != s {
		return NonUTF8Method
	}
	return ExtensionMethod
}

// Retain ends the series of routers and services that are not in force any more: each is read once more, and then gone.
// live is called for names of routers and services.
func (m *Meter) Retain(live func(l Level, name string) bool) {
	gone := func(s Subject) bool {
		return s.Level != EntryPoint && s.Name != Other && !live(s.Level, s.Name)
	}
	m.Counts.retire(func(k Requests) bool { return gone(k.Subject) })
	m.Traffic.retire(func(k Requests) bool { return gone(k.Subject) })
	m.TLS.retire(func(k Handshakes) bool { return gone(k.Subject) })
	m.Retries.retire(func(service string) bool { return service != Other && !live(Service, service) })
	m.Tunnels.retire(func(k Tunnels) bool { return k.Router != Other && !live(Router, k.Router) })
}

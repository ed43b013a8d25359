package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/observe/accesslog"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/otel"
	"sluice/internal/observe/prom"
	"sluice/internal/observe/push"
	"sluice/internal/observe/recent"
	"sluice/internal/run/admin"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/forward"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

// observe opens what hears of exchanges, and returns what serves metrics, nil where nobody wants any. What cannot be opened
// is reported and left off: traffic goes on without it.
func (a *App) observe() (metrics httpmsg.Handler) {
	if a.options.Sink != nil {
		a.sinks = append(a.sinks, a.options.Sink)
	}
	if c := a.static.AccessLog; c != nil {
		l, err := accesslog.New(c, accesslog.Options{Stdout: cmp.Or[io.Writer](a.options.Stdout, io.Discard), Log: a.log})
		if err != nil {
			a.log.Error("There is no access log", "error", err)
		} else {
			a.accessLog = l
			a.sinks = append(a.sinks, l)
		}
	}
	if c := a.static.Metrics; c != nil {
		if c.Prometheus != nil {
			metrics = bridge.Wrap(prom.New(a.meter(prom.MeterOptions(c.Prometheus, c.AddInternals)), a.sources()))
		}
		a.push(c)
	}
	if c := a.static.Tracing; c != nil {
		a.trace(c)
	}
	switch len(a.sinks) {
	case 0:
	case 1:
		a.sink = a.sinks[0]
	default:
		a.sink = a.sinks
	}
	return metrics
}

// live makes what the API tells of traffic.
func (a *App) live() admin.Live {
	a.failures, a.events = &recent.Failures{}, &recent.Events{}
	a.sinks = append(a.sinks, a.failures)
	return admin.Live{Failures: a.failures, Events: a.events, Open: a.open,
		Meter: a.meter(meter.Options{EntryPoints: true, Routers: true, Services: true, Bounds: admin.LiveBounds()})}
}

// happened tells those who look at the API of an event.
func (a *App) happened(kind, text string) {
	if a.events != nil {
		a.events.Add(kind, text)
	}
}

// meter makes a meter that hears of requests and configurations.
func (a *App) meter(o meter.Options) *meter.Meter {
	m := meter.New(o)
	a.meters = append(a.meters, m)
	a.sinks = append(a.sinks, m)
	return m
}

// push prepares what sends metrics by itself. It begins with Run: before, there is nothing to look at.
func (a *App) push(c *static.Metrics) {
	options := func(entryPoints, routers, services bool) push.Options {
		return push.Options{Meter: a.meter(meter.Options{EntryPoints: entryPoints, Routers: routers, Services: services,
			Internals: c.AddInternals, Bounds: push.Bounds()}), Sources: a.sources(), Log: a.log}
	}
	if s := c.StatsD; s != nil {
		o := options(s.AddEntryPointsLabels, s.AddRoutersLabels, s.AddServicesLabels)
		a.atStart(func() { a.atEnd(push.StatsD(s, o).Close) })
	}
	if d := c.Datadog; d != nil {
		o := options(d.AddEntryPointsLabels, d.AddRoutersLabels, d.AddServicesLabels)
		a.atStart(func() { a.atEnd(push.Datadog(d, os.Getenv, o).Close) })
	}
	if i := c.InfluxDB2; i != nil {
		o := options(i.AddEntryPointsLabels, i.AddRoutersLabels, i.AddServicesLabels)
		a.atStart(func() {
			p, err := push.InfluxDB2(i, o)
			if err != nil {
				a.log.Error("Metrics are not sent to InfluxDB", "error", err)
				return
			}
			a.atEnd(p.Close)
		})
	}
	if o := c.OTLP; o != nil {
		m := a.meter(meter.Options{EntryPoints: o.AddEntryPointsLabels, Routers: o.AddRoutersLabels, Services: o.AddServicesLabels,
			Internals: c.AddInternals, Bounds: o.ExplicitBoundaries})
		a.atStart(func() { a.pushOTLP(o, m) })
	}
}

// pushOTLP starts sending metrics to a collector.
func (a *App) pushOTLP(o *static.OTLPMetrics, m *meter.Meter) {
	e, err := endpoint(o.GRPC, o.HTTP)
	var sender *otel.Metrics
	if err == nil {
		sender, err = otel.NewMetrics(context.Background(), e, a.identity(o.ServiceName, o.ResourceAttributes), o.PushInterval.Std(), m, a.sources())
	}
	if err != nil {
		a.log.Error("Metrics are not sent to a collector", "error", err)
		return
	}
	otel.HandleErrors(a.log)
	a.atEnd(func() { a.ended("metrics", sender.Close()) })
}

// trace starts what sends traces.
func (a *App) trace(c *static.Tracing) {
	if c.OTLP == nil {
		return
	}
	e, err := endpoint(c.OTLP.GRPC, c.OTLP.HTTP)
	if err == nil {
		var t *otel.Tracer
		if t, err = otel.NewTracer(context.Background(), c, e, a.identity(c.ServiceName, c.ResourceAttributes)); err == nil {
			otel.HandleErrors(a.log)
			a.tracer = t
			a.atEnd(func() { a.ended("traces", t.Close()) })
		}
	}
	if err != nil {
		a.log.Error("There are no traces", "error", err)
	}
}

func (a *App) identity(service string, attributes map[string]string) otel.Identity {
	return otel.Identity{Service: service, Version: a.options.Version, Attributes: attributes}
}

// endpoint is the collector of a configuration; gRPC wins.
func endpoint(g *static.OTLPGRPC, h *static.OTLPHTTP) (e otel.Endpoint, err error) {
	var t *dynamic.ClientTLS
	switch {
	case g != nil:
		e, t = otel.Endpoint{GRPC: true, Address: g.Endpoint, Insecure: g.Insecure, Headers: g.Headers}, g.TLS
	case h != nil:
		e, t = otel.Endpoint{Address: h.Endpoint, Headers: h.Headers}, h.TLS
	default:
		return e, errors.New("neither otlp.http nor otlp.grpc is set")
	}
	if t != nil {
		e.TLS, err = certs.Client(t)
	}
	return e, err
}

// atStart remembers what begins with Run.
func (a *App) atStart(f func()) { a.starters = append(a.starters, f) }

// atEnd remembers what is to be closed when nothing is recorded any more.
func (a *App) atEnd(f func()) { a.closers = append(a.closers, f) }

func (a *App) ended(what string, err error) {
	if err != nil {
		a.log.Warn("The last "+what+" could not be sent", "error", err)
	}
}

// open calls yield with the open connections of each entry point.
func (a *App) open(yield func(entryPoint, protocol string, n int)) {
	for _, e := range a.entryPoints {
		yield(e.Name(), "TCP", e.Open())
	}
	for _, e := range a.udp {
		yield(e.Name(), "UDP", e.Open())
	}
}

// sources tell what metrics look at rather than count.
func (a *App) sources() meter.Sources {
	s := meter.Sources{Version: a.options.Version, Certificates: a.certificates, Servers: a.checkedServers, Findings: a.findingCounts, Open: a.open}
	if a.accessLog != nil {
		s.Dropped = a.accessLog.Dropped
	}
	return s
}

func (a *App) certificates() (out []meter.Certificate) {
	for _, p := range a.engine.Certificates() {
		if leaf := p.TLS.Leaf; leaf != nil {
			out = append(out, meter.Certificate{CommonName: leaf.Subject.CommonName, Serial: leaf.SerialNumber.String(),
				Names: p.Names, NotAfter: leaf.NotAfter})
		}
	}
	return out
}

// checkedServers are the servers of services with a health check.
func (a *App) checkedServers() (out []meter.Server) {
	a.engine.Servers(func(service string, s forward.ServerState) {
		if s.Checked {
			out = append(out, meter.Server{Service: service, URL: s.URL, Up: s.Up})
		}
	})
	return out
}

func (a *App) findingCounts() map[string]int {
	p, refused := a.InForce()
	out := map[string]int{"error": 0, "warning": 0, "info": 0}
	for _, f := range p.Findings {
		out[f.Severity.String()]++
	}
	for _, f := range refused {
		out[f.Severity.String()]++
	}
	return out
}

// metered tells the meters that p is in force after was, which is nil at first: what it does not have any more loses its
// series. by tells whether providers made it, which is what counts as a reload.
func (a *App) metered(was, p *plan.Plan, by bool) {
	if len(a.meters) == 0 {
		return
	}
	now := time.Now()
	if by {
		n := a.findingCounts()
		a.happened("configuration", fmt.Sprintf("applied: %d routers, %d errors, %d warnings", len(p.HTTP.Routers)+len(p.TCP.Routers)+len(p.UDP.Routers), n["error"], n["warning"]))
		for _, m := range a.meters {
			m.Reloaded(now)
		}
	}
	if was != nil && !shrunk(was, p) {
		return
	}
	router := func(name string) bool {
		n := plan.Resolve(name, "")
		return p.HTTP.Routers.Get(n) != nil || p.TCP.Routers.Get(n) != nil || p.UDP.Routers.Get(n) != nil
	}
	if a.failures != nil {
		a.failures.Retain(router)
	}
	for _, m := range a.meters {
		m.Retain(func(l meter.Level, name string) bool {
			if l == meter.Router {
				return router(name)
			}
			return l == meter.Service && p.HTTP.Services.Get(plan.Resolve(name, "")) != nil
		})
	}
}

// shrunk reports whether a router or service of was is not in p.
func shrunk(was, p *plan.Plan) bool {
	routers, _ := p.HTTP.Routers.Since(was.HTTP.Routers)
	tcp, _ := p.TCP.Routers.Since(was.TCP.Routers)
	udp, _ := p.UDP.Routers.Since(was.UDP.Routers)
	services, _ := p.HTTP.Services.Since(was.HTTP.Services)
	return slices.ContainsFunc(routers, func(r *plan.Router) bool { return p.HTTP.Routers.Get(r.Name) == nil }) ||
		slices.ContainsFunc(tcp, func(r *plan.TCPRouter) bool { return p.TCP.Routers.Get(r.Name) == nil }) ||
		slices.ContainsFunc(udp, func(r *plan.UDPRouter) bool { return p.UDP.Routers.Get(r.Name) == nil }) ||
		slices.ContainsFunc(services, func(s *plan.Service) bool { return p.HTTP.Services.Get(s.Name) == nil })
}

// closeLogs writes and sends what is waiting. Nothing may be recorded afterwards.
func (a *App) closeLogs() {
	for _, f := range a.closers {
		f()
	}
	if a.accessLog == nil {
		return
	}
	if err := a.accessLog.Close(); err != nil {
		a.log.Warn("The end of the access log is missing", "error", err)
	}
}

// Reopen opens the access log again by its name, after its file was moved away.
func (a *App) Reopen() {
	if a.accessLog == nil {
		return
	}
	if err := a.accessLog.Reopen(); err != nil {
		a.log.Error("The access log stays where it was", "error", err)
	}
}

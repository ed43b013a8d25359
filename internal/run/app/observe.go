package app

import (
	"cmp"
	"io"
	"time"

	"sluice/internal/core/plan"
	"sluice/internal/observe/accesslog"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/prom"
	"sluice/internal/observe/record"
	"sluice/internal/traffic/forward"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
)

// observe opens what hears of exchanges, and returns what serves metrics, nil where nobody wants any. What cannot be opened
// is reported and left off: traffic goes on without it.
func (a *App) observe() (metrics httpmsg.Handler) {
	var sinks record.Sinks
	if a.options.Sink != nil {
		sinks = append(sinks, a.options.Sink)
	}
	if c := a.static.AccessLog; c != nil {
		l, err := accesslog.New(c, accesslog.Options{Stdout: cmp.Or[io.Writer](a.options.Stdout, io.Discard), Log: a.log})
		if err != nil {
			a.log.Error("There is no access log", "error", err)
		} else {
			a.accessLog = l
			sinks = append(sinks, l)
		}
	}
	if c := a.static.Metrics; c != nil && c.Prometheus != nil {
		m := meter.New(prom.MeterOptions(c.Prometheus, c.AddInternals))
		a.meters = append(a.meters, m)
		sinks = append(sinks, m)
		metrics = bridge.Wrap(prom.New(c.Prometheus, m, a.sources()))
	}
	switch len(sinks) {
	case 0:
	case 1:
		a.sink = sinks[0]
	default:
		a.sink = sinks
	}
	return metrics
}

// sources tell what metrics look at rather than count.
func (a *App) sources() prom.Sources {
	s := prom.Sources{Version: a.options.Version, Certificates: a.certificates, Servers: a.checkedServers, Findings: a.findingCounts,
		Open: func(yield func(entryPoint, protocol string, n int)) {
			for _, e := range a.entryPoints {
				yield(e.Name(), "TCP", e.Open())
			}
			for _, e := range a.udp {
				yield(e.Name(), "UDP", e.Open())
			}
		}}
	if a.accessLog != nil {
		s.Dropped = a.accessLog.Dropped
	}
	return s
}

func (a *App) certificates() (out []prom.Certificate) {
	for _, p := range a.engine.Certificates() {
		if leaf := p.TLS.Leaf; leaf != nil {
			out = append(out, prom.Certificate{CommonName: leaf.Subject.CommonName, Serial: leaf.SerialNumber.String(),
				Names: p.Names, NotAfter: leaf.NotAfter})
		}
	}
	return out
}

// checkedServers are the servers of services with a health check.
func (a *App) checkedServers() (out []prom.Server) {
	a.engine.Servers(func(service string, s forward.ServerState) {
		if s.Checked {
			out = append(out, prom.Server{Service: service, URL: s.URL, Up: s.Up})
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

// metered tells the meters that p is in force: what it does not have any more loses its series. by tells whether providers
// made it, which is what counts as a reload.
func (a *App) metered(p *plan.Plan, by bool) {
	if len(a.meters) == 0 {
		return
	}
	now := time.Now()
	live := map[meter.Level]map[string]bool{meter.Router: {}, meter.Service: {}}
	for _, e := range p.HTTP.Routers {
		live[meter.Router][e.Name.String()] = true
	}
	for _, e := range p.TCP.Routers {
		live[meter.Router][e.Name.String()] = true
	}
	for _, e := range p.HTTP.Services {
		live[meter.Service][e.Name.String()] = true
	}
	for _, m := range a.meters {
		if by {
			m.Reloaded(now)
		}
		m.Retain(func(l meter.Level, name string) bool { return live[l][name] })
	}
}

// closeLogs writes what is waiting. Nothing may be recorded afterwards.
func (a *App) closeLogs() {
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

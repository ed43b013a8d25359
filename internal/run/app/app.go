// Package app is the composition root: it takes a static configuration and what the process has (log, sockets), puts the
// rooms together, and returns something to run. Only the command line and tests import it.
package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/core/static"
	"sluice/internal/intake/docker"
	"sluice/internal/intake/file"
	"sluice/internal/intake/httppoll"
	"sluice/internal/intake/provider"
	"sluice/internal/intake/rest"
	"sluice/internal/observe/accesslog"
	"sluice/internal/observe/meter"
	"sluice/internal/observe/recent"
	"sluice/internal/observe/record"
	"sluice/internal/run/admin"
	"sluice/internal/run/dashboard"
	"sluice/internal/run/engine"
	"sluice/internal/run/lifecycle"
	"sluice/internal/traffic/acme"
	"sluice/internal/traffic/certs"
	"sluice/internal/traffic/datagram"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/bridge"
	"sluice/internal/wire/httpmsg"
	"sluice/internal/wire/sock"
	"sluice/internal/wire/watch"
)

// Options are what an App is made of.
type Options struct {
	// Static is the effective configuration (static.Effective), free of fatal findings.
	Static *static.Config
	Log    *slog.Logger
	// Inherited are sockets that the service manager bound; may be nil.
	Inherited *sock.Inherited
	// Notifier tells the service manager about readiness.
	Notifier lifecycle.Notifier
	// Hostname is the value of X-Forwarded-Server.
	Hostname string
	// Providers come besides those of the configuration; for the demo and tests.
	Providers []provider.Provider
	// Sink hears of every exchange and refused connection, besides what the configuration asks for; may be nil.
	Sink record.Sink
	// Stdout takes the access log where it has no file.
	Stdout io.Writer
	// Version and Codename are what the API says about the program.
	Version, Codename string
	// Environ is the environment as KEY=value; certificate resolvers look at LEGO_CA_* there.
	Environ []string
}

// App is a router that is ready to run: its sockets are bound.
type App struct {
	options     Options
	static      *static.Config
	log         *slog.Logger
	current     entrypoint.Current
	watches     []*watch.Watch
	entryPoints []*entrypoint.EntryPoint
	budget      *httpmsg.Budget
	datagrams   datagram.Current
	udp         []*datagram.EntryPoint
	sinks       record.Sinks
	sink        record.Sink // all of them, nil when nobody wants to hear
	engine      *engine.Engine
	challenges  *acme.Challenges // nil without certificate resolvers
	ping        *admin.Ping
	accessLog   *accesslog.Log   // nil when it is off
	meters      []*meter.Meter   // those who are told of configurations
	tracer      record.Tracer    // nil when it is off
	starters    []func()         // of what sends metrics
	closers     []func()         // of what hears of exchanges
	failures    *recent.Failures // nil without the API, as the next
	events      *recent.Events
	file        *file.Provider
	providers   []provider.Provider

	mu       sync.Mutex
	plan     *plan.Plan
	refused  diag.List     // what the engine could not build of it
	reported diag.List     // the findings that are logged already, sorted
	applied  chan struct{} // closed when the first configuration is in force
	once     sync.Once
}

// New binds the sockets of all entry points, or none, and puts the parts together. Nothing is accepted before Run.
func New(o Options) (*App, error) {
	a := &App{options: o, static: o.Static, log: o.Log, applied: make(chan struct{}),
		budget: httpmsg.NewBudget(budgetBytes())}
	internal := map[string]httpmsg.Handler{plan.ServiceNoop: admin.Noop{}}
	if p := o.Static.Ping; p != nil {
		a.ping = &admin.Ping{Terminating: p.TerminatingStatusCode}
		internal[plan.ServicePing] = a.ping
	}
	if c := o.Static.API; c != nil {
		api := &admin.API{State: a, Certificates: a.certificateStatus, BasePath: c.BasePath, Version: o.Version, Codename: o.Codename, Started: time.Now(),
			DisableDashboardAd: c.DisableDashboardAd, DashboardName: c.DashboardName, Debug: c.Debug, Live: a.live()}
		if c.Insecure {
			api.BasePath = "" // the router is for /api
		}
		if c.Dashboard {
			api.Dashboard = dashboard.New(dashboard.Options{API: api.Local(), Check: a.check, Name: c.DashboardName, Version: o.Version})
			internal[plan.ServiceDashboard] = bridge.Wrap(api.Dashboard)
		}
		internal[plan.ServiceAPI] = api.Handler()
	}
	if o.Static.Providers.Rest != nil {
		p := rest.New()
		a.providers = append(a.providers, p)
		internal[plan.ServiceREST] = (&admin.Rest{Put: p.Put, Max: rest.MaxDocument}).Handler()
	}
	if h := a.observe(); h != nil {
		internal[plan.ServicePrometheus] = h
	}
	if len(o.Static.CertificatesResolvers) > 0 {
		a.challenges = acme.NewChallenges()
	}
	if err := a.bind(); err != nil {
		a.closeLogs()
		return nil, err
	}
	var names, udpNames []string
	for _, e := range a.entryPoints {
		names = append(names, e.Name())
	}
	for _, e := range a.udp {
		udpNames = append(udpNames, e.Name())
	}
	servers := watch.New() // the deadlines of connections to servers, which belong to no entry point
	a.watches = append(a.watches, servers)
	a.engine = engine.New(engine.Options{Static: o.Static, Log: o.Log, Budget: a.budget, Watch: servers, Internal: internal,
		EntryPoints: names, Current: &a.current, UDPEntryPoints: udpNames, Datagrams: &a.datagrams,
		Challenges: a.challenges, Environ: o.Environ, Proxy: proxies(o.Environ), UserAgent: "sluice/" + o.Version, Happened: a.happened})
	if f := o.Static.Providers.File; f != nil {
		a.file = file.New(*f, o.Log)
		a.providers = append(a.providers, a.file)
	}
	containers := docker.Options{Log: o.Log, ClientTLS: certs.Client, Version: o.Version}
	if c := o.Static.Providers.Docker; c != nil {
		a.providers = append(a.providers, docker.New(*c, containers))
	}
	if c := o.Static.Providers.Swarm; c != nil {
		a.providers = append(a.providers, docker.NewSwarm(*c, containers))
	}
	if c := o.Static.Providers.HTTP; c != nil {
		a.providers = append(a.providers, httppoll.New(*c, httppoll.Options{Log: o.Log, ClientTLS: certs.Client, Version: o.Version}))
	}
	a.providers = append(a.providers, o.Providers...)
	a.apply(nil)
	return a, nil
}

// bind binds the entry points in the order of their names.
func (a *App) bind() error {
	var specs []sock.Spec
	for _, name := range slices.Sorted(maps.Keys(a.static.EntryPoints)) {
		c := a.static.EntryPoints[name]
		address, err := static.ParseAddress(c.Address)
		if err != nil {
			return fmt.Errorf("entry point %s: %w", name, err)
		}
		specs = append(specs, sock.Spec{Name: name, Network: address.Network(), Address: listenAddress(address), ReusePort: c.ReusePort})
	}
	sockets, err := sock.Bind(specs, a.options.Inherited)
	if err != nil {
		return err
	}
	udp := 0
	for _, s := range sockets {
		if s.UDP != nil {
			udp++
		}
	}
	for _, s := range sockets {
		if s.UDP != nil {
			o := datagramOptions(s.Name, a.static.EntryPoints[s.Name], udp)
			o.Position, o.Socket, o.Current, o.Sink, o.Log = len(a.udp), s.UDP, &a.datagrams, a.sink, a.log
			a.udp = append(a.udp, datagram.New(o))
			continue
		}
		w := watch.New()
		o := entryPointOptions(s.Name, a.static.EntryPoints[s.Name], a.options.Hostname)
		o.Position, o.Listener, o.Current, o.Sink, o.Log = len(a.entryPoints), s.TCP, &a.current, a.sink, a.log
		o.Tracer = a.tracer
		o.Budget, o.Watch = a.budget, w
		if a.challenges != nil {
			o.Challenges = a.challenges
		}
		a.watches = append(a.watches, w)
		a.entryPoints = append(a.entryPoints, entrypoint.New(o))
	}
	return nil
}

// budgetBytes is the memory for buffers beyond the pooled sizes: a quarter of the process's limit, or 512 MiB.
func budgetBytes() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit / 4
	}
	return 512 << 20
}

func portText(p uint16) string { return strconv.Itoa(int(p)) }

// Addr returns the address that an entry point listens on, nil if there is no such one.
func (a *App) Addr(entryPoint string) net.Addr {
	for _, e := range a.entryPoints {
		if e.Name() == entryPoint {
			return e.Addr()
		}
	}
	for _, e := range a.udp {
		if e.Name() == entryPoint {
			return e.Addr()
		}
	}
	return nil
}

// Reload makes the providers read their files again.
func (a *App) Reload() {
	if a.file != nil {
		a.file.Reload()
	}
}

// Plan returns the plan in force.
func (a *App) Plan() *plan.Plan {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plan
}

// InForce implements admin.State.
func (a *App) InForce() (*plan.Plan, diag.List) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plan, a.refused
}

// ServerStatus implements admin.State.
func (a *App) ServerStatus(service string) map[string]bool { return a.engine.ServerStatus(service) }

// TCPServerStatus implements admin.State.
func (a *App) TCPServerStatus(service string) map[string]bool {
	return a.engine.TCPServerStatus(service)
}

// Certificate implements admin.State.
func (a *App) Certificate(name string, strict bool) (string, bool) {
	return a.engine.Certificate(name, strict)
}

// certificateStatus returns the certificates in force, and what resolvers say about theirs.
func (a *App) certificateStatus() ([]*certs.Pair, []acme.Status) {
	return a.engine.Certificates(), a.engine.CertificateStatus()
}

// Applied is closed when the providers that go first have spoken and what they said is in force.
func (a *App) Applied() <-chan struct{} { return a.applied }

// apply makes what the providers say the configuration in force.
func (a *App) apply(snapshots []dynamic.Snapshot) {
	began := time.Now()
	p := plan.Build(a.plan, a.static, snapshots)
	refused := a.engine.Apply(p)
	was := a.plan
	a.mu.Lock()
	a.plan, a.refused = p, refused
	a.mu.Unlock()
	a.report(p.Findings, refused)
	a.metered(was, p, snapshots != nil)
	if snapshots != nil {
		a.log.Info("Configuration applied", "routers", len(p.HTTP.Routers)+len(p.TCP.Routers)+len(p.UDP.Routers), "duration", time.Since(began).Round(time.Microsecond).String())
		a.once.Do(func() { close(a.applied) })
	}
}

// report logs the findings that were not there before.
func (a *App) report(planned, refused diag.List) {
	now := planned
	if len(refused) > 0 {
		now = slices.Concat(planned, refused)
		now.Sort()
		now = slices.Compact(now)
	}
	was := a.reported
	for _, f := range now {
		for len(was) > 0 && was[0].Compare(f) < 0 {
			was = was[1:]
		}
		if len(was) == 0 || was[0] != f {
			LogFinding(a.log, f)
		}
	}
	a.reported = now
}

// LogFinding writes one finding at the level of its severity.
func LogFinding(log *slog.Logger, f diag.Finding) {
	level := map[diag.Severity]slog.Level{diag.Error: slog.LevelError, diag.Warning: slog.LevelWarn, diag.Info: slog.LevelInfo}[f.Severity]
	message := f.Message
	if f.Hint != "" {
		message += " (" + f.Hint + ")"
	}
	log.Log(context.Background(), level, message, "code", f.Code, "place", f.Place.String(), "key", f.Key)
}

// Run serves until stop ends, then shuts down gracefully; kill ends that at once. It returns when every goroutine of the
// App has ended.
func (a *App) Run(stop, kill context.Context) error {
	for _, w := range a.watches {
		w.Start()
		defer w.Stop()
	}
	defer a.closeLogs()
	defer a.engine.Close()
	for _, f := range a.starters {
		f()
	}
	providing, cancel := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	background.Go(func() { a.supervise(providing) })
	a.waitForFirst(stop)
	background.Go(func() { a.engine.Run(providing) })

	failed := make(chan error, len(a.entryPoints))
	var serving sync.WaitGroup
	for _, e := range a.entryPoints {
		a.log.Info("Entry point listens", "entryPointName", e.Name(), "address", e.Addr().String())
		serving.Go(func() {
			if err := e.Run(); err != nil {
				failed <- fmt.Errorf("entry point %s: %w", e.Name(), err)
			}
		})
	}
	for _, e := range a.udp {
		a.log.Info("Entry point listens", "entryPointName", e.Name(), "address", e.Addr().String()+"/udp")
		serving.Go(e.Run)
	}
	if err := a.options.Notifier.Send("READY=1"); err != nil {
		a.log.Warn("The service manager could not be told that we are ready", "error", err)
	}
	background.Go(func() { a.options.Notifier.Keepalive(providing, func() bool { return true }) })

	var err error
	select {
	case <-stop.Done():
	case err = <-failed:
	}
	a.shutdown(kill)
	serving.Wait()
	return err
}

// waitForFirst lets what stands on the disk be in force before the first connection is accepted.
func (a *App) waitForFirst(stop context.Context) {
	if len(a.providers) == 0 {
		a.once.Do(func() { close(a.applied) })
		return
	}
	t := time.NewTimer(firstConfiguration)
	defer t.Stop()
	select {
	case <-a.applied:
	case <-t.C:
		a.log.Warn("No provider has spoken yet; serving begins without")
	case <-stop.Done():
	}
}

// firstConfiguration is how long serving waits for the first configuration.
const firstConfiguration = 10 * time.Second

// supervise runs the providers.
func (a *App) supervise(ctx context.Context) {
	s := provider.Supervisor{
		Providers: a.providers,
		First:     []string{file.Name},
		Throttle:  a.static.Providers.ProvidersThrottleDuration.Std(),
		Consume:   a.apply,
		Failed: func(f provider.Failure) {
			a.happened("provider", f.Provider+": "+f.Err.Error())
			a.log.Error("Provider error", "providerName", f.Provider, "error", f.Err, "retryIn", f.Retry.String())
		},
	}
	for _, p := range a.providers {
		a.log.Info("Starting provider", "providerName", p.Name())
	}
	s.Run(ctx)
}

// shutdown ends all entry points side by side, each by its own times.
func (a *App) shutdown(kill context.Context) {
	_ = a.options.Notifier.Send("STOPPING=1") // the manager sees the end anyway
	if a.ping != nil {
		a.ping.Turn()
	}
	var all sync.WaitGroup
	for _, e := range a.entryPoints {
		all.Go(func() {
			if cut := e.Shutdown(kill); cut > 0 {
				a.log.Warn("Connections were cut at the end of the grace time", "entryPointName", e.Name(), "connections", cut)
			}
		})
	}
	for _, e := range a.udp {
		all.Go(func() {
			if cut := e.Shutdown(kill); cut > 0 {
				a.log.Warn("Sessions were cut at the end of the grace time", "entryPointName", e.Name(), "sessions", cut)
			}
		})
	}
	all.Wait()
}

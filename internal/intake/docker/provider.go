// Package docker is the provider that reads the labels of containers, and of the services of a Swarm.
//
// Each container is looked at by itself (derive), and what it contributes is joined with that of the others by name
// (merge). A container whose labels have a mistake loses the element that the mistake is in and keeps the rest.
//
// Engines are followed by their events (follow). An event costs one inspection at most; everything is looked at again
// only when a connection begins and every few minutes. A container is in the balancer from when it is healthy, or its port
// answers, until it is told to stop; while a known container is away its routes stay and answer 503.
//
// An engine is only ever asked by GET and HEAD, for these paths:
//
//	/_ping                     once for each connection, then every 30 s
//	/containers/json           all containers, in short
//	/containers/{id}/json      one container
//	/events                    containers, their networks; services and nodes of a Swarm
//	/services /tasks /networks of a Swarm
package docker

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/static"
)

// Names of the providers, behind the @ of their elements.
const (
	Name      = "docker"
	SwarmName = "swarm"
)

// gather is the least time between two publications, so that what happens at one moment becomes one change.
const gather = 50 * time.Millisecond

// Options are what a provider needs besides its configuration.
type Options struct {
	Log *slog.Logger
	// ClientTLS makes the client's side of TLS of a configuration.
	ClientTLS func(*dynamic.ClientTLS) (*tls.Config, error)
	// Getenv reads the environment (DOCKER_HOST and its like); nil is os.Getenv.
	Getenv func(string) string
	// Version is told to engines.
	Version string
}

// Provider implements provider.Provider for Docker or for Swarm. Run is called by one goroutine at a time.
type Provider struct {
	name    string
	engines []*settings
	drop    bool
	o       Options
	self    ownContainer
	host    func() string
	// open replaces the way to engines; for tests.
	open func(s *settings) dial
	// probe replaces the question whether a port answers; for tests.
	probe func(ctx context.Context, address string) error
}

// New makes the provider of the docker section.
func New(o static.Docker, opts Options) *Provider {
	p := newProvider(Name, opts)
	p.engines, p.drop = dockerSettings(&o), o.OnEngineLost == static.EngineLostDrop
	return p
}

// NewSwarm makes the provider of the swarm section.
func NewSwarm(o static.Swarm, opts Options) *Provider {
	p := newProvider(SwarmName, opts)
	p.engines = []*settings{swarmSettings(&o)}
	return p
}

func newProvider(name string, o Options) *Provider {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	p := &Provider{name: name, o: o, self: findSelf(), probe: dialProbe}
	p.host = hostAddress(p.self.in)
	p.open = p.dialer
	return p
}

// Name returns docker or swarm.
func (p *Provider) Name() string { return p.name }

// dialer returns what opens a conversation with the engine of s.
func (p *Provider) dialer(s *settings) dial {
	return func(ctx context.Context) (engine, error) {
		env := readEnvironment(p.o.Getenv)
		t, err := newTransport(s, env, p.o.ClientTLS)
		if err != nil {
			return nil, err
		}
		return converse(ctx, t, s.timeout, env.version, "Sluice "+p.o.Version)
	}
}

// vantage is from where containers of an engine are seen as long as our own container has not been found among them.
func (p *Provider) vantage(s *settings) vantage {
	endpoint := s.endpoint
	if h := p.o.Getenv("DOCKER_HOST"); h != "" && s.fromEnvironment {
		endpoint = h
	}
	u, err := url.Parse(endpoint)
	return vantage{host: !p.self.in && err == nil && (u.Scheme == "unix" || u.Scheme == "npipe")}
}

// Run follows the engines and publishes, until ctx ends. A lost engine is no error: it has a finding, and the others go
// on. Without watching it returns when all engines have been read.
func (p *Provider) Run(ctx context.Context, publish func(dynamic.Snapshot)) error {
	h := &hub{publish: publish, merger: newMerger(), findings: make([]diag.List, len(p.engines)), wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var publishing, following sync.WaitGroup
	publishing.Go(func() { h.run(ctx) })
	for i, s := range p.engines {
		f := &follower{
			settings: s, dial: p.open(s), log: p.o.Log, self: p.self.is, selfID: p.self.id, host: p.host, drop: p.drop, probe: p.probe, vantage: p.vantage(s),
			publish: func(changes []change, first bool) { h.take(s.engine, changes, first) },
			told:    func(l diag.List) { h.told(i, l) },
		}
		following.Go(func() { f.run(ctx) })
	}
	following.Wait()
	cancel()
	publishing.Wait()
	h.flush()
	return nil
}

// hub joins what the engines say, and publishes.
type hub struct {
	publish func(dynamic.Snapshot)
	wake    chan struct{}

	mu       sync.Mutex
	merger   *merger
	findings []diag.List
	changed  bool
	spoken   bool
	// first lets the engine that speaks first be heard at once.
	first bool
}

// take takes changes of one engine.
func (h *hub) take(engine string, changes []change, first bool) {
	h.mu.Lock()
	for _, c := range changes {
		key := engine + "/" + c.key
		if c.unit != nil {
			u := *c.unit
			u.key = key
			c.unit = &u
		}
		h.merger.put(key, c.unit)
	}
	h.changed, h.spoken, h.first = true, h.spoken || first, h.first || first
	h.mu.Unlock()
	h.rouse()
}

// told takes the findings about an engine itself.
func (h *hub) told(i int, l diag.List) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Equal(h.findings[i], l) {
		return
	}
	h.findings[i] = l
	h.changed = true
	if l.Has(diag.Error) {
		h.spoken = true // that an engine is not there shall keep nobody waiting
	}
	h.rouse()
}

func (h *hub) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run publishes what has changed until ctx ends.
func (h *hub) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		h.flush()
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
	}
}

// flush publishes what has changed.
func (h *hub) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.changed || !h.spoken {
		return
	}
	h.changed = false
	var s dynamic.Snapshot
	s.Fragments, s.Urgent = h.merger.snapshot()
	s.Urgent = s.Urgent || h.first
	h.first = false
	var all diag.List
	for _, l := range h.findings {
		all = append(all, l...)
	}
	if len(all) > 0 {
		f := &dynamic.Fragment{Name: "engines", Config: &dynamic.Config{}, Findings: all}
		i, _ := slices.BinarySearchFunc(s.Fragments, f, func(a, b *dynamic.Fragment) int { return strings.Compare(a.Name, b.Name) })
		s.Fragments = slices.Insert(s.Fragments, i, f)
	}
	h.publish(s)
}

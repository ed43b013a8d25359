package static

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/core/dynamic"
)

// Effective returns a copy of c with everything that follows from the written values: the entry points that are added,
// times that are corrected, and options whose older spelling was used. Parts that stay the same are shared with c.
func Effective(c *Config) *Config {
	e := *c
	e.EntryPoints = EffectiveEntryPoints(c)
	if c.Providers != nil {
		e.Providers = effectiveProviders(c.Providers)
	}
	if t := c.Tracing; t != nil && len(t.ResourceAttributes) == 0 && len(t.GlobalAttributes) > 0 {
		copied := *t
		copied.ResourceAttributes = t.GlobalAttributes
		e.Tracing = &copied
	}
	if c.CertificatesResolvers != nil {
		e.CertificatesResolvers = make(map[string]*CertificatesResolver, len(c.CertificatesResolvers))
		for name, r := range c.CertificatesResolvers {
			if r != nil && r.ACME != nil {
				r = &CertificatesResolver{ACME: effectiveACME(r.ACME), Tailscale: r.Tailscale}
			}
			e.CertificatesResolvers[name] = r
		}
	}
	return &e
}

func effectiveProviders(p *Providers) *Providers {
	e := *p
	if p.Precedence != nil {
		e.Precedence = make([]string, len(p.Precedence))
		for i, name := range p.Precedence {
			e.Precedence[i] = strings.ToLower(name)
		}
	}
	if d := p.Docker; d != nil {
		copied := *d
		copied.HTTPClientTimeout = max(d.HTTPClientTimeout, 0)
		copied.SwarmModeRefreshSeconds = swarmRefresh(d.SwarmModeRefreshSeconds)
		e.Docker = &copied
	}
	if s := p.Swarm; s != nil {
		copied := *s
		copied.HTTPClientTimeout = max(s.HTTPClientTimeout, 0)
		copied.RefreshSeconds = swarmRefresh(s.RefreshSeconds)
		e.Swarm = &copied
	}
	return &e
}

func swarmRefresh(d dynamic.Duration) dynamic.Duration {
	if d <= 0 {
		return dynamic.Seconds(defaultSwarmRefresh)
	}
	return d
}

// effectiveACME replaces an empty or outdated directory URL and carries the older DNS options over.
func effectiveACME(a *ACME) *ACME {
	e := *a
	switch a.CAServer {
	case "", letsEncryptV1:
		e.CAServer = LetsEncrypt
	case letsEncryptStagingV1:
		e.CAServer = LetsEncryptStaging
	}
	if d := a.DNSChallenge; d != nil && (d.DelayBeforeCheck > 0 || d.DisablePropagationCheck) {
		dns, propagation := *d, Propagation{}
		if d.Propagation != nil {
			propagation = *d.Propagation
		}
		if d.DelayBeforeCheck > 0 {
			propagation.DelayBeforeChecks = d.DelayBeforeCheck
		}
		propagation.DisableChecks = propagation.DisableChecks || d.DisablePropagationCheck
		dns.Propagation = &propagation
		e.DNSChallenge = &dns
	}
	return &e
}

// EffectiveEntryPoints returns the entry points that are opened: those of c; where there is none, one called http on
// port 80; and, where nobody defines it and something of ours is served there, the one called traefik on port 8080. The
// map is new, its values may be those of c.
func EffectiveEntryPoints(c *Config) map[string]*EntryPoint {
	eps := make(map[string]*EntryPoint, len(c.EntryPoints)+1)
	for name, ep := range c.EntryPoints {
		if ep != nil {
			eps[name] = ep
		}
	}
	if len(eps) == 0 {
		eps[fallbackEntryPoint] = newEntryPoint(fallbackAddress)
	}
	if _, ok := eps[InternalEntryPoint]; !ok && needsInternalEntryPoint(c) {
		eps[InternalEntryPoint] = newEntryPoint(internalAddress)
	}
	return eps
}

func newEntryPoint(address string) *EntryPoint {
	ep := &EntryPoint{Address: address}
	ep.SetDefaults()
	return ep
}

// needsInternalEntryPoint reports whether a router of ours is generated on the entry point traefik.
func needsInternalEntryPoint(c *Config) bool {
	switch {
	case c.API != nil && c.API.Insecure:
		return true
	case c.Ping != nil && !c.Ping.ManualRouting && c.Ping.EntryPoint == InternalEntryPoint:
		return true
	case c.Providers != nil && c.Providers.Rest != nil && c.Providers.Rest.Insecure:
		return true
	}
	p := c.prometheus()
	return p != nil && !p.ManualRouting && p.EntryPoint == InternalEntryPoint
}

func (c *Config) prometheus() *Prometheus {
	if c.Metrics == nil {
		return nil
	}
	return c.Metrics.Prometheus
}

// DefaultEntryPoints returns, sorted, the entry points of HTTP and TCP routers that name none: those with asDefault if
// any entry point has it, else all; but never UDP ones nor the one called traefik.
func DefaultEntryPoints(eps map[string]*EntryPoint) []string {
	flagged := false
	for _, ep := range eps {
		flagged = flagged || ep.AsDefault
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(eps)) {
		ep := eps[name]
		if name == InternalEntryPoint || ep.isUDP() || (flagged && !ep.AsDefault) {
			continue
		}
		names = append(names, name)
	}
	return names
}

// UDPEntryPoints returns, sorted, the entry points of UDP routers that name none: all UDP ones.
func UDPEntryPoints(eps map[string]*EntryPoint) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(eps)) {
		if eps[name].isUDP() {
			names = append(names, name)
		}
	}
	return names
}

func (e *EntryPoint) isUDP() bool {
	a, err := ParseAddress(e.Address)
	return err == nil && a.UDP
}

// RedirectPort returns the port that an entry point redirection leads to: to is the name of an entry point or :PORT.
func RedirectPort(eps map[string]*EntryPoint, to string) (uint16, error) {
	if digits, ok := strings.CutPrefix(to, ":"); ok {
		return parsePort(digits)
	}
	ep, ok := eps[to]
	if !ok {
		return 0, fmt.Errorf("entry point %q does not exist", to)
	}
	a, err := ParseAddress(ep.Address)
	switch {
	case err != nil:
		return 0, err
	case a.UDP:
		return 0, fmt.Errorf("entry point %q takes UDP", to)
	}
	return a.Port, nil
}

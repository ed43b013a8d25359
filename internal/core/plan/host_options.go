package plan

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/route"
)

// claim is an HTTPS host of an entry point with the routers that name it. The one called hostless stands for the routers that
// name none.
type claim struct {
	host string
	// routers are in order of precedence.
	routers []*Router
	// options are what connections for the host get.
	options  HostOptions
	conflict bool
}

const hostless = ""

func byHost(a, b *claim) int { return strings.Compare(a.host, b.host) }

// claimed returns the claim on a host; nil where there is none.
func (ep *EntryPoint) claimed(host string) *claim {
	if at, ok := slices.BinarySearchFunc(ep.claims, host, func(c *claim, host string) int { return strings.Compare(c.host, host) }); ok {
		return ep.claims[at]
	}
	return nil
}

// bindOptions decides the TLS options of each HTTPS host and fills claims, Options and Conn.HTTPS. Only the hosts of
// routers that came or went are decided anew, unless the default options themselves changed.
func (ep *EntryPoint) bindOptions(was *EntryPoint, m move[*Router], fallback *TLSOptions) {
	if len(was.Options) == 0 || was.Options[0].Options != fallback {
		m = move[*Router]{nil, slices.Clone(ep.Secure)}
		was = &EntryPoint{Options: []HostOptions{hostOptions(fallback)}, Conn: &route.EntryPoint{}}
	}
	hosts := map[string]*move[*Router]{}
	touch := func(r *Router, add func(m *move[*Router])) {
		for _, h := range claims(r) {
			if hosts[h] == nil {
				hosts[h] = &move[*Router]{}
			}
			add(hosts[h])
		}
	}
	for _, r := range m.gone {
		touch(r, func(m *move[*Router]) { m.gone = append(m.gone, r) })
	}
	for _, r := range m.fresh {
		touch(r, func(m *move[*Router]) { m.fresh = append(m.fresh, r) })
	}
	var gone, fresh []*claim
	for host, m := range hosts {
		old := was.claimed(host)
		c := &claim{host: host}
		if old != nil {
			gone = append(gone, old)
			c.routers = old.routers
		}
		if c.routers = edited(c.routers, m.gone, m.fresh, byPrecedence); len(c.routers) > 0 {
			c.decide(old, fallback)
			fresh = append(fresh, c)
		}
	}
	ep.claims = edited(was.claims, gone, fresh, byHost)
	ep.place(was, gone, fresh)
}

// claims returns the hosts that a router speaks for.
func claims(r *Router) []string {
	if len(r.parsed.hosts) == 0 {
		return []string{hostless}
	}
	return r.parsed.hosts
}

// place gives the options of all hosts their positions in Options. While those of was are all in use they keep theirs, and
// the table of hosts is changed only where hosts changed.
func (ep *EntryPoint) place(was *EntryPoint, gone, fresh []*claim) {
	ep.Options = slices.Clip(was.Options)
	positions := map[HostOptions]int{}
	for i, o := range was.Options {
		positions[o] = i
	}
	used := make([]bool, len(was.Options))
	used[0] = true
	last := -1
	for _, c := range ep.claims {
		if c.conflict {
			ep.conflicts = append(ep.conflicts, c)
		}
		if last >= 0 && ep.Options[last] == c.options {
			continue
		}
		at, known := positions[c.options]
		if !known {
			at = len(ep.Options)
			positions[c.options] = at
			ep.Options, used = append(ep.Options, c.options), append(used, false)
		}
		used[at], last = true, at
	}
	table := was.Conn.HTTPS
	if slices.Contains(used, false) {
		ep.Options = slices.DeleteFunc(slices.Clone(ep.Options), func(o HostOptions) bool { return !used[positions[o]] })
		for i, o := range ep.Options {
			positions[o] = i
		}
		table, gone, fresh = nil, nil, ep.claims
	}
	var names []string
	for _, c := range gone {
		if c.host == hostless && ep.claimed("*") != nil {
			continue // the two share a place in the table, and it belongs to the one that is named
		}
		names = append(names, tableName(c.host))
	}
	var set []route.HTTPSHost
	for _, c := range fresh {
		if c.host != hostless {
			set = append(set, route.HTTPSHost{Name: tableName(c.host), Options: ep.optionsAt(positions[c.options])})
		}
	}
	if ep.claimed("*") == nil && ep.claimed(hostless) != nil {
		set = append(set, route.HTTPSHost{Name: "*", Options: ep.optionsAt(0)})
	}
	if table == nil || len(names) > 0 || len(set) > 0 {
		table = table.Change(names, set)
	}
	ep.Conn.HTTPS = table
}

// tableName is how the table of hosts calls a claimed host.
func tableName(host string) string { return cmp.Or(host, "*") }

// decide finds the options for the host. was is the claim of the previous plan, or nil.
func (c *claim) decide(was *claim, fallback *TLSOptions) {
	var asked []*TLSOptions
	for _, r := range c.routers {
		if r.Options != nil && !slices.Contains(asked, r.Options) {
			asked = append(asked, r.Options)
		}
	}
	switch {
	case c.host == hostless:
		c.options = hostOptions(fallback)
	case len(asked) == 0: // every claimant's options are missing: refuse
	case len(asked) == 1:
		c.options = hostOptions(asked[0])
	default:
		c.conflict, c.options = true, merged(asked, fallback)
		if was != nil && reflect.DeepEqual(was.options, c.options) {
			c.options = was.options
		}
	}
}

func hostOptions(o *TLSOptions) HostOptions {
	if o == nil || o.Status == Disabled {
		return HostOptions{Options: o}
	}
	return HostOptions{Options: o, Effective: o.Config}
}

// merged returns what is used where routers disagree.
func merged(asked []*TLSOptions, fallback *TLSOptions) HostOptions {
	if fallback.Status == Disabled {
		return HostOptions{Options: fallback}
	}
	var configs []*dynamic.TLSOptions
	for _, o := range asked {
		if o.Status != Disabled {
			configs = append(configs, o.Config)
		}
	}
	strict, ok := stricter(fallback.Config, configs)
	if !ok {
		return HostOptions{}
	}
	return HostOptions{Options: fallback, Effective: strict}
}

// optionsAt is the position of options as the connection tables hold it.
func (ep *EntryPoint) optionsAt(position int) int {
	if ep.Options[position].Effective == nil {
		return route.RefuseTLS
	}
	return position
}

// noteConflicts reports routers that disagree on a host's options.
func (b *builder) noteConflicts(ep *EntryPoint) {
	for _, c := range ep.conflicts {
		for _, r := range c.routers {
			if r.Options != nil {
				b.warn(&r.Node, CodeTLSConflict, fmt.Sprintf("found different TLS options for routers on the same host %s on entry point %s, "+
					"so using the default TLS options instead, with the strictest client authentication of them", c.host, ep.Name),
					"give all routers of the host the same options", "tls", "options")
			}
		}
	}
}

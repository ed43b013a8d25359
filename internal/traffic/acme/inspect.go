package acme

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/core/static"
	"sluice/internal/traffic/acme/storage"
)

// StateExpired is a stored certificate that has ended; only Inspect tells it.
const StateExpired = "expired"

// Inventory is what the storages of resolvers hold, read without a running instance. Close ends it.
type Inventory struct {
	// Problems are storages that could not be read, each with its resolver.
	Problems []error

	m *Manager
}

// Inspect reads the storages of resolvers. It changes nothing, and may be used while an instance runs.
func Inspect(resolvers map[string]*static.CertificatesResolver) *Inventory {
	m := &Manager{log: slog.New(slog.DiscardHandler), logged: map[string]string{}}
	i := &Inventory{m: m}
	stores := map[string]storage.Store{}
	for _, name := range slices.Sorted(maps.Keys(resolvers)) {
		if c := resolvers[name]; c != nil && c.ACME != nil {
			r := newResolver(name, c.ACME, stores)
			m.resolvers = append(m.resolvers, r)
			m.load(r, r.store.Version())
			if r.loadErr != nil {
				i.Problems = append(i.Problems, fmt.Errorf("%s: %w", name, r.loadErr))
			}
		}
	}
	return i
}

// Close closes the storages.
func (i *Inventory) Close() {
	for _, r := range i.m.resolvers {
		_ = r.store.Close() // nothing was locked
	}
}

// List tells about each stored certificate, and about names that could not get one. What routers use is not known here.
func (i *Inventory) List() []Status {
	now := time.Now()
	var out []Status
	for _, r := range i.m.resolvers {
		sets := maps.Clone(r.content.Sets)
		for _, e := range r.entries {
			s := Status{Resolver: r.name, Names: e.names, Pair: e.pair, State: StateValid, Renewal: i.m.renewal(e)}
			if set := sets[e.id]; set != nil {
				s.Problem, s.Failures, s.Next, s.Orphaned, s.OnDemand = set.Problem, set.Failures, set.Next, set.Orphaned, set.OnDemand
				delete(sets, e.id)
			}
			switch {
			case !e.valid(now):
				s.State = StateExpired
			case !e.current:
				s.State = StateOutdated
			case !s.Orphaned.IsZero():
				s.State = StateOrphaned
			case s.Problem != nil:
				s.State = StateRenewalFailed
			}
			out = append(out, s)
		}
		for _, set := range sets {
			if set.Problem != nil {
				out = append(out, Status{Resolver: r.name, Names: set.Names, State: StateFailed, Problem: set.Problem, Failures: set.Failures,
					Next: set.Next, OnDemand: set.OnDemand})
			}
		}
	}
	slices.SortFunc(out, func(a, b Status) int {
		return strings.Compare(a.Names[0]+" "+a.Resolver, b.Names[0]+" "+b.Resolver)
	})
	return out
}

// Renew asks the instance that owns the storage, now or when it starts, to get a new certificate for those with a name. It
// returns the resolvers that know it.
func (i *Inventory) Renew(name string) (resolvers []string, err error) {
	name = normalName(name)
	for _, s := range i.List() {
		if !slices.Contains(s.Names, name) || slices.Contains(resolvers, s.Resolver) {
			continue
		}
		if err := i.m.storeOf(s.Resolver).Request(name); err != nil {
			return resolvers, err
		}
		resolvers = append(resolvers, s.Resolver)
	}
	return resolvers, nil
}

// Export writes all certificates that are valid as files; see the function of that name.
func (i *Inventory) Export(directory string) (changed []string, err error) {
	now := time.Now()
	var list []*storage.Certificate
	for _, r := range i.m.resolvers {
		for _, e := range r.entries {
			if e.valid(now) {
				list = append(list, e.source)
			}
		}
	}
	return Export(directory, list)
}

package acme

import (
	"slices"
	"strings"
	"time"

	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

// publish gives the certificates to handshakes. Left out are those that have ended and those of another CA or time whose
// names better ones have, so that a staging certificate never wins over its successor.
func (m *Manager) publish(now time.Time) {
	var all []*entry
	for _, r := range m.resolvers {
		all = append(all, r.entries...)
	}
	fresh := map[string]bool{} // names of certificates that are as they should be
	for _, e := range all {
		if e.current && e.valid(now) {
			for _, n := range e.pair.Names {
				fresh[n] = true
			}
		}
	}
	var pairs []*certs.Pair
	for _, e := range all {
		outdated := !e.current || !e.valid(now)
		if outdated && !slices.ContainsFunc(e.pair.Names, func(n string) bool { return !fresh[n] }) {
			continue
		}
		pairs = append(pairs, e.pair)
	}
	if slices.Equal(pairs, m.last) {
		return
	}
	m.last = pairs
	m.o.Keeper.SetIssued(certs.NewIssued(pairs))
	for _, r := range m.resolvers {
		r.exporter.due = true
	}
}

// orphans marks certificates that nobody needs, unmarks those that somebody needs again, and removes them after the grace
// time. Only the owner of a storage does.
func (m *Manager) orphans(d *decision, now time.Time) {
	for _, r := range m.resolvers {
		if r.readOnly != nil {
			continue
		}
		for _, e := range r.entries {
			set := r.content.Sets[e.id]
			if _, needed := d.needs[e]; needed {
				delete(m.idle, e)
				if set != nil && !set.Orphaned.IsZero() {
					m.mark(r, e, set, time.Time{})
				}
				continue
			}
			since, known := m.idle[e]
			if !known {
				m.idle[e], since = now, now
			}
			switch {
			case now.Sub(since) < orphanAfter:
			case set == nil || set.Orphaned.IsZero():
				m.mark(r, e, set, now)
			case now.Sub(set.Orphaned) > orphanGrace:
				m.log.Info("A certificate that nobody needs is removed", "resolver", r.name, "names", strings.Join(e.names, " "))
				if err := r.store.Remove(r.name, e.source.Names()); err != nil {
					m.complain(r.name, "A certificate could not be removed from the storage", err)
				}
			}
		}
	}
	for e := range m.idle {
		if !slices.Contains(e.resolver.entries, e) {
			delete(m.idle, e)
		}
	}
}

// mark writes down since when a certificate is an orphan; zero for no longer.
func (m *Manager) mark(r *resolver, e *entry, set *storage.Set, since time.Time) {
	if r.running[e.id] || r.running["ask "+e.id] {
		return // its job writes the same element
	}
	release, err := r.store.Lock("set-" + r.name + "-" + e.id)
	if err != nil {
		return // another instance is at it
	}
	defer release()
	out := storage.Set{Names: e.names}
	if set != nil {
		out = *set
	}
	out.Orphaned = since.UTC().Truncate(time.Second)
	if since.IsZero() {
		out.Orphaned = time.Time{}
	}
	if err := r.store.SaveSet(r.name, &out); err != nil {
		return // said by whoever needs the storage more
	}
	r.content.Sets[e.id] = &out
}

// retrySaving stores certificates that could not be stored when they were issued.
func (m *Manager) retrySaving(r *resolver) {
	for id, c := range r.unsaved {
		if err := r.store.SaveCertificate(r.name, c); err != nil {
			return
		}
		if s := r.content.Sets[id]; s != nil {
			if err := r.store.SaveSet(r.name, s); err != nil {
				return
			}
		}
		delete(r.unsaved, id)
	}
}

package acme

import (
	"slices"
	"strings"
	"time"

	"sluice/internal/traffic/acme/storage"
	"sluice/internal/traffic/certs"
)

// States of a Status.
const (
	// StateValid: a certificate serves the names. StateOrdering: an order runs. StateWaiting: the first attempt has not begun.
	StateValid, StateOrdering, StateWaiting = "valid", "ordering", "waiting"
	// StateFailed: there is no certificate, and the last attempt failed. StateRenewalFailed: there is one, and its renewal failed.
	StateFailed, StateRenewalFailed = "failed", "renewalFailed"
	// StateOrphaned: nobody needs the certificate. StateOutdated: it is of a CA that is not configured any more.
	StateOrphaned, StateOutdated = "orphaned", "outdated"
	// StateConfigured: the configuration's own certificate covers the names. StateRefused: no order will be made.
	StateConfigured, StateRefused = "configured", "refused"
	// StateBroken: the resolver, or its storage, does not work.
	StateBroken = "broken"
)

// Status tells about one wanted or stored certificate. It is a value; nothing of it changes any more.
type Status struct {
	Resolver string
	Names    []string
	Users    []string
	State    string
	// Pair is the certificate that serves the names; nil without one.
	Pair *certs.Pair
	// Renewal is when it is renewed, Next when something is tried; zero where nothing is planned.
	Renewal, Next time.Time
	// Problem is why the last attempt failed, or why there is none; nil when all is well. Failures counts attempts.
	Problem  *storage.Problem
	Failures int
	// Orphaned is since when nobody needs it; zero while somebody does.
	Orphaned time.Time
	OnDemand bool
}

// Status returns what there is to say about each certificate, as of the last look. The caller changes nothing of it. A nil
// Manager has nothing.
func (m *Manager) Status() []Status {
	if m == nil {
		return nil
	}
	return *m.status.Load()
}

// describe makes the status of a decision.
func (m *Manager) describe(d *decision, now time.Time) {
	next := map[string]time.Time{}
	for _, t := range d.tasks {
		if !t.ask {
			next[t.label()] = t.due
		}
	}
	var out []Status
	told := map[*entry]bool{}
	for i := range d.wants {
		w := &d.wants[i]
		s := Status{Resolver: w.Resolver, Names: w.Names, Users: w.Users, OnDemand: w.demand}
		if w.by != nil {
			told[w.by] = true
		}
		m.judge(&s, w, next[w.Resolver+" "+w.id], now)
		out = append(out, s)
	}
	for _, r := range m.resolvers {
		for _, e := range r.entries {
			if told[e] {
				continue
			}
			s := Status{Resolver: r.name, Names: e.names, Users: d.needs[e], Pair: e.pair, State: StateOrphaned, Next: next[r.name+" "+e.id]}
			if users, needed := d.needs[e]; needed {
				s.Users, s.State = users, StateValid
				if !e.current {
					s.State = StateOutdated
				}
			}
			if set := r.content.Sets[e.id]; set != nil {
				s.Orphaned, s.OnDemand = set.Orphaned, set.OnDemand
			}
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Status) int { return strings.Compare(a.Names[0], b.Names[0]) })
	m.status.Store(&out)
}

// judge finds the state of a want.
func (m *Manager) judge(s *Status, w *decided, due, now time.Time) {
	problem := func(kind, text, advice string) { s.Problem = &storage.Problem{Kind: kind, Text: text, Advice: advice} }
	r := w.resolver
	switch {
	case r == nil:
		s.State = StateBroken
		problem("configuration", "there is no certificate resolver of this name with acme", "")
		return
	case w.given:
		s.State = StateConfigured
		return
	case w.refused != "":
		s.State = StateRefused
		problem("refused", w.refused, "")
		return
	}
	set := r.content.Sets[w.id]
	if set != nil {
		s.Problem, s.Failures = set.Problem, set.Failures
	}
	if r.gate.closed(now) && r.gate.next.After(due) {
		due = r.gate.next
	}
	s.Next = due
	if w.by != nil {
		s.Pair, s.State, s.Renewal = w.by.pair, StateValid, m.renewal(w.by)
		if s.Problem != nil {
			s.State = StateRenewalFailed
		}
	} else {
		s.State = StateWaiting
		if s.Problem != nil {
			s.State = StateFailed
		}
	}
	if r.running[w.id] {
		s.State = StateOrdering
	}
	switch {
	case w.waits != "":
		problem("waits", "the certificate for "+w.waits+" will serve it", "")
	case r.broken != nil && w.by == nil:
		s.State = StateBroken
		problem("configuration", r.broken.Error(), "")
	case r.readOnly != nil && w.by == nil:
		s.State = StateBroken
		problem("storage", r.readOnly.Error(), "")
	}
}

package acme

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"sluice/internal/traffic/acme/authority"
	"sluice/internal/traffic/acme/schedule"
	"sluice/internal/traffic/acme/storage"
)

// Pauses that are not stored.
const (
	lockedPause  = 2 * time.Second
	lockPatience = 2 * time.Minute
	askPause     = time.Hour
)

// order runs one order from beginning to end.
func (m *Manager) order(ctx context.Context, t *task) {
	r := t.resolver
	if t.demand {
		defer m.demand.ended(t.names[0])
		if m.demand.allowed(ctx, t.names[0]) == nil {
			m.postpone(t, deniedPause)
			return
		}
	}
	release, err := r.store.Lock("set-" + r.name + "-" + t.id)
	if err != nil {
		m.postpone(t, lockedPause)
		if !errors.Is(err, storage.ErrLocked) {
			m.unreached(t, stored("take a lock", err))
		}
		return
	}
	defer release()
	set, account, former, renews, needed := m.again(t)
	if !needed {
		return
	}
	set.Tried = time.Now().UTC().Truncate(time.Second)
	// What cannot be stored must not be ordered: this finds out first.
	if err := r.store.SaveSet(r.name, set); err != nil {
		m.unreached(t, stored("keep the state", err))
		return
	}
	issued, err := m.obtain(ctx, t, set, account, former, renews)
	if err != nil {
		m.failed(t, set, renews, err)
		return
	}
	m.succeeded(t, set, issued)
}

// again looks at a set once more under its lock: another instance may have done, or tried, what we are about to.
func (m *Manager) again(t *task) (set *storage.Set, account *storage.Account, former map[string]*storage.Account, renews *entry, needed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := t.resolver
	if version := r.store.Version(); version != r.version || r.store.Shared() {
		m.load(r, version)
	}
	now := time.Now()
	for _, n := range t.names {
		delete(r.forced, n)
	}
	renews = t.renews
	for _, e := range r.entries {
		if e.id == t.id && e.current && e.valid(now) {
			if (t.renews == nil || serial(e.leaf) != serial(t.renews.leaf)) && now.Before(m.renewal(e)) {
				return nil, nil, nil, nil, false
			}
			renews = e
		}
	}
	set = &storage.Set{}
	if s := r.content.Sets[t.id]; s != nil {
		*set = *s
		if s.Next.After(now) && !t.forced && schedule.Believe(s.Next, now).After(t.due) && r.store.Shared() {
			return nil, nil, nil, nil, false
		}
	}
	set.Names, set.OnDemand = t.names, t.demand
	if renews != nil && set.Order != nil && string(set.Order.Key) == string(renews.source.Key) {
		set.Order = nil // it has ended, and only that was not written down
	}
	return set, r.content.Account, r.content.Former, renews, true
}

// obtain makes sure of an account and orders. An account that the CA has forgotten is registered anew once.
func (m *Manager) obtain(ctx context.Context, t *task, set *storage.Set, account *storage.Account, former map[string]*storage.Account, renews *entry) (*authority.Issued, error) {
	r := t.resolver
	for again := false; ; again = true {
		registered, err := m.register(ctx, r, account, former)
		if err != nil {
			return nil, err
		}
		req := authority.Request{Names: t.names, Account: registered, Resume: set.Order, Solvers: rotate(r.solvers, set.Failures)}
		if renews != nil && renews.current {
			req.Replaces = renews.leaf
		}
		req.Save = func(o *storage.Order) error {
			set.Order = o
			return r.store.SaveSet(r.name, set)
		}
		req.Ordering = func() error { return m.spend(ctx, r, t, renews != nil) }
		issued, err := r.client.Obtain(ctx, req)
		e, ok := errors.AsType[*authority.Error](err)
		if err == nil || again || !ok || !e.Gone {
			return issued, err
		}
		forgotten := *registered
		forgotten.URI = ""
		account, former = &forgotten, nil
		set.Order = nil
	}
}

// rotate puts another challenge first after each failure: where port 443 is not reachable, port 80 may be.
func rotate(solvers []authority.Solver, by int) []authority.Solver {
	if len(solvers) == 0 {
		return nil
	}
	by %= len(solvers)
	return append(append([]authority.Solver(nil), solvers[by:]...), solvers[:by]...)
}

// register makes sure that the resolver has an account. Instances take turns, so that there is one.
func (m *Manager) register(ctx context.Context, r *resolver, account *storage.Account, former map[string]*storage.Account) (*storage.Account, error) {
	if r.client.Belongs(account) {
		return account, nil
	}
	release, err := lock(ctx, r.store, "account-"+r.name)
	if err != nil {
		return nil, stored("take a lock", err)
	}
	defer release()
	if c, err := r.store.Load(r.name); err == nil && (account == nil || c.Account == nil || string(c.Account.Key) != string(account.Key) || account.URI != "") {
		account, former = c.Account, c.Former
	}
	return r.client.Register(ctx, account, former, func(a *storage.Account) error {
		if err := r.store.SaveAccount(r.name, a); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		r.content.Account = a
		return nil
	})
}

// lock waits for a lock.
func lock(ctx context.Context, s storage.Store, name string) (release func(), err error) {
	deadline := time.Now().Add(lockPatience)
	for {
		release, err = s.Lock(name)
		if !errors.Is(err, storage.ErrLocked) || time.Now().After(deadline) {
			return release, err
		}
		t := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// spend takes an order out of the budget, or says until when there is none.
func (m *Manager) spend(ctx context.Context, r *resolver, t *task, renewal bool) error {
	if !r.public {
		return nil
	}
	return m.account(ctx, r, func(s *storage.Spent, now time.Time) error {
		if wait := r.limits.Allow(s, t.names, renewal, now); wait.Until.After(now) {
			return &authority.Error{Kind: kindBudget, Text: wait.Text, Until: wait.Until.Add(time.Duration(rand.Int64N(int64(time.Minute)))),
				Reached: true, Advice: "it is ordered by itself then; a wildcard for the domain needs one certificate instead of many"}
		}
		r.limits.Ordered(s, t.names, renewal, now)
		return nil
	})
}

// kindBudget is the kind of a problem that is our own restraint.
const kindBudget = "budget"

// account changes what was spent, under its lock.
func (m *Manager) account(ctx context.Context, r *resolver, change func(s *storage.Spent, now time.Time) error) error {
	release, err := lock(ctx, r.store, "spent-"+r.name)
	if err != nil {
		return stored("take a lock", err)
	}
	defer release()
	content, err := r.store.Load(r.name)
	if err != nil {
		return stored("read what was spent", err)
	}
	if err := change(&content.Spent, time.Now()); err != nil {
		return err
	}
	return stored("keep what was spent", r.store.SaveSpent(r.name, &content.Spent))
}

func stored(what string, err error) error {
	if err == nil {
		return nil
	}
	return &authority.Error{Kind: authority.KindStorage, Text: "cannot " + what + ": " + err.Error()}
}

// succeeded puts a certificate in the storage and in force.
func (m *Manager) succeeded(t *task, set *storage.Set, issued *authority.Issued) {
	r := t.resolver
	now := time.Now()
	c := &storage.Certificate{Main: t.names[0], SANs: t.names[1:], Chain: issued.Chain, Key: issued.Key}
	done := &storage.Set{Names: t.names, CA: r.config.CAServer, Issued: now.UTC().Truncate(time.Second), Profile: r.config.Profile,
		KeyType: r.config.KeyType, OnDemand: t.demand}
	err := r.store.SaveCertificate(r.name, c)
	if err == nil {
		err = r.store.SaveSet(r.name, done)
	}
	if r.public {
		// A full disk, at most: the certificate counts more, and its reservation stands for a day.
		m.counted(r, m.account(context.Background(), r, func(s *storage.Spent, now time.Time) error {
			r.limits.Issued(s, t.names, now)
			return nil
		}))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.gate.passed()
	if err != nil {
		// It is served all the same. The order stands in the storage, so that even a crash now costs nothing.
		r.unsaved[t.id] = c
		m.complain(r.name+" "+t.id, "A certificate that was issued cannot be stored; it is served, and storing is tried again", err)
		r.entries = m.parseAll(r)
		r.content.Sets[t.id] = done
	} else {
		delete(r.unsaved, t.id)
		m.load(r, r.store.Version())
	}
	m.complain(t.label(), failedOrder, nil)
	m.log.Info("Certificate obtained", "resolver", r.name, "names", strings.Join(t.names, " "), "challenge", issued.Challenge,
		"notAfter", issued.Leaf.NotAfter.UTC().Format(time.RFC3339))
	m.publish(now)
}

// failedOrder is the message of orders that failed.
const failedOrder = "A certificate could not be obtained"

func (t *task) label() string { return t.resolver.name + " " + t.id }

// failed writes down why, and when the next attempt is.
func (m *Manager) failed(t *task, set *storage.Set, renews *entry, err error) {
	r := t.resolver
	e, ok := errors.AsType[*authority.Error](err)
	if !ok {
		e = &authority.Error{Kind: authority.KindServer, Text: err.Error(), Reached: true}
	}
	switch {
	case e.Kind == authority.KindStopped:
		return // the order goes on after the restart
	case !e.Reached:
		m.lost(t, set, e)
		m.unreached(t, e)
		return
	}
	now := time.Now()
	left := time.Duration(0)
	if renews != nil && renews.valid(now) {
		left = time.Until(renews.leaf.NotAfter)
	}
	if len(e.Failed) > 0 {
		set.Order = nil // the CA has made it invalid
	}
	if e.Kind == kindBudget {
		set.Next = e.Until
	} else {
		set.Failures++
		set.Next = now.Add(schedule.Retry(set.Failures, left, rand.Float64()))
	}
	if until := schedule.Believe(e.Until, now); until.After(set.Next) {
		set.Next = until
	}
	set.Next = set.Next.UTC().Truncate(time.Second)
	set.Problem = &storage.Problem{Kind: e.Kind, Text: e.Text, Advice: e.Advice}
	serr := r.store.SaveSet(r.name, set)
	m.lost(t, set, e)
	m.mu.Lock()
	defer m.mu.Unlock()
	r.gate.passed()
	r.content.Sets[t.id] = set
	if serr != nil {
		r.penalty[t.key()] = set.Next // not even that could be kept
	}
	m.tell(t, e, set.Next)
}

// lost counts what a failed attempt cost, and gives back what it reserved if no order is left of it.
func (m *Manager) lost(t *task, set *storage.Set, e *authority.Error) {
	r := t.resolver
	over := set.Order == nil && e.Kind != kindBudget
	if !r.public || !over && len(e.Failed) == 0 {
		return
	}
	m.counted(r, m.account(context.Background(), r, func(s *storage.Spent, now time.Time) error {
		if over {
			r.limits.Released(s, t.names)
		}
		r.limits.Failed(s, e.Failed, now) // the back-off of the set keeps to the limit as well
		return nil
	}))
}

// counted says that the budget could not be written down; nil takes that back.
func (m *Manager) counted(r *resolver, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.complain(r.name, "What was used of the CA's limits cannot be written down", err)
}

// unreached closes the gate of the resolver: nothing was asked of the CA, so nothing is held against the names.
func (m *Manager) unreached(t *task, err error) {
	e, ok := errors.AsType[*authority.Error](err)
	if !ok || e.Kind == authority.KindStopped {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := t.resolver
	now := time.Now()
	r.gate.failed(now, rand.Float64())
	set := storage.Set{Names: t.names, OnDemand: t.demand}
	if s := r.content.Sets[t.id]; s != nil {
		set = *s
	}
	set.Problem = &storage.Problem{Kind: e.Kind, Text: e.Text, Advice: e.Advice}
	r.content.Sets[t.id] = &set // in memory only: it says nothing about the next start
	m.tell(t, e, r.gate.next)
}

// tell logs a failure once, until it changes.
func (m *Manager) tell(t *task, e *authority.Error, next time.Time) {
	key := t.label() + "\n" + failedOrder
	if m.logged[key] == e.Kind+e.Text {
		return
	}
	m.logged[key] = e.Kind + e.Text
	m.log.Error(failedOrder, "resolver", t.resolver.name, "names", strings.Join(t.names, " "), "kind", e.Kind, "error", e.Text,
		"advice", e.Advice, "nextAttempt", next.UTC().Format(time.RFC3339))
}

// postpone keeps a task from running again for a while.
func (m *Manager) postpone(t *task, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.resolver.penalty[t.key()] = time.Now().Add(d)
}

// ask asks the CA when it wants a certificate to be renewed, and writes the answer down.
func (m *Manager) ask(ctx context.Context, t *task) {
	r, e := t.resolver, t.renews
	m.mu.Lock()
	account := r.content.Account
	m.mu.Unlock()
	window, err := r.client.RenewalWindow(ctx, account, e.leaf)
	now := time.Now()
	if err != nil && !errors.Is(err, authority.ErrNoWindow) {
		if fault, ok := errors.AsType[*authority.Error](err); ok && !fault.Reached && fault.Kind != authority.KindStopped {
			m.mu.Lock()
			r.gate.failed(now, rand.Float64())
			m.mu.Unlock()
		}
		m.postpone(t, min(askPause, e.life()/20))
		return
	}
	renewal := storage.Renewal{Certificate: serial(e.leaf)}
	if err != nil {
		renewal.Ask = now.Add(schedule.AskAgain(24*time.Hour, e.life()))
	} else {
		renewal.Begin, renewal.End, renewal.Explanation = window.Begin, window.End, window.Explanation
		renewal.At = schedule.Within(window.Begin, window.End, schedule.Spread(serial(e.leaf)))
		renewal.Ask = now.Add(schedule.AskAgain(window.After, e.life()))
	}
	renewal.Ask = renewal.Ask.UTC().Truncate(time.Second)
	release, err := r.store.Lock("set-" + r.name + "-" + t.id)
	if err != nil {
		m.postpone(t, lockedPause)
		return
	}
	defer release()
	m.mu.Lock()
	if version := r.store.Version(); version != r.version {
		m.load(r, version)
	}
	set := storage.Set{Names: t.names}
	if s := r.content.Sets[t.id]; s != nil {
		set = *s
	}
	m.mu.Unlock()
	set.Renewal = &renewal
	if err := r.store.SaveSet(r.name, &set); err != nil {
		m.postpone(t, askPause)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.gate.passed()
	r.content.Sets[t.id] = &set
	if renewal.At.Before(now) {
		m.log.Info("The CA wants a certificate to be renewed now", "resolver", r.name, "names", strings.Join(t.names, " "), "explanation", renewal.Explanation)
	}
}

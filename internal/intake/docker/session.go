package docker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/intake/provider"
)

// connect keeps a session with the engine, with a growing wait between them.
func (f *follower) connect(ctx context.Context) {
	var backoff provider.Backoff
	for {
		began := time.Now()
		err := f.converse(ctx)
		if ctx.Err() != nil || err == nil {
			return
		}
		if f.failed != nil {
			f.failed(err)
			return
		}
		wait := backoff.Next(time.Since(began))
		f.log.Error("Provider error, retrying", "providerName", f.settings.section, "error", err, "retryIn", wait.Round(time.Millisecond).String())
		f.do(func() { f.lost(err) })
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// lost takes note that the engine does not answer.
func (f *follower) lost(err error) {
	f.talk, f.session = nil, nil
	f.queue, f.asking = nil, 0
	for _, m := range f.members {
		m.asking, m.queued = -1, false
	}
	severity, hint := diag.Warning, "what it said last stays in force"
	switch {
	case !f.synced:
		severity, hint = diag.Error, "none of its containers are served; it is tried again and again"
	case f.drop:
		severity, hint = diag.Error, "its routes are dropped, as onEngineLost says"
		var changes []change
		for id, m := range f.members {
			f.forget(id, m)
			changes = append(changes, change{id, nil})
		}
		f.synced = false
		f.publish(changes, false)
	}
	f.told(append(f.settings.findings[:len(f.settings.findings):len(f.settings.findings)], diag.Finding{Place: diag.Place{Source: f.settings.section},
		Severity: severity, Key: f.settings.section, Code: CodeEngine, Message: "the engine does not answer: " + err.Error(), Hint: hint}))
}

// converse holds one session: everything is looked at once, then events are followed. It ends with an error, or with nil
// where nothing is to be followed.
func (f *follower) converse(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	talk, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer talk.end()
	if f.settings.swarm {
		return f.converseSwarm(ctx, talk)
	}
	if !f.settings.watch {
		if err := f.look(ctx, talk); err != nil {
			return err
		}
		select {
		case <-f.looked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel(nil)
	parts.Go(func() {
		err := talk.events(ctx, false, func() {
			// Events arrive from here on, so the list may be asked for: nothing falls between the two.
			parts.Go(func() { cancel(f.patrol(ctx, talk)) })
		}, func(e event) { f.do(func() { f.event(e) }) })
		cancel(err)
	})
	<-ctx.Done()
	return context.Cause(ctx)
}

// patrol looks at everything at once, and again every now and then.
func (f *follower) patrol(ctx context.Context, talk engine) error {
	if err := f.look(ctx, talk); err != nil {
		return err
	}
	ping, resync := time.NewTicker(pingEvery), time.NewTicker(resyncEvery)
	defer ping.Stop()
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ping.C:
			if err := talk.ping(ctx); err != nil {
				return err
			}
		case <-resync.C:
			if err := f.look(ctx, talk); err != nil {
				return err
			}
		}
	}
}

// look lists the containers and has all of them inspected that may matter.
func (f *follower) look(ctx context.Context, talk engine) error {
	list, err := talk.list(ctx)
	if err != nil {
		return err
	}
	f.do(func() { f.listed(ctx, talk, list) })
	return nil
}

// listed compares the list with what is known.
func (f *follower) listed(ctx context.Context, talk engine, list []listed) {
	f.talk, f.session = talk, ctx
	f.told(f.settings.findings)
	there := make(map[string]bool, len(list))
	for _, l := range list {
		there[l.ID] = true
		if f.members[l.ID] != nil || f.thorough || f.self(l.ID) || matters(l) {
			f.ask(f.member(l.ID))
		}
	}
	for id, m := range f.members {
		// One that is not in the list may be younger than it.
		if m.pending || !there[id] && m.removed.IsZero() {
			f.ask(m)
		}
	}
	if !f.synced && f.asking == 0 && len(f.queue) == 0 {
		f.firstLook()
	}
}

// matters reports whether a listed container can contribute anything. What runs matters also as the owner of a network
// that another one uses.
func matters(l listed) bool {
	if l.State == stateRunning || l.State == "" {
		return true
	}
	return mayLinger(l.Labels)
}

// mayLinger reports whether labels keep the routes of a container that does not run.
func mayLinger(labels map[string]string) bool {
	for key := range labels {
		if strings.HasSuffix(strings.ToLower(key), ".docker.allownonrunning") {
			return true
		}
	}
	return false
}

// ask has a container inspected as soon as there is room.
func (f *follower) ask(m *member) {
	if f.talk == nil {
		m.pending = true // until the engine is there
		return
	}
	m.pending = false
	if m.queued {
		return
	}
	if m.asking >= 0 {
		m.events++ // the answer under way is stale
		return
	}
	m.queued = true
	f.queue = append(f.queue, m.id)
	f.askNext()
}

func (f *follower) askNext() {
	for f.asking < maxInspections && len(f.queue) > 0 {
		id := f.queue[0]
		f.queue = f.queue[1:]
		m := f.members[id]
		if m == nil {
			continue
		}
		m.queued, m.asking = false, m.events
		f.asking++
		talk, session := f.talk, f.session
		f.busy.Go(func() {
			c, err := talk.inspect(session, id)
			f.do(func() {
				if f.session == session {
					f.answered(id, c, err)
				}
			})
		})
	}
}

// answered takes an inspection.
func (f *follower) answered(id string, c *container, err error) {
	f.asking--
	m := f.members[id]
	if m != nil {
		stale := m.asking != m.events
		m.asking = -1
		switch {
		case errors.Is(err, errGone):
			f.gone(m)
		case err != nil:
			f.log.Warn("A container cannot be inspected", "providerName", f.settings.section, "container", id, "error", err)
			session := f.session
			if session.Err() == nil && (m.err == nil || m.err.Error() != err.Error()) {
				m.err = err
				f.changed[id] = true
			}
			time.AfterFunc(inspectRetry, func() {
				f.do(func() {
					if m := f.members[id]; m != nil && f.session == session {
						f.ask(m)
					}
				})
			})
		case stale:
			f.ask(m)
		default:
			f.known(m, c)
		}
	}
	f.askNext()
	if !f.synced && f.asking == 0 && len(f.queue) == 0 {
		f.firstLook()
	}
}

// firstLook notes that everything has been looked at once.
func (f *follower) firstLook() {
	f.synced = true
	select {
	case <-f.looked:
	default:
		close(f.looked)
	}
	f.firstTill, f.first = time.Now().Add(firstProbes), map[string]change{}
	for id := range f.members {
		f.changed[id] = true
	}
}

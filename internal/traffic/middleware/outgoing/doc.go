package outgoing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// usualLife is how long a document is used before it is fetched anew, where the server does not say it.
	usualLife = time.Hour
	// minLife and maxLife bound what servers say.
	minLife, maxLife = time.Minute, 24 * time.Hour
	// minRenewal is the time between fetches that clients can cause.
	minRenewal = 5 * time.Second
	// firstBackoff is the time after a failed fetch in which no other is tried; it doubles with each failure.
	firstBackoff, maxBackoff = time.Second, time.Minute
)

// Doc is a document of a server, such as a key set: fetched when it is first wanted, renewed beside the requests that use
// it, and kept as it last was while the server fails. All who wait for it share one fetch. Safe for concurrent use.
type Doc[T any] struct {
	asker *Asker
	q     Question
	parse func(*Answer) (T, error)
	log   *slog.Logger

	ctx    context.Context // of the fetches
	cancel context.CancelFunc

	mu       sync.Mutex
	value    T
	have     bool
	stale    time.Time // when value is to be renewed
	tried    time.Time // when the last fetch ended
	failures int       // since the last success
	err      error     // of the last fetch
	flight   chan struct{}
	closed   bool
}

// NewDoc returns a document that q fetches and parse reads. Nothing is asked before Get.
func NewDoc[T any](a *Asker, q Question, log *slog.Logger, parse func(*Answer) (T, error)) *Doc[T] {
	d := &Doc[T]{asker: a, q: q, parse: parse, log: log}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Get returns the document. It waits only where there is none yet; while the server fails, the error comes at once.
func (d *Doc[T]) Get(ctx context.Context) (T, error) {
	d.mu.Lock()
	if d.have {
		defer d.mu.Unlock()
		if now := time.Now(); now.After(d.stale) && d.may(now) {
			d.fetch()
		}
		return d.value, nil
	}
	if d.flight == nil {
		if !d.may(time.Now()) {
			defer d.mu.Unlock()
			return d.value, d.err
		}
		d.fetch()
	}
	return d.wait(ctx)
}

// Renew is Get for somebody who misses something in the document: it is fetched anew first, unless that has been done only
// just now. Where the server fails, the document is what it was.
func (d *Doc[T]) Renew(ctx context.Context) (T, error) {
	d.mu.Lock()
	now := time.Now()
	if d.flight == nil {
		if !d.may(now) || d.have && now.Sub(d.tried) < minRenewal {
			defer d.mu.Unlock()
			return d.value, d.verdict()
		}
		d.fetch()
	}
	return d.wait(ctx)
}

// wait is called with mu held while a fetch is under way, and lets go of mu.
func (d *Doc[T]) wait(ctx context.Context) (T, error) {
	flight := d.flight
	d.mu.Unlock()
	var none T
	select {
	case <-flight:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.value, d.verdict()
}

// verdict is the error of whoever asks now.
func (d *Doc[T]) verdict() error {
	if d.have {
		return nil
	}
	return d.err
}

// may reports whether a fetch may begin.
func (d *Doc[T]) may(now time.Time) bool {
	if d.closed {
		if d.err == nil {
			d.err = errors.New("the document is not kept any more")
		}
		return false
	}
	if d.flight != nil {
		return false
	}
	return d.failures == 0 || now.Sub(d.tried) >= min(firstBackoff<<min(d.failures-1, 10), maxBackoff)
}

// fetch begins a fetch; mu is held.
func (d *Doc[T]) fetch() {
	flight := make(chan struct{})
	d.flight = flight
	go func() {
		value, life, err := d.ask()
		d.mu.Lock()
		defer d.mu.Unlock()
		defer close(flight)
		d.flight, d.tried, d.err = nil, time.Now(), err
		if err != nil {
			d.failures++
			if d.log != nil && d.ctx.Err() == nil && d.failures&(d.failures-1) == 0 { // the 1st, 2nd, 4th, 8th ...
				d.log.Error("A document could not be fetched", "url", Shown(d.q.URL), "failures", d.failures, "kept", d.have, "error", err)
			}
			return
		}
		if d.failures > 0 && d.log != nil {
			d.log.Info("A document could be fetched again", "url", Shown(d.q.URL))
		}
		d.value, d.have, d.failures, d.stale = value, true, 0, d.tried.Add(life)
	}()
}

func (d *Doc[T]) ask() (value T, life time.Duration, err error) {
	defer func() {
		// Nobody but this goroutine could catch it.
		if p := recover(); p != nil {
			err = fmt.Errorf("reading %s: %v", Shown(d.q.URL), p)
		}
	}()
	answer, err := d.asker.Ask(d.ctx, d.q)
	if err != nil {
		return value, 0, err
	}
	if answer.Status != http.StatusOK {
		return value, 0, fmt.Errorf("asking %s: the server answered %d", Shown(d.q.URL), answer.Status)
	}
	if value, err = d.parse(answer); err != nil {
		return value, 0, fmt.Errorf("reading %s: %w", Shown(d.q.URL), err)
	}
	return value, lifeOf(answer.Header), nil
}

// lifeOf is how long an answer may be used (RFC 9111 section 4.2.1), within our bounds.
func lifeOf(h http.Header) time.Duration {
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return minLife
			case "max-age":
				if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
					return min(max(time.Duration(n)*time.Second, minLife), maxLife)
				}
			}
		}
	}
	return usualLife
}

// Close ends a fetch under way and allows no other, for State. What was fetched stays for requests that still use it.
func (d *Doc[T]) Close() {
	d.cancel()
	d.mu.Lock()
	d.closed = true
	flight := d.flight
	d.mu.Unlock()
	if flight != nil {
		<-flight
	}
}

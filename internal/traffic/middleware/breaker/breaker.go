// Package breaker stops asking a service that fails, until it has had time to recover. The middleware's key is
// circuitBreaker.
//
// An expression over the answers of the last seconds says what failing is. While it holds the breaker is tripped and answers
// by itself; after a time it recovers, letting through a growing share of the requests up to one half; then it is on
// standby, and everything passes. Latency is measured to the head of a response, so that clients who read slowly, or streams
// that are meant to last, cannot trip a breaker.
package breaker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/predicate"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of circuitBreaker.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "circuitBreaker", Check: check, Build: build}
}

// functions are what expressions may ask a window.
var functions = []predicate.Func[*window]{
	{Name: "NetworkErrorRatio", Result: predicate.Float, Call: func(w *window, _ []predicate.Value) predicate.Value {
		return predicate.Value{Float: w.networkErrors()}
	}},
	{Name: "ResponseCodeRatio", Params: []predicate.Type{predicate.Int, predicate.Int, predicate.Int, predicate.Int}, Result: predicate.Float,
		Call: func(w *window, a []predicate.Value) predicate.Value {
			return predicate.Value{Float: w.codeRatio(a[0].Int, a[1].Int, a[2].Int, a[3].Int)}
		}},
	{Name: "LatencyAtQuantileMS", Params: []predicate.Type{predicate.Float}, Result: predicate.Int,
		Check: func(a []predicate.Value) error {
			if a[0].Float > 100 {
				return errors.New("a quantile is at most 100.0")
			}
			return nil
		},
		Call: func(w *window, a []predicate.Value) predicate.Value {
			return predicate.Value{Int: w.quantile(a[0].Float).Milliseconds()}
		}},
	{Name: "RequestThreshold", Result: predicate.Int, Call: func(w *window, _ []predicate.Value) predicate.Value {
		return predicate.Value{Int: int64(w.total())}
	}},
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.CircuitBreaker
	if o.Expression == "" {
		l.Add(middleware.Bad("circuitBreaker.expression", "an expression must be given", "write it like NetworkErrorRatio() > 0.30"))
	} else if _, err := predicate.Parse(o.Expression, functions); err != nil {
		l.Add(middleware.Bad("circuitBreaker.expression", err.Error(), "write it like NetworkErrorRatio() > 0.30"))
	}
	for _, d := range []struct {
		name string
		d    dynamic.Duration
	}{{"checkPeriod", o.CheckPeriod}, {"fallbackDuration", o.FallbackDuration}, {"recoveryDuration", o.RecoveryDuration}} {
		if d.d < 0 {
			l.Add(middleware.Bad("circuitBreaker."+d.name, "a time cannot be less than zero", ""))
		}
	}
	if !middleware.KnownStatus(o.ResponseCode) {
		l.Add(middleware.Bad("circuitBreaker.responseCode", fmt.Sprintf("%d is no status code of an answer", o.ResponseCode), "the usual one is 503"))
	}
	return l
}

// state is where a breaker is.
type state int32

const (
	standby state = iota
	tripped
	recovering
)

// String returns the name for the log.
func (s state) String() string { return [...]string{"standby", "tripped", "recovering"}[s] }

// circuit is what a breaker knows; it lives on while its options do. Safe for concurrent use.
type circuit struct {
	trips                      predicate.Test[*window]
	period, fallback, recovery time.Duration
	born                       time.Time
	now                        atomic.Int32 // state, for the usual case without the lock
	mu                         sync.Mutex
	window                     *window
	until                      time.Duration // end of the state
	checked                    time.Duration
	began                      time.Duration // of recovering
	allowed, denied            uint64        // while recovering
	log                        *slog.Logger
	name                       string
}

// breaker is one instance.
type breaker struct {
	circuit *circuit
	open    *fault.Fault // shared by all answers, never changed
	next    httpmsg.Handler
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.CircuitBreaker
	trips, err := predicate.Parse(o.Expression, functions)
	if err != nil {
		return nil, fmt.Errorf("circuitBreaker.expression: %w", err)
	}
	make := func() any {
		return &circuit{trips: trips, period: o.CheckPeriod.Std(), fallback: o.FallbackDuration.Std(), recovery: o.RecoveryDuration.Std(),
			born: time.Now(), window: newWindow(strings.Contains(o.Expression, "ResponseCodeRatio"), strings.Contains(o.Expression, "LatencyAtQuantileMS")), log: env.Log, name: env.Name}
	}
	b := &breaker{next: next}
	if env.State == nil {
		b.circuit = make().(*circuit)
	} else {
		key := fmt.Sprintf("circuitBreaker\x00%s\x00%s\x00%s\x00%d\x00%d\x00%d", env.Router, env.Name, o.Expression, o.CheckPeriod, o.FallbackDuration, o.RecoveryDuration)
		b.circuit = env.State.Keep(key, make).(*circuit)
	}
	b.open = fault.New(fault.BreakerOpen, "the circuit breaker is open", nil)
	b.open.StatusCode = o.ResponseCode
	b.open.Body = http.StatusText(o.ResponseCode)
	return b, nil
}

// Serve implements httpmsg.Handler.
func (b *breaker) Serve(x *httpmsg.Exchange) error {
	c := b.circuit
	if c.state() != standby && !c.admits() {
		return b.open
	}
	began := time.Now()
	err := b.next.Serve(x)
	status := x.Res.Status
	if err != nil {
		status = fault.Status(err)
	}
	c.answered(status, time.Since(began))
	return err
}

// admits decides about a request while the breaker is not on standby.
func (c *circuit) admits() bool {
	c.mu.Lock()
	before := c.state()
	pass := c.admit(time.Since(c.born))
	after := c.state()
	c.mu.Unlock()
	c.report(before, after)
	return pass
}

func (c *circuit) admit(now time.Duration) bool {
	switch c.state() {
	case tripped:
		if now < c.until {
			return false
		}
		c.enter(recovering, now)
	case recovering:
		if now >= c.until {
			c.enter(standby, now)
			return true
		}
	case standby:
		return true
	}
	// The share that passes grows from nothing to one half.
	share := 0.5
	if c.recovery > 0 {
		share *= float64(now-c.began) / float64(c.recovery)
	}
	if float64(c.allowed+1) < share*float64(c.allowed+c.denied+1) {
		c.allowed++
		return true
	}
	c.denied++
	return false
}

// answered counts an answer and asks the expression, if it was not asked lately.
func (c *circuit) answered(status int, took time.Duration) {
	c.mu.Lock()
	before := c.state()
	c.answer(time.Since(c.born), status, took)
	after := c.state()
	c.mu.Unlock()
	c.report(before, after)
}

func (c *circuit) answer(now time.Duration, status int, took time.Duration) {
	switch c.state() {
	case tripped:
		return // the answer to a request from before says nothing new
	case recovering:
		if now >= c.until {
			c.enter(standby, now)
		}
	}
	c.window.record(now, status, took)
	if now < c.checked {
		return
	}
	c.checked = now + c.period
	if c.trips(c.window) {
		c.enter(tripped, now)
	}
}

func (c *circuit) state() state { return state(c.now.Load()) }

// enter changes the state at time now.
func (c *circuit) enter(s state, now time.Duration) {
	switch s {
	case tripped:
		c.until = now + c.fallback
		c.window.clear()
	case recovering:
		c.until, c.began, c.allowed, c.denied = now+c.recovery, now, 0, 0
	}
	c.now.Store(int32(s))
}

// report logs a change of state.
func (c *circuit) report(before, after state) {
	switch {
	case before == after || c.log == nil:
	case after == tripped:
		c.log.Warn("the circuit breaker is tripped", "middleware", c.name, "was", before.String())
	default:
		c.log.Info("the circuit breaker changed its state", "middleware", c.name, "state", after.String())
	}
}

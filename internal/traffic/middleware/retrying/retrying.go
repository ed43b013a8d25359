// Package retrying sends requests again that failed: where the fault says that nothing is lost by it, and, if asked to, after
// answers with certain codes. The first retry of a request is free; later ones take from a budget, so that an outage is not
// made worse by many times its load.
package retrying

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/traffic/middleware/statuses"
	"sluice/internal/traffic/upstream"
	"sluice/internal/wire/httpmsg"
)

const (
	// defaultBody is kept for tries after a listed status where no other amount is configured.
	defaultBody = 2 << 20
	// longest is the time after which no new try begins, whatever is configured.
	longest = 15 * time.Minute
	// spread is the jitter of waits, as a share of them to either side.
	spread = 0.5
)

// Kind is the row of retry.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "retry", Check: check, Build: build}
}

type retrier struct {
	attempts int
	initial  time.Duration
	factor   float64
	timeout  time.Duration // never zero
	body     int64         // kept for tries after a listed status; less than zero is unlimited
	statuses statuses.Set
	network  bool // retry by the verdict of faults
	unsafe   bool // also methods that are not idempotent, after a listed status
	budget   *budget
	memory   *httpmsg.Budget // of kept bodies
	random   func() float64  // [0,1)
	next     httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.Retry
	if o.Attempts <= 0 {
		l.Add(middleware.Bad("retry.attempts", fmt.Sprintf("%d is not more than zero", o.Attempts), "it counts all tries, so 2 means one retry"))
	}
	if o.Attempts == 1 {
		l.Add(middleware.Odd("retry.attempts", "with one attempt nothing is sent again", "it counts all tries, so 2 means one retry"))
	}
	if o.InitialInterval < 0 {
		l.Add(middleware.Bad("retry.initialInterval", "a wait cannot be less than zero", ""))
	}
	if o.Timeout < 0 {
		l.Add(middleware.Bad("retry.timeout", "a timeout cannot be less than zero", "zero means none"))
	}
	if n := o.MaxRequestBodyBytes; n != nil && *n < -1 {
		l.Add(middleware.Bad("retry.maxRequestBodyBytes", fmt.Sprintf("%d is less than -1", *n), "-1 means unlimited"))
	}
	if _, at, err := statuses.Parse(o.Status); err != nil {
		l.Add(middleware.Bad("retry.status["+strconv.Itoa(at)+"]", err.Error(), ""))
	}
	if o.DisableRetryOnNetworkError && len(o.Status) == 0 {
		l.Add(middleware.Bad("retry.disableRetryOnNetworkError", "without a status there is nothing left to retry", "give status, or leave this option out"))
	}
	return l
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.Retry
	if o.Attempts == 1 {
		return next, nil
	}
	r := &retrier{
		attempts: o.Attempts, initial: o.InitialInterval.Std(), factor: math.Pow(2, 1/float64(o.Attempts-1)), timeout: longest,
		body: defaultBody, network: !o.DisableRetryOnNetworkError, unsafe: o.RetryNonIdempotentMethod, random: rand.Float64, next: next,
	}
	if d := o.Timeout.Std(); d > 0 {
		r.timeout = min(d, longest)
	}
	if o.MaxRequestBodyBytes != nil {
		r.body = *o.MaxRequestBodyBytes
	}
	r.statuses, _, _ = statuses.Parse(o.Status)
	r.memory = env.Budget
	r.budget = newBudget()
	if env.State != nil {
		// The options do not matter to what was saved up.
		r.budget = env.State.Keep("retry\x00"+env.Router+"\x00"+env.Name, func() any { return newBudget() }).(*budget)
	}
	return r, nil
}

// Serve implements httpmsg.Handler.
func (r *retrier) Serve(x *httpmsg.Exchange) error {
	byStatus := len(r.statuses) > 0 && (r.unsafe || repeatable(x.Req.Method))
	var body *spool.Body
	if byStatus && x.Req.Body != nil {
		var err error
		if body, byStatus, err = r.keep(x); err != nil {
			return err
		}
	}
	return r.run(x, body, byStatus)
}

// repeatable reports whether a request may be sent again after a server has answered. The reference names the methods that
// may not, so unknown ones may.
func repeatable(method httpmsg.View) bool {
	switch string(method) {
	case "POST", "PATCH", "LOCK":
		return false
	}
	return true
}

// keep reads the request's body ahead if it is short enough, so that it can be sent again. ok is false where it is not.
func (r *retrier) keep(x *httpmsg.Exchange) (body *spool.Body, ok bool, err error) {
	req := &x.Req
	if r.body >= 0 && req.ContentLength > r.body || spool.IsStream(req) {
		return nil, false, nil
	}
	memory := int64(defaultBody)
	if r.body >= 0 && r.body < memory {
		memory = r.body
	}
	body, ok, err = spool.Read(req.Body, req.ContentLength, spool.Limits{Memory: memory, Max: r.body, Budget: r.memory})
	if err != nil {
		return nil, false, err
	}
	x.OnFinish(body)
	if !ok {
		req.Body = body // goes on with what was not read ahead
		return nil, false, nil
	}
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	return body, true, nil
}

// run tries until an answer stands. byStatus allows tries after listed codes.
func (r *retrier) run(x *httpmsg.Exchange, body *spool.Body, byStatus bool) error {
	if byStatus {
		defer x.HoldInterim()() // 1xx ahead of an answer that may be thrown away
	}
	r.budget.asked()
	mark, before := x.Mark(), x.Req.Body
	var began time.Time
	if r.timeout < longest || r.initial > 0 {
		began = time.Now()
	}
	wait := r.initial
	for try := 1; ; try++ {
		err := r.next.Serve(x)
		if try >= r.attempts || !r.again(x, err, byStatus, body != nil || upstream.Untouched(x, before)) {
			return err
		}
		if began.IsZero() {
			began = time.Now() // nothing shorter than longest depends on it
		}
		pause := r.jitter(wait)
		if time.Since(began)+pause > r.timeout || try > 1 && !r.budget.take() {
			return err
		}
		x.Rewind(&mark)
		if body != nil {
			body.Rewind()
		}
		if cause := x.Sleep(pause); cause != nil {
			return fault.New(fault.ClientGone, "retry: waiting for another try", cause)
		}
		x.Facts.Retries++
		x.Facts.Err = nil // of the try that does not count
		wait = time.Duration(float64(wait) * r.factor)
	}
}

// again reports whether the outcome of a try calls for another one. whole tells that the body can be sent again: a server
// that was not reached has not got anything, but a middleware on the way there may have read all of it.
func (r *retrier) again(x *httpmsg.Exchange, err error, byStatus, whole bool) bool {
	if !whole || x.Upgrade != nil || x.Cancelled() != nil {
		return false
	}
	status := x.Res.Status
	if err != nil {
		f := fault.Of(err)
		if f.Kind.Side() == fault.Client {
			return false
		}
		if r.network && upstream.Repeatable(x, f) {
			return true
		}
		status = f.Status()
	}
	return byStatus && r.statuses.Has(status)
}

func (r *retrier) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(float64(d) * (1 - spread + 2*spread*r.random()))
}

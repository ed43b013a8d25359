// Package buffering reads whole requests before they are forwarded and whole responses before they are sent: servers never
// wait for slow clients nor the other way round, sizes are known and bounded, and requests can be sent again.
//
// What does not fit into the memory allowed for it goes to a temporary file. Streams such as events or gRPC calls come as a
// whole or not at all; upgrades pass.
package buffering

import (
	"errors"
	"fmt"
	"net/http"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/predicate"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// maxAttempts is how often a request is sent at most, whatever the expression says.
const maxAttempts = 10

// Kind is the row of buffering.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "buffering", Check: check, Build: build}
}

type buffer struct {
	request, response spool.Limits
	again             predicate.Test[attempt] // nil: never
	next              httpmsg.Handler
}

// attempt is what a retryExpression looks at.
type attempt struct {
	number int
	status int
	method string
}

var functions = []predicate.Func[attempt]{
	{Name: "Attempts", Result: predicate.Int, Call: func(a attempt, _ []predicate.Value) predicate.Value {
		return predicate.Value{Int: int64(a.number)}
	}},
	{Name: "ResponseCode", Result: predicate.Int, Call: func(a attempt, _ []predicate.Value) predicate.Value {
		return predicate.Value{Int: int64(a.status)}
	}},
	{Name: "IsNetworkError", Result: predicate.Bool, Call: func(a attempt, _ []predicate.Value) predicate.Value {
		return predicate.Value{Bool: a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout}
	}},
	{Name: "RequestMethod", Result: predicate.String, Call: func(a attempt, _ []predicate.Value) predicate.Value {
		return predicate.Value{String: a.method}
	}},
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.Buffering
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"maxRequestBodyBytes", o.MaxRequestBodyBytes}, {"memRequestBodyBytes", o.MemRequestBodyBytes},
		{"maxResponseBodyBytes", o.MaxResponseBodyBytes}, {"memResponseBodyBytes", o.MemResponseBodyBytes},
	} {
		if n.value < 0 {
			l.Add(middleware.Bad("buffering."+n.name, fmt.Sprintf("%d is less than zero", n.value), "zero means unlimited, or the default amount of memory"))
		}
	}
	if o.RetryExpression != "" {
		if _, err := predicate.Parse(o.RetryExpression, functions); err != nil {
			l.Add(middleware.Bad("buffering.retryExpression", err.Error(), "write it like IsNetworkError() && Attempts() < 3"))
		}
	}
	return l
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	o := c.Buffering
	b := &buffer{
		request:  spool.Limits{Memory: o.MemRequestBodyBytes, Max: unlimited(o.MaxRequestBodyBytes), Budget: env.Budget},
		response: spool.Limits{Memory: o.MemResponseBodyBytes, Max: unlimited(o.MaxResponseBodyBytes), Budget: env.Budget},
		next:     next,
	}
	if o.RetryExpression != "" {
		var err error
		if b.again, err = predicate.Parse(o.RetryExpression, functions); err != nil {
			return nil, fmt.Errorf("retryExpression: %w", err)
		}
	}
	return b, nil
}

func unlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// Serve implements httpmsg.Handler.
func (b *buffer) Serve(x *httpmsg.Exchange) error {
	if len(x.Req.UpgradeTo) > 0 {
		return b.next.Serve(x)
	}
	body, err := b.readRequest(x)
	if err != nil {
		return err
	}
	release := x.HoldInterim() // 1xx ahead of a response that may be replaced say nothing
	defer release()
	if b.again == nil {
		return b.try(x, nil)
	}
	mark := x.Mark()
	for n := 1; ; n++ {
		var again func(status int) bool
		if n < maxAttempts {
			again = func(status int) bool {
				return x.Cancelled() == nil && b.again(attempt{number: n, status: status, method: string(x.Req.Method)})
			}
		}
		if err = b.try(x, again); !errors.Is(err, errAgain) {
			return err
		}
		x.Rewind(&mark)
		if body != nil {
			body.Rewind()
		}
		x.Facts.Retries++
		x.Facts.Err = nil // of the try that does not count
	}
}

// readRequest puts the whole body of the request on x. It returns what must be rewound before it is sent again.
func (b *buffer) readRequest(x *httpmsg.Exchange) (*spool.Body, error) {
	req := &x.Req
	if req.Body == nil {
		return nil, nil
	}
	if b.request.Max >= 0 && req.ContentLength > b.request.Max {
		return nil, fault.New(fault.BodyTooLarge, "buffering: the request says it is larger than maxRequestBodyBytes", nil)
	}
	body, whole, err := spool.Read(req.Body, req.ContentLength, b.request)
	if err != nil {
		return nil, err
	}
	x.OnFinish(body)
	if !whole {
		return nil, fault.New(fault.BodyTooLarge, "buffering: the request is larger than maxRequestBodyBytes", nil)
	}
	// Whoever waited for 100 (Continue) has got it when the body was read.
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	return body, nil
}

// errAgain tells that the expression wants another attempt.
var errAgain = errors.New("the request is to be sent again")

// try sends the request and reads the response, unless again says that its status calls for another attempt.
func (b *buffer) try(x *httpmsg.Exchange, again func(status int) bool) error {
	err := b.next.Serve(x)
	if err == nil && x.Upgrade != nil {
		return nil
	}
	status := x.Res.Status
	if err != nil {
		status = fault.Status(err)
	}
	if again != nil && again(status) {
		return errAgain
	}
	if err != nil {
		return err
	}
	if err = b.readResponse(x); err == nil {
		return nil
	}
	f := fault.Of(err)
	if f.Kind == fault.UpstreamCut {
		// Nothing of it has been sent, so there is no need to cut our answer as well.
		f = fault.New(fault.UpstreamClosed, "buffering: the response broke off", err)
	}
	if again != nil && f.Kind.Side() == fault.Upstream && again(f.Status()) {
		return errAgain
	}
	return f
}

// readResponse puts the whole body of the response on x.
func (b *buffer) readResponse(x *httpmsg.Exchange) error {
	res := &x.Res
	if res.Body == nil || x.Bodiless() {
		return nil
	}
	if b.response.Max >= 0 && res.ContentLength > b.response.Max {
		return fault.New(fault.Internal, "buffering: the response says it is larger than maxResponseBodyBytes", nil)
	}
	src := res.Body
	body, whole, err := spool.Read(src, res.ContentLength, b.response)
	if err != nil {
		return err
	}
	x.OnFinish(body)
	if !whole {
		return fault.New(fault.Internal, "buffering: the response is larger than maxResponseBodyBytes", nil)
	}
	src.Close()
	res.Body, res.ContentLength = body.Source(), body.Size()
	if body.HasTrailer() {
		res.ContentLength = -1 // with a length there is no room for trailers on HTTP/1
	}
	return nil
}

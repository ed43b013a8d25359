package forward

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/traffic/middleware/statuses"
	"sluice/internal/wire/httpmsg"
)

// Failover is a service with a second one behind it: for the time that the main one is down, for requests that it could
// not deliver and that may be repeated, and, if asked to, for those that it answered with listed statuses. Safe for
// concurrent use.
type Failover struct {
	main, fallback Child
	statuses       statuses.Set // nil: by health alone
	maxBody        int64        // kept for the fallback; less than zero is unlimited
}

// NewFailover builds a failover. The configuration must be valid.
func NewFailover(c *dynamic.Failover, main, fallback Child) *Failover {
	f := &Failover{main: main, fallback: fallback, maxBody: -1}
	if e := c.Errors; e != nil {
		f.statuses, _, _ = statuses.Parse(e.Status)
		if e.MaxRequestBodyBytes != nil {
			f.maxBody = *e.MaxRequestBodyBytes
		}
	}
	return f
}

// Publish does nothing: a failover has no state of its own.
func (f *Failover) Publish() {}

// Close does nothing: the children are closed by whoever built them.
func (f *Failover) Close() {}

// Up reports whether one of the two is up, for services that contain this one.
func (f *Failover) Up() bool { return f.main.up() || f.fallback.up() }

// Serve implements httpmsg.Handler.
func (f *Failover) Serve(x *httpmsg.Exchange) error {
	switch {
	case f.main.up():
	case f.fallback.up():
		return f.fallback.Handler.Serve(x)
	default:
		return fault.New(fault.NoServer, "neither the service of a failover nor its fallback is up", nil)
	}
	if len(f.statuses) > 0 && len(x.Req.UpgradeTo) == 0 && !spool.IsStream(&x.Req) {
		return f.byStatus(x)
	}
	mark, body := x.Mark(), x.Req.Body
	err := f.main.Handler.Serve(x)
	if err == nil || !elsewhere(x, fault.Of(err), body) || !f.fallback.up() {
		return err
	}
	x.Rewind(&mark)
	x.Facts.Retries++
	return f.fallback.Handler.Serve(x)
}

// byStatus asks the main service for an answer whose status is not listed, and then the fallback. The body is read ahead,
// so that both can have it, whatever the method: whoever lists statuses wants that.
func (f *Failover) byStatus(x *httpmsg.Exchange) error {
	body, err := f.keep(x)
	if err != nil {
		return err
	}
	mark := x.Mark()
	release := x.HoldInterim() // 1xx ahead of an answer that may be thrown away
	err = f.main.Handler.Serve(x)
	if !f.failed(x, err) {
		release()
		return err
	}
	x.Rewind(&mark) // releases as well
	if body != nil {
		body.Rewind()
	}
	x.Facts.Retries++
	x.Facts.Err = nil // of the answer that does not count
	return f.fallback.Handler.Serve(x)
}

// failed reports whether what the main service made of the request calls for the fallback.
func (f *Failover) failed(x *httpmsg.Exchange, err error) bool {
	if x.Upgrade != nil || x.Cancelled() != nil || !f.fallback.up() {
		return false
	}
	if err == nil {
		return f.statuses.Has(x.Res.Status)
	}
	why := fault.Of(err)
	return why.Kind.Side() != fault.Client && (f.statuses.Has(why.Status()) || why.Kind == fault.NoServer || why.Retry == fault.Always)
}

// keep reads the body of the request ahead.
func (f *Failover) keep(x *httpmsg.Exchange) (*spool.Body, error) {
	req := &x.Req
	if req.Body == nil {
		return nil, nil
	}
	tooLarge := func() error {
		return fault.New(fault.BodyTooLarge, "failover: the request is larger than errors.maxRequestBodyBytes", nil)
	}
	if f.maxBody >= 0 && req.ContentLength > f.maxBody {
		return nil, tooLarge()
	}
	body, whole, err := spool.Read(req.Body, req.ContentLength, spool.Limits{Max: f.maxBody})
	if err != nil {
		return nil, err
	}
	x.OnFinish(body)
	if !whole {
		return nil, tooLarge()
	}
	req.Body, req.ContentLength, req.Continue = body.Source(), body.Size(), false
	return body, nil
}

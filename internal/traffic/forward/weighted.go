package forward

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/balance"
	"sluice/internal/wire/httpmsg"
)

// Weighted is a service that spreads requests over other services: by weight, or by client (highestRandomWeight).
//
// Where it follows the health of its children, it passes over those that are down, and a request that one of them could not
// deliver goes to another, under the same conditions as between servers. Where it does not, each child gets its share
// whatever becomes of it: the split is the user's, and a new version that does not answer must not hide behind the
// old one. Safe for concurrent use.
type Weighted struct {
	live      *Live
	picker    balance.Picker
	sticky    *balance.Sticky // nil without
	follows   bool
	endpoints []*balance.Endpoint
}

// NewWeighted builds the weighted service called name (qualified). children are in the order of the configuration, which
// must be valid. It serves the children of earlier generations until Publish.
func NewWeighted(name string, c *dynamic.Weighted, children []Child, live *Live) *Weighted {
	w := newWeighted(dynamic.StrategyWRR, c.Services, children, c.HealthCheck != nil, live)
	if o := cookieOptions(c.Sticky); o != nil {
		w.sticky = balance.NewSticky(*o, name)
		w.sticky.Update(w.endpoints)
	}
	return w
}

// NewHighestRandomWeight builds a service that sends each client to a child by its address; see NewWeighted.
func NewHighestRandomWeight(c *dynamic.HighestRandomWeight, children []Child, live *Live) *Weighted {
	return newWeighted(dynamic.StrategyHRW, c.Services, children, c.HealthCheck != nil, live)
}

func newWeighted(strategy string, options []*dynamic.WeightedChild, children []Child, follows bool, live *Live) *Weighted {
	w := &Weighted{live: live, picker: live.pickerFor(strategy), follows: follows}
	for i, c := range children {
		e := &balance.Endpoint{Key: c.Name, Weight: options[i].Share(), State: new(balance.State), Target: c.Handler}
		if follows {
			e.Child = c.Health
		}
		if e.Weight > 0 {
			w.endpoints = append(w.endpoints, e)
		}
	}
	return w
}

// Publish makes this generation's children the ones that are chosen from now on.
func (w *Weighted) Publish() { w.picker.Update(w.endpoints) }

// Close does nothing: the children are closed by whoever built them.
func (w *Weighted) Close() {}

// Up reports whether any child is up, for services that contain this one.
func (w *Weighted) Up() bool {
	for _, e := range w.endpoints {
		if e.Up() {
			return true
		}
	}
	return false
}

// Serve implements httpmsg.Handler.
func (w *Weighted) Serve(x *httpmsg.Exchange) error {
	e, stick := choose(w.sticky, w.picker, x)
	if e == nil {
		return noServer(0)
	}
	if !w.follows {
		return w.ask(x, e, stick)
	}
	w.live.budget.asked()
	mark, body := x.Mark(), x.Req.Body
	err := w.ask(x, e, stick)
	if err == nil {
		return nil
	}
	return w.retry(x, &mark, body, e, err)
}

// ask lets one child answer. The cookie is set on whatever comes of it, errors included.
func (w *Weighted) ask(x *httpmsg.Exchange, e *balance.Endpoint, stick bool) error {
	if stick && w.sticky != nil {
		w.sticky.Stick(x, e)
	}
	return e.Target.(httpmsg.Handler).Serve(x)
}

// retry asks other children after e failed with err.
func (w *Weighted) retry(x *httpmsg.Exchange, mark *httpmsg.Mark, body httpmsg.Body, e *balance.Endpoint, err error) error {
	var tried balance.Tried
	for {
		if !elsewhere(x, fault.Of(err), body) {
			return err
		}
		tried.Add(e)
		// The first retry is free; later ones must not make an outage worse.
		if tried.Len() > 1 && !w.live.budget.take() {
			return err
		}
		next := w.picker.Pick(x.Peer.Addr(), &tried)
		if next == nil {
			return err
		}
		e = next
		x.Rewind(mark)
		x.Facts.Retries++
		if err = w.ask(x, e, true); err == nil {
			return nil
		}
	}
}

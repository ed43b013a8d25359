package httpmsg

import "io"

// Filter changes a response body on its way out. Filters are called in the order innermost (nearest the server) first.
type Filter interface {
	// Head is called once, after the response edits and when the filters further in have settled the head. It may change
	// x.Res.Header and x.Res.ContentLength. Returning hold=true keeps the head back until the filter has emitted its first
	// bytes or its End has returned, and until then it may go on changing the head. Where the response has no body by rule
	// (HEAD, 204, 304) Head is the only call besides Close, and hold counts for nothing.
	Head(x *Exchange) (hold bool)
	// Data takes body bytes, good until it returns, and emits what it has ready through out. flush asks that nothing be
	// kept back that could go; p may be empty then.
	Data(p []byte, flush bool, out func([]byte) error) error
	// End is called once at a regular end of the body.
	End(out func([]byte) error) error
	// Close frees what the filter holds, also when the body broke off. It is called once.
	Close()
}

// Outlet is the client's side of a protocol loop: what Deliver writes a response to. Its errors are returned by Deliver as
// they are.
type Outlet interface {
	// Head is called once, first, with x.Res as it shall be sent. bodiless tells that no body may follow by rule.
	Head(x *Exchange, bodiless bool) error
	// Body takes body bytes, good until it returns. It may keep them back until Flush or End.
	Body(p []byte) error
	// Flush sends everything that was taken.
	Flush() error
	// End ends the message regularly; trailer is nil where there is none.
	End(trailer *Header) error
}

// AddFilter registers a body filter. Call it on the way back, after next has returned, so that the order of filters is
// the order of the chain from the inside out.
func (x *Exchange) AddFilter(f Filter) { x.filters = append(x.filters, f) }

// Filters returns the registered filters, innermost first.
func (x *Exchange) Filters() []Filter { return x.filters }

// CloseFilters gives up the filters: for an answer of our own in place of a response that broke in them.
func (x *Exchange) CloseFilters() {
	for n := len(x.filters); n > 0; n = len(x.filters) {
		f := x.filters[n-1]
		x.filters[n-1] = nil
		x.filters = x.filters[:n-1]
		f.Close()
	}
}

// Bodiless reports whether the response can have no body whatever its header says (RFC 9110 section 6.4.1).
func (x *Exchange) Bodiless() bool {
	s := x.Res.Status
	return s == 204 || s == 304 || s < 200 || x.Req.Method.Is("HEAD")
}

// Deliver runs the response edits and moves the response that stands on the exchange through the filters to o. It returns
// the error of the body source, a filter or o that ended it early; whether the head had gone by then is known to o. It
// sets Facts.BytesOut, OriginBytes and GRPCStatus.
func (x *Exchange) Deliver(o Outlet) error {
	x.RunEdits()
	if x.Bodiless() {
		for _, f := range x.filters {
			f.Head(x)
		}
		if err := o.Head(x, true); err != nil {
			return err
		}
		return o.End(nil)
	}
	if len(x.filters) == 0 {
		return x.deliverPlain(o)
	}
	return x.out.run(x, o)
}

// deliverPlain is Deliver without filters, the usual case.
func (x *Exchange) deliverPlain(o Outlet) error {
	if err := o.Head(x, false); err != nil {
		return err
	}
	body := x.Res.Body
	if body == nil {
		return o.End(nil)
	}
	for {
		if !body.Ready() {
			if err := o.Flush(); err != nil {
				return err
			}
		}
		p, err := body.Next()
		if err == io.EOF {
			trailer := body.Trailer()
			x.noteTrailer(trailer)
			return o.End(trailer)
		}
		if err != nil {
			return err
		}
		x.Facts.OriginBytes += int64(len(p))
		x.Facts.BytesOut += int64(len(p))
		if err := o.Body(p); err != nil {
			return err
		}
	}
}

// noteTrailer keeps what logs and metrics want of a trailer, which may be gone by the time that they look.
func (x *Exchange) noteTrailer(trailer *Header) {
	if trailer != nil {
		x.Facts.GRPCStatus = trailer.Lookup("Grpc-Status").String()
	}
}

// delivery is a response moving through filters. Stage i is the entrance of filter i; stage len(filters) is the outlet.
type delivery struct {
	x       *Exchange
	o       Outlet
	filters []Filter
	inside  bool // the outlet is not the client: its bytes do not count
	settled int  // stages below have had their Head called
	outs    []func([]byte) error
}

// begin starts a response whose body moves through filters to o.
func (d *delivery) begin(x *Exchange, filters []Filter, o Outlet) {
	d.x, d.o, d.filters, d.settled = x, o, filters, 0
	for len(d.outs) < len(filters) {
		// Made once and kept by the exchange, so that filtered responses cost no closure each.
		next := len(d.outs) + 1
		d.outs = append(d.outs, func(p []byte) error { return d.emit(next, p) })
	}
}

func (d *delivery) run(x *Exchange, o Outlet) error {
	d.begin(x, x.filters, o)
	defer func() { d.x, d.o, d.filters = nil, nil, nil }()
	if err := d.settle(0); err != nil {
		return err
	}
	body := x.Res.Body
	for body != nil {
		if d.whole() && !body.Ready() {
			if err := o.Flush(); err != nil {
				return err
			}
		}
		if err := d.step(body); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	if body == nil {
		return o.End(nil)
	}
	trailer := body.Trailer()
	x.noteTrailer(trailer)
	return o.End(trailer)
}

// whole reports whether the outlet has its head.
func (d *delivery) whole() bool { return d.settled > len(d.filters) }

// step moves the next bytes of body. At its end it returns io.EOF.
func (d *delivery) step(body Body) error {
	p, err := body.Next()
	if err != nil {
		return err
	}
	d.x.Facts.OriginBytes += int64(len(p))
	flush := !body.Ready()
	if err := d.filters[0].Data(p, flush, d.outs[0]); err != nil {
		return err
	}
	for i := 1; flush && i < len(d.filters) && d.settled > i; i++ {
		if err := d.filters[i].Data(nil, true, d.outs[i]); err != nil {
			return err
		}
	}
	return nil
}

// end takes what the filters have left, behind the body.
func (d *delivery) end() error {
	for i, f := range d.filters {
		if err := d.reach(i); err != nil {
			return err
		}
		if err := f.End(d.outs[i]); err != nil {
			return err
		}
	}
	return d.reach(len(d.filters))
}

// reach makes sure that stage i has had its Head called.
func (d *delivery) reach(i int) error {
	if d.settled > i {
		return nil
	}
	return d.settle(i)
}

// settle calls Head of stage i and of the ones behind it until one holds.
func (d *delivery) settle(i int) error {
	for ; i < len(d.filters); i++ {
		d.settled = i + 1
		if d.filters[i].Head(d.x) {
			return nil
		}
	}
	d.settled = i + 1
	return d.o.Head(d.x, false)
}

// emit takes the bytes that filter i-1 has ready.
func (d *delivery) emit(i int, p []byte) error {
	if err := d.reach(i); err != nil {
		return err
	}
	if len(p) == 0 {
		return nil
	}
	if i < len(d.filters) {
		return d.filters[i].Data(p, false, d.outs[i])
	}
	if !d.inside {
		d.x.Facts.BytesOut += int64(len(p))
	}
	return d.o.Body(p)
}

package entrypoint

import (
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// Layer is the handler behind the middlewares of a router that has others below it: it finds the one whose rule matches the
// request as those middlewares have left it. What belongs to connections (TLS options, denied percent codes) has been judged
// when the request came in. It is immutable.
type Layer struct{ HTTPRoutes }

// Serve implements httpmsg.Handler. Where no router matches, the answer is 404 from within the chain of the router above.
func (r *Layer) Serve(x *httpmsg.Exchange) error {
	l := lookups.Get().(*lookup)
	err := l.describe(x)
	at, ok := 0, false
	if err == nil {
		at, ok = r.Table.Lookup(&l.req)
	}
	l.release()
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.NoRouter, "no router below "+x.Facts.Router+" matches", nil)
	}
	x.Facts.Router = r.Routers[at].Name
	return r.Routers[at].Handler.Serve(x)
}

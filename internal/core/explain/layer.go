package explain

import (
	"slices"
	"strings"

	"sluice/internal/core/plan"
	"sluice/internal/core/route"
)

// below follows a request from a router to those below it, as the middlewares of the router have left it.
func (a *asking) below(w *Way, ep *plan.EntryPoint, r *plan.Router, req *route.Request, passed *walk) {
	next := *req
	next.Path, next.Header = []byte(passed.path), passed.fields
	var asked []Candidate
	for _, v := range r.Table.Explain(&next) {
		child := r.Children[v.Entry]
		c := candidate(child.Name, child.Priority, child.Rule, v)
		c.Below = r.Name.String()
		asked = append(asked, c)
	}
	w.Candidates = append(w.Candidates, asked...)
	at, ok := r.Table.Lookup(&next)
	if !ok {
		w.Status = 404
		w.Cause = "404: the router " + quoted(r.Name.String()) + " takes the request, and none of the routers below it matches"
		if len(asked) > 0 {
			w.Cause += "; " + nearest(asked[0])
		}
		return
	}
	w.Router.Above = append(w.Router.Above, r.Name.String())
	steps := w.Router.Middlewares
	a.serve(w, ep, r.Children[at], &next)
	w.Router.Middlewares = slices.Concat(steps, w.Router.Middlewares)
}

// changedFields are the fields of a request after a middleware has set some of them; an empty value deletes one.
type changedFields struct {
	route.Fields
	set map[string]string
}

// HeaderValue implements route.Fields.
func (f changedFields) HeaderValue(name string, i int) ([]byte, bool) {
	for set, value := range f.set {
		if strings.EqualFold(set, name) {
			return []byte(value), value != "" && i == 0
		}
	}
	return f.Fields.HeaderValue(name, i)
}

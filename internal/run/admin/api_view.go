package admin

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
)

// view is one plan as the API shows it, for one request.
type view struct {
	p        *plan.Plan
	refused  diag.List
	state    State
	verdicts map[*plan.Node]verdict
}

// verdict is what became of an element, in the end.
type verdict struct {
	status   plan.Status
	findings diag.List
}

func newView(p *plan.Plan, refused diag.List, state State) *view {
	return &view{p: p, refused: refused, state: state, verdicts: map[*plan.Node]verdict{}}
}

// planned is what the plan says about an element.
func (v *view) planned(n *plan.Node) verdict {
	status, findings := v.p.About(n)
	return verdict{status, slices.Clip(findings)}
}

// judge joins what the plan says about an element with what could not be built of it, and of what it needs.
func (v *view) judge(n *plan.Node, needs ...dependency) verdict {
	if out, ok := v.verdicts[n]; ok {
		return out
	}
	out := v.planned(n)
	v.verdicts[n] = out // a service may come back to itself by a middleware for error pages
	source := n.Place().Source
	for _, f := range v.refused {
		rest, mine := strings.CutPrefix(f.Key, n.Key())
		if !mine || rest != "" && rest[0] != '.' && rest[0] != '[' || f.Place.Source != source {
			continue
		}
		if !slices.Contains(out.findings, f) {
			out.findings.Add(f)
		}
		switch {
		case f.Severity == diag.Error:
			out.status = plan.Disabled
		case f.Severity == diag.Warning:
			out.status = max(out.status, plan.Warning)
		}
	}
	for _, need := range needs {
		if need.status != plan.Disabled || need.node.Status == plan.Disabled {
			continue // the plan has said so already
		}
		out.status = plan.Disabled
		out.findings.Add(diag.Finding{Place: n.Place(), Severity: diag.Error, Key: n.Key(), Code: plan.CodeBrokenReference,
			Message: "the " + need.word + " \"" + need.node.Name.String() + "\" is disabled: " + need.why()})
	}
	v.verdicts[n] = out
	return out
}

// dependency is an element that another one needs.
type dependency struct {
	verdict
	word string
	node *plan.Node
}

func (d dependency) why() string {
	for _, f := range d.findings {
		if f.Severity == diag.Error {
			return f.Message
		}
	}
	return "unknown reason"
}

func (v *view) middleware(m *plan.Middleware) verdict {
	if out, ok := v.verdicts[&m.Node]; ok {
		return out
	}
	v.verdicts[&m.Node] = v.planned(&m.Node)
	needs := v.needMiddlewares(m.Chain)
	if m.Service != nil {
		needs = append(needs, dependency{v.service(m.Service), "service", &m.Service.Node})
	}
	delete(v.verdicts, &m.Node)
	return v.judge(&m.Node, needs...)
}

func (v *view) needMiddlewares(list []*plan.Middleware) (needs []dependency) {
	for _, m := range list {
		needs = append(needs, dependency{v.middleware(m), "middleware", &m.Node})
	}
	return needs
}

func (v *view) service(s *plan.Service) verdict {
	if out, ok := v.verdicts[&s.Node]; ok {
		return out
	}
	v.verdicts[&s.Node] = v.planned(&s.Node)
	needs := v.needMiddlewares(s.Middlewares)
	for _, c := range s.Children {
		if c != nil {
			needs = append(needs, dependency{v.service(c), "service", &c.Node})
		}
	}
	if t := s.Transport; t != nil {
		needs = append(needs, dependency{v.judge(&t.Node), "serversTransport", &t.Node})
	}
	delete(v.verdicts, &s.Node)
	return v.judge(&s.Node, needs...)
}

func (v *view) tcpService(s *plan.TCPService) verdict {
	if out, ok := v.verdicts[&s.Node]; ok {
		return out
	}
	var needs []dependency
	for _, c := range s.Children {
		if c != nil {
			needs = append(needs, dependency{v.tcpService(c), "service", &c.Node})
		}
	}
	if t := s.Transport; t != nil {
		needs = append(needs, dependency{v.judge(&t.Node), "serversTransport", &t.Node})
	}
	return v.judge(&s.Node, needs...)
}

// shown completes an element's JSON object.
func (d verdict) shown(out map[string]any, n *plan.Node, kind string, full bool) map[string]any {
	// Remarks on what works all the same are findings only: clients take the key error for a failure.
	if d.status != plan.Enabled {
		var texts []string
		for _, f := range d.findings {
			if f.Severity > diag.Info {
				texts = append(texts, redactText(f.Message))
			}
		}
		out["error"] = texts
	}
	if len(d.findings) > 0 {
		list := slices.Clone(d.findings)
		for i := range list {
			list[i].Message, list[i].Hint = redactText(list[i].Message), redactText(list[i].Hint)
		}
		out["findings"] = list
	}
	out["status"] = d.status.String()
	if full {
		out["name"], out["provider"] = n.Name.String(), n.Name.Provider
		if kind != "" {
			out["type"] = strings.ToLower(strings.TrimPrefix(kind, "plugin."))
		}
	}
	return out
}

// listed leaves out the elements whose source is away.
func listed[E interface{ Held() bool }](set []E) []E {
	out := make([]E, 0, len(set))
	for _, e := range set {
		if !e.Held() {
			out = append(out, e)
		}
	}
	return out
}

func (v *view) httpRouters() (list []element) {
	for _, r := range listed(v.p.HTTP.Routers) {
		d := v.judgeRouter(r)
		middlewares := v.routerMiddlewares(r)
		list = append(list, element{name: r.Name.String(), provider: r.Name.Provider, status: d.status.String(), rule: r.Config.Rule,
			service: r.Config.Service, middlewares: middlewares, priority: r.Priority, count: len(r.EntryPoints),
			show: func(full bool) map[string]any {
				c := *r.Config
				c.Middlewares, c.TLS, c.Priority = middlewares, defaultOptions(r.TLS), r.Priority
				if o := filled(r.Observability); !r.Child() {
					c.Observability = &o
				}
				c.ParentRefs = nil
				for _, name := range r.Parents {
					c.ParentRefs = append(c.ParentRefs, name.String())
				}
				out := object(&c)
				routerTail(out, r.EntryPoints, r.Priority, full)
				return d.shown(out, &r.Node, "", full)
			}})
	}
	return list
}

func (v *view) judgeRouter(r *plan.Router) verdict {
	needs := v.needMiddlewares(r.Middlewares)
	if r.Service != nil {
		needs = append(needs, dependency{v.service(r.Service), "service", &r.Service.Node})
	}
	return v.judge(&r.Node, needs...)
}

// routerMiddlewares are the qualified names of all that a router goes through, missing ones included.
func (v *view) routerMiddlewares(r *plan.Router) (names []string) {
	for _, m := range r.Middlewares {
		names = append(names, m.Name.String())
	}
	for _, ref := range r.Config.Middlewares {
		name := plan.Resolve(ref, r.Name.Provider)
		if ref != "" && v.p.HTTP.Middlewares.Get(name) == nil {
			names = append(names, name.String())
		}
	}
	return names
}

func routerTail(out map[string]any, entryPoints []string, priority int, full bool) {
	using(out, entryPoints)
	if full {
		out["priorityStr"] = strconv.Itoa(priority)
	}
}

func defaultOptions(t *dynamic.RouterTLS) *dynamic.RouterTLS {
	if t == nil {
		return nil
	}
	out := *t
	out.Options = cmp.Or(out.Options, dynamic.DefaultName)
	return &out
}

// filled has every field of the observability of a router: what nobody sets is on.
func filled(o dynamic.RouterObservability) dynamic.RouterObservability {
	on := true
	o.AccessLogs, o.Metrics, o.Tracing = cmp.Or(o.AccessLogs, &on), cmp.Or(o.Metrics, &on), cmp.Or(o.Tracing, &on)
	o.TraceVerbosity = cmp.Or(o.TraceVerbosity, "minimal")
	return o
}

func (v *view) httpServices() (list []element) {
	usedBy := map[plan.Name][]string{}
	for _, r := range listed(v.p.HTTP.Routers) {
		if r.Service != nil {
			usedBy[r.Service.Name] = append(usedBy[r.Service.Name], r.Name.String())
		}
	}
	for _, s := range listed(v.p.HTTP.Services) {
		d, servers := v.service(s), 0
		if lb := s.Config.LoadBalancer; lb != nil {
			servers = len(lb.Servers)
		}
		kind := s.Type
		if kind == plan.TypeInternal {
			kind = ""
		}
		list = append(list, element{name: s.Name.String(), provider: s.Name.Provider, status: d.status.String(), kind: strings.ToLower(kind), count: servers,
			show: func(full bool) map[string]any {
				out := object(s.Config)
				status := map[string]string{}
				for url, up := range v.state.ServerStatus(s.Name.String()) {
					status[redactText(url)] = upOrDown(up)
				}
				if lb := s.Config.LoadBalancer; lb != nil {
					for _, server := range lb.Servers {
						if text := redactText(server.URL); status[text] == "" {
							status[text] = upOrDown(true) // nobody has found anything else
						}
					}
				}
				if len(status) > 0 {
					out["serverStatus"] = status
				}
				return d.shown(usedAs(out, usedBy[s.Name]), &s.Node, kind, full)
			}})
	}
	return list
}

func upOrDown(up bool) string {
	if up {
		return "UP"
	}
	return "DOWN"
}

func usedAs(out map[string]any, by []string) map[string]any {
	if len(by) > 0 {
		slices.Sort(by)
		out["usedBy"] = slices.Compact(by)
	}
	return out
}

func (v *view) httpMiddlewares() (list []element) {
	usedBy := map[plan.Name][]string{}
	for _, r := range listed(v.p.HTTP.Routers) {
		for _, m := range r.Middlewares {
			usedBy[m.Name] = append(usedBy[m.Name], r.Name.String())
		}
	}
	for _, m := range listed(v.p.HTTP.Middlewares) {
		d := v.middleware(m)
		list = append(list, element{name: m.Name.String(), provider: m.Name.Provider, status: d.status.String(), kind: strings.ToLower(m.Type),
			show: func(full bool) map[string]any {
				return d.shown(usedAs(object(m.Config), usedBy[m.Name]), &m.Node, m.Type, full)
			}})
	}
	return list
}

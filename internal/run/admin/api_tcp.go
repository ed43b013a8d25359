package admin

import (
	"cmp"
	"strings"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
)

func (v *view) tcpRouters() (list []element) {
	for _, r := range listed(v.p.TCP.Routers) {
		var needs []dependency
		for _, m := range r.Middlewares {
			needs = append(needs, dependency{v.judge(&m.Node), "middleware", &m.Node})
		}
		if r.Service != nil {
			needs = append(needs, dependency{v.tcpService(r.Service), "service", &r.Service.Node})
		}
		d := v.judge(&r.Node, needs...)
		var middlewares []string
		for _, ref := range r.Config.Middlewares {
			middlewares = append(middlewares, plan.Resolve(ref, r.Name.Provider).String())
		}
		list = append(list, element{name: r.Name.String(), provider: r.Name.Provider, status: d.status.String(), rule: r.Config.Rule,
			service: r.Config.Service, middlewares: middlewares, priority: r.Priority, count: len(r.EntryPoints),
			show: func(full bool) map[string]any {
				c := *r.Config
				c.Middlewares, c.Priority = middlewares, r.Priority
				if t := c.TLS; t != nil && !t.Passthrough {
					own := *t
					own.Options = cmp.Or(own.Options, dynamic.DefaultName)
					c.TLS = &own
				}
				out := object(&c)
				routerTail(out, r.EntryPoints, r.Priority, full)
				return d.shown(out, &r.Node, "", full)
			}})
	}
	return list
}

func (v *view) tcpServices() (list []element) {
	usedBy := map[plan.Name][]string{}
	for _, r := range listed(v.p.TCP.Routers) {
		if r.Service != nil {
			usedBy[r.Service.Name] = append(usedBy[r.Service.Name], r.Name.String())
		}
	}
	for _, s := range listed(v.p.TCP.Services) {
		d, servers := v.tcpService(s), 0
		if lb := s.Config.LoadBalancer; lb != nil {
			servers = len(lb.Servers)
		}
		list = append(list, element{name: s.Name.String(), provider: s.Name.Provider, status: d.status.String(), kind: strings.ToLower(s.Type), count: servers,
			show: func(full bool) map[string]any {
				out := object(s.Config)
				if lb := s.Config.LoadBalancer; lb != nil && len(lb.Servers) > 0 {
					up := v.state.TCPServerStatus(s.Name.String())
					status := map[string]string{}
					for _, server := range lb.Servers {
						is, known := up[server.Address]
						status[server.Address] = upOrDown(is || !known)
					}
					out["serverStatus"] = status
				}
				return d.shown(usedAs(out, usedBy[s.Name]), &s.Node, s.Type, full)
			}})
	}
	return list
}

func (v *view) tcpMiddlewares() (list []element) {
	usedBy := map[plan.Name][]string{}
	for _, r := range listed(v.p.TCP.Routers) {
		for _, m := range r.Middlewares {
			usedBy[m.Name] = append(usedBy[m.Name], r.Name.String())
		}
	}
	for _, m := range listed(v.p.TCP.Middlewares) {
		d := v.judge(&m.Node)
		list = append(list, element{name: m.Name.String(), provider: m.Name.Provider, status: d.status.String(), kind: strings.ToLower(m.Type),
			show: func(full bool) map[string]any {
				return d.shown(usedAs(object(m.Config), usedBy[m.Name]), &m.Node, m.Type, full)
			}})
	}
	return list
}

package admin

import (
	"slices"
	"strings"

	"sluice/internal/core/plan"
)

func (v *view) udpRouters() (list []element) {
	for _, r := range listed(v.p.UDP.Routers) {
		d := v.judge(&r.Node)
		list = append(list, element{name: r.Name.String(), provider: r.Name.Provider, status: d.status.String(), service: r.Config.Service,
			count: len(r.EntryPoints),
			show: func(full bool) map[string]any {
				out := object(r.Config)
				using(out, r.EntryPoints)
				return d.shown(out, &r.Node, "", full)
			}})
	}
	return list
}

func (v *view) udpServices() (list []element) {
	usedBy := map[plan.Name][]string{}
	for _, r := range listed(v.p.UDP.Routers) {
		if r.Service != nil {
			usedBy[r.Service.Name] = append(usedBy[r.Service.Name], r.Name.String())
		}
	}
	for _, s := range listed(v.p.UDP.Services) {
		d, servers := v.judge(&s.Node), 0
		if lb := s.Config.LoadBalancer; lb != nil {
			servers = len(lb.Servers)
		}
		list = append(list, element{name: s.Name.String(), provider: s.Name.Provider, status: d.status.String(), kind: strings.ToLower(s.Type), count: servers,
			show: func(full bool) map[string]any {
				return d.shown(usedAs(object(s.Config), usedBy[s.Name]), &s.Node, s.Type, full)
			}})
	}
	return list
}

// using names the entry points that a router is on.
func using(out map[string]any, entryPoints []string) {
	if len(entryPoints) > 0 {
		out["using"] = slices.Compact(slices.Sorted(slices.Values(entryPoints)))
	}
}

package plan

import (
	"fmt"
	"slices"
	"strings"

	"sluice/internal/core/diag"
)

// checkServers reports load balancers without servers. When another service of the same provider has servers and nobody
// uses it, the two names were probably meant to be one, and the finding says so.
func (b *builder) checkServers() {
	used := map[*Service]bool{}
	for _, r := range b.plan.HTTP.Routers {
		used[r.Service] = true
	}
	for _, s := range b.plan.HTTP.Services {
		for _, c := range s.Children {
			used[c] = true
		}
	}
	for _, m := range b.plan.HTTP.Middlewares {
		used[m.Service] = true
	}
	for _, name := range b.services.names() {
		s := b.plan.HTTP.Services[name]
		if s.Type != "loadBalancer" || len(s.Config.LoadBalancer.Servers) > 0 || !used[s] || s.Status == Disabled || s.Held() {
			continue
		}
		var spare []string
		for other, o := range b.plan.HTTP.Services {
			if other.Provider == name.Provider && o.Type == "loadBalancer" && !used[o] && len(o.Config.LoadBalancer.Servers) > 0 {
				spare = append(spare, other.Local)
			}
		}
		message, hint := "the service has no servers: every request gets 503", strings.Join(s.Config.LoadBalancer.Absent, "; ")
		if len(spare) > 0 {
			slices.Sort(spare)
			message = fmt.Sprintf("the service %q has no servers, while %q has some and nobody uses it", name.Local, spare[0])
			hint = fmt.Sprintf("did you mean http.services.%s.loadBalancer.servers?", name.Local)
		}
		s.report(diag.Warning, CodeNoServers, message, hint, "loadBalancer")
	}
}

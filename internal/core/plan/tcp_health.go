package plan

import (
	"fmt"
	"strconv"

	"sluice/internal/core/diag"
)

// ReportsHealth reports whether the service tells a parent whether it is up: a load balancer with a health check, or a
// weighted service that follows that of its children.
func (s *TCPService) ReportsHealth() bool {
	if s == nil {
		return false
	}
	switch s.Type {
	case "loadBalancer":
		return s.Config.LoadBalancer.HealthCheck != nil
	case "weighted":
		return s.Config.Weighted.HealthCheck != nil
	}
	return false
}

// checkTCPHealth disables a weighted service that is to follow the health of children that do not tell it. The words are
// those that the API of Traefik shows.
func (b *builder) checkTCPHealth(s *TCPService) {
	if s.Type != "weighted" || !s.ReportsHealth() {
		return
	}
	for i, c := range s.Children {
		if c == nil || c.Status == Disabled || c.ReportsHealth() {
			continue // the first two have been reported already
		}
		hint := fmt.Sprintf("give %q healthCheck: {}", c.Name.Local)
		if c.Type == "loadBalancer" {
			hint = fmt.Sprintf("give %q a loadBalancer.healthCheck", c.Name.Local)
		}
		s.report(diag.Error, CodeNoHealth, fmt.Sprintf("cannot register %s as updater for %s: healthCheck not enabled in config for this weighted service",
			s.Config.Weighted.Services[i].Name, s.Name), hint, "weighted", "services", strconv.Itoa(i), "name")
	}
}

package plan

import (
	"fmt"
	"strconv"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// ReportsHealth reports whether the service tells a parent whether it is up: a load balancer with an active health check, or
// a service made of services that follows theirs.
func (s *Service) ReportsHealth() bool {
	if s == nil {
		return false
	}
	switch c := s.Config; s.Type {
	case "loadBalancer":
		return c.LoadBalancer.HealthCheck != nil
	case "weighted":
		return c.Weighted.HealthCheck != nil
	case "highestRandomWeight":
		return c.HighestRandomWeight.HealthCheck != nil
	case "mirroring":
		return c.Mirroring.HealthCheck != nil
	case "failover":
		return c.Failover.HealthCheck != nil
	}
	return false
}

// checkHealth disables a service that is to follow the health of children that do not tell it. It is called when the
// children are known.
func (b *builder) checkHealth(s *Service) {
	follows := s.ReportsHealth()
	switch s.Type {
	case "weighted":
		b.checkChildrenHealth(s, s.Config.Weighted.Services, follows)
	case "highestRandomWeight":
		b.checkChildrenHealth(s, s.Config.HighestRandomWeight.Services, follows)
	case "mirroring":
		if follows {
			b.checkChildHealth(s, 0, s.Config.Mirroring.Service, "mirroring", "service")
		}
	case "failover":
		f := s.Config.Failover
		// A failover by status alone does not need to know whether the main service is up.
		if follows || f.Errors == nil || len(f.Errors.Status) == 0 {
			b.checkChildHealth(s, 0, f.Service, "failover", "service")
		}
		if follows {
			b.checkChildHealth(s, 1, f.Fallback, "failover", "fallback")
		}
	}
}

func (b *builder) checkChildrenHealth(s *Service, children []*dynamic.WeightedChild, follows bool) {
	if !follows {
		return
	}
	for i, c := range children {
		b.checkChildHealth(s, i, c.Name, s.Type, "services", strconv.Itoa(i), "name")
	}
}

// checkChildHealth reports child i, written as ref at field, if it has no health to follow. The words are those that the API
// of Traefik shows.
func (b *builder) checkChildHealth(s *Service, i int, ref string, field ...string) {
	c := s.Children[i]
	if c == nil || c.Status == Disabled || c.ReportsHealth() {
		return // the first two have been reported already
	}
	if c.Type == TypeInternal {
		s.report(diag.Error, CodeNoHealth, fmt.Sprintf("child service %s of %s not a healthcheck.StatusUpdater", ref, s.Name),
			"only load balancers and services made of them have a health", field...)
		return
	}
	hint := fmt.Sprintf("give %q healthCheck: {}", c.Name.Local)
	if c.Type == "loadBalancer" {
		hint = fmt.Sprintf("give %q a loadBalancer.healthCheck", c.Name.Local)
	}
	s.report(diag.Error, CodeNoHealth, fmt.Sprintf("cannot register %s as updater for %s: healthCheck not enabled in config for this %s service",
		ref, s.Name, healthKind(c)), hint, field...)
}

// healthKind is what Traefik calls a service in that sentence.
func healthKind(s *Service) string {
	kind := s.Type
	if s.Type == "loadBalancer" {
		kind = s.Config.LoadBalancer.Strategy
	}
	switch kind {
	case dynamic.StrategyHRW, "highestRandomWeight":
		return "HRW"
	case dynamic.StrategyLeastTime:
		return "LeastTime"
	case "mirroring", "failover":
		return kind
	}
	return "weighted"
}

package engine

import (
	"sluice/internal/traffic/forward"
	"sluice/internal/traffic/tunnel"
)

// inForce are the built services that requests can end at, by the qualified names of the plan.
type inForce map[string]*service

// servicesInForce returns what can be asked about services from now on.
func (b *build) servicesInForce() *inForce {
	out := inForce{}
	for _, s := range b.p.HTTP.Services {
		if built := b.services[s.Identity]; built != nil && len(built.balancers) > 0 {
			out[s.Name.String()] = built
		}
	}
	return &out
}

// ServerStatus tells for the servers' URLs of a service, called NAME@PROVIDER, whether they are up; of a service made of
// services for all servers that its answers may come from, and there a server counts as down that any of them finds down. It
// is nil where no such service is in force. Safe for concurrent use with Apply and Close.
func (e *Engine) ServerStatus(service string) map[string]bool {
	all := e.inForce.Load()
	if all == nil || (*all)[service] == nil {
		return nil
	}
	out := map[string]bool{}
	for _, lb := range (*all)[service].balancers {
		for _, s := range lb.Servers() {
			before, known := out[s.URL]
			out[s.URL] = s.Up && (before || !known)
		}
	}
	return out
}

// Servers calls visit for each server of each load balancer in force, in no order; service is NAME@PROVIDER. It is what
// metrics of servers are made of. Safe for concurrent use with Apply and Close.
func (e *Engine) Servers(visit func(service string, s forward.ServerState)) {
	all := e.inForce.Load()
	if all == nil {
		return
	}
	for name, s := range *all {
		if lb, ok := s.kind.(*forward.LoadBalancer); ok {
			for _, server := range lb.Servers() {
				visit(name, server)
			}
		}
	}
}

// tunnelsInForce returns what can be asked about TCP services from now on.
func (b *build) tunnelsInForce() *map[string]*tunnel.Service {
	out := map[string]*tunnel.Service{}
	for _, s := range b.p.TCP.Services {
		if built := b.tunnels[s.Identity]; built != nil && built.service != nil {
			out[s.Name.String()] = built.service
		}
	}
	return &out
}

// TCPServerStatus is ServerStatus for the addresses of a TCP load balancer.
func (e *Engine) TCPServerStatus(service string) map[string]bool {
	all := e.tunnelsInForce.Load()
	if all == nil || (*all)[service] == nil {
		return nil
	}
	return (*all)[service].Status()
}

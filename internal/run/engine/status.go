package engine

import "sluice/internal/traffic/forward"

// name notes new services under their qualified names, so that they can be asked about.
func (e *Engine) name(services []*service, tunnels []*tcpService) {
	for _, s := range services {
		if len(s.balancers) > 0 {
			e.named.Store(s.name.String(), s)
		}
	}
	for _, s := range tunnels {
		if s.service != nil {
			e.namedTunnels.Store(s.name.String(), s)
		}
	}
}

// unname forgets a service, unless another one has its name already.
func (e *Engine) unname(s *service) { e.named.CompareAndDelete(s.name.String(), s) }

func (e *Engine) unnameTunnel(s *tcpService) { e.namedTunnels.CompareAndDelete(s.name.String(), s) }

// ServerStatus tells for the servers' URLs of the service called name (NAME@PROVIDER) whether they are up; of a service made of
// services for all servers that its answers may come from, and there a server counts as down that any of them finds down. It
// is nil where no such service is in force. Safe for concurrent use with Apply and Close.
func (e *Engine) ServerStatus(name string) map[string]bool {
	found, ok := e.named.Load(name)
	if !ok {
		return nil
	}
	out := map[string]bool{}
	for _, lb := range found.(*service).balancers {
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
	e.named.Range(func(name, s any) bool {
		if lb, ok := s.(*service).kind.(*forward.LoadBalancer); ok {
			for _, server := range lb.Servers() {
				visit(name.(string), server)
			}
		}
		return true
	})
}

// TCPServerStatus is ServerStatus for the addresses of a TCP load balancer.
func (e *Engine) TCPServerStatus(name string) map[string]bool {
	if found, ok := e.namedTunnels.Load(name); ok {
		return found.(*tcpService).service.Status()
	}
	return nil
}

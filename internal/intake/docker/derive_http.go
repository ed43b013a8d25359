package docker

import (
	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// http completes the HTTP elements. A container that has TCP or UDP elements and no HTTP label gets none; every other
// container is served by HTTP.
func (d *deriver) http() {
	c := d.u.config
	h := c.HTTP
	if h == nil {
		h = &dynamic.HTTP{}
	}
	labels := len(h.Routers) + len(h.Services) + len(h.Middlewares) + len(h.ServersTransports)
	if labels == 0 && (c.TCP != nil || c.UDP != nil) {
		return
	}
	if labels == 0 && !d.canServe() {
		d.u.why = "no label defines a service and the engine reports no port"
		if d.u.c.ownLabels() {
			_, problem, hint := d.u.c.choosePort("", "tcp")
			d.remark(diag.Error, CodeNoPort, problem, hint)
		}
		return
	}
	c.HTTP = h
	if h.Services == nil {
		h.Services = map[string]*dynamic.Service{}
	}
	if h.Routers == nil {
		h.Routers = map[string]*dynamic.Router{}
	}
	d.router(h)
	automatic := len(h.Services) == 0
	link(d, "http.routers", h.Routers, sortedKeys(h.Services), d.name, func(r *dynamic.Router) *string { return &r.Service },
		func() { h.Services[d.name] = &dynamic.Service{} })
	if automatic && !d.canServe() && !d.uses(h, d.name) {
		// Nobody asked for this service, and it cannot be: routers to other services need no port here.
		delete(h.Services, d.name)
	}
	for _, name := range sortedKeys(h.Services) {
		d.httpServers(name, h.Services[name])
	}
	for _, name := range sortedKeys(h.Routers) {
		if r := h.Routers[name]; r != nil && r.Rule == "" {
			d.defaultRule(name, r)
		}
	}
}

// canServe reports whether the container has a port that a service without any label could use.
func (d *deriver) canServe() bool {
	c := d.u.c
	switch {
	case len(c.ports) > 0 || d.u.presence == empty || c.placeholder != "":
		return true
	case d.u.presence == away:
		// The engine reports no ports of what does not run; what it will report then are the declared ones.
		return len(c.exposed) > 0 && c.mode != "host" && c.joins() == ""
	}
	return false
}

// router makes the automatic router, where labels define none and one service at most.
func (d *deriver) router(h *dynamic.HTTP) {
	switch {
	case len(h.Routers) > 0:
	case len(h.Services) > 1:
		d.remark(diag.Info, CodeLink, "Could not create a router for the container: too many services", "define a router that names one of them")
	case len(h.Services) == 0 && !d.canServe():
		// Middlewares alone need no port.
	default:
		h.Routers[d.name] = &dynamic.Router{}
	}
}

func (d *deriver) uses(h *dynamic.HTTP, service string) bool {
	for _, r := range h.Routers {
		if r != nil && r.Service == service {
			return true
		}
	}
	return false
}

func (d *deriver) defaultRule(name string, r *dynamic.Router) {
	r.DefaultRule = true
	c := d.u.c
	rule, err := d.w.settings.defaultRule(ruleData{Name: d.name, ContainerName: c.name, Labels: c.labels})
	if err != nil {
		d.breaks("http.routers", name, CodeTemplate, "the default rule cannot be made: "+err.Error(), "write a rule in the router's label")
		return
	}
	r.Rule = rule
}

func (d *deriver) httpServers(name string, s *dynamic.Service) {
	const kind = "http.services"
	if s.LoadBalancer == nil {
		if len(s.Kinds()) > 0 || !d.sound(kind, name) {
			return // a service made of other services, or one whose kind could not be read
		}
		s.LoadBalancer = &dynamic.LoadBalancer{}
		s.LoadBalancer.SetDefaults()
	}
	lb := s.LoadBalancer
	lb.RetryAfter = dynamic.Seconds(retryAfter)
	server := &dynamic.Server{}
	if len(lb.Servers) > 0 {
		server = lb.Servers[0]
	}
	lb.Servers = nil
	port, scheme := server.Port, server.Scheme
	server.Port, server.Scheme = "", ""
	if server.URL != "" {
		if port != "" || scheme != "" {
			d.breaks(kind, name, CodeBadValue, "defining scheme or port is not allowed when URL is defined", "remove one of them", "loadBalancer", "server", "url")
			return
		}
		if d.u.presence != live {
			lb.Absent = []string{d.absent(d.u.why)}
			return
		}
		server.Origin = d.origin("label")
		lb.Servers = []*dynamic.Server{server}
		d.u.served = append(d.u.served, server.URL)
		return
	}
	address, origin, why := d.server(kind, name, port, "tcp")
	if why != "" {
		lb.Absent = []string{why}
		return
	}
	if scheme == "" {
		scheme = "http"
	}
	server.URL, server.Origin = scheme+"://"+address, origin
	lb.Servers = []*dynamic.Server{server}
}

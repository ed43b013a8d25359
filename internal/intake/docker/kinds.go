package docker

import (
	"reflect"

	"sluice/internal/core/dynamic"
)

// elementKey names an element of the provider.
type elementKey struct {
	kind int // index in kinds
	name string
}

// kind is one sort of named element.
type kind struct {
	// path is its place in the configuration.
	path string
	// names lists the elements of a configuration, sorted.
	names func(c *dynamic.Config) []string
	// same reports whether two configurations define an element alike, servers aside.
	same func(a, b *dynamic.Config, name string) bool
	// join puts the element into a configuration, with the servers of all that define it. The first one's other options
	// hold.
	join func(into *dynamic.Config, all []*dynamic.Config, name string)
}

// picker returns the map that holds the elements of one sort. Where a configuration lacks the part around it, the part
// is made if make says so, else the result is nil.
type picker[T any] func(c *dynamic.Config, make bool) *map[string]*T

func (pick picker[T]) get(c *dynamic.Config, name string) *T {
	if m := pick(c, false); m != nil {
		return (*m)[name]
	}
	return nil
}

func (pick picker[T]) put(c *dynamic.Config, name string, v *T) {
	m := pick(c, true)
	if *m == nil {
		*m = map[string]*T{}
	}
	(*m)[name] = v
}

func (pick picker[T]) names(c *dynamic.Config) []string {
	if m := pick(c, false); m != nil {
		return sortedKeys(*m)
	}
	return nil
}

// plain is the row of elements that are equal or are not.
func plain[T any](path string, pick picker[T]) kind {
	return kind{
		path:  path,
		names: pick.names,
		same: func(a, b *dynamic.Config, name string) bool {
			return reflect.DeepEqual(pick.get(a, name), pick.get(b, name))
		},
		join: func(into *dynamic.Config, all []*dynamic.Config, name string) {
			pick.put(into, name, pick.get(all[0], name))
		},
	}
}

// balanced is the row of services. open returns a copy of a service together with the places of its copy's servers and
// absent servers, nil where it has no load balancer. address tells servers apart. blur removes from a copy what is not
// compared.
func balanced[T, S any](path string, pick picker[T], open func(*T) (*T, *[]*S, *[]string), address func(*S) string, blur func(*T)) kind {
	bare := func(c *dynamic.Config, name string) *T {
		s, servers, absent := open(pick.get(c, name))
		if servers != nil {
			*servers, *absent = nil, nil
		}
		blur(s)
		return s
	}
	return kind{
		path:  path,
		names: pick.names,
		same:  func(a, b *dynamic.Config, name string) bool { return reflect.DeepEqual(bare(a, name), bare(b, name)) },
		join: func(into *dynamic.Config, all []*dynamic.Config, name string) {
			s, servers, absent := open(pick.get(all[0], name))
			pick.put(into, name, s)
			if servers == nil || len(all) == 1 {
				return
			}
			*servers, *absent = nil, nil
			seen := map[string]bool{}
			for _, c := range all {
				_, more, away := open(pick.get(c, name))
				for _, server := range *more {
					if a := address(server); !seen[a] {
						seen[a] = true
						*servers = append(*servers, server)
					}
				}
				*absent = append(*absent, *away...)
			}
		},
	}
}

// part returns what of finds in p, nil where there is no p.
func part[P, T any](p *P, of func(*P) *T) *T {
	if p == nil {
		return nil
	}
	return of(p)
}

// section returns a part of a configuration, made if it is missing and make says so.
func section[P any](at **P, make bool) *P {
	if *at == nil && make {
		*at = new(P)
	}
	return *at
}

func inHTTP[T any](of func(*dynamic.HTTP) *map[string]*T) picker[T] {
	return func(c *dynamic.Config, make bool) *map[string]*T { return part(section(&c.HTTP, make), of) }
}

func inTCP[T any](of func(*dynamic.TCP) *map[string]*T) picker[T] {
	return func(c *dynamic.Config, make bool) *map[string]*T { return part(section(&c.TCP, make), of) }
}

func inUDP[T any](of func(*dynamic.UDP) *map[string]*T) picker[T] {
	return func(c *dynamic.Config, make bool) *map[string]*T { return part(section(&c.UDP, make), of) }
}

func inTLS[T any](of func(*dynamic.TLS) *map[string]*T) picker[T] {
	return func(c *dynamic.Config, make bool) *map[string]*T { return part(section(&c.TLS, make), of) }
}

// kinds are all sorts of elements that labels define.
var kinds = []kind{
	plain("http.routers", inHTTP(func(h *dynamic.HTTP) *map[string]*dynamic.Router { return &h.Routers })),
	// The middlewares of a service are not compared: the first one's hold, as in Traefik.
	balanced("http.services", inHTTP(func(h *dynamic.HTTP) *map[string]*dynamic.Service { return &h.Services }), openHTTP,
		func(s *dynamic.Server) string { return s.URL }, func(s *dynamic.Service) { s.Middlewares = nil }),
	plain("http.middlewares", inHTTP(func(h *dynamic.HTTP) *map[string]*dynamic.Middleware { return &h.Middlewares })),
	plain("http.serversTransports", inHTTP(func(h *dynamic.HTTP) *map[string]*dynamic.ServersTransport { return &h.ServersTransports })),
	plain("tcp.routers", inTCP(func(t *dynamic.TCP) *map[string]*dynamic.TCPRouter { return &t.Routers })),
	balanced("tcp.services", inTCP(func(t *dynamic.TCP) *map[string]*dynamic.TCPService { return &t.Services }), openTCP,
		func(s *dynamic.TCPServer) string { return s.Address }, func(*dynamic.TCPService) {}),
	plain("tcp.middlewares", inTCP(func(t *dynamic.TCP) *map[string]*dynamic.TCPMiddleware { return &t.Middlewares })),
	plain("tcp.serversTransports", inTCP(func(t *dynamic.TCP) *map[string]*dynamic.TCPServersTransport { return &t.ServersTransports })),
	plain("udp.routers", inUDP(func(u *dynamic.UDP) *map[string]*dynamic.UDPRouter { return &u.Routers })),
	balanced("udp.services", inUDP(func(u *dynamic.UDP) *map[string]*dynamic.UDPService { return &u.Services }), openUDP,
		func(s *dynamic.UDPServer) string { return s.Address }, func(*dynamic.UDPService) {}),
	plain("tls.stores", inTLS(func(t *dynamic.TLS) *map[string]*dynamic.TLSStore { return &t.Stores })),
}

func openHTTP(s *dynamic.Service) (*dynamic.Service, *[]*dynamic.Server, *[]string) {
	out := *s
	if s.LoadBalancer == nil {
		return &out, nil, nil
	}
	lb := *s.LoadBalancer
	out.LoadBalancer = &lb
	return &out, &lb.Servers, &lb.Absent
}

func openTCP(s *dynamic.TCPService) (*dynamic.TCPService, *[]*dynamic.TCPServer, *[]string) {
	out := *s
	if s.LoadBalancer == nil {
		return &out, nil, nil
	}
	lb := *s.LoadBalancer
	out.LoadBalancer = &lb
	return &out, &lb.Servers, &lb.Absent
}

func openUDP(s *dynamic.UDPService) (*dynamic.UDPService, *[]*dynamic.UDPServer, *[]string) {
	out := *s
	if s.LoadBalancer == nil {
		return &out, nil, nil
	}
	lb := *s.LoadBalancer
	out.LoadBalancer = &lb
	return &out, &lb.Servers, &lb.Absent
}

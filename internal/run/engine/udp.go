package engine

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/datagram"
)

// datagrams are the UDP services of a generation, and what of them outlives it. The zero value has none.
type datagrams struct {
	services map[*plan.Identity]*datagram.Service
	lives    map[string]*datagram.Live
}

func (d *datagrams) publish() {
	for _, s := range d.services {
		s.Publish()
	}
}

// retire makes d what next is, and ends what is in it no more.
func (d *datagrams) retire(next *datagrams) {
	for name, live := range d.lives {
		if next.lives[name] == nil {
			live.Close()
		}
	}
	*d = *next
}

// udpGeneration builds the routes of all UDP entry points: each has the first of its routers whose service works.
func (b *build) udpGeneration() *datagram.Generation {
	b.datagrams = datagrams{map[*plan.Identity]*datagram.Service{}, map[string]*datagram.Live{}}
	g := &datagram.Generation{}
	for _, name := range b.e.o.UDPEntryPoints {
		route := &datagram.Route{}
		if r := b.p.UDP.EntryPoints[name].Router(); r != nil {
			route.Router, route.Service = r.Name.String(), b.udpService(r.Service)
		}
		g.Routes = append(g.Routes, route)
	}
	return g
}

// udpService returns a built service: the one there is, when nothing about it changed, or a new one. What is disabled takes
// its router with it, so that nobody asks for it here.
func (b *build) udpService(s *plan.UDPService) *datagram.Service {
	if built, ok := b.datagrams.services[s.Identity]; ok {
		return built
	}
	name := s.Name.String()
	live := b.e.datagrams.lives[name]
	if live == nil {
		live = datagram.NewLive(nil)
	}
	b.datagrams.lives[name] = live
	var children []datagram.Child
	for i, c := range s.Children {
		children = append(children, datagram.Child{Name: c.Name.String(), Weight: s.Config.Weighted.Services[i].Share(), Service: b.udpService(c)})
	}
	built := b.e.datagrams.services[s.Identity]
	switch {
	case built != nil:
	case s.Type == "weighted":
		built = datagram.NewWeighted(name, children, live)
	default:
		built = datagram.NewService(name, usable(s.Config.LoadBalancer.Servers), live)
	}
	b.datagrams.services[s.Identity] = built
	return built
}

// usable returns the addresses that can be sent to; plan has reported the others.
func usable(servers []*dynamic.UDPServer) (addresses []string) {
	for _, server := range servers {
		if message, _ := plan.CheckServerAddress(server.Address); message == "" {
			addresses = append(addresses, server.Address)
		}
	}
	return addresses
}

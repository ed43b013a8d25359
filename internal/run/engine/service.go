package engine

import (
	"fmt"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
	"sluice/internal/traffic/balance"
	"sluice/internal/traffic/forward"
	"sluice/internal/wire/httpmsg"
)

// service is a built HTTP service.
type service struct {
	holding
	name     plan.Name
	identity *plan.Identity
	live     string // the key of its live state
	handler  httpmsg.Handler
	kind     kindOfService // nil for those that have nothing to publish: refusals and internal ones
	// health is what parents follow, nil where the service does not tell.
	health balance.Health
	// balancers are the load balancers that requests may end at, of the service itself and of those below it.
	balancers []*forward.LoadBalancer
}

// kindOfService is what the kinds of package forward have in common.
type kindOfService interface {
	httpmsg.Handler
	balance.Health
	Publish()
	Close()
}

func (s *service) publish() {
	if s.kind != nil {
		s.kind.Publish()
	}
}

func (s *service) close() {
	if s.kind != nil {
		s.kind.Close()
	}
}

// named notes which service an exchange goes to.
type named struct {
	name string
	next httpmsg.Handler
}

// Serve implements httpmsg.Handler.
func (n *named) Serve(x *httpmsg.Exchange) error {
	x.Facts.Service = n.name
	return n.next.Serve(x)
}

// service returns the handler of a service, built once per generation.
func (b *build) service(s *plan.Service) httpmsg.Handler {
	if s == nil {
		return refusal{"the service does not exist"}
	}
	return b.built(s).handler
}

// built returns a service, which is kept from the generation before where nothing about it changed. Whatever is being built
// holds it from then on.
func (b *build) built(s *plan.Service) *service {
	built := b.e.services[s.Identity]
	if built == nil {
		bare := &later{refusal{"the service could not be built"}}
		built = &service{name: s.Name, identity: s.Identity, live: liveKey(s), handler: bare}
		b.e.services[s.Identity] = built
		b.services, b.e.built = append(b.services, built), append(b.e.built, built)
		done := b.hold(&built.holding)
		b.fill(s, built, bare)
		done()
	}
	b.holder.services = append(b.holder.services, built)
	return built
}

// later stands for a service while its parts are built, and for its parts ever after: a middleware of the service that asks
// the service itself, as error pages may, gets it without the middlewares. It would ask itself for ever otherwise.
type later struct{ handler httpmsg.Handler }

// Serve implements httpmsg.Handler.
func (l *later) Serve(x *httpmsg.Exchange) error { return l.handler.Serve(x) }

// fill builds a service into out, and without its middlewares into bare. A service of which any part cannot be built refuses.
func (b *build) fill(s *plan.Service, out *service, bare *later) {
	if why := b.broken(&s.Node, s.Identity); s.Status == plan.Disabled || len(why) > 0 {
		out.handler = refusal{fmt.Sprintf("the service %s cannot be used: %s", s.Name, first(append(why, s.Findings...)))}
		return
	}
	if s.Type == plan.TypeInternal {
		h, ok := b.e.o.Internal[s.Name.Local]
		if !ok {
			h = refusal{"there is no internal service " + s.Name.Local}
		}
		out.handler = &named{s.Name.String(), h}
		return
	}
	kind, err := b.kind(s, out)
	if err != nil {
		b.report(&s.Node, s.Identity, err)
		out.handler = refusal{fmt.Sprintf("the service %s cannot be built: %v", s.Name, err)}
		return
	}
	var send httpmsg.Handler = kind
	if s.Type == "loadBalancer" {
		send = b.toServers(kind)
	}
	bare.handler = &named{s.Name.String(), send}
	h, err := b.wrap(s.Middlewares, s.Name, send, false)
	if err != nil {
		kind.Close()
		out.handler = refusal{err.Error()}
		return
	}
	out.kind, out.handler = kind, &named{s.Name.String(), h}
	if s.ReportsHealth() {
		out.health = kind
	}
}

// kind builds what a service does behind its middlewares.
func (b *build) kind(s *plan.Service, out *service) (kindOfService, error) {
	name := s.Name.String()
	if s.Type == "loadBalancer" {
		lb, err := b.loadBalancer(name, s.Config.LoadBalancer, s.Transport)
		if err != nil {
			return nil, err
		}
		out.balancers = []*forward.LoadBalancer{lb}
		return lb, nil
	}
	children, err := b.children(s, out)
	if err != nil {
		return nil, err
	}
	live := b.live(liveKey(s), name)
	switch c := s.Config; s.Type {
	case "weighted":
		return forward.NewWeighted(name, c.Weighted, children, live), nil
	case "highestRandomWeight":
		return forward.NewHighestRandomWeight(c.HighestRandomWeight, children, live), nil
	case "mirroring":
		return forward.NewMirroring(c.Mirroring, children[0], children[1:], live, b.e.copies), nil
	case "failover":
		return forward.NewFailover(c.Failover, children[0], children[1]), nil
	}
	return nil, fmt.Errorf("the service type %q is unknown", s.Type)
}

// children builds the services below s. If one of them cannot be built, s cannot either.
func (b *build) children(s *plan.Service, out *service) ([]forward.Child, error) {
	refs := childNames(s)
	var list []forward.Child
	for i, c := range s.Children {
		if c == nil {
			return nil, fmt.Errorf("the service %q does not exist", refs[i])
		}
		built := b.built(c)
		if r, refuses := built.handler.(refusal); refuses {
			return nil, fmt.Errorf("the service %q is refused: %s", c.Name, r.reason)
		}
		list = append(list, forward.Child{Name: refs[i], Handler: built.handler, Health: built.health})
		if s.Type != "mirroring" || i == 0 {
			out.balancers = append(out.balancers, built.balancers...)
		}
	}
	return list, nil
}

// childNames are the names of the children as s writes them, in the order of plan.Service.Children.
func childNames(s *plan.Service) []string {
	weighted := func(list []*dynamic.WeightedChild) (names []string) {
		for _, c := range list {
			names = append(names, c.Name)
		}
		return names
	}
	switch c := s.Config; s.Type {
	case "weighted":
		return weighted(c.Weighted.Services)
	case "highestRandomWeight":
		return weighted(c.HighestRandomWeight.Services)
	case "mirroring":
		names := []string{c.Mirroring.Service}
		for _, m := range c.Mirroring.Mirrors {
			names = append(names, m.Name)
		}
		return names
	case "failover":
		return []string{c.Failover.Service, c.Failover.Fallback}
	}
	return nil
}

// loadBalancer builds a load balancer on the live state of its name.
func (b *build) loadBalancer(name string, c *dynamic.LoadBalancer, t *plan.Transport) (*forward.LoadBalancer, error) {
	transport, err := b.transport(t)
	if err != nil {
		return nil, err
	}
	return forward.New(name, c, b.live(name, name), transport)
}

// liveKey is the key of the live state of a service. Kinds have their own, since what they keep is different.
func liveKey(s *plan.Service) string {
	if s.Type == "loadBalancer" {
		return s.Name.String()
	}
	return s.Name.String() + " " + s.Type
}

// live returns the live state under key, of the service called name: the one there is, or a new one.
func (b *build) live(key, name string) *forward.Live {
	live := b.e.lives[key]
	if live == nil {
		live = b.newLive(name)
		b.e.lives[key] = live
	}
	return live
}

// newLive makes the live state of a service that has not been there before. Its servers' comings and goings are logged.
func (b *build) newLive(name string) *forward.Live {
	live := forward.NewLive()
	live.Changed = b.told(name)
	return live
}

// told writes to the log that the server of a service has come or gone; url is the address of a TCP server.
func (b *build) told(service string) func(url string, up bool, why error) {
	log, happened := b.e.o.Log, b.e.o.Happened
	if happened == nil {
		happened = func(string, string) {}
	}
	return func(url string, up bool, why error) {
		if up {
			happened("server", service+": "+url+" is up again")
			log.Info("A server is up again", "serviceName", service, "serverURL", url)
		} else {
			happened("server", fmt.Sprintf("%s: %s is down: %v", service, url, why))
			log.Warn("A server is down", "serviceName", service, "serverURL", url, "error", why)
		}
	}
}

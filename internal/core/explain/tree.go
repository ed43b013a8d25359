package explain

import (
	"fmt"

	"sluice/internal/core/dynamic"
	"sluice/internal/core/plan"
)

// Branch is a service as a request comes to it, with the services below.
type Branch struct {
	Service string `json:"service"`
	Kind    string `json:"kind"`
	// Role is what it is to the service above: main, fallback, its share; empty for the topmost.
	Role string `json:"role,omitempty"`
	// Takes says what becomes of the request here.
	Takes    string    `json:"takes"`
	Servers  []Machine `json:"servers,omitempty"`
	Children []*Branch `json:"children,omitempty"`

	up    bool // false: known to be down
	known bool // somebody looks whether it is up
}

// Machine is a server of a load balancer.
type Machine struct {
	URL string `json:"url"`
	// Origin says where the provider has it from; empty where that is the configuration itself.
	Origin string `json:"origin,omitempty"`
	// Status is UP or DOWN, empty where it is not known.
	Status string `json:"status,omitempty"`
	// Note says why it gets nothing; empty where it does.
	Note string `json:"note,omitempty"`
}

const (
	takesIt    = "takes the request"
	takesShare = "takes its share"
	takesCopy  = "gets a copy"
	// mostBranches bounds a tree: services may stand in many places of it.
	mostBranches = 1000
)

// grow makes the tree of a service. left is how many branches may still be made.
func (a *asking) grow(s *plan.Service, role string, left *int) *Branch {
	if s == nil || *left <= 0 {
		return nil
	}
	*left--
	b := &Branch{Service: s.Name.String(), Kind: s.Type, Role: role, Takes: "takes nothing", up: true}
	switch c := s.Config; s.Type {
	case "loadBalancer":
		a.machines(b, s, c.LoadBalancer)
	case "weighted":
		a.weighted(b, s, c.Weighted.Services, left)
	case "highestRandomWeight":
		a.weighted(b, s, c.HighestRandomWeight.Services, left)
	case "mirroring":
		b.add(a.grow(s.Children[0], "main", left))
		for i, m := range c.Mirroring.Mirrors {
			b.add(a.grow(s.Children[i+1], fmt.Sprintf("mirror, %d%%", m.Percent), left))
		}
	case "failover":
		b.add(a.grow(s.Children[0], "main", left))
		b.add(a.grow(s.Children[1], "fallback", left))
	}
	if s.ReportsHealth() && s.Type != "loadBalancer" {
		b.judge(s.Type)
	}
	return b
}

func (b *Branch) add(child *Branch) {
	if child != nil {
		b.Children = append(b.Children, child)
	}
}

// judge finds out whether a service that follows the health of its children is up.
func (b *Branch) judge(kind string) {
	children := b.Children
	if kind == "mirroring" {
		children = children[:min(1, len(children))]
	}
	b.up = false
	for _, c := range children {
		b.known = b.known || c.known
		b.up = b.up || c.up
	}
	b.up = b.up || !b.known
}

func (a *asking) weighted(b *Branch, s *plan.Service, list []*dynamic.WeightedChild, left *int) {
	weights, total := make([]int, len(list)), 0
	for i, c := range list {
		weights[i] = c.Share()
		total += weights[i]
	}
	for i, weight := range weights {
		b.add(a.grow(s.Children[i], fmt.Sprintf("weight %d of %d", weight, total), left))
	}
}

func (a *asking) machines(b *Branch, s *plan.Service, lb *dynamic.LoadBalancer) {
	var status map[string]bool
	if a.ServerStatus != nil {
		status = a.ServerStatus(s.Name.String())
	}
	checked := lb.HealthCheck != nil || lb.PassiveHealthCheck != nil
	b.known = status != nil && lb.HealthCheck != nil
	someUp := false
	for _, server := range lb.Servers {
		m := Machine{URL: server.URL, Origin: server.Origin}
		up, known := status[server.URL]
		switch {
		case server.Share() == 0 && lb.Strategy != dynamic.StrategyP2C:
			m.Note = "its weight is 0"
		case server.Fenced:
			m.Note = "it takes no new clients"
		case known && checked && !up:
			m.Status, m.Note = "DOWN", "it is down"
		default:
			someUp = true
		}
		if known && m.Status == "" {
			m.Status = map[bool]string{true: "UP", false: "DOWN"}[up]
		}
		b.Servers = append(b.Servers, m)
	}
	b.up = someUp || !b.known
}

// follow notes what becomes of a request at b and below, and returns the servers that it may end at. why collects the turns
// that were taken because something is down.
func (b *Branch) follow(s *plan.Service, takes string, why *[]string) (servers []string) {
	b.Takes = takes
	switch s.Type {
	case "loadBalancer":
		for _, m := range b.Servers {
			if m.Note == "" {
				servers = append(servers, from(m.URL, m.Origin))
			}
		}
	case "weighted", "highestRandomWeight":
		servers = b.followShares(s, takes, why)
	case "mirroring":
		for i, c := range b.Children {
			switch {
			case i == 0:
				servers = c.follow(s.Children[0], takes, why)
			case s.Config.Mirroring.Mirrors[i-1].Percent > 0:
				c.follow(s.Children[i], takesCopy, new([]string))
			}
		}
	case "failover":
		servers = b.followFailover(s, takes, why)
	}
	if len(servers) == 0 {
		b.Takes = "takes it and has no server that is up"
	}
	return servers
}

func (b *Branch) followShares(s *plan.Service, takes string, why *[]string) (servers []string) {
	if takes == takesIt {
		takes = takesShare
	}
	var list []*dynamic.WeightedChild
	if s.Config.Weighted != nil {
		list = s.Config.Weighted.Services
	} else {
		list = s.Config.HighestRandomWeight.Services
		if takes == takesShare {
			takes = "takes the clients whose addresses fall to it"
		}
	}
	for i, c := range b.Children {
		switch {
		case list[i].Share() == 0:
			c.Takes = "takes nothing: its weight is 0"
		case s.ReportsHealth() && !c.up:
			c.Takes = "takes nothing: it is down"
			*why = append(*why, "the service "+quoted(c.Service)+" is down and passed over")
		default:
			servers = append(servers, c.follow(s.Children[i], takes, why)...)
		}
	}
	return servers
}

func (b *Branch) followFailover(s *plan.Service, takes string, why *[]string) []string {
	if len(b.Children) < 2 {
		return nil
	}
	main, fallback := b.Children[0], b.Children[1]
	switch {
	case main.up:
		fallback.Takes = "takes what the main service does not deliver"
		if e := s.Config.Failover.Errors; e != nil && len(e.Status) > 0 {
			fallback.Takes = "takes what the main service answers with a listed status, or does not deliver"
		}
		return main.follow(s.Children[0], takes, why)
	case !fallback.up:
		main.Takes, fallback.Takes = "takes nothing: it is down", "takes nothing: it is down"
		return nil
	}
	main.Takes = "takes nothing: it is down"
	*why = append(*why, "the service "+quoted(main.Service)+" is down, so "+quoted(fallback.Service)+" takes its place")
	return fallback.follow(s.Children[1], takes, why)
}

// any reports whether there is any server in the tree.
func (b *Branch) any() bool {
	if len(b.Servers) > 0 {
		return true
	}
	for _, c := range b.Children {
		if c.any() {
			return true
		}
	}
	return false
}

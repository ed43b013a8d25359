package dynamic

// UDP holds everything about UDP routing.
type UDP struct {
	// Routers choose a service for the sessions of an entry point.
	Routers map[string]*UDPRouter `json:"routers,omitempty"`
	// Services are where sessions go.
	Services map[string]*UDPService `json:"services,omitempty"`
}

// UDPRouter hands the sessions of its entry points to a service.
type UDPRouter struct {
	// EntryPoints names the entry points to listen on. Empty: all UDP ones.
	EntryPoints []string `json:"entryPoints,omitempty"`
	// Service takes the sessions. Required.
	Service string `json:"service,omitempty"`
}

// UDPService is where sessions go. Exactly one kind must be set.
type UDPService struct {
	// LoadBalancer spreads sessions over servers.
	LoadBalancer *UDPLoadBalancer `json:"loadBalancer,omitempty"`
	// Weighted spreads sessions over services.
	Weighted *UDPWeighted `json:"weighted,omitempty"`
}

// Kinds returns the file spelling of the kinds that are set, in the order of the struct. A sound service has one.
func (s *UDPService) Kinds() []string { return setPointers(s) }

// UDPLoadBalancer spreads sessions over servers.
type UDPLoadBalancer struct {
	// Servers are the addresses.
	Servers []*UDPServer `json:"servers,omitempty" sluice:"label=server"`
	// Absent tells of servers that belong here and cannot serve at present. Providers set it.
	Absent []string `json:"-"`
}

// UDPServer is one address of a load balancer.
type UDPServer struct {
	// Address is host:port.
	Address string `json:"address,omitempty" sluice:"filesonly"`
	// Port is combined with the discovered address. The provider turns it into Address and clears it.
	Port string `json:"port,omitempty" sluice:"labelonly"`
	// Origin tells people where the address came from. Providers set it.
	Origin string `json:"-"`
}

// UDPWeighted spreads sessions over services in proportion to their weights.
type UDPWeighted struct {
	// Services are the children.
	Services []*WeightedChild `json:"services,omitempty"`
}

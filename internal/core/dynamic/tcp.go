package dynamic

// TCP holds everything about TCP routing.
type TCP struct {
	// Routers choose a service for connections.
	Routers map[string]*TCPRouter `json:"routers,omitempty"`
	// Services are where connections go.
	Services map[string]*TCPService `json:"services,omitempty"`
	// Middlewares decide whether a connection is accepted.
	Middlewares map[string]*TCPMiddleware `json:"middlewares,omitempty"`
	// ServersTransports say how to connect to servers.
	ServersTransports map[string]*TCPServersTransport `json:"serversTransports,omitempty"`
}

// TCPRouter selects connections by a rule and hands them to a service.
type TCPRouter struct {
	// EntryPoints names the entry points to listen on. Empty: all default ones.
	EntryPoints []string `json:"entryPoints,omitempty"`
	// Middlewares are asked in this order.
	Middlewares []string `json:"middlewares,omitempty"`
	// Service takes the connections. Required.
	Service string `json:"service,omitempty"`
	// Rule is the condition on connections. Required.
	Rule string `json:"rule,omitempty"`
	// RuleSyntax is "v2" for the older matchers; anything else means v3. Empty: core.defaultRuleSyntax. Deprecated.
	RuleSyntax string `json:"ruleSyntax,omitempty"`
	// Priority orders routers, the highest first. Zero: the length of the rule in bytes, or -1 for a lone HostSNI(`*`).
	Priority int `json:"priority,omitempty"`
	// TLS present, even empty, makes the router answer on TLS only.
	TLS *TCPRouterTLS `json:"tls,omitempty" sluice:"section"`
}

// TCPRouterTLS is the TLS side of a TCP router.
type TCPRouterTLS struct {
	// Passthrough forwards the bytes undecrypted: the server keeps its own certificate.
	Passthrough bool `json:"passthrough,omitempty"`
	// Options names TLS options. Empty: default.
	Options string `json:"options,omitempty"`
	// CertResolver names the certificate resolver that is asked for certificates.
	CertResolver string `json:"certResolver,omitempty"`
	// Domains replaces the names found in the rule as the ones to get certificates for.
	Domains []*Domain `json:"domains,omitempty"`
}

// TCPService is where connections go. Exactly one kind must be set.
type TCPService struct {
	// LoadBalancer spreads connections over servers.
	LoadBalancer *TCPLoadBalancer `json:"loadBalancer,omitempty"`
	// Weighted spreads connections over services.
	Weighted *TCPWeighted `json:"weighted,omitempty"`
}

// Kinds returns the file spelling of the kinds that are set, in the order of the struct. A sound service has one.
func (s *TCPService) Kinds() []string { return setPointers(s) }

// DefaultACMEPort is where a passthrough machine is asked for its ACME challenge unless acmePort says otherwise.
const DefaultACMEPort = 80

// TCPLoadBalancer spreads connections over servers.
type TCPLoadBalancer struct {
	// ProxyProtocol sends a PROXY header to the servers. Deprecated: belongs to the transport; ignored where
	// ServersTransport is set.
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty" sluice:"section"`
	// Servers are the addresses.
	Servers []*TCPServer `json:"servers,omitempty" sluice:"label=server"`
	// ServersTransport names the transport. Empty: default@internal.
	ServersTransport string `json:"serversTransport,omitempty"`
	// TerminationDelay in milliseconds is how long the second direction may go on after the first one ended. Deprecated:
	// belongs to the transport; ignored where ServersTransport is set. Negative: without limit.
	TerminationDelay *int `json:"terminationDelay,omitempty"`
	// HealthCheck asks each server regularly whether it is well.
	HealthCheck *TCPHealthCheck `json:"healthCheck,omitempty" sluice:"section"`
	// ACMEPort is the port on which the servers of a passthrough router answer ACME challenges of their own over plain
	// HTTP. Zero: 80. This option is Sluice's own.
	ACMEPort int `json:"acmePort,omitempty"`
	// Absent tells of servers that belong here and cannot serve at present. Providers set it.
	Absent []string `json:"-"`
}

// ChallengePort returns ACMEPort or its default.
func (l *TCPLoadBalancer) ChallengePort() int {
	if l.ACMEPort == 0 {
		return DefaultACMEPort
	}
	return l.ACMEPort
}

// TCPServer is one address of a load balancer.
type TCPServer struct {
	// Address is host:port.
	Address string `json:"address,omitempty" sluice:"filesonly"`
	// Port is combined with the discovered address. The provider turns it into Address and clears it.
	Port string `json:"port,omitempty" sluice:"labelonly"`
	// TLS connects by TLS.
	TLS bool `json:"tls,omitempty"`
	// Origin tells people where the address came from. Providers set it.
	Origin string `json:"-"`
}

// TCPHealthCheck asks servers regularly whether they are well: by connecting, and by a question and an answer where
// those are set.
type TCPHealthCheck struct {
	// Port replaces the server's. Zero: the server's.
	Port int `json:"port,omitempty"`
	// Send is written after connecting; at most 65535 bytes.
	Send string `json:"send,omitempty"`
	// Expect must be what the server says; at most 65535 bytes.
	Expect string `json:"expect,omitempty"`
	// Interval between probes of a healthy server. Zero or less: 30s.
	Interval Duration `json:"interval,omitempty"`
	// UnhealthyInterval between probes of an unhealthy server. Unset: as Interval.
	UnhealthyInterval *Duration `json:"unhealthyInterval,omitempty"`
	// Timeout of a whole probe. Zero or less: 5s.
	Timeout Duration `json:"timeout,omitempty"`
}

// SetDefaults sets interval 30s and timeout 5s.
func (h *TCPHealthCheck) SetDefaults() {
	h.Interval = Seconds(30)
	h.Timeout = Seconds(5)
}

// ProxyProtocol sends a PROXY header with the client's address to servers.
type ProxyProtocol struct {
	// Version is 1 or 2. Default 2.
	Version int `json:"version,omitempty"`
}

// SetDefaults sets version 2.
func (p *ProxyProtocol) SetDefaults() { p.Version = 2 }

// TCPWeighted spreads connections over services in proportion to their weights.
type TCPWeighted struct {
	// Services are the children.
	Services []*WeightedChild `json:"services,omitempty"`
	// HealthCheck present makes health follow the children.
	HealthCheck *HealthMarker `json:"healthCheck,omitempty" sluice:"section"`
}

// TCPServersTransport says how to connect to TCP servers.
type TCPServersTransport struct {
	// DialKeepAlive is the period of TCP keep-alive probes. Zero: 15s; negative: none.
	DialKeepAlive Duration `json:"dialKeepAlive,omitempty"`
	// DialTimeout bounds connecting. Zero: none. Default 30s.
	DialTimeout Duration `json:"dialTimeout,omitempty"`
	// ProxyProtocol sends a PROXY header to the servers.
	ProxyProtocol *ProxyProtocol `json:"proxyProtocol,omitempty" sluice:"section"`
	// TerminationDelay is how long the second direction may go on after the first one ended. Negative: without limit.
	// Default 100ms.
	TerminationDelay Duration `json:"terminationDelay,omitempty"`
	// TLS holds the parameters for servers that are connected by TLS; it does not switch TLS on by itself.
	TLS *TCPClientTLS `json:"tls,omitempty" sluice:"section"`
}

// SetDefaults sets dialKeepAlive 15s, dialTimeout 30s and terminationDelay 100ms.
func (t *TCPServersTransport) SetDefaults() {
	t.DialKeepAlive = Seconds(15)
	t.DialTimeout = Seconds(30)
	t.TerminationDelay = Milliseconds(100)
}

// TCPClientTLS is how we connect to TCP servers by TLS.
type TCPClientTLS struct {
	// ServerName is sent as SNI and verified.
	ServerName string `json:"serverName,omitempty"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs are the only authorities that are trusted. Empty: the system's.
	RootCAs []Material `json:"rootCAs,omitempty"`
	// Certificates are offered to servers that ask for one.
	Certificates []*KeyPair `json:"certificates,omitempty"`
	// PeerCertURI must be among the URI names of the server's certificate. Superseded by PeerCertSANs.
	PeerCertURI string `json:"peerCertURI,omitempty"`
	// PeerCertSANs lists names of which the server's certificate must carry one.
	PeerCertSANs []*PeerCertSAN `json:"peerCertSANs,omitempty"`
	// Spiffe takes identity and trust from the SPIFFE workload API. It excludes every other option here.
	Spiffe *Spiffe `json:"spiffe,omitempty" sluice:"section"`
}

// TCPMiddleware decides whether a connection is accepted.
type TCPMiddleware struct {
	// InFlightConn bounds the connections of one client.
	InFlightConn *InFlightConn `json:"inFlightConn,omitempty"`
	// IPWhiteList is the older name of IPAllowList and works the same. Deprecated.
	IPWhiteList *TCPIPList `json:"ipWhiteList,omitempty" sluice:"v2"`
	// IPAllowList accepts listed clients only.
	IPAllowList *TCPIPList `json:"ipAllowList,omitempty"`
}

// Kinds returns the file spelling of the kinds that are set, in the order of the struct. A sound middleware has one.
func (m *TCPMiddleware) Kinds() []string { return setPointers(m) }

// InFlightConn bounds the connections of one client.
type InFlightConn struct {
	// Amount of simultaneous connections per peer address. Zero closes all. Default 0.
	Amount int64 `json:"amount,omitempty"`
}

// TCPIPList accepts listed clients only.
type TCPIPList struct {
	// SourceRange holds addresses and CIDR blocks. Required.
	SourceRange []string `json:"sourceRange,omitempty"`
}

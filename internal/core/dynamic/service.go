package dynamic

// Service answers requests. Exactly one of the kinds must be set; Middlewares may accompany any of them.
type Service struct {
	// LoadBalancer spreads requests over servers.
	LoadBalancer *LoadBalancer `json:"loadBalancer,omitempty"`
	// HighestRandomWeight spreads requests over services by client address.
	HighestRandomWeight *HighestRandomWeight `json:"highestRandomWeight,omitempty"`
	// Weighted spreads requests over services by weight.
	Weighted *Weighted `json:"weighted,omitempty"`
	// Mirroring copies a share of the requests to other services.
	Mirroring *Mirroring `json:"mirroring,omitempty"`
	// Failover uses a second service while the first one fails.
	Failover *Failover `json:"failover,omitempty"`
	// Middlewares run after those of the router and before a server is chosen.
	Middlewares []string `json:"middlewares,omitempty"`
}

// Kinds returns the file spelling of the kinds that are set, in the order of the struct. A sound service has one.
func (s *Service) Kinds() []string { return setPointers(s) }

// Values of loadBalancer.strategy. StrategyRoundRobin is the older name of wrr that Kubernetes resources use.
const (
	StrategyWRR        = "wrr"
	StrategyP2C        = "p2c"
	StrategyHRW        = "hrw"
	StrategyLeastTime  = "leasttime"
	StrategyRoundRobin = "RoundRobin"
)

// LoadBalancer spreads requests over servers.
type LoadBalancer struct {
	// Sticky makes a client come back to the same server. Ignored by the strategy hrw.
	Sticky *Sticky `json:"sticky,omitempty" sluice:"section"`
	// Servers are the addresses. None: every request gets 503.
	Servers []*Server `json:"servers,omitempty" sluice:"label=server"`
	// Strategy is wrr, p2c, hrw or leasttime; other text disables the service.
	Strategy string `json:"strategy,omitempty"`
	// HealthCheck asks each server regularly whether it is well.
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
	// PassiveHealthCheck judges servers by their answers to ordinary requests.
	PassiveHealthCheck *PassiveHealthCheck `json:"passiveHealthCheck,omitempty"`
	// PassHostHeader sends the client's Host; false sends the host and port of the server's URL. Unset: true.
	PassHostHeader *bool `json:"passHostHeader"`
	// ResponseForwarding says how responses are passed on.
	ResponseForwarding *ResponseForwarding `json:"responseForwarding,omitempty"`
	// ServersTransport names the transport. Empty: default@internal.
	ServersTransport string `json:"serversTransport,omitempty"`
	// Absent tells of servers that belong here and cannot serve at present, such as "container web-1 is stopped".
	// Providers set it.
	Absent []string `json:"-"`
	// RetryAfter is sent as Retry-After, in whole seconds, when there is no server. Zero: not sent. Providers set it.
	RetryAfter Duration `json:"-"`
}

// SetDefaults sets strategy wrr, passHostHeader true and responseForwarding with its default.
func (l *LoadBalancer) SetDefaults() {
	l.Strategy = StrategyWRR
	l.PassHostHeader = new(true)
	l.ResponseForwarding = &ResponseForwarding{}
	l.ResponseForwarding.SetDefaults()
}

// Server is one address of a load balancer.
type Server struct {
	// URL is scheme://host[:port] with scheme http, https or h2c. The path counts only with PreservePath; query and user
	// are ignored.
	URL string `json:"url,omitempty"`
	// Weight is the share under wrr, hrw and leasttime. Unset: 1. Zero or less leaves the server out.
	Weight *int `json:"weight,omitempty"`
	// PreservePath joins the URL's path in front of the request's.
	PreservePath bool `json:"preservePath,omitempty"`
	// Origin tells people where the address came from, such as "container web-1, healthy, network web_default".
	// Providers set it.
	Origin string `json:"-"`
	// Fenced servers get no new clients, only those that hold their sticky cookie. Providers set it.
	Fenced bool `json:"-"`
	// Scheme is combined with the discovered address. Empty: http. The provider turns it into URL and clears it.
	Scheme string `json:"scheme,omitempty" sluice:"labelonly"`
	// Port is combined with the discovered address. Empty: the lowest discovered one. The provider turns it into URL
	// and clears it.
	Port string `json:"port,omitempty" sluice:"labelonly"`
}

// Share returns the weight: 1 where none is set, 0 where the server is left out.
func (s *Server) Share() int { return share(s.Weight) }

// ResponseForwarding says how responses are passed on.
type ResponseForwarding struct {
	// FlushInterval is how long body bytes may wait for more. Negative: flush after each read. Event streams and bodies
	// of unknown length are always flushed at once. Default 100ms.
	FlushInterval Duration `json:"flushInterval,omitempty"`
}

// SetDefaults sets flushInterval 100ms.
func (r *ResponseForwarding) SetDefaults() { r.FlushInterval = Milliseconds(100) }

// Sticky makes a client come back to the same server or service.
type Sticky struct {
	// Cookie is how the choice is remembered. Absent: no stickiness.
	Cookie *Cookie `json:"cookie,omitempty" sluice:"section"`
}

// Cookie is the sticky cookie.
type Cookie struct {
	// Name of the cookie. Empty: derived from the service name. Characters that cookie names cannot hold become _.
	Name string `json:"name,omitempty"`
	// Secure sends it over TLS only.
	Secure bool `json:"secure,omitempty"`
	// HTTPOnly hides it from scripts.
	HTTPOnly bool `json:"httpOnly,omitempty"`
	// SameSite is none, lax or strict in any case. Empty: no such attribute.
	SameSite string `json:"sameSite,omitempty"`
	// MaxAge is the lifetime in seconds. Zero: for the browser session; negative: deleted at once.
	MaxAge int `json:"maxAge,omitempty"`
	// Path of the cookie. Unset: "/".
	Path *string `json:"path,omitempty"`
	// Domain of the cookie. Empty: no such attribute.
	Domain string `json:"domain,omitempty"`
}

// SetDefaults sets path "/".
func (c *Cookie) SetDefaults() { c.Path = new("/") }

// HealthCheck asks each server regularly whether it is well, through the service's transport.
type HealthCheck struct {
	// Scheme replaces the server's.
	Scheme string `json:"scheme,omitempty"`
	// Mode is http or grpc (grpc.health.v1); other text acts as http.
	Mode string `json:"mode,omitempty"`
	// Path is a relative URL, query allowed, resolved against the server's URL.
	Path string `json:"path,omitempty"`
	// Method of the probe. Empty: GET.
	Method string `json:"method,omitempty"`
	// Status is the only healthy status code. Zero: 200 to 399.
	Status int `json:"status,omitempty"`
	// Port replaces the server's. Zero: the server's.
	Port int `json:"port,omitempty"`
	// Interval between probes of a healthy server. Zero or less: 30s.
	Interval Duration `json:"interval,omitempty"`
	// UnhealthyInterval between probes of an unhealthy server. Unset: as Interval; zero or less: 30s.
	UnhealthyInterval *Duration `json:"unhealthyInterval,omitempty"`
	// Timeout of a whole probe. Zero or less: 5s.
	Timeout Duration `json:"timeout,omitempty"`
	// Hostname is sent as Host. Empty: the server's.
	Hostname string `json:"hostname,omitempty"`
	// FollowRedirects lets the probe follow redirections. Unset: true.
	FollowRedirects *bool `json:"followRedirects,omitempty"`
	// Headers are added to the probe; Host among them has no effect.
	Headers map[string]string `json:"headers,omitempty"`
}

// Values of healthCheck.mode.
const (
	HealthHTTP = "http"
	HealthGRPC = "grpc"
)

// SetDefaults sets mode http, interval 30s, timeout 5s and followRedirects true.
func (h *HealthCheck) SetDefaults() {
	h.Mode = HealthHTTP
	h.Interval = Seconds(30)
	h.Timeout = Seconds(5)
	h.FollowRedirects = new(true)
}

// PassiveHealthCheck takes a server out after failures of ordinary requests: status 500 and above, or a request that
// could not be sent.
type PassiveHealthCheck struct {
	// FailureWindow is the time in which failures are counted, and how long the server stays out where no active check
	// brings it back. Default 10s.
	FailureWindow Duration `json:"failureWindow,omitempty"`
	// MaxFailedAttempts is how many failures in the window take the server out. Default 1.
	MaxFailedAttempts int `json:"maxFailedAttempts,omitempty"`
}

// SetDefaults sets failureWindow 10s and maxFailedAttempts 1.
func (p *PassiveHealthCheck) SetDefaults() {
	p.FailureWindow = Seconds(10)
	p.MaxFailedAttempts = 1
}

// HealthMarker present on a service made of services makes its own health follow theirs; each child must then have a
// health check of its own.
type HealthMarker struct{}

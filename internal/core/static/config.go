package static

import "sluice/internal/core/dynamic"

// Config is the whole static configuration. A nil section is absent; New fills those that always exist.
type Config struct {
	// Global holds switches of the product as a whole.
	Global *Global `json:"global,omitempty"`
	// ServersTransport is the transport default@internal for HTTP.
	ServersTransport *ServersTransport `json:"serversTransport,omitempty"`
	// TCPServersTransport is the transport default@internal for TCP.
	TCPServersTransport *TCPServersTransport `json:"tcpServersTransport,omitempty"`
	// EntryPoints are the addresses that we listen on, by name.
	EntryPoints map[string]*EntryPoint `json:"entryPoints,omitempty"`
	// Providers are where dynamic configuration comes from.
	Providers *Providers `json:"providers,omitempty"`
	// API switches the API and the dashboard on.
	API *API `json:"api,omitempty" sluice:"section"`
	// Metrics says which metrics are kept and where they go.
	Metrics *Metrics `json:"metrics,omitempty"`
	// Ping switches the health endpoint on.
	Ping *Ping `json:"ping,omitempty" sluice:"section"`
	// Log is the process log.
	Log *Log `json:"log,omitempty" sluice:"section"`
	// AccessLog switches the log of requests and connections on.
	AccessLog *AccessLog `json:"accessLog,omitempty" sluice:"section"`
	// Tracing switches traces on.
	Tracing *Tracing `json:"tracing,omitempty" sluice:"section"`
	// HostResolver follows the CNAME records of requested hosts.
	HostResolver *HostResolver `json:"hostResolver,omitempty" sluice:"section"`
	// CertificatesResolvers get certificates, by name.
	CertificatesResolvers map[string]*CertificatesResolver `json:"certificatesResolvers,omitempty"`
	// Experimental holds switches of features that are, or once were, experimental.
	Experimental *Experimental `json:"experimental,omitempty"`
	// Core holds the default rule syntax.
	Core *Core `json:"core,omitempty"`
	// Spiffe is the source of SPIFFE identities.
	Spiffe *SpiffeSource `json:"spiffe,omitempty"`
	// OCSP switches stapling of revocation answers on.
	OCSP *OCSP `json:"ocsp,omitempty" sluice:"section"`
	// ConfigFile is the path of the file to read. As a flag it decides where configuration comes from; elsewhere it is
	// accepted and does nothing.
	ConfigFile string `json:"configFile,omitempty"`
}

// New returns the configuration as it is before any source is read.
func New() *Config {
	c := &Config{}
	c.SetDefaults()
	return c
}

// SetDefaults sets the sections that exist even when nothing is written: global, both transports, providers and an
// empty set of entry points.
func (c *Config) SetDefaults() {
	c.Global = &Global{}
	c.Global.SetDefaults()
	c.ServersTransport = &ServersTransport{}
	c.ServersTransport.SetDefaults()
	c.TCPServersTransport = &TCPServersTransport{}
	c.TCPServersTransport.SetDefaults()
	c.Providers = &Providers{}
	c.Providers.SetDefaults()
	c.EntryPoints = map[string]*EntryPoint{}
}

// Global holds switches of the product as a whole. They are accepted and have nothing to do here: Sluice neither looks
// for new versions nor reports usage.
type Global struct {
	// CheckNewVersion has no effect. Default true.
	CheckNewVersion bool `json:"checkNewVersion,omitempty"`
	// SendAnonymousUsage has no effect.
	SendAnonymousUsage bool `json:"sendAnonymousUsage,omitempty"`
	// NotAppendXForwardedFor has no effect; the option of the entry point has.
	NotAppendXForwardedFor bool `json:"notAppendXForwardedFor,omitempty"`
}

// SetDefaults sets checkNewVersion true.
func (g *Global) SetDefaults() { g.CheckNewVersion = true }

// Values of core.defaultRuleSyntax.
const (
	RuleSyntaxV2 = "v2"
	RuleSyntaxV3 = "v3"
)

// Core holds the default rule syntax.
type Core struct {
	// DefaultRuleSyntax of routers that name none: v2 or v3. Default v3. Deprecated.
	DefaultRuleSyntax string `json:"defaultRuleSyntax,omitempty"`
}

// SetDefaults sets defaultRuleSyntax v3.
func (c *Core) SetDefaults() { c.DefaultRuleSyntax = RuleSyntaxV3 }

// API switches the API and the dashboard on.
type API struct {
	// Insecure serves the API on the entry point traefik without any check of who asks.
	Insecure bool `json:"insecure,omitempty"`
	// Dashboard serves the dashboard as well. Default true.
	Dashboard bool `json:"dashboard,omitempty"`
	// Debug serves /debug/vars and /debug/pprof.
	Debug bool `json:"debug,omitempty"`
	// DisableDashboardAd has nothing to do here.
	DisableDashboardAd bool `json:"disableDashboardAd,omitempty"`
	// DashboardName is shown by the dashboard.
	DashboardName string `json:"dashboardName,omitempty"`
	// BasePath is the path under which API and dashboard stand. Default "/".
	BasePath string `json:"basePath,omitempty"`
}

// SetDefaults sets dashboard true and basePath "/".
func (a *API) SetDefaults() {
	a.Dashboard = true
	a.BasePath = "/"
}

// Ping is the health endpoint.
type Ping struct {
	// EntryPoint it is served on. Default traefik.
	EntryPoint string `json:"entryPoint,omitempty"`
	// ManualRouting makes no router; users route to ping@internal themselves.
	ManualRouting bool `json:"manualRouting,omitempty"`
	// TerminatingStatusCode is answered from the stop signal on. Default 503.
	TerminatingStatusCode int `json:"terminatingStatusCode,omitempty"`
}

// SetDefaults sets the entry point traefik and terminatingStatusCode 503.
func (p *Ping) SetDefaults() {
	p.EntryPoint = InternalEntryPoint
	p.TerminatingStatusCode = 503
}

// HostResolver follows the CNAME records of requested hosts, so that rules match the name at the end.
type HostResolver struct {
	// CNAMEFlattening switches it on.
	CNAMEFlattening bool `json:"cnameFlattening,omitempty"`
	// ResolvConfig is the path of the resolver configuration. Default /etc/resolv.conf.
	ResolvConfig string `json:"resolvConfig,omitempty"`
	// ResolvDepth is how many records are followed. Default 5.
	ResolvDepth int `json:"resolvDepth,omitempty"`
}

// SetDefaults sets resolvConfig and resolvDepth.
func (h *HostResolver) SetDefaults() {
	h.ResolvConfig = "/etc/resolv.conf"
	h.ResolvDepth = 5
}

// SpiffeSource is the source of SPIFFE identities.
type SpiffeSource struct {
	// WorkloadAPIAddr is the address of the workload API.
	WorkloadAPIAddr string `json:"workloadAPIAddr,omitempty"`
}

// OCSP staples revocation answers (RFC 6960) to certificates that name a responder.
type OCSP struct {
	// ResponderOverrides are URLs to ask, by the responder URL that certificates name.
	ResponderOverrides map[string]string `json:"responderOverrides,omitempty"`
}

// ServersTransport is the transport of HTTP services that name none.
type ServersTransport struct {
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs are the only authorities that are trusted. Empty: the system's.
	RootCAs []dynamic.Material `json:"rootCAs,omitempty"`
	// MaxIdleConnsPerHost is how many idle connections to one server are kept. Zero: 2; negative: none. Default 200.
	MaxIdleConnsPerHost int `json:"maxIdleConnsPerHost,omitempty"`
	// ForwardingTimeouts bound the phases of a request. Absent: the defaults of that section.
	ForwardingTimeouts *ForwardingTimeouts `json:"forwardingTimeouts,omitempty"`
	// Spiffe takes identity and trust from the SPIFFE workload API.
	Spiffe *dynamic.Spiffe `json:"spiffe,omitempty" sluice:"section"`
}

// SetDefaults sets maxIdleConnsPerHost 200.
func (t *ServersTransport) SetDefaults() { t.MaxIdleConnsPerHost = 200 }

// ForwardingTimeouts bound the phases of a request to a server.
type ForwardingTimeouts struct {
	// DialTimeout bounds connecting. Zero: none. Default 30s.
	DialTimeout dynamic.Duration `json:"dialTimeout,omitempty"`
	// ResponseHeaderTimeout bounds the wait for the response head after the request was sent. Zero: none. Default 0.
	ResponseHeaderTimeout dynamic.Duration `json:"responseHeaderTimeout,omitempty"`
	// IdleConnTimeout is how long an idle connection is kept. Zero: for ever. Default 90s.
	IdleConnTimeout dynamic.Duration `json:"idleConnTimeout,omitempty"`
}

// SetDefaults sets dialTimeout 30s and idleConnTimeout 90s.
func (f *ForwardingTimeouts) SetDefaults() {
	f.DialTimeout = dynamic.Seconds(30)
	f.IdleConnTimeout = dynamic.Seconds(90)
}

// TCPServersTransport is the transport of TCP services that name none.
type TCPServersTransport struct {
	// DialKeepAlive is the period of TCP keep-alive probes. Zero: 15s; negative: none. Default 15s.
	DialKeepAlive dynamic.Duration `json:"dialKeepAlive,omitempty"`
	// DialTimeout bounds connecting. Zero: none. Default 30s.
	DialTimeout dynamic.Duration `json:"dialTimeout,omitempty"`
	// TerminationDelay is how long the second direction may go on after the first one ended. Negative: without limit.
	// Zero: 100ms.
	TerminationDelay dynamic.Duration `json:"terminationDelay,omitempty"`
	// TLS holds the parameters for servers that are connected by TLS.
	TLS *TCPClientTLS `json:"tls,omitempty" sluice:"section"`
}

// SetDefaults sets dialKeepAlive 15s and dialTimeout 30s.
func (t *TCPServersTransport) SetDefaults() {
	t.DialKeepAlive = dynamic.Seconds(15)
	t.DialTimeout = dynamic.Seconds(30)
}

// TCPClientTLS is how we connect to TCP servers by TLS where the service names no transport.
type TCPClientTLS struct {
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// RootCAs are the only authorities that are trusted. Empty: the system's.
	RootCAs []dynamic.Material `json:"rootCAs,omitempty"`
	// Spiffe takes identity and trust from the SPIFFE workload API.
	Spiffe *dynamic.Spiffe `json:"spiffe,omitempty" sluice:"section"`
}

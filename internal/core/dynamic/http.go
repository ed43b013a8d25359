package dynamic

// HTTP holds everything about HTTP routing. Names are keys; no name may contain "@".
type HTTP struct {
	// Routers choose a service for requests.
	Routers map[string]*Router `json:"routers,omitempty"`
	// Services answer requests.
	Services map[string]*Service `json:"services,omitempty"`
	// Middlewares stand between router and service.
	Middlewares map[string]*Middleware `json:"middlewares,omitempty"`
	// Models hold what entry points add to their routers. Users may write them but only those that we generate from the
	// entry points are used.
	Models map[string]*Model `json:"models,omitempty" sluice:"filesonly"`
	// ServersTransports say how to connect to servers.
	ServersTransports map[string]*ServersTransport `json:"serversTransports,omitempty"`
}

// Router selects requests by a rule and hands them to a service.
type Router struct {
	// EntryPoints names the entry points to listen on. Empty: all default ones.
	EntryPoints []string `json:"entryPoints,omitempty"`
	// Middlewares are applied in this order, after those of the entry point.
	Middlewares []string `json:"middlewares,omitempty"`
	// Service answers the requests. Required, unless other routers name this one as parent.
	Service string `json:"service,omitempty"`
	// Rule is the condition on requests. Required.
	Rule string `json:"rule,omitempty"`
	// ParentRefs names the routers under which this one stands. Its rule then sees requests as their middlewares left
	// them.
	ParentRefs []string `json:"parentRefs,omitempty" sluice:"filesonly"`
	// RuleSyntax is "v2" for the older matchers; anything else means v3. Empty: core.defaultRuleSyntax. Deprecated.
	RuleSyntax string `json:"ruleSyntax,omitempty"`
	// Priority orders routers, the highest first. Zero: the length of the rule in bytes.
	Priority int `json:"priority,omitempty"`
	// TLS present, even empty, makes the router answer on TLS only; absent, on plain connections only.
	TLS *RouterTLS `json:"tls,omitempty" sluice:"section"`
	// Observability switches logs, metrics and traces of this router. Unset fields follow the entry point.
	Observability *RouterObservability `json:"observability,omitempty"`
	// DefaultRule marks a rule that a provider made up from its default rule template. Such a router refuses a request
	// that it has already handled, and does not follow core.defaultRuleSyntax.
	DefaultRule bool `json:"-"`
}

// RouterTLS is the TLS side of an HTTP router.
type RouterTLS struct {
	// Options names TLS options. Empty: default.
	Options string `json:"options,omitempty"`
	// CertResolver names the certificate resolver that is asked for certificates.
	CertResolver string `json:"certResolver,omitempty"`
	// Domains replaces the names found in the rule as the ones to get certificates for. It has no effect on routing.
	Domains []*Domain `json:"domains,omitempty"`
}

// Domain is a set of names for one certificate.
type Domain struct {
	// Main is the first name.
	Main string `json:"main,omitempty"`
	// SANs are further names.
	SANs []string `json:"sans,omitempty"`
}

// RouterObservability switches what is recorded about a router's requests.
type RouterObservability struct {
	// AccessLogs switches the access log. Unset: as the entry point, else true.
	AccessLogs *bool `json:"accessLogs,omitempty"`
	// Metrics switches metrics. Unset: as the entry point, else true.
	Metrics *bool `json:"metrics,omitempty"`
	// Tracing switches traces. Unset: as the entry point, else true.
	Tracing *bool `json:"tracing,omitempty"`
	// TraceVerbosity is minimal or detailed. Empty: as the entry point, else minimal; other text acts as minimal.
	TraceVerbosity string `json:"traceVerbosity,omitempty"`
}

// Values of traceVerbosity.
const (
	TraceMinimal  = "minimal"
	TraceDetailed = "detailed"
)

// Model is what an entry point adds to each of its routers.
type Model struct {
	// Middlewares come before the router's own.
	Middlewares []string `json:"middlewares,omitempty"`
	// TLS is used by routers without tls of their own.
	TLS *RouterTLS `json:"tls,omitempty" sluice:"section"`
	// Observability fills fields that the router leaves unset.
	Observability *RouterObservability `json:"observability,omitempty"`
	// DefaultRuleSyntax is used by routers without ruleSyntax.
	DefaultRuleSyntax string `json:"defaultRuleSyntax,omitempty"`
}

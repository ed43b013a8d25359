package static

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// ConsulCatalog reads the tags of services in Consul.
type ConsulCatalog struct {
	// Endpoint is how to reach Consul.
	Endpoint *ConsulEndpoint `json:"endpoint,omitempty"`
	// Constraints is an expression over tags that services must fulfil. Empty: none.
	Constraints string `json:"constraints,omitempty"`
	// Prefix of tags. Default traefik.
	Prefix string `json:"prefix,omitempty"`
	// RefreshInterval is the poll period. Default 15s.
	RefreshInterval dynamic.Duration `json:"refreshInterval,omitempty"`
	// RequireConsistent asks for consistent reads.
	RequireConsistent bool `json:"requireConsistent,omitempty"`
	// Stale allows reads from any server.
	Stale bool `json:"stale,omitempty"`
	// Cache lets the local agent answer.
	Cache bool `json:"cache,omitempty"`
	// ExposedByDefault takes services that do not say enable. Default true.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule string `json:"defaultRule,omitempty"`
	// ConnectAware supports Consul Connect.
	ConnectAware bool `json:"connectAware,omitempty"`
	// ConnectByDefault uses Connect for services that do not say.
	ConnectByDefault bool `json:"connectByDefault,omitempty"`
	// ServiceName is our own name towards Connect. Default traefik.
	ServiceName string `json:"serviceName,omitempty"`
	// Watch follows changes.
	Watch bool `json:"watch,omitempty"`
	// StrictChecks are the states of health that are served. Default passing, warning.
	StrictChecks []string `json:"strictChecks,omitempty"`
	// Namespaces are read as one provider each, called consulcatalog-NAME. Empty: the default one.
	Namespaces []string `json:"namespaces,omitempty"`
	// Namespace is the older form of namespaces for just one, under the name consulcatalog.
	Namespace string `json:"namespace,omitempty" sluice:"v2"`
}

// SetDefaults sets every option that has a default, and an endpoint.
func (c *ConsulCatalog) SetDefaults() {
	c.Endpoint = &ConsulEndpoint{}
	c.Prefix = "traefik"
	c.RefreshInterval = dynamic.Seconds(15)
	c.ExposedByDefault = true
	c.DefaultRule = DefaultRule
	c.ServiceName = "traefik"
	c.StrictChecks = []string{"passing", "warning"}
}

// ConsulEndpoint is how to reach Consul. What is empty comes from the environment or the client library.
type ConsulEndpoint struct {
	// Address is host:port.
	Address string `json:"address,omitempty"`
	// Scheme is http or https.
	Scheme string `json:"scheme,omitempty"`
	// Datacenter to ask for.
	Datacenter string `json:"datacenter,omitempty"`
	// Token to log in with.
	Token secret.String `json:"token,omitzero"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// HTTPAuth logs in by basic authentication.
	HTTPAuth *ConsulHTTPAuth `json:"httpAuth,omitempty"`
	// EndpointWaitTime bounds a watch.
	EndpointWaitTime dynamic.Duration `json:"endpointWaitTime,omitempty"`
}

// ConsulHTTPAuth is a name and password.
type ConsulHTTPAuth struct {
	// Username to log in with.
	Username string `json:"username,omitempty"`
	// Password to log in with.
	Password secret.String `json:"password,omitzero"`
}

// Nomad reads the tags of services in Nomad.
type Nomad struct {
	// Endpoint is how to reach Nomad.
	Endpoint *NomadEndpoint `json:"endpoint,omitempty"`
	// Prefix of tags. Default traefik.
	Prefix string `json:"prefix,omitempty"`
	// Constraints is an expression over tags that services must fulfil. Empty: none.
	Constraints string `json:"constraints,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule string `json:"defaultRule,omitempty"`
	// RefreshInterval is the poll period. Default 15s.
	RefreshInterval dynamic.Duration `json:"refreshInterval,omitempty"`
	// Stale allows reads from any server.
	Stale bool `json:"stale,omitempty"`
	// ExposedByDefault takes services that do not say enable. Default true.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// AllowEmptyServices keeps services without instances.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
	// Watch follows changes.
	Watch bool `json:"watch,omitempty"`
	// ThrottleDuration is the least time between two changes with Watch. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
	// Namespaces are read as one provider each, called nomad-NAME. Empty: the default one. "*" is refused.
	Namespaces []string `json:"namespaces,omitempty"`
	// Namespace is the older form of namespaces for just one, under the name nomad.
	Namespace string `json:"namespace,omitempty" sluice:"v2"`
}

// SetDefaults sets every option that has a default, and an endpoint.
func (n *Nomad) SetDefaults() {
	n.Endpoint = &NomadEndpoint{}
	n.Endpoint.SetDefaults()
	n.Prefix = "traefik"
	n.DefaultRule = DefaultRule
	n.RefreshInterval = dynamic.Seconds(15)
	n.ExposedByDefault = true
}

// NomadEndpoint is how to reach Nomad. What is empty comes from the environment or the client library.
type NomadEndpoint struct {
	// Address is a URL. Default http://127.0.0.1:4646, which the environment's NOMAD_ADDR replaces.
	Address string `json:"address,omitempty"`
	// Region to ask for.
	Region string `json:"region,omitempty"`
	// Token to log in with.
	Token secret.String `json:"token,omitzero"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// EndpointWaitTime bounds a watch.
	EndpointWaitTime dynamic.Duration `json:"endpointWaitTime,omitempty"`
}

// DefaultNomadAddress is where Nomad is looked for.
const DefaultNomadAddress = "http://127.0.0.1:4646"

// SetDefaults sets the address.
func (n *NomadEndpoint) SetDefaults() { n.Address = DefaultNomadAddress }

// ECS reads the labels of Amazon ECS tasks.
type ECS struct {
	// Constraints is an expression over labels that tasks must fulfil. Empty: none.
	Constraints string `json:"constraints,omitempty"`
	// ExposedByDefault takes tasks that do not say traefik.enable. Default true.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// RefreshSeconds is the poll period in seconds. Default 15.
	RefreshSeconds int `json:"refreshSeconds,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule string `json:"defaultRule,omitempty"`
	// Clusters to read. Default: default.
	Clusters []string `json:"clusters,omitempty"`
	// AutoDiscoverClusters reads all clusters.
	AutoDiscoverClusters bool `json:"autoDiscoverClusters,omitempty"`
	// HealthyTasksOnly leaves out tasks that are not healthy.
	HealthyTasksOnly bool `json:"healthyTasksOnly,omitempty"`
	// ECSAnywhere reads external instances as well.
	ECSAnywhere bool `json:"ecsAnywhere,omitempty"`
	// Region to ask. Empty: the environment's.
	Region string `json:"region,omitempty"`
	// AccessKeyID to log in with. Empty: the environment's.
	AccessKeyID string `json:"accessKeyID,omitempty"`
	// SecretAccessKey to log in with. Empty: the environment's.
	SecretAccessKey secret.String `json:"secretAccessKey,omitzero"`
}

// SetDefaults sets every option that has a default.
func (e *ECS) SetDefaults() {
	e.ExposedByDefault = true
	e.RefreshSeconds = 15
	e.DefaultRule = DefaultRule
	e.Clusters = []string{"default"}
}

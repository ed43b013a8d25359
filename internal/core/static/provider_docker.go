package static

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

const (
	// DefaultDockerEndpoint is the engine's socket on this machine.
	DefaultDockerEndpoint = "unix:///var/run/docker.sock"
	// DefaultRule is the template for routers without a rule.
	DefaultRule = "Host(`{{ normalize .Name }}`)"
	// defaultSwarmRefresh in seconds is also used where a refresh period is not positive.
	defaultSwarmRefresh = 15
)

// Values of providers.docker.onEngineLost.
const (
	EngineLostKeep = "keep"
	EngineLostDrop = "drop"
)

// Docker reads the labels of containers.
type Docker struct {
	// Endpoint is a unix, tcp, http, npipe or ssh URL. The environment's DOCKER_HOST wins.
	Endpoint string `json:"endpoint,omitempty"`
	// Username to log in to the engine with; sent only together with Password.
	Username string `json:"username,omitempty"`
	// Password to log in to the engine with.
	Password secret.String `json:"password,omitzero"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// HTTPClientTimeout of a request to the engine. Zero or less: none.
	HTTPClientTimeout dynamic.Duration `json:"httpClientTimeout,omitempty"`
	// ExposedByDefault takes containers that do not say traefik.enable. Default true.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// Constraints is an expression over labels that containers must fulfil. Empty: none.
	Constraints string `json:"constraints,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule string `json:"defaultRule,omitempty"`
	// Network is the name of the network to take addresses from. Empty: chosen.
	Network string `json:"network,omitempty"`
	// UseBindPortIP prefers the published address and port.
	UseBindPortIP bool `json:"useBindPortIP,omitempty"`
	// Watch follows changes. Default true.
	Watch bool `json:"watch,omitempty"`
	// AllowEmptyServices keeps routers of containers that are not healthy, with services without servers.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
	// SwarmMode reads Swarm services instead, under the name docker: see swarm.
	SwarmMode bool `json:"swarmMode,omitempty" sluice:"v2"`
	// SwarmModeRefreshSeconds is the poll period with SwarmMode. Default 15s.
	SwarmModeRefreshSeconds dynamic.Duration `json:"swarmModeRefreshSeconds,omitempty" sluice:"v2"`
	// Engines are further engines, by name. Sluice's own.
	Engines map[string]*DockerEngine `json:"engines,omitempty"`
	// OnEngineLost keeps or drops the routes of an engine that does not answer. Default keep. Sluice's own.
	OnEngineLost string `json:"onEngineLost,omitempty"`
}

// SetDefaults sets the endpoint, the default rule, exposedByDefault, watch and onEngineLost.
func (d *Docker) SetDefaults() {
	d.Endpoint = DefaultDockerEndpoint
	d.DefaultRule = DefaultRule
	d.ExposedByDefault = true
	d.Watch = true
	d.SwarmModeRefreshSeconds = dynamic.Seconds(defaultSwarmRefresh)
	d.OnEngineLost = EngineLostKeep
}

// DockerEngine is a further engine. What it leaves out is as in the docker section around it.
type DockerEngine struct {
	// Endpoint is a unix, tcp, http, npipe or ssh URL. Required.
	Endpoint string `json:"endpoint,omitempty"`
	// Username to log in to the engine with; sent only together with Password.
	Username string `json:"username,omitempty"`
	// Password to log in to the engine with.
	Password secret.String `json:"password,omitzero"`
	// TLS is how we connect. Absent: without TLS; it is never inherited.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// HTTPClientTimeout of a request to the engine.
	HTTPClientTimeout *dynamic.Duration `json:"httpClientTimeout,omitempty"`
	// ExposedByDefault takes containers that do not say traefik.enable.
	ExposedByDefault *bool `json:"exposedByDefault,omitempty"`
	// Constraints is an expression over labels that containers must fulfil.
	Constraints *string `json:"constraints,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule *string `json:"defaultRule,omitempty"`
	// Network is the name of the network to take addresses from.
	Network *string `json:"network,omitempty"`
	// UseBindPortIP prefers the published address and port.
	UseBindPortIP *bool `json:"useBindPortIP,omitempty"`
	// Watch follows changes.
	Watch *bool `json:"watch,omitempty"`
	// AllowEmptyServices keeps routers of containers that are not healthy, with services without servers.
	AllowEmptyServices *bool `json:"allowEmptyServices,omitempty"`
}

// Swarm reads the labels of Swarm services.
type Swarm struct {
	// Endpoint of a manager: a unix, tcp, http, npipe or ssh URL. The environment's DOCKER_HOST wins.
	Endpoint string `json:"endpoint,omitempty"`
	// Username to log in to the engine with; sent only together with Password.
	Username string `json:"username,omitempty"`
	// Password to log in to the engine with.
	Password secret.String `json:"password,omitzero"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// HTTPClientTimeout of a request to the engine. Zero or less: none.
	HTTPClientTimeout dynamic.Duration `json:"httpClientTimeout,omitempty"`
	// ExposedByDefault takes services that do not say traefik.enable. Default true.
	ExposedByDefault bool `json:"exposedByDefault,omitempty"`
	// Constraints is an expression over labels that services must fulfil. Empty: none.
	Constraints string `json:"constraints,omitempty"`
	// DefaultRule is a template for routers without a rule.
	DefaultRule string `json:"defaultRule,omitempty"`
	// Network is the name of the network to take addresses from. Empty: chosen.
	Network string `json:"network,omitempty"`
	// UseBindPortIP has no effect here.
	UseBindPortIP bool `json:"useBindPortIP,omitempty"`
	// Watch follows changes. Default true.
	Watch bool `json:"watch,omitempty"`
	// AllowEmptyServices keeps routers whose services have no running task.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
	// RefreshSeconds is the poll period. Zero or less: 15s. Default 15s.
	RefreshSeconds dynamic.Duration `json:"refreshSeconds,omitempty"`
}

// SetDefaults sets the endpoint, the default rule, exposedByDefault, watch and the poll period.
func (s *Swarm) SetDefaults() {
	s.Endpoint = DefaultDockerEndpoint
	s.DefaultRule = DefaultRule
	s.ExposedByDefault = true
	s.Watch = true
	s.RefreshSeconds = dynamic.Seconds(defaultSwarmRefresh)
}

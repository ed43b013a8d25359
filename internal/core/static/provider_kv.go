package static

import (
	"sluice/internal/core/dynamic"
	"sluice/internal/core/secret"
)

// defaultRootKey is the key under which key-value stores hold configuration.
const defaultRootKey = "traefik"

// Consul reads the key-value store of Consul.
type Consul struct {
	// RootKey is where configuration begins. Default traefik.
	RootKey string `json:"rootKey,omitempty"`
	// Endpoints are host:port. Default 127.0.0.1:8500.
	Endpoints []string `json:"endpoints,omitempty"`
	// Token to log in with. Empty: none.
	Token secret.String `json:"token,omitzero"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// Namespaces are read as one provider each, called consul-NAME. Empty: the default one, called consul.
	Namespaces []string `json:"namespaces,omitempty"`
	// Namespace is the older form of namespaces for just one, under the name consul.
	Namespace string `json:"namespace,omitempty" sluice:"v2"`
}

// SetDefaults sets root key and endpoint.
func (c *Consul) SetDefaults() {
	c.RootKey = defaultRootKey
	c.Endpoints = []string{"127.0.0.1:8500"}
}

// Etcd reads etcd.
type Etcd struct {
	// RootKey is where configuration begins. Default traefik.
	RootKey string `json:"rootKey,omitempty"`
	// Endpoints are host:port. Default 127.0.0.1:2379.
	Endpoints []string `json:"endpoints,omitempty"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// Username to log in with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in with. Empty: none.
	Password secret.String `json:"password,omitzero"`
}

// SetDefaults sets root key and endpoint.
func (e *Etcd) SetDefaults() {
	e.RootKey = defaultRootKey
	e.Endpoints = []string{"127.0.0.1:2379"}
}

// Redis reads Redis.
type Redis struct {
	// RootKey is where configuration begins. Default traefik.
	RootKey string `json:"rootKey,omitempty"`
	// Endpoints are host:port. Default 127.0.0.1:6379.
	Endpoints []string `json:"endpoints,omitempty"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// Username to log in with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in with. Empty: none.
	Password secret.String `json:"password,omitzero"`
	// DB is the number of the database.
	DB int `json:"db,omitempty"`
	// Sentinel present says that the endpoints are sentinels.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`
}

// SetDefaults sets root key and endpoint.
func (r *Redis) SetDefaults() {
	r.RootKey = defaultRootKey
	r.Endpoints = []string{"127.0.0.1:6379"}
}

// ZooKeeper reads ZooKeeper.
type ZooKeeper struct {
	// RootKey is where configuration begins. Default traefik.
	RootKey string `json:"rootKey,omitempty"`
	// Endpoints are host:port. Default 127.0.0.1:2181.
	Endpoints []string `json:"endpoints,omitempty"`
	// Username to log in with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in with. Empty: none.
	Password secret.String `json:"password,omitzero"`
}

// SetDefaults sets root key and endpoint.
func (z *ZooKeeper) SetDefaults() {
	z.RootKey = defaultRootKey
	z.Endpoints = []string{"127.0.0.1:2181"}
}

// RedisSentinel says which server the sentinels of a Redis provider are asked for.
type RedisSentinel struct {
	// MasterName is the name of the group.
	MasterName string `json:"masterName,omitempty"`
	// Username to log in to the sentinels with.
	Username string `json:"username,omitempty"`
	// Password to log in to the sentinels with.
	Password secret.String `json:"password,omitzero"`
	// LatencyStrategy reads from the nearest server. At most one strategy may be set.
	LatencyStrategy bool `json:"latencyStrategy,omitempty"`
	// RandomStrategy reads from a random server.
	RandomStrategy bool `json:"randomStrategy,omitempty"`
	// ReplicaStrategy reads from replicas.
	ReplicaStrategy bool `json:"replicaStrategy,omitempty"`
	// UseDisconnectedReplicas also reads from replicas that lost their master.
	UseDisconnectedReplicas bool `json:"useDisconnectedReplicas,omitempty"`
}

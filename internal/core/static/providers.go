package static

import "sluice/internal/core/dynamic"

// Providers are where dynamic configuration comes from.
type Providers struct {
	// ProvidersThrottleDuration is the least time between two changes of one provider; the first after a quiet time is
	// applied at once. Zero: none. Default 2s.
	ProvidersThrottleDuration dynamic.Duration `json:"providersThrottleDuration,omitempty"`
	// Precedence orders providers for routers of equal priority, the winner first. Empty: ProviderNames.
	Precedence []string `json:"precedence,omitempty"`
	// Docker reads the labels of containers.
	Docker *Docker `json:"docker,omitempty" sluice:"section"`
	// Swarm reads the labels of Swarm services.
	Swarm *Swarm `json:"swarm,omitempty" sluice:"section"`
	// File reads files.
	File *File `json:"file,omitempty"`
	// KubernetesIngress reads Ingress resources.
	KubernetesIngress *KubernetesIngress `json:"kubernetesIngress,omitempty" sluice:"section"`
	// KubernetesIngressNGINX reads Ingress resources with the annotations of ingress-nginx.
	KubernetesIngressNGINX *KubernetesIngressNGINX `json:"kubernetesIngressNGINX,omitempty" sluice:"section"`
	// KubernetesCRD reads custom resources.
	KubernetesCRD *KubernetesCRD `json:"kubernetesCRD,omitempty" sluice:"section"`
	// KubernetesGateway reads Gateway API resources.
	KubernetesGateway *KubernetesGateway `json:"kubernetesGateway,omitempty" sluice:"section"`
	// Knative reads Knative resources.
	Knative *Knative `json:"knative,omitempty" sluice:"section"`
	// Rest takes configuration by PUT.
	Rest *Rest `json:"rest,omitempty" sluice:"section"`
	// ConsulCatalog reads the tags of services in Consul.
	ConsulCatalog *ConsulCatalog `json:"consulCatalog,omitempty" sluice:"section"`
	// Nomad reads the tags of services in Nomad.
	Nomad *Nomad `json:"nomad,omitempty" sluice:"section"`
	// ECS reads the labels of Amazon ECS tasks.
	ECS *ECS `json:"ecs,omitempty" sluice:"section"`
	// Consul reads the key-value store of Consul.
	Consul *Consul `json:"consul,omitempty" sluice:"section"`
	// Etcd reads etcd.
	Etcd *Etcd `json:"etcd,omitempty" sluice:"section"`
	// ZooKeeper reads ZooKeeper.
	ZooKeeper *ZooKeeper `json:"zooKeeper,omitempty" sluice:"section"`
	// Redis reads Redis.
	Redis *Redis `json:"redis,omitempty" sluice:"section"`
	// HTTP fetches configuration from a URL.
	HTTP *HTTP `json:"http,omitempty" sluice:"section"`
	// Plugin holds extensions that are providers, by name, with their free-form options.
	Plugin map[string]map[string]any `json:"plugin,omitempty"`
}

// SetDefaults sets providersThrottleDuration 2s.
func (p *Providers) SetDefaults() { p.ProvidersThrottleDuration = dynamic.Seconds(2) }

// ProviderNames returns the names that stand behind the @ of elements, in the order that decides between routers of
// equal priority where providers.precedence does not.
func ProviderNames() []string {
	return []string{
		"kubernetesgateway", "kubernetescrd", "kubernetes", "kubernetesingressnginx", "swarm", "docker", "file", "redis",
		"knative", "consul", "consulcatalog", "nomad", "etcd", "ecs", "http", "zookeeper", "rest",
	}
}

// File reads files.
type File struct {
	// Directory is read with all its sub-directories; it wins over Filename.
	Directory string `json:"directory,omitempty"`
	// Filename is the one file to read.
	Filename string `json:"filename,omitempty"`
	// Watch reads again after changes. Default true.
	Watch bool `json:"watch,omitempty"`
	// DebugLogGeneratedTemplate logs templates and what became of them, at level DEBUG.
	DebugLogGeneratedTemplate bool `json:"debugLogGeneratedTemplate,omitempty"`
}

// SetDefaults sets watch true.
func (f *File) SetDefaults() { f.Watch = true }

// HTTP fetches configuration from a URL.
type HTTP struct {
	// Endpoint is the URL. Required.
	Endpoint string `json:"endpoint,omitempty"`
	// PollInterval between fetches; more than zero. Default 5s.
	PollInterval dynamic.Duration `json:"pollInterval,omitempty"`
	// PollTimeout of a fetch. Default 5s.
	PollTimeout dynamic.Duration `json:"pollTimeout,omitempty"`
	// Headers are added to the request; Host replaces the host.
	Headers map[string]string `json:"headers,omitempty"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// MaxResponseBodySize in bytes. Negative: unlimited. Default -1.
	MaxResponseBodySize int64 `json:"maxResponseBodySize,omitempty"`
}

// SetDefaults sets pollInterval and pollTimeout 5s and maxResponseBodySize -1.
func (h *HTTP) SetDefaults() {
	h.PollInterval = dynamic.Seconds(5)
	h.PollTimeout = dynamic.Seconds(5)
	h.MaxResponseBodySize = -1
}

// Rest takes configuration by PUT /api/providers/rest.
type Rest struct {
	// Insecure serves it on the entry point traefik without any check of who asks.
	Insecure bool `json:"insecure,omitempty"`
}

package static

import "sluice/internal/core/dynamic"

// KubernetesCRD reads custom resources.
type KubernetesCRD struct {
	// Endpoint is the API server's URL. Empty: that of the cluster around us.
	Endpoint string `json:"endpoint,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// CertAuthFilePath is the path of the API server's authority.
	CertAuthFilePath string `json:"certAuthFilePath,omitempty"`
	// Namespaces to read. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// AllowCrossNamespace permits references to other namespaces.
	AllowCrossNamespace bool `json:"allowCrossNamespace,omitempty"`
	// AllowExternalNameServices permits services that are just a DNS name.
	AllowExternalNameServices bool `json:"allowExternalNameServices,omitempty"`
	// CrossProviderNamespaces may refer to other providers. Absent: all; empty list: none.
	CrossProviderNamespaces []string `json:"crossProviderNamespaces,omitempty"`
	// LabelSelector selects resources.
	LabelSelector string `json:"labelSelector,omitempty"`
	// IngressClass selects resources.
	IngressClass string `json:"ingressClass,omitempty"`
	// ThrottleDuration is the least time between two changes. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
	// AllowEmptyServices keeps services without endpoints.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
	// NativeLBByDefault sends to the service's own address.
	NativeLBByDefault bool `json:"nativeLBByDefault,omitempty"`
	// DisableClusterScopeResources reads nothing that has no namespace.
	DisableClusterScopeResources bool `json:"disableClusterScopeResources,omitempty"`
}

// KubernetesIngress reads Ingress resources.
type KubernetesIngress struct {
	// Endpoint is the API server's URL. Empty: that of the cluster around us.
	Endpoint string `json:"endpoint,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// CertAuthFilePath is the path of the API server's authority.
	CertAuthFilePath string `json:"certAuthFilePath,omitempty"`
	// Namespaces to read. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// LabelSelector selects resources.
	LabelSelector string `json:"labelSelector,omitempty"`
	// IngressClass selects resources.
	IngressClass string `json:"ingressClass,omitempty"`
	// IngressEndpoint is what is written into the status of resources.
	IngressEndpoint *IngressEndpoint `json:"ingressEndpoint,omitempty"`
	// ThrottleDuration is the least time between two changes. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
	// AllowEmptyServices keeps services without endpoints.
	AllowEmptyServices bool `json:"allowEmptyServices,omitempty"`
	// AllowExternalNameServices permits services that are just a DNS name.
	AllowExternalNameServices bool `json:"allowExternalNameServices,omitempty"`
	// CrossProviderNamespaces may refer to other providers. Absent: all; empty list: none.
	CrossProviderNamespaces []string `json:"crossProviderNamespaces,omitempty"`
	// DisableIngressClassLookup reads no IngressClass resources. Deprecated.
	DisableIngressClassLookup bool `json:"disableIngressClassLookup,omitempty"`
	// DisableClusterScopeResources reads nothing that has no namespace.
	DisableClusterScopeResources bool `json:"disableClusterScopeResources,omitempty"`
	// NativeLBByDefault sends to the service's own address.
	NativeLBByDefault bool `json:"nativeLBByDefault,omitempty"`
	// StrictPrefixMatching matches prefixes by whole segments.
	StrictPrefixMatching bool `json:"strictPrefixMatching,omitempty"`
	// ReportNodeInternalIPs writes the nodes' addresses into the status of resources.
	ReportNodeInternalIPs bool `json:"reportNodeInternalIPs,omitempty"`
}

// IngressEndpoint is what is written into the status of Ingress resources.
type IngressEndpoint struct {
	// IP address.
	IP string `json:"ip,omitempty"`
	// Hostname is a name instead.
	Hostname string `json:"hostname,omitempty"`
	// PublishedService is namespace/name of a service whose status is copied.
	PublishedService string `json:"publishedService,omitempty"`
}

// KubernetesGateway reads Gateway API resources.
type KubernetesGateway struct {
	// Endpoint is the API server's URL. Empty: that of the cluster around us.
	Endpoint string `json:"endpoint,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// CertAuthFilePath is the path of the API server's authority.
	CertAuthFilePath string `json:"certAuthFilePath,omitempty"`
	// QPS bounds the requests per second to the API server. Default 50.
	QPS int `json:"qps,omitempty"`
	// Burst bounds the requests at once to the API server. Default 100.
	Burst int `json:"burst,omitempty"`
	// Namespaces to read. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// LabelSelector selects gateway classes.
	LabelSelector string `json:"labelSelector,omitempty"`
	// ThrottleDuration is the least time between two changes. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
	// ExperimentalChannel reads resources of the experimental channel.
	ExperimentalChannel bool `json:"experimentalChannel,omitempty"`
	// StatusAddress is what is written into the status of gateways.
	StatusAddress *StatusAddress `json:"statusAddress,omitempty"`
	// NativeLBByDefault sends to the service's own address.
	NativeLBByDefault bool `json:"nativeLBByDefault,omitempty"`
	// CrossProviderNamespaces may refer to other providers. Absent: all; empty list: none.
	CrossProviderNamespaces []string `json:"crossProviderNamespaces,omitempty"`
}

// SetDefaults sets qps 50 and burst 100.
func (k *KubernetesGateway) SetDefaults() {
	k.QPS = 50
	k.Burst = 100
}

// StatusAddress is what is written into the status of gateways.
type StatusAddress struct {
	// IP address.
	IP string `json:"ip,omitempty"`
	// Hostname is a name instead.
	Hostname string `json:"hostname,omitempty"`
	// Service is a service whose status is copied.
	Service *ServiceRef `json:"service,omitempty"`
}

// ServiceRef names a Kubernetes service.
type ServiceRef struct {
	// Name of the service.
	Name string `json:"name,omitempty"`
	// Namespace of the service.
	Namespace string `json:"namespace,omitempty"`
}

// KubernetesIngressNGINX reads Ingress resources with the annotations of ingress-nginx. Its timeouts are whole seconds.
type KubernetesIngressNGINX struct {
	// Endpoint is the API server's URL. Empty: that of the cluster around us.
	Endpoint string `json:"endpoint,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// CertAuthFilePath is the path of the API server's authority.
	CertAuthFilePath string `json:"certAuthFilePath,omitempty"`
	// ThrottleDuration is the least time between two changes. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
	// GlobalAuthURL is asked about every request.
	GlobalAuthURL string `json:"globalAuthURL,omitempty"`
	// WatchNamespace to read. Empty: all. Excludes WatchNamespaceSelector.
	WatchNamespace string `json:"watchNamespace,omitempty"`
	// WatchNamespaceSelector selects namespaces by label.
	WatchNamespaceSelector string `json:"watchNamespaceSelector,omitempty"`
	// IngressClass that is ours. Default nginx.
	IngressClass string `json:"ingressClass,omitempty"`
	// ControllerClass that is ours. Default k8s.io/ingress-nginx.
	ControllerClass string `json:"controllerClass,omitempty"`
	// WatchIngressWithoutClass reads resources that name no class.
	WatchIngressWithoutClass bool `json:"watchIngressWithoutClass,omitempty"`
	// IngressClassByName compares the class by name as well.
	IngressClassByName bool `json:"ingressClassByName,omitempty"`
	// PublishService is namespace/name of a service whose status is copied.
	PublishService string `json:"publishService,omitempty"`
	// PublishStatusAddress is written into the status of resources.
	PublishStatusAddress []string `json:"publishStatusAddress,omitempty"`
	// DefaultBackendService is namespace/name of the service for everything else.
	DefaultBackendService string `json:"defaultBackendService,omitempty"`
	// DisableSvcExternalName forbids services that are just a DNS name.
	DisableSvcExternalName bool `json:"disableSvcExternalName,omitempty"`
	// IPAllowListStrategy says which address is the client's in allow lists.
	IPAllowListStrategy *dynamic.IPStrategy `json:"ipAllowListStrategy,omitempty"`
	// HTTPEntryPoint is the entry point for plain requests.
	HTTPEntryPoint string `json:"httpEntryPoint,omitempty"`
	// HTTPSEntryPoint is the entry point for requests over TLS.
	HTTPSEntryPoint string `json:"httpsEntryPoint,omitempty"`
	// ProxyRequestBuffering reads whole request bodies first.
	ProxyRequestBuffering bool `json:"proxyRequestBuffering,omitempty"`
	// ClientBodyBufferSize in bytes. Default 16384.
	ClientBodyBufferSize int64 `json:"clientBodyBufferSize,omitempty"`
	// ProxyBodySize in bytes. Default 1048576.
	ProxyBodySize int64 `json:"proxyBodySize,omitempty"`
	// ProxyBuffering reads whole response bodies first.
	ProxyBuffering bool `json:"proxyBuffering,omitempty"`
	// ProxyBufferSize in bytes. Default 8192.
	ProxyBufferSize int64 `json:"proxyBufferSize,omitempty"`
	// ProxyBuffersNumber of buffers. Default 4.
	ProxyBuffersNumber int `json:"proxyBuffersNumber,omitempty"`
	// ProxyConnectTimeout in seconds. Default 60.
	ProxyConnectTimeout int `json:"proxyConnectTimeout,omitempty"`
	// ProxyReadTimeout in seconds. Default 60.
	ProxyReadTimeout int `json:"proxyReadTimeout,omitempty"`
	// ProxySendTimeout in seconds. Default 60.
	ProxySendTimeout int `json:"proxySendTimeout,omitempty"`
	// ProxyNextUpstream lists what sends a request to the next server. Default "error timeout".
	ProxyNextUpstream string `json:"proxyNextUpstream,omitempty"`
	// ProxyNextUpstreamTries of one request. Default 3.
	ProxyNextUpstreamTries int `json:"proxyNextUpstreamTries,omitempty"`
	// ProxyNextUpstreamTimeout in seconds. Zero: none. Default 0.
	ProxyNextUpstreamTimeout int `json:"proxyNextUpstreamTimeout,omitempty"`
	// CustomHTTPErrors are status codes whose answers come from the default backend.
	CustomHTTPErrors []string `json:"customHTTPErrors,omitempty"`
	// UpstreamKeepaliveTimeout in seconds. Default 60.
	UpstreamKeepaliveTimeout int `json:"upstreamKeepaliveTimeout,omitempty"`
	// AllowCrossNamespaceResources permits references to other namespaces.
	AllowCrossNamespaceResources bool `json:"allowCrossNamespaceResources,omitempty"`
	// GlobalAllowedResponseHeaders may be set by annotations.
	GlobalAllowedResponseHeaders []string `json:"globalAllowedResponseHeaders,omitempty"`
	// AllowSnippetAnnotations permits snippets.
	AllowSnippetAnnotations bool `json:"allowSnippetAnnotations,omitempty"`
	// StrictValidatePathType checks paths against their type. Default true.
	StrictValidatePathType bool `json:"strictValidatePathType,omitempty"`
}

// SetDefaults sets every option that has a default.
func (k *KubernetesIngressNGINX) SetDefaults() {
	k.IngressClass = "nginx"
	k.ControllerClass = "k8s.io/ingress-nginx"
	k.ClientBodyBufferSize = 16384
	k.ProxyBodySize = 1048576
	k.ProxyBufferSize = 8192
	k.ProxyBuffersNumber = 4
	k.ProxyConnectTimeout = 60
	k.ProxyReadTimeout = 60
	k.ProxySendTimeout = 60
	k.ProxyNextUpstream = "error timeout"
	k.ProxyNextUpstreamTries = 3
	k.UpstreamKeepaliveTimeout = 60
	k.StrictValidatePathType = true
}

// Knative reads Knative resources. It needs experimental.knative.
type Knative struct {
	// Endpoint is the API server's URL. Empty: that of the cluster around us.
	Endpoint string `json:"endpoint,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// CertAuthFilePath is the path of the API server's authority.
	CertAuthFilePath string `json:"certAuthFilePath,omitempty"`
	// Namespaces to read. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// LabelSelector selects resources.
	LabelSelector string `json:"labelSelector,omitempty"`
	// PublicEntrypoints are the entry points of public services.
	PublicEntrypoints []string `json:"publicEntrypoints,omitempty"`
	// PublicService is the service in front of PublicEntrypoints.
	PublicService *ServiceRef `json:"publicService,omitempty"`
	// PrivateEntrypoints are the entry points of cluster-local services.
	PrivateEntrypoints []string `json:"privateEntrypoints,omitempty"`
	// PrivateService is the service in front of PrivateEntrypoints.
	PrivateService *ServiceRef `json:"privateService,omitempty"`
	// ThrottleDuration is the least time between two changes. Default 0.
	ThrottleDuration dynamic.Duration `json:"throttleDuration,omitempty"`
}

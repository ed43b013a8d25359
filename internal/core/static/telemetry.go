package static

import "sluice/internal/core/dynamic"

// serviceName is what we call ourselves towards collectors, as users' queries expect.
const serviceName = "traefik"

// OTLPGRPC sends to a collector by gRPC.
type OTLPGRPC struct {
	// Endpoint is host:port. Default localhost:4317.
	Endpoint string `json:"endpoint,omitempty"`
	// Insecure sends in clear text. Excludes TLS.
	Insecure bool `json:"insecure,omitempty"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// Headers are added to each call.
	Headers map[string]string `json:"headers,omitempty"`
}

// SetDefaults sets the endpoint.
func (o *OTLPGRPC) SetDefaults() { o.Endpoint = "localhost:4317" }

// OTLPHTTP sends to a collector by HTTP.
type OTLPHTTP struct {
	// Endpoint is a URL; with scheme http it is clear text. Default https://localhost:4318.
	Endpoint string `json:"endpoint,omitempty"`
	// TLS is how we connect.
	TLS *dynamic.ClientTLS `json:"tls,omitempty"`
	// Headers are added to each request.
	Headers map[string]string `json:"headers,omitempty"`
}

// SetDefaults sets the endpoint.
func (o *OTLPHTTP) SetDefaults() { o.Endpoint = "https://localhost:4318" }

// OTLPLog sends log records to a collector.
type OTLPLog struct {
	// ServiceName that records carry. Default traefik.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes that records carry.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
	// GRPC sends by gRPC; it wins over HTTP.
	GRPC *OTLPGRPC `json:"grpc,omitempty" sluice:"section"`
	// HTTP sends by HTTP.
	HTTP *OTLPHTTP `json:"http,omitempty" sluice:"section"`
}

// SetDefaults sets serviceName and http with its default.
func (o *OTLPLog) SetDefaults() {
	o.ServiceName = serviceName
	o.HTTP = &OTLPHTTP{}
	o.HTTP.SetDefaults()
}

// Metrics says which metrics are kept and where they go. Several kinds may be set.
type Metrics struct {
	// AddInternals counts requests to internal services as well.
	AddInternals bool `json:"addInternals,omitempty"`
	// Prometheus serves them to be fetched.
	Prometheus *Prometheus `json:"prometheus,omitempty" sluice:"section"`
	// Datadog sends them to a Datadog agent.
	Datadog *Datadog `json:"datadog,omitempty" sluice:"section"`
	// StatsD sends them to a StatsD server.
	StatsD *StatsD `json:"statsD,omitempty" sluice:"section"`
	// InfluxDB2 sends them to an InfluxDB server.
	InfluxDB2 *InfluxDB2 `json:"influxDB2,omitempty" sluice:"section"`
	// OTLP sends them to a collector.
	OTLP *OTLPMetrics `json:"otlp,omitempty" sluice:"section"`
}

// Prometheus serves metrics to be fetched.
type Prometheus struct {
	// Buckets of duration histograms, in seconds. Default 0.1, 0.3, 1.2, 5.
	Buckets []float64 `json:"buckets,omitempty"`
	// AddEntryPointsLabels keeps metrics per entry point. Default true.
	AddEntryPointsLabels bool `json:"addEntryPointsLabels,omitempty"`
	// AddRoutersLabels keeps metrics per router.
	AddRoutersLabels bool `json:"addRoutersLabels,omitempty"`
	// AddServicesLabels keeps metrics per service. Default true.
	AddServicesLabels bool `json:"addServicesLabels,omitempty"`
	// EntryPoint they are served on. Default traefik.
	EntryPoint string `json:"entryPoint,omitempty"`
	// ManualRouting makes no router; users route to prometheus@internal themselves.
	ManualRouting bool `json:"manualRouting,omitempty"`
	// HeaderLabels adds labels to request counters, each with the request header that it shows.
	HeaderLabels map[string]string `json:"headerLabels,omitempty"`
}

// SetDefaults sets buckets, the entry point, and labels of entry points and services.
func (p *Prometheus) SetDefaults() {
	p.Buckets = []float64{0.1, 0.3, 1.2, 5}
	p.AddEntryPointsLabels = true
	p.AddServicesLabels = true
	p.EntryPoint = InternalEntryPoint
}

// Datadog sends metrics to a Datadog agent.
type Datadog struct {
	// Address is host:port, or a unix://, unixgram:// or unixstream:// path. Default localhost:8125; the environment's
	// DD_AGENT_HOST and DD_DOGSTATSD_PORT replace the default.
	Address string `json:"address,omitempty"`
	// PushInterval between sendings. Default 10s.
	PushInterval dynamic.Duration `json:"pushInterval,omitempty"`
	// AddEntryPointsLabels keeps metrics per entry point. Default true.
	AddEntryPointsLabels bool `json:"addEntryPointsLabels,omitempty"`
	// AddRoutersLabels keeps metrics per router.
	AddRoutersLabels bool `json:"addRoutersLabels,omitempty"`
	// AddServicesLabels keeps metrics per service. Default true.
	AddServicesLabels bool `json:"addServicesLabels,omitempty"`
	// Prefix of names. Default traefik.
	Prefix string `json:"prefix,omitempty"`
}

// SetDefaults sets interval, prefix, and labels of entry points and services. The address stays empty, since its
// default depends on the environment.
func (d *Datadog) SetDefaults() {
	d.PushInterval = dynamic.Seconds(10)
	d.AddEntryPointsLabels = true
	d.AddServicesLabels = true
	d.Prefix = serviceName
}

// DefaultStatsDAddress is where a Datadog agent or StatsD server is looked for.
const DefaultStatsDAddress = "localhost:8125"

// StatsD sends metrics to a StatsD server.
type StatsD struct {
	// Address is host:port. Default localhost:8125.
	Address string `json:"address,omitempty"`
	// PushInterval between sendings. Default 10s.
	PushInterval dynamic.Duration `json:"pushInterval,omitempty"`
	// AddEntryPointsLabels keeps metrics per entry point. Default true.
	AddEntryPointsLabels bool `json:"addEntryPointsLabels,omitempty"`
	// AddRoutersLabels keeps metrics per router.
	AddRoutersLabels bool `json:"addRoutersLabels,omitempty"`
	// AddServicesLabels keeps metrics per service. Default true.
	AddServicesLabels bool `json:"addServicesLabels,omitempty"`
	// Prefix of names. Default traefik.
	Prefix string `json:"prefix,omitempty"`
}

// SetDefaults sets address, interval, prefix, and labels of entry points and services.
func (s *StatsD) SetDefaults() {
	s.Address = DefaultStatsDAddress
	s.PushInterval = dynamic.Seconds(10)
	s.AddEntryPointsLabels = true
	s.AddServicesLabels = true
	s.Prefix = serviceName
}

// InfluxDB2 sends metrics to an InfluxDB server of version 2.
type InfluxDB2 struct {
	// Address is a URL. Default http://localhost:8086.
	Address string `json:"address,omitempty"`
	// Token to log in with: path or content.
	Token dynamic.Material `json:"token,omitzero"`
	// PushInterval between sendings. Default 10s.
	PushInterval dynamic.Duration `json:"pushInterval,omitempty"`
	// Org is the organization.
	Org string `json:"org,omitempty"`
	// Bucket to write to.
	Bucket string `json:"bucket,omitempty"`
	// AddEntryPointsLabels keeps metrics per entry point. Default true.
	AddEntryPointsLabels bool `json:"addEntryPointsLabels,omitempty"`
	// AddRoutersLabels keeps metrics per router.
	AddRoutersLabels bool `json:"addRoutersLabels,omitempty"`
	// AddServicesLabels keeps metrics per service. Default true.
	AddServicesLabels bool `json:"addServicesLabels,omitempty"`
	// AdditionalLabels that every metric carries.
	AdditionalLabels map[string]string `json:"additionalLabels,omitempty"`
}

// SetDefaults sets address, interval, and labels of entry points and services.
func (i *InfluxDB2) SetDefaults() {
	i.Address = "http://localhost:8086"
	i.PushInterval = dynamic.Seconds(10)
	i.AddEntryPointsLabels = true
	i.AddServicesLabels = true
}

// OTLPMetrics sends metrics to a collector.
type OTLPMetrics struct {
	// GRPC sends by gRPC; it wins over HTTP.
	GRPC *OTLPGRPC `json:"grpc,omitempty" sluice:"section"`
	// HTTP sends by HTTP.
	HTTP *OTLPHTTP `json:"http,omitempty" sluice:"section"`
	// AddEntryPointsLabels keeps metrics per entry point. Default true.
	AddEntryPointsLabels bool `json:"addEntryPointsLabels,omitempty"`
	// AddRoutersLabels keeps metrics per router.
	AddRoutersLabels bool `json:"addRoutersLabels,omitempty"`
	// AddServicesLabels keeps metrics per service. Default true.
	AddServicesLabels bool `json:"addServicesLabels,omitempty"`
	// ExplicitBoundaries of duration histograms, in seconds. Default 5ms to 10s in 14 steps.
	ExplicitBoundaries []float64 `json:"explicitBoundaries,omitempty"`
	// PushInterval between sendings. Default 10s.
	PushInterval dynamic.Duration `json:"pushInterval,omitempty"`
	// ServiceName that metrics carry. Default traefik.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes that metrics carry.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
}

// SetDefaults sets every option but grpc, the labels of routers and the attributes.
func (o *OTLPMetrics) SetDefaults() {
	o.HTTP = &OTLPHTTP{}
	o.HTTP.SetDefaults()
	o.AddEntryPointsLabels = true
	o.AddServicesLabels = true
	o.ExplicitBoundaries = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	o.PushInterval = dynamic.Seconds(10)
	o.ServiceName = serviceName
}

// Tracing makes traces of requests.
type Tracing struct {
	// ServiceName that traces carry. Default traefik.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes that traces carry.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
	// GlobalAttributes is the older name of ResourceAttributes. Deprecated.
	GlobalAttributes map[string]string `json:"globalAttributes,omitempty"`
	// CapturedRequestHeaders are written into spans.
	CapturedRequestHeaders []string `json:"capturedRequestHeaders,omitempty"`
	// CapturedResponseHeaders are written into spans.
	CapturedResponseHeaders []string `json:"capturedResponseHeaders,omitempty"`
	// SafeQueryParams are the query parameters whose values are written; others are redacted.
	SafeQueryParams []string `json:"safeQueryParams,omitempty"`
	// SampleRate is the share of requests traced, 0 to 1, where the client did not decide. Default 1.
	SampleRate float64 `json:"sampleRate,omitempty"`
	// AddInternals traces requests to internal services as well.
	AddInternals bool `json:"addInternals,omitempty"`
	// OTLP is where traces go.
	OTLP *OTLPTracing `json:"otlp,omitempty" sluice:"section"`
}

// SetDefaults sets serviceName, sampleRate 1 and otlp with its defaults.
func (t *Tracing) SetDefaults() {
	t.ServiceName = serviceName
	t.SampleRate = 1
	t.OTLP = &OTLPTracing{}
	t.OTLP.SetDefaults()
}

// OTLPTracing sends traces to a collector.
type OTLPTracing struct {
	// GRPC sends by gRPC; it wins over HTTP.
	GRPC *OTLPGRPC `json:"grpc,omitempty" sluice:"section"`
	// HTTP sends by HTTP.
	HTTP *OTLPHTTP `json:"http,omitempty" sluice:"section"`
}

// SetDefaults sets http with its default.
func (o *OTLPTracing) SetDefaults() {
	o.HTTP = &OTLPHTTP{}
	o.HTTP.SetDefaults()
}

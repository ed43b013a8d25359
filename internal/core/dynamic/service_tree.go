package dynamic

// Weighted spreads requests over services in proportion to their weights.
type Weighted struct {
	// Services are the children.
	Services []*WeightedChild `json:"services,omitempty"`
	// Sticky makes a client come back to the same child.
	Sticky *Sticky `json:"sticky,omitempty"`
	// HealthCheck present makes health follow the children.
	HealthCheck *HealthMarker `json:"healthCheck,omitempty" sluice:"section"`
}

// WeightedChild is a child of Weighted or HighestRandomWeight.
type WeightedChild struct {
	// Name of the service.
	Name string `json:"name,omitempty"`
	// Weight is its share. Unset: 1. Zero or less leaves it out.
	Weight *int `json:"weight,omitempty"`
}

// SetDefaults sets weight 1.
func (w *WeightedChild) SetDefaults() { w.Weight = new(1) }

// Share returns the weight: 1 where none is set, 0 where the child is left out.
func (w *WeightedChild) Share() int { return share(w.Weight) }

func share(weight *int) int {
	if weight == nil {
		return 1
	}
	return max(*weight, 0)
}

// HighestRandomWeight spreads clients over services by rendezvous hashing of the peer's address.
type HighestRandomWeight struct {
	// Services are the children.
	Services []*WeightedChild `json:"services,omitempty"`
	// HealthCheck present makes health follow the children.
	HealthCheck *HealthMarker `json:"healthCheck,omitempty" sluice:"section"`
}

// Mirroring sends requests to a main service and copies a share of them to mirrors, whose answers are dropped.
type Mirroring struct {
	// Service is the main one. Required.
	Service string `json:"service,omitempty"`
	// MirrorBody gives mirrors the request body. Unset: true.
	MirrorBody *bool `json:"mirrorBody,omitempty"`
	// MaxBodySize in bytes; a request with a larger body is not mirrored. Unset or -1: unlimited.
	MaxBodySize *int64 `json:"maxBodySize,omitempty"`
	// Mirrors get the copies.
	Mirrors []*Mirror `json:"mirrors,omitempty"`
	// HealthCheck present makes health follow the main service.
	HealthCheck *HealthMarker `json:"healthCheck,omitempty" sluice:"section"`
}

// SetDefaults sets mirrorBody true and maxBodySize -1.
func (m *Mirroring) SetDefaults() {
	m.MirrorBody = new(true)
	m.MaxBodySize = new(int64(-1))
}

// Mirror is a service that gets copies of requests.
type Mirror struct {
	// Name of the service.
	Name string `json:"name,omitempty"`
	// Percent of the requests, 0 to 100. Default 0.
	Percent int `json:"percent,omitempty"`
}

// Failover uses a second service while the first one is down or answers with listed statuses.
type Failover struct {
	// Service is the main one. Required.
	Service string `json:"service,omitempty"`
	// Fallback is the second one. Required.
	Fallback string `json:"fallback,omitempty"`
	// HealthCheck present makes health follow both.
	HealthCheck *HealthMarker `json:"healthCheck,omitempty" sluice:"section"`
	// Errors lists answers of the main service that send the request on to the fallback.
	Errors *FailoverErrors `json:"errors,omitempty"`
}

// FailoverErrors lists the answers that count as failure.
type FailoverErrors struct {
	// Status holds codes (503) and inclusive ranges (500-504).
	Status []string `json:"status,omitempty"`
	// MaxRequestBodyBytes bounds the body that is kept for the second try; a larger one gets 413. Unset or -1:
	// unlimited.
	MaxRequestBodyBytes *int64 `json:"maxRequestBodyBytes,omitempty"`
}

// SetDefaults sets maxRequestBodyBytes -1.
func (f *FailoverErrors) SetDefaults() { f.MaxRequestBodyBytes = new(int64(-1)) }

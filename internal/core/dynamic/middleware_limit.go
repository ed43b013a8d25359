package dynamic

import "sluice/internal/core/secret"

// SourceCriterion says what makes requests belong together. At most one of its ways may be set.
type SourceCriterion struct {
	// IPStrategy takes the client's address.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty"`
	// RequestHeaderName takes the first value of that header.
	RequestHeaderName string `json:"requestHeaderName,omitempty"`
	// RequestHost takes the requested host with its port.
	RequestHost bool `json:"requestHost,omitempty"`
}

// IPStrategy says which address is the client's. Empty: the peer's.
type IPStrategy struct {
	// Depth takes the n-th entry of X-Forwarded-For from the right. Zero: not used.
	Depth int `json:"depth,omitempty"`
	// ExcludedIPs takes the first entry of X-Forwarded-For from the right that is not in this list of addresses and CIDR
	// blocks. Ignored where Depth is set.
	ExcludedIPs []string `json:"excludedIPs,omitempty"`
	// IPv6Subnet is the prefix length, 1 to 128, to which IPv6 addresses are cut. Unset: not cut.
	IPv6Subnet *int `json:"ipv6Subnet,omitempty"`
}

// IPAllowList accepts listed clients only.
type IPAllowList struct {
	// SourceRange holds addresses and CIDR blocks. Required.
	SourceRange []string `json:"sourceRange,omitempty"`
	// IPStrategy says which address is the client's. Absent: the peer's.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty" sluice:"section"`
	// RejectStatusCode is what others get. Default 403.
	RejectStatusCode int `json:"rejectStatusCode,omitempty"`
}

// SetDefaults sets rejectStatusCode 403.
func (l *IPAllowList) SetDefaults() { l.RejectStatusCode = 403 }

// IPWhiteList is the older form of IPAllowList; it refuses with 403.
type IPWhiteList struct {
	// SourceRange holds addresses and CIDR blocks. Required.
	SourceRange []string `json:"sourceRange,omitempty"`
	// IPStrategy says which address is the client's. Absent: the peer's.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty" sluice:"section"`
}

// InFlightReq bounds the simultaneous requests of a source.
type InFlightReq struct {
	// Amount of requests. Zero or less refuses all.
	Amount int64 `json:"amount,omitempty"`
	// SourceCriterion says what makes requests belong together. Absent: the requested host.
	SourceCriterion *SourceCriterion `json:"sourceCriterion,omitempty"`
}

// RateLimit bounds the requests of a source by a token bucket.
type RateLimit struct {
	// Average is the number of requests per Period. Zero: no limit.
	Average int64 `json:"average,omitempty"`
	// Period belongs to Average. Zero: 1s. Default 1s.
	Period Duration `json:"period,omitempty"`
	// Burst is the size of the bucket. Less than 1 counts as 1. Default 1.
	Burst int64 `json:"burst,omitempty"`
	// SourceCriterion says what makes requests belong together. Absent: the peer's address.
	SourceCriterion *SourceCriterion `json:"sourceCriterion,omitempty"`
	// Redis keeps the buckets in a store that several instances share. Absent: in memory.
	Redis *Redis `json:"redis,omitempty"`
}

// SetDefaults sets period 1s and burst 1.
func (r *RateLimit) SetDefaults() {
	r.Period = Seconds(1)
	r.Burst = 1
}

// Redis is how to reach the store of a rate limit.
type Redis struct {
	// Endpoints are host:port; several make a cluster. Default localhost:6379.
	Endpoints []string `json:"endpoints,omitempty"`
	// TLS is how we connect to them. Absent: in clear text.
	TLS *ClientTLS `json:"tls,omitempty"`
	// Username to log in with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in with. Empty: none.
	Password secret.String `json:"password,omitzero"`
	// DB is the number of the database.
	DB int `json:"db,omitempty"`
	// PoolSize is the number of connections. Zero: ten per CPU.
	PoolSize int `json:"poolSize,omitempty"`
	// MinIdleConns are kept open while idle.
	MinIdleConns int `json:"minIdleConns,omitempty"`
	// MaxActiveConns bounds the connections in use. Zero: unbounded.
	MaxActiveConns int `json:"maxActiveConns,omitempty"`
	// ReadTimeout of an answer. Zero or less: none. Default 3s.
	ReadTimeout Duration `json:"readTimeout,omitempty"`
	// WriteTimeout of a command. Zero or less: none. Default 3s.
	WriteTimeout Duration `json:"writeTimeout,omitempty"`
	// DialTimeout of connecting. Default 5s.
	DialTimeout Duration `json:"dialTimeout,omitempty"`
}

// SetDefaults sets the endpoint and the timeouts.
func (r *Redis) SetDefaults() {
	r.Endpoints = []string{"localhost:6379"}
	r.ReadTimeout = Seconds(3)
	r.WriteTimeout = Seconds(3)
	r.DialTimeout = Seconds(5)
}

// DistributedRateLimit bounds the requests of a source over all instances together.
type DistributedRateLimit struct {
	// Limit is the number of requests per Period. Zero: no limit.
	Limit int64 `json:"limit,omitempty"`
	// Period belongs to Limit. Default 1s.
	Period Duration `json:"period,omitempty"`
	// Burst is the size of the bucket. Default 1.
	Burst int64 `json:"burst,omitempty"`
	// DenyOnError refuses requests while the store cannot be asked. Unset: true.
	DenyOnError *bool `json:"denyOnError,omitempty"`
	// ResponseHeaders tells the client what is left.
	ResponseHeaders bool `json:"responseHeaders,omitempty"`
	// SourceCriterion says what makes requests belong together. Absent: the peer's address.
	SourceCriterion *SourceCriterion `json:"sourceCriterion,omitempty"`
	// Store is where the buckets are. Required.
	Store *RateStore `json:"store,omitempty"`
}

// SetDefaults sets period 1s, burst 1 and denyOnError true.
func (d *DistributedRateLimit) SetDefaults() {
	d.Period = Seconds(1)
	d.Burst = 1
	d.DenyOnError = new(true)
}

// RateStore is where a distributed rate limit keeps its buckets.
type RateStore struct {
	// Redis is the only kind of store.
	Redis *RedisStore `json:"redis,omitempty"`
}

// RedisStore is a Redis server, cluster or sentinel group that keeps state of middlewares.
type RedisStore struct {
	// Endpoints are host:port.
	Endpoints []string `json:"endpoints,omitempty"`
	// Username to log in with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in with. Empty: none.
	Password secret.String `json:"password,omitzero"`
	// Database is the number of the database. Default 0.
	Database int `json:"database,omitempty"`
	// Timeout of a command. Zero: that of the client library.
	Timeout Duration `json:"timeout,omitempty"`
	// Cluster present says that the endpoints are a cluster.
	Cluster *RedisCluster `json:"cluster,omitempty" sluice:"section"`
	// Sentinel present says that the endpoints are sentinels.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`
	// TLS is how we connect. Absent: in clear text.
	TLS *ClientTLS `json:"tls,omitempty"`
}

// RedisCluster marks endpoints as a cluster.
type RedisCluster struct{}

// RedisSentinel says which server the sentinels are asked for.
type RedisSentinel struct {
	// MasterSet is the name of the group.
	MasterSet string `json:"masterSet,omitempty"`
	// Username to log in to the sentinels with. Empty: none.
	Username string `json:"username,omitempty"`
	// Password to log in to the sentinels with. Empty: none.
	Password secret.String `json:"password,omitzero"`
}

package dynamic

// CircuitBreaker stops asking a service that fails.
type CircuitBreaker struct {
	// Expression over failures and latency that trips the breaker. Required.
	Expression string `json:"expression,omitempty"`
	// CheckPeriod is the least time between two evaluations. Default 100ms.
	CheckPeriod Duration `json:"checkPeriod,omitempty"`
	// FallbackDuration is how long a tripped breaker answers by itself. Default 10s.
	FallbackDuration Duration `json:"fallbackDuration,omitempty"`
	// RecoveryDuration is how long the share of requests let through grows afterwards. Default 10s.
	RecoveryDuration Duration `json:"recoveryDuration,omitempty"`
	// ResponseCode of the breaker's own answers. Default 503.
	ResponseCode int `json:"responseCode,omitempty"`
}

// SetDefaults sets the times and responseCode 503.
func (c *CircuitBreaker) SetDefaults() {
	c.CheckPeriod = Milliseconds(100)
	c.FallbackDuration = Seconds(10)
	c.RecoveryDuration = Seconds(10)
	c.ResponseCode = 503
}

// Retry sends a request again that failed.
type Retry struct {
	// Attempts is the number of tries in all. Required; 1 means no second try.
	Attempts int `json:"attempts,omitempty"`
	// InitialInterval before the second try; it grows from there. Zero: at once.
	InitialInterval Duration `json:"initialInterval,omitempty"`
	// Timeout after which no new try begins. Zero: none.
	Timeout Duration `json:"timeout,omitempty"`
	// MaxRequestBodyBytes bounds the body that is kept for tries after a listed status. Unset: 2 MiB; -1: unlimited.
	MaxRequestBodyBytes *int64 `json:"maxRequestBodyBytes,omitempty"`
	// Status holds codes (503) and inclusive ranges (500-504) of answers that are tried again. Empty: none.
	Status []string `json:"status,omitempty"`
	// DisableRetryOnNetworkError tries again after listed statuses only.
	DisableRetryOnNetworkError bool `json:"disableRetryOnNetworkError,omitempty"`
	// RetryNonIdempotentMethod also repeats POST, PATCH and LOCK after a listed status.
	RetryNonIdempotentMethod bool `json:"retryNonIdempotentMethod,omitempty"`
}

// SetDefaults sets maxRequestBodyBytes 2 MiB.
func (r *Retry) SetDefaults() { r.MaxRequestBodyBytes = new(int64(2 << 20)) }

// Errors replaces error answers by pages from a service.
type Errors struct {
	// Status holds codes (500) and inclusive ranges (500-599).
	Status []string `json:"status,omitempty"`
	// StatusRewrites gives codes and ranges another code, by code or range.
	StatusRewrites map[string]int `json:"statusRewrites,omitempty"`
	// Service has the pages. Required.
	Service string `json:"service,omitempty"`
	// Query is the path and query of the page; {status}, {originalStatus} and {url} are replaced. Empty: "/".
	Query string `json:"query,omitempty"`
	// ErrorRequestHeaders are the headers of the request that the page's request gets. Absent: all; empty list: none.
	ErrorRequestHeaders []string `json:"errorRequestHeaders,omitempty"`
}

// Buffering reads whole bodies before passing them on.
type Buffering struct {
	// MaxRequestBodyBytes of a request; a larger one gets 413. Zero: unlimited.
	MaxRequestBodyBytes int64 `json:"maxRequestBodyBytes,omitempty"`
	// MemRequestBodyBytes are kept in memory, the rest in a temporary file. Zero: 1 MiB. Default 1 MiB.
	MemRequestBodyBytes int64 `json:"memRequestBodyBytes,omitempty"`
	// MaxResponseBodyBytes of a response; a larger one becomes 500. Zero: unlimited.
	MaxResponseBodyBytes int64 `json:"maxResponseBodyBytes,omitempty"`
	// MemResponseBodyBytes are kept in memory, the rest in a temporary file. Zero: 1 MiB. Default 1 MiB.
	MemResponseBodyBytes int64 `json:"memResponseBodyBytes,omitempty"`
	// RetryExpression sends the request again while it holds. Empty: never.
	RetryExpression string `json:"retryExpression,omitempty"`
}

// SetDefaults sets both amounts of memory to 1 MiB.
func (b *Buffering) SetDefaults() {
	b.MemRequestBodyBytes = 1 << 20
	b.MemResponseBodyBytes = 1 << 20
}

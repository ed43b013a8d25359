package dynamic

// WAF refuses requests that rules find hostile.
type WAF struct {
	// Directives are rules in the ModSecurity language, in order. They cannot name files, programs or servers.
	Directives []string `json:"directives,omitempty"`
	// CRSEnabled brings the OWASP core rule set: all of it with its recommended settings, behind Directives but before those
	// that change rules (SecRuleRemove..., SecRuleUpdate...); or only what Directives include of it by @owasp_crs/NAME.
	CRSEnabled bool `json:"crsEnabled,omitempty"`
}

// IPBan shuts out clients that cause many errors. Bans are shared by all routers that use the middleware.
type IPBan struct {
	// Status holds codes (404) and inclusive ranges (400-404) of answers that count. Default 401, 403, 404.
	Status []string `json:"status,omitempty"`
	// MaxAttempts is how many such answers within Window bring a ban. Default 20.
	MaxAttempts int `json:"maxAttempts,omitempty"`
	// Window is the time in which answers are counted. Default 1m.
	Window Duration `json:"window,omitempty"`
	// BanDuration is how long the client is shut out. Default 10m.
	BanDuration Duration `json:"banDuration,omitempty"`
	// RejectStatusCode is what a banned client gets. Default 403.
	RejectStatusCode int `json:"rejectStatusCode,omitempty"`
	// ExemptRange holds addresses and CIDR blocks that are never banned.
	ExemptRange []string `json:"exemptRange,omitempty"`
	// IPStrategy says which address is the client's. Absent: the peer's.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty" sluice:"section"`
}

// SetDefaults sets every option but the exempt range and the strategy.
func (b *IPBan) SetDefaults() {
	b.Status = []string{"401", "403", "404"}
	b.MaxAttempts = 20
	b.Window = Seconds(60)
	b.BanDuration = Seconds(600)
	b.RejectStatusCode = 403
}

// Maintenance answers every request with a notice, except those of exempt clients.
type Maintenance struct {
	// Enabled switches it without removing the middleware. Unset: true.
	Enabled *bool `json:"enabled,omitempty"`
	// WhenFile is the path of a file: the notice is given only while it exists. Empty: always.
	WhenFile string `json:"whenFile,omitempty"`
	// Page is the body of the notice: path or content. Empty: the bare status text.
	Page Material `json:"page,omitzero"`
	// ContentType of Page. Default text/html; charset=utf-8.
	ContentType string `json:"contentType,omitempty"`
	// StatusCode of the notice. Default 503.
	StatusCode int `json:"statusCode,omitempty"`
	// RetryAfter is sent as Retry-After, in whole seconds. Zero: not sent.
	RetryAfter Duration `json:"retryAfter,omitempty"`
	// ExemptRange holds addresses and CIDR blocks of clients that pass.
	ExemptRange []string `json:"exemptRange,omitempty"`
	// IPStrategy says which address is the client's. Absent: the peer's.
	IPStrategy *IPStrategy `json:"ipStrategy,omitempty" sluice:"section"`
}

// SetDefaults sets enabled true, statusCode 503 and the content type of HTML.
func (m *Maintenance) SetDefaults() {
	m.Enabled = new(true)
	m.StatusCode = 503
	m.ContentType = "text/html; charset=utf-8"
}

//go:build nowaf

package waf

import (
	"errors"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// errAbsent is why this build has no firewall.
var errAbsent = errors.New("this build of Sluice has no firewall: it was made with the tag nowaf")

func check(c *dynamic.Middleware) diag.List {
	_, l := read(c.WAF)
	l.Add(diag.Finding{Severity: diag.Error, Key: "waf", Code: "NOT-SUPPORTED", Message: errAbsent.Error(),
		Hint: "routers that use it answer 503; use a build without that tag"})
	return l
}

func build(*dynamic.Middleware, middleware.Env, httpmsg.Handler) (httpmsg.Handler, error) {
	return nil, errAbsent
}

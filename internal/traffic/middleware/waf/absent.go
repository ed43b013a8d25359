//go:build nowaf

package waf

import (
	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

func check(c *dynamic.Middleware) diag.List {
	_, l := read(c.WAF)
	l.Add(diag.Finding{Severity: diag.Error, Key: "waf", Code: "NOT-SUPPORTED", Message: errAbsent.Error(),
		Hint: "routers that use it answer 503; use a build without that tag"})
	return l
}

func build(*dynamic.Middleware, middleware.Env, httpmsg.Handler) (httpmsg.Handler, error) {
	return nil, errAbsent
}

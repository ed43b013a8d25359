// Package middleware has the HTTP middlewares and the table that builds them: one row a kind, one file a kind. Heavy ones
// are packages below this one, whose rows the engine adds.
//
// A middleware is a Handler around the next one. It edits the request before it calls next, registers edits of the
// response head with OnCommit, and looks at the response after next has returned, when nothing has been sent yet.
package middleware

import (
	"fmt"
	"log/slog"
	"slices"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// Env is what a middleware may use besides its configuration.
type Env struct {
	// Name is the qualified name of the middleware, for logs and for state shared with other instances.
	Name string
	// Router is the qualified name of the router that this instance stands in.
	Router string
	// Service answers requests of the middleware's own, such as for error pages; nil for kinds that have none.
	Service httpmsg.Handler
	// State keeps what must outlive changes of the configuration, see State. nil keeps nothing.
	State *State
	// Budget accounts for memory that kinds take beyond pooled buffers, such as for buffered bodies; nil has no limit.
	Budget *httpmsg.Budget
	// Log takes what operators should know.
	Log *slog.Logger
}

// Kind is a row of the table.
type Kind struct {
	// Name is the key of the configuration, such as redirectScheme.
	Name string
	// Check reports what is wrong with a configuration, without any I/O. The key of a finding is the path below the
	// middleware, such as redirectScheme.scheme. A finding of severity error means that Build would refuse.
	Check func(c *dynamic.Middleware) diag.List
	// Build makes the handler. It does no I/O and starts no goroutine.
	Build func(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error)
}

// Kinds is a build table. A chain is no row: it is resolved before anything is built.
type Kinds []Kind

// Light returns the rows of this package. The engine adds those of the packages below. Their Build refuses by itself what
// Check finds wrong.
func Light() Kinds {
	kinds := Kinds{
		{"addPrefix", checkAddPrefix, buildAddPrefix},
		{"apiKey", checkAPIKey, buildAPIKey},
		{"basicAuth", checkBasicAuth, buildBasicAuth},
		{"bodyLimit", checkBodyLimit, buildBodyLimit},
		{"contentType", checkContentType, buildContentType},
		{"digestAuth", checkDigestAuth, buildDigestAuth},
		{"encodedCharacters", checkEncodedCharacters, buildEncodedCharacters},
		{"headers", checkHeaders, buildHeaders},
		{"inFlightReq", checkInFlightReq, buildInFlightReq},
		{"ipAllowList", checkIPAllowList, buildIPAllowList},
		{"ipBan", checkIPBan, buildIPBan},
		{"ipWhiteList", checkIPWhiteList, buildIPWhiteList},
		{"maintenance", checkMaintenance, buildMaintenance},
		{"passTLSClientCert", checkPassTLSClientCert, buildPassTLSClientCert},
		{"redirectRegex", checkRedirectRegex, buildRedirectRegex},
		{"redirectScheme", checkRedirectScheme, buildRedirectScheme},
		{"replacePath", checkReplacePath, buildReplacePath},
		{"replacePathRegex", checkReplacePathRegex, buildReplacePathRegex},
		{"stripPrefix", checkStripPrefix, buildStripPrefix},
		{"stripPrefixRegex", checkStripPrefixRegex, buildStripPrefixRegex},
	}
	for i := range kinds {
		kinds[i] = kinds[i].guarded()
	}
	return kinds
}

// guarded returns the row with a Build that asks Check first.
func (k Kind) guarded() Kind {
	build := k.Build
	k.Build = func(c *dynamic.Middleware, env Env, next httpmsg.Handler) (httpmsg.Handler, error) {
		if err := Refusal(k.Check(c)); err != nil {
			return nil, err
		}
		return build(c, env, next)
	}
	return k
}

// Refusal returns the first finding of severity error as an error, nil when there is none.
func Refusal(l diag.List) error {
	for _, f := range l {
		if f.Severity == diag.Error {
			return fmt.Errorf("%s: %s", f.Key, f.Message)
		}
	}
	return nil
}

// Lookup returns the row of a kind, and whether there is one.
func (k Kinds) Lookup(name string) (Kind, bool) {
	i := slices.IndexFunc(k, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return k[i], true
}

// Validate reports what Build would refuse, a kind without a row among it.
func (k Kinds) Validate(name string, c *dynamic.Middleware) diag.List {
	row, ok := k.Lookup(name)
	if !ok {
		return diag.List{{Severity: diag.Error, Key: name, Code: "NOT-SUPPORTED",
			Message: fmt.Sprintf("the middleware type %s is not supported yet", name),
			Hint:    "routers that use it answer 503, so that nothing passes unprotected"}}
	}
	return row.Check(c)
}

// Bad is the finding for a value that cannot be used; key is the path below the middleware.
func Bad(key, message, hint string) diag.Finding {
	return diag.Finding{Severity: diag.Error, Key: key, Code: "BAD-VALUE", Message: message, Hint: hint}
}

// Odd is the finding for a value that is used and probably does not do what its author meant.
func Odd(key, message, hint string) diag.Finding {
	return diag.Finding{Severity: diag.Warning, Key: key, Code: "ODD-VALUE", Message: message, Hint: hint}
}

// live returns the value that env keeps under key over changes of the configuration.
func live[T any](env Env, key string, make func() T) T {
	if env.State == nil {
		return make()
	}
	return env.State.Keep(key, func() any { return make() }).(T)
}

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
	// State keeps what must outlive changes of the configuration, see State.
	State *State
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

// Light returns the rows of this package. The engine adds those of the packages below.
func Light() Kinds {
	return Kinds{
		{"redirectScheme", checkRedirectScheme, buildRedirectScheme},
	}
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

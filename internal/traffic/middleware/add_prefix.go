package middleware

import (
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// addPrefix puts a prefix in front of the path.
type addPrefix struct {
	prefix string // escaped, begins with a slash and does not end in one
	next   httpmsg.Handler
}

func checkAddPrefix(c *dynamic.Middleware) diag.List {
	var l diag.List
	const key = "addPrefix.prefix"
	p := c.AddPrefix.Prefix
	switch {
	case p == "":
		l.Add(Bad(key, "prefix is empty", `write the part to put in front, such as "/app"`))
	case !isNormal([]byte(escapedPrefix(p) + "/")):
		l.Add(Bad(key, "the prefix has an empty or a dot segment", "write the path that it leads to"))
	case len(p) > 1 && strings.HasSuffix(p, "/"):
		l.Add(Odd(key, "the last slash of the prefix is left out, since the path begins with one", "remove it"))
	}
	return l
}

// escapedPrefix returns the prefix as it stands in a path: its text is literal.
func escapedPrefix(text string) string {
	b, _ := appendPath([]byte{'/'}, strings.TrimPrefix(text, "/"), true) // literal text has no broken codes
	return strings.TrimSuffix(string(b), "/")
}

func buildAddPrefix(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	prefix := escapedPrefix(c.AddPrefix.Prefix)
	if prefix == "" {
		return next, nil
	}
	return &addPrefix{prefix: prefix, next: next}, nil
}

// Serve joins prefix and path.
func (a *addPrefix) Serve(x *httpmsg.Exchange) error {
	if star(x) {
		return a.next.Serve(x)
	}
	p := append(x.Scratch(len(a.prefix) + len(x.Req.Path))[:0], a.prefix...)
	if err := setPath(x, append(p, x.Req.Path...)); err != nil {
		return err
	}
	return a.next.Serve(x)
}

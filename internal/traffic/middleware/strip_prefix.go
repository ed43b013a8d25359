package middleware

import (
	"fmt"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// stripPrefix takes the first of its prefixes that the path begins with off the path. Prefixes are compared with the path
// as rules see it, so that the text of a PathPrefix can be used again.
type stripPrefix struct {
	prefixes []string
	next     httpmsg.Handler
}

func checkStripPrefix(c *dynamic.Middleware) diag.List {
	var l diag.List
	s := c.StripPrefix
	if len(s.Prefixes) == 0 {
		l.Add(Odd("stripPrefix.prefixes", "no prefix is given, so the middleware does nothing", ""))
	}
	for i, p := range s.Prefixes {
		key := fmt.Sprintf("stripPrefix.prefixes[%d]", i)
		switch {
		case p == "":
			l.Add(Odd(key, "an empty prefix takes nothing off, and the prefixes behind it are never tried", "remove it"))
		case p[0] != '/':
			l.Add(Odd(key, fmt.Sprintf("%q does not begin with a slash, so no path begins with it", p), "begin it with a slash"))
		}
		for j, earlier := range s.Prefixes[:i] {
			if earlier != "" && strings.HasPrefix(p, earlier) {
				l.Add(Odd(key, fmt.Sprintf("%q is never used: stripPrefix.prefixes[%d] comes first", p, j), "put the longer prefix first"))
				break
			}
		}
	}
	if s.ForceSlash != nil {
		l.Add(Odd("stripPrefix.forceSlash", "forceSlash has no effect", "remove it"))
	}
	return l
}

func buildStripPrefix(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	return &stripPrefix{prefixes: c.StripPrefix.Prefixes, next: next}, nil
}

// Serve strips at most one prefix.
func (s *stripPrefix) Serve(x *httpmsg.Exchange) error {
	if star(x) {
		return s.next.Serve(x)
	}
	seen, err := rulePath(x)
	if err != nil {
		return err
	}
	for _, p := range s.prefixes {
		if len(seen) < len(p) || string(seen[:len(p)]) != p {
			continue
		}
		if err := strip(x, len(p)); err != nil {
			return err
		}
		break
	}
	return s.next.Serve(x)
}

// strip takes what rules see as the first n bytes off the path, and tells the server in another X-Forwarded-Prefix. The
// prefix is told in its escaped form: it may come from the request, and a field has one line (PTH-09).
func strip(x *httpmsg.Exchange, n int) error {
	before, after, ok := cutPath(x.Req.Path, n)
	if !ok || len(before) == 0 {
		return nil
	}
	if len(after) > 0 && after[0] != '/' {
		after = append(append(x.Scratch(1 + len(after))[:0], '/'), after...)
	}
	if err := setPath(x, after); err != nil {
		return err
	}
	x.Req.Header.AddID(httpmsg.HdrXForwardedPrefix, before)
	return nil
}

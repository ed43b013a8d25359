package middleware

import (
	"net/url"
	"regexp"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// redirectRegex sends clients to a URL made from the one that they asked for.
type redirectRegex struct {
	pattern   *regexp.Regexp
	with      []byte
	rooted    bool // the template begins with a slash of its own, and not with two
	permanent bool
	next      httpmsg.Handler
}

func checkRedirectRegex(c *dynamic.Middleware) diag.List {
	var l diag.List
	r := c.RedirectRegex
	if r.Regex == "" {
		l.Add(Bad("redirectRegex.regex", "regex is empty", "it is searched in scheme://host[:port]/path?query"))
	}
	if r.Replacement == "" {
		l.Add(Bad("redirectRegex.replacement", "replacement is empty", "write the URL to go to, with ${1} for the first group"))
	}
	re, err := Pattern(r.Regex)
	if err != nil {
		l.Add(Bad("redirectRegex.regex", err.Error(), ""))
	} else if f, ok := checkTemplate("redirectRegex.replacement", re, r.Replacement); ok {
		l.Add(f)
	}
	if strings.ContainsFunc(r.Replacement, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		l.Add(Bad("redirectRegex.replacement", "the replacement holds a control character", ""))
	}
	return l
}

func buildRedirectRegex(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	r := c.RedirectRegex
	re, err := Pattern(r.Regex)
	rooted := strings.HasPrefix(r.Replacement, "/") && !strings.HasPrefix(r.Replacement, "//")
	return &redirectRegex{pattern: re, with: []byte(r.Replacement), rooted: rooted, permanent: r.Permanent, next: next}, err
}

// Serve looks at the URL with the scheme of the connection, whatever X-Forwarded-Proto says, as the reference does.
func (r *redirectRegex) Serve(x *httpmsg.Exchange) error {
	q := &x.Req
	u := x.Scratch(len("https://") + len(q.Host) + len(q.Path) + 1 + len(q.Query))[:0]
	if q.TLS {
		u = append(u, "https://"...)
	} else {
		u = append(u, "http://"...)
	}
	u = append(append(u, q.Host...), q.Path...)
	if q.HasQuery {
		u = append(append(u, '?'), q.Query...)
	}
	if !r.pattern.Match(u) {
		return r.next.Serve(x)
	}
	to := string(r.pattern.ReplaceAll(u, r.with))
	if to == string(u) {
		return r.next.Serve(x)
	}
	location, err := r.location(to)
	if err != nil {
		return err
	}
	redirect(x, location, r.permanent)
	return nil
}

// location brings the URL into the form of a Location field: one line whatever came out of the request (FLD-10).
func (r *redirectRegex) location(to string) (string, error) {
	if r.rooted {
		// A template that begins with one slash means a path of this host. Two would name another one (PTH-11), and clients
		// read a backslash as a slash.
		to = "/" + strings.TrimLeft(to, `/\`)
	}
	if len(to) > 2*httpmsg.MaxTarget {
		return "", fault.New(fault.URITooLong, "the URL to redirect to is too long", nil)
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", fault.New(fault.Internal, "the replacement of redirectRegex makes no URL", nil)
	}
	return u.String(), nil
}

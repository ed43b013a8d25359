package middleware

import (
	"bytes"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// redirectScheme sends clients to the same URL under another scheme or port.
type redirectScheme struct {
	scheme, port string
	permanent    bool
	next         httpmsg.Handler
}

func checkRedirectScheme(c *dynamic.Middleware) diag.List {
	var l diag.List
	r := c.RedirectScheme
	if r.Scheme == "" {
		l.Add(Bad("redirectScheme.scheme", "you must provide a target scheme", "use https"))
	} else if !isScheme(r.Scheme) {
		l.Add(Bad("redirectScheme.scheme", strconv.Quote(r.Scheme)+" is not a scheme", "use https"))
	}
	if n, err := strconv.Atoi(r.Port); r.Port != "" && (err != nil || n < 1 || n > 65535) {
		l.Add(Bad("redirectScheme.port", strconv.Quote(r.Port)+" is not a port", ""))
	}
	return l
}

// isScheme reports whether s is a URI scheme (RFC 3986 section 3.1).
func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func buildRedirectScheme(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	r := c.RedirectScheme
	port := r.Port
	if r.Scheme == "http" && port == "80" || r.Scheme == "https" && port == "443" {
		port = ""
	}
	return &redirectScheme{scheme: r.Scheme, port: port, permanent: r.Permanent, next: next}, nil
}

// Serve compares the URL that the client used with the one it should use. The scheme is that of X-Forwarded-Proto, which
// the entry point has checked and filled.
func (r *redirectScheme) Serve(x *httpmsg.Exchange) error {
	host, port := splitPort(x.Req.Host)
	if proto := Scheme(x); proto == r.scheme && samePort(proto, port, r.port) {
		return r.next.Serve(x)
	}
	var u strings.Builder
	u.Grow(len(r.scheme) + len(host) + len(x.Req.Path) + len(x.Req.Query) + 16)
	u.WriteString(r.scheme + "://")
	u.Write(host)
	if r.port != "" {
		u.WriteString(":" + r.port)
	}
	u.Write(x.Req.Path)
	if x.Req.HasQuery {
		u.WriteByte('?')
		u.Write(x.Req.Query)
	}
	redirect(x, u.String(), r.permanent)
	return nil
}

// samePort reports whether the port that the client used is the target's, where "" is the scheme's own.
func samePort(scheme string, used httpmsg.View, target string) bool {
	if string(used) == target {
		return true
	}
	own := "80"
	if scheme == "https" {
		own = "443"
	}
	return target == "" && string(used) == own
}

// Scheme returns http or https: what the client used, as X-Forwarded-Proto has it in any spelling, which the entry point has
// checked and filled.
func Scheme(x *httpmsg.Exchange) string {
	switch proto := x.Req.Header.Get(httpmsg.HdrXForwardedProto); {
	case proto.EqualFold("https"), proto.EqualFold("wss"):
		return "https"
	case proto.EqualFold("http"), proto.EqualFold("ws"):
		return "http"
	case x.Req.TLS:
		return "https"
	default:
		return "http"
	}
}

// splitPort splits a Host field. An IPv6 address keeps its brackets.
func splitPort(host httpmsg.View) (name, port httpmsg.View) {
	i := bytes.LastIndexByte(host, ':')
	if i < 0 || bytes.IndexByte(host[i:], ']') >= 0 {
		return host, nil
	}
	return host[:i], host[i+1:]
}

// redirect answers with a redirection that keeps the method: GET 301 or 302, all others 308 or 307.
func redirect(x *httpmsg.Exchange, location string, permanent bool) {
	status, text := 302, "Found"
	get := x.Req.Method.Is("GET")
	switch {
	case get && permanent:
		status, text = 301, "Moved Permanently"
	case permanent:
		status, text = 308, "Permanent Redirect"
	case !get:
		status, text = 307, "Temporary Redirect"
	}
	x.Respond(status, "", text)
	x.Res.Header.AddID(httpmsg.HdrLocation, httpmsg.Text(location))
}

package oidc

import (
	"errors"
	"net/url"
	"strings"

	"sluice/internal/core/route"
	"sluice/internal/traffic/middleware"
	"sluice/internal/wire/httpmsg"
)

// place is a URL of the configuration: a path, a host with a path, or a whole URL. What is missing is that of the request. A
// nil place is nowhere.
type place struct {
	scheme, host string // empty where the request's count
	canonical    string // of host
	path         string // escaped
	query        string // with its question mark
}

// parsePlace reads an option; empty is nil.
func parsePlace(text string) (*place, error) {
	if text == "" {
		return nil, nil
	}
	whole := text
	switch {
	case strings.HasPrefix(text, "//"):
		return nil, errors.New("it begins with two slashes")
	case strings.HasPrefix(text, "/"):
		whole = "http://host" + text
	case !strings.Contains(text, "://"):
		whole = "http://" + text
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", !httpmsg.IsHost(httpmsg.Text(u.Host)), !httpmsg.IsFieldValue(httpmsg.Text(text)):
		return nil, errors.New("it is no path, host with path, or http(s) URL")
	case u.User != nil, u.Fragment != "":
		return nil, errors.New("it has a user or a fragment")
	}
	p := &place{path: u.EscapedPath()}
	if p.path == "" {
		p.path = "/"
	}
	if u.RawQuery != "" {
		p.query = "?" + u.RawQuery
	}
	if strings.HasPrefix(text, "/") {
		return p, nil
	}
	p.host = u.Host
	host, err := route.CanonicalHost(nil, []byte(u.Host))
	if err != nil {
		return nil, err
	}
	p.canonical = string(host)
	if whole == text {
		p.scheme = u.Scheme
	}
	return p, nil
}

// is reports whether a request asks for the place, whatever its scheme and query.
func (p *place) is(x *httpmsg.Exchange) bool {
	if p == nil || !x.Req.Path.Is(p.path) {
		return false
	}
	return p.host == "" || canonicalHost(x) == p.canonical
}

// of returns the URL of the place as the client of a request would write it.
func (p *place) of(x *httpmsg.Exchange) string {
	scheme, host := p.scheme, p.host
	if scheme == "" {
		scheme = middleware.Scheme(x)
	}
	if host == "" {
		host = x.Req.Host.String()
	}
	return scheme + "://" + host + p.path + p.query
}

// canonicalHost is the requested host without port, in lower case; empty where it is malformed.
func canonicalHost(x *httpmsg.Exchange) string {
	host, err := route.CanonicalHost(nil, x.Req.Host)
	if err != nil {
		return ""
	}
	return string(host)
}

// maxReturn is the longest URL that a login leads back to, in bytes: it travels in a cookie.
const maxReturn = 2048

// here returns the URL that was asked for.
func here(x *httpmsg.Exchange) string {
	base := middleware.Scheme(x) + "://" + x.Req.Host.String()
	at := base + x.Req.Path.String()
	if x.Req.HasQuery {
		at += "?" + x.Req.Query.String()
	}
	switch {
	case len(at) <= maxReturn:
		return at
	case len(base)+len(x.Req.Path) <= maxReturn:
		return base + x.Req.Path.String()
	}
	return base + "/"
}

// leadsHome reports whether a URL, made by here or of, may be gone to from the host of a request: to the same host, or to one
// that cookies of domain go to. The URL was sealed by us; this is for keys that leak and hosts that change hands.
func leadsHome(target string, x *httpmsg.Exchange, domain string) bool {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Host == "" {
		return false
	}
	to, err := route.CanonicalHost(nil, []byte(u.Host))
	if err != nil {
		return false
	}
	if string(to) == canonicalHost(x) {
		return true
	}
	domain = strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain != "" && (string(to) == domain || strings.HasSuffix(string(to), "."+domain))
}

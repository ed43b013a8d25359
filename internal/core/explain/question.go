package explain

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/route"
	"sluice/internal/core/static"
)

// Question is what is asked about. Parse makes one of a URL; its other fields may be set afterwards.
type Question struct {
	// TCP asks about a connection, UDP about a session of datagrams; otherwise it is about a request.
	TCP, UDP bool
	// TLS tells that the client begins with a ClientHello, with SNI and ALPN in it.
	TLS  bool
	SNI  string
	ALPN []string
	// Host is the authority of the request, Path its escaped path, Query the raw query.
	Host, Path, Query string
	Method            string
	Header            []Field
	// Client is the peer's address; invalid where it is unknown.
	Client netip.Addr
	// Port is the one that the client connects to.
	Port uint16
	// EntryPoint names where the client connects; empty: whoever listens on Port.
	EntryPoint string
}

// Parse reads http://, https://, tcp:// and udp:// URLs. A tcp URL may have the parameters sni and alpn (several, or separated by
// commas); with either of them the client speaks TLS.
func Parse(text string) (*Question, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL", text)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%q has no host: write it as https://host/path or tcp://host:port", text)
	}
	q := &Question{Host: u.Host, Path: u.EscapedPath(), Query: u.RawQuery, Method: "GET"}
	switch u.Scheme {
	case "http":
		q.Port = 80
	case "https":
		q.Port, q.TLS, q.SNI, q.ALPN = 443, true, u.Hostname(), []string{"h2", "http/1.1"}
		if _, err := netip.ParseAddr(q.SNI); err == nil {
			q.SNI = "" // an address is no server name (RFC 6066 section 3)
		}
	case "tcp":
		parameters := u.Query()
		q.TCP, q.SNI = true, parameters.Get("sni")
		for _, v := range parameters["alpn"] {
			q.ALPN = append(q.ALPN, strings.Split(v, ",")...)
		}
		q.TLS = q.SNI != "" || len(q.ALPN) > 0
	case "udp":
		q.UDP = true
	default:
		return nil, fmt.Errorf("%q has no scheme that can be explained: use http, https, tcp or udp", text)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q has no port between 1 and 65535", text)
		}
		q.Port = uint16(n)
	}
	return q, nil
}

// SetHeader adds a field; Host replaces the host of the URL, as a client may send another one than it connects for.
func (q *Question) SetHeader(name, value string) {
	if strings.EqualFold(name, "Host") {
		q.Host = value
		return
	}
	q.Header = append(q.Header, Field{name, value})
}

// HeaderValue implements route.Fields.
func (q *Question) HeaderValue(name string, i int) ([]byte, bool) {
	for _, f := range q.Header {
		if strings.EqualFold(f.Name, name) {
			if i == 0 {
				return []byte(f.Value), true
			}
			i--
		}
	}
	return nil, false
}

// request makes the view that rules look at. The message is not empty where the request is refused before routing.
func (q *Question) request(keepDots, encodeSemicolons bool) (r *route.Request, refusal string) {
	host, err := route.CanonicalHost(nil, []byte(q.Host))
	if err != nil {
		return nil, err.Error()
	}
	p := []byte(q.Path)
	if q.Path != "*" {
		if p, err = route.CleanPath(nil, p, !keepDots); err != nil {
			return nil, err.Error()
		}
	}
	if p, err = route.RoutingPath(nil, p); err != nil {
		return nil, err.Error()
	}
	semicolon := "&"
	if encodeSemicolons {
		semicolon = "%3B"
	}
	return &route.Request{Host: slices.Clone(host), Path: p, Method: []byte(q.Method),
		Query: []byte(strings.ReplaceAll(q.Query, ";", semicolon)), Client: q.Client, Header: q}, ""
}

// names returns the TCP entry points of the plan, sorted.
func (a *asking) names() []string { return slices.Sorted(maps.Keys(a.p.EntryPoints)) }

// listeners returns the configurations of the entry points that could be meant, by name; nil where one is not known.
func (a *asking) listeners() map[string]*static.EntryPoint {
	out := map[string]*static.EntryPoint{}
	if a.q.UDP {
		for name, ep := range a.p.UDP.EntryPoints {
			out[name] = ep.Config
		}
		return out
	}
	for name, ep := range a.p.EntryPoints {
		out[name] = ep.Config
	}
	return out
}

// entryPoints chooses where to look: what is asked for, else who listens on the port, else everywhere.
func (a *asking) entryPoints() (names []string, assumed string) {
	listeners := a.listeners()
	all := slices.Sorted(maps.Keys(listeners))
	if a.q.EntryPoint != "" {
		if _, ok := listeners[a.q.EntryPoint]; !ok {
			return nil, ""
		}
		return []string{a.q.EntryPoint}, ""
	}
	known := false
	for _, name := range all {
		if port := portOf(listeners[name]); port != 0 {
			known = true
			if port == a.q.Port {
				names = append(names, name)
			}
		}
	}
	switch {
	case len(names) > 0:
		return names, fmt.Sprintf("entry point %s, which listens on port %d", strings.Join(names, " and "), a.q.Port)
	case len(all) == 1:
		return all, fmt.Sprintf("entry point %s, the only one", all[0])
	case known && a.q.Port != 0:
		return all, fmt.Sprintf("no entry point listens on port %d, so all were looked at (--entrypoint chooses one)", a.q.Port)
	case len(all) == 0:
		return nil, ""
	default:
		return all, "the addresses of the entry points are not known, so all were looked at (--entrypoint chooses one)"
	}
}

// portOf returns the port of an entry point, zero where it is not known.
func portOf(ep *static.EntryPoint) uint16 {
	if ep == nil {
		return 0
	}
	address, err := static.ParseAddress(ep.Address)
	if err != nil {
		return 0
	}
	return address.Port
}

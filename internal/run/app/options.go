package app

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"sluice/internal/core/static"
	"sluice/internal/traffic/datagram"
	"sluice/internal/traffic/entrypoint"
	"sluice/internal/wire/http1"
	"sluice/internal/wire/http2"
	"sluice/internal/wire/sock"
)

// entryPointOptions turns the configuration of an entry point into what the traffic side is told. Values that Validate
// objects to are left out, since it has stopped the start.
func entryPointOptions(name string, c *static.EntryPoint, hostname string) entrypoint.Options {
	t := c.Transport
	o := entrypoint.Options{
		Name: name,
		HTTP: entrypoint.HTTPOptions{
			KeepDots:         c.HTTP.SanitizePath != nil && !*c.HTTP.SanitizePath,
			EncodeSemicolons: c.HTTP.EncodeQuerySemicolons,
			Forwarded: entrypoint.ForwardedHeaders{
				Insecure:    c.ForwardedHeaders.Insecure,
				Trusted:     prefixes(c.ForwardedHeaders.TrustedIPs),
				Connection:  c.ForwardedHeaders.Connection,
				Underscores: underscores(c.HTTP.UnderscoreHeadersStrategy),
				Hostname:    hostname,
				KeepFor:     c.ForwardedHeaders.NotAppendXForwardedFor,
				AddScheme:   c.ForwardedHeaders.AddXForwardedSchemeHeaders,
			},
		},
		Timeouts: entrypoint.Timeouts{
			Read: t.RespondingTimeouts.ReadTimeout.Std(), Write: t.RespondingTimeouts.WriteTimeout.Std(),
			Idle: t.RespondingTimeouts.IdleTimeout.Std(), AcceptGrace: t.LifeCycle.RequestAcceptGraceTimeout.Std(),
			Grace: t.LifeCycle.GraceTimeOut.Std(),
		},
		Limits:      headLimits(c.HTTP.MaxHeaderBytes),
		ACMEByPass:  c.AllowACMEByPass,
		MaxRequests: t.KeepAliveMaxRequests,
		MaxAge:      t.KeepAliveMaxTime.Std(),
		HTTP2: http2.Options{
			MaxConcurrentStreams:      int(c.HTTP2.MaxConcurrentStreams),
			MaxDecoderHeaderTableSize: int(c.HTTP2.MaxDecoderHeaderTableSize),
			MaxEncoderHeaderTableSize: int(c.HTTP2.MaxEncoderHeaderTableSize),
			MaxHeaderBytes:            c.HTTP.MaxHeaderBytes,
			MaxField:                  headLimits(c.HTTP.MaxHeaderBytes).Field,
		},
	}
	if p := c.ProxyProtocol; p != nil {
		o.Proxy = &entrypoint.ProxyProtocol{Insecure: p.Insecure, Trusted: prefixes(p.TrustedIPs)}
	}
	return o
}

const (
	// mostSessions bounds the sessions of a UDP entry point where the system has descriptors for all; fewSessions where that
	// is not known.
	mostSessions = 1 << 16
	fewSessions  = 1 << 10
)

// maxSessions is how many sessions each UDP entry point may have: a session has a descriptor, and three quarters of those are
// left to everything else, so that a flood of datagrams takes nothing away from connections. The entry points share the rest.
func maxSessions(descriptors uint64, entryPoints int) int {
	if descriptors == 0 {
		return fewSessions
	}
	return int(min(max(descriptors/4/uint64(entryPoints), 16), mostSessions))
}

// datagramOptions is entryPointOptions for one of several UDP entry points.
func datagramOptions(name string, c *static.EntryPoint, several int) datagram.Options {
	return datagram.Options{Name: name, Timeout: c.UDP.Timeout.Std(), MaxSessions: maxSessions(sock.MaxDescriptors(), several),
		AcceptGrace: c.Transport.LifeCycle.RequestAcceptGraceTimeout.Std(), Grace: c.Transport.LifeCycle.GraceTimeOut.Std()}
}

// defaultMaxHeaderBytes is http.maxHeaderBytes as long as nobody writes it.
const defaultMaxHeaderBytes = 1 << 20

// headLimits bounds a request head. Who raises maxHeaderBytes by hand wants long fields as well.
func headLimits(maxHeaderBytes int) http1.Limits {
	if maxHeaderBytes <= 0 {
		maxHeaderBytes = defaultMaxHeaderBytes
	}
	l := http1.Limits{Head: maxHeaderBytes + 4<<10}
	if maxHeaderBytes > defaultMaxHeaderBytes {
		l.Field = maxHeaderBytes
	}
	return l
}

func underscores(strategy string) entrypoint.Underscores {
	switch strings.ToLower(strategy) {
	case static.UnderscoreDelete:
		return entrypoint.DeleteUnderscores
	case static.UnderscoreReject:
		return entrypoint.RejectUnderscores
	default:
		return entrypoint.KeepUnderscores
	}
}

// prefixes reads addresses and CIDR blocks.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
		} else if a, err := netip.ParseAddr(s); err == nil {
			a = a.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// listenAddress is an address in the form that sockets are bound by.
func listenAddress(a static.Address) string {
	return net.JoinHostPort(a.Host, portText(a.Port))
}

// proxies returns which proxy leads to a server, as the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY say, in capital letters
// or small ones. Servers on this machine are never behind one.
func proxies(environ []string) func(server *url.URL) (*url.URL, error) {
	values := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	either := func(name string) string {
		if v := values[name]; v != "" {
			return v
		}
		return values[strings.ToLower(name)]
	}
	c := httpproxy.Config{HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY"), CGI: values["REQUEST_METHOD"] != ""}
	if c.HTTPProxy == "" && c.HTTPSProxy == "" {
		return nil
	}
	return c.ProxyFunc()
}

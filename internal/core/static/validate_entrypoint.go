package static

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
)

// checkEntryPoints looks at each written entry point and at whether their addresses go together.
func (v *validation) checkEntryPoints() {
	for _, name := range sorted(v.config.EntryPoints) {
		if ep := v.config.EntryPoints[name]; ep != nil {
			v.checkEntryPoint(keyPath{"entryPoints", name}, ep)
		}
	}
	v.checkOverlaps()
}

func (v *validation) checkEntryPoint(p keyPath, ep *EntryPoint) {
	address, err := ParseAddress(ep.Address)
	switch {
	case err != nil:
		v.err(p.at("address"), CodeBadAddress, err.Error(), "")
	case ep.Address == "":
		v.warn(p, CodeMissing, "no address: the system picks a port", `set address, such as ":443"`)
	}
	if err == nil && address.UDP && ep.UDP.Timeout <= 0 {
		v.err(p.at("udp", "timeout"), CodeBadValue, "the timeout of UDP sessions must be more than zero", "")
	}
	if pp := ep.ProxyProtocol; pp != nil {
		if !pp.Insecure && len(pp.TrustedIPs) == 0 {
			v.err(p.at("proxyProtocol"), CodeMissing, "nobody is trusted to send a PROXY header", "set trustedIPs, or insecure")
		}
		v.checkRanges(p.at("proxyProtocol", "trustedIPs"), pp.TrustedIPs)
	}
	v.checkRanges(p.at("forwardedHeaders", "trustedIPs"), ep.ForwardedHeaders.TrustedIPs)
	v.checkEntryPointHTTP(p, ep)

	for _, limit := range []struct {
		key   string
		value int
	}{
		{"maxConcurrentStreams", ep.HTTP2.MaxConcurrentStreams},
		{"maxDecoderHeaderTableSize", ep.HTTP2.MaxDecoderHeaderTableSize},
		{"maxEncoderHeaderTableSize", ep.HTTP2.MaxEncoderHeaderTableSize},
	} {
		if limit.value < 0 || limit.value > math.MaxInt32 {
			v.err(p.at("http2", limit.key), CodeBadValue, fmt.Sprintf("%d is out of range", limit.value), "want 0 to 2147483647")
		}
	}
	if ep.HTTP3 != nil && (ep.HTTP3.AdvertisedPort < 0 || ep.HTTP3.AdvertisedPort > math.MaxUint16) {
		v.err(p.at("http3", "advertisedPort"), CodeBadValue, fmt.Sprintf("%d is no port", ep.HTTP3.AdvertisedPort), "")
	}
	if ep.Observability != nil {
		v.oneOf(p.at("observability", "traceVerbosity"), ep.Observability.TraceVerbosity,
			[]string{dynamic.TraceMinimal, dynamic.TraceDetailed}, "minimal is used")
	}
}

func (v *validation) checkEntryPointHTTP(p keyPath, ep *EntryPoint) {
	p = p.at("http")
	switch s := ep.HTTP.UnderscoreHeadersStrategy; s {
	case "", UnderscoreKeep, UnderscoreDelete, UnderscoreReject:
	default:
		v.err(p.at("underscoreHeadersStrategy"), CodeBadValue, fmt.Sprintf("unknown strategy %q", s), "want keep, delete or reject")
	}
	if r := ep.HTTP.Redirections; r != nil && r.EntryPoint != nil {
		if to := r.EntryPoint.To; to == "" {
			v.warn(p.at("redirections", "entryPoint"), CodeMissing, "no target: nothing is redirected",
				`set to, such as "websecure" or ":443"`)
		} else if _, err := RedirectPort(v.entryPoints, to); err != nil {
			v.warn(p.at("redirections", "entryPoint", "to"), CodeUnknownEntryPoint, err.Error()+": nothing is redirected",
				diag.DidYouMean(to, sorted(v.entryPoints)))
		}
	}
	if t := ep.HTTP.TLS; t != nil && t.CertResolver != "" && v.config.CertificatesResolvers[t.CertResolver] == nil {
		v.warn(p.at("tls", "certResolver"), CodeUnknownResolver,
			fmt.Sprintf("certificate resolver %q does not exist", t.CertResolver),
			diag.DidYouMean(t.CertResolver, sorted(v.config.CertificatesResolvers)))
	}
}

// checkRanges refuses entries that are neither an address nor a CIDR block.
func (v *validation) checkRanges(p keyPath, ranges []string) {
	for i, text := range ranges {
		if _, err := netip.ParseAddr(text); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(text); err == nil {
			continue
		}
		v.err(p.at(strconv.Itoa(i)), CodeBadValue, fmt.Sprintf("%q is neither an IP address nor a CIDR block", text), "")
	}
}

// checkOverlaps finds entry points that cannot both be bound. With reusePort on both, they can.
func (v *validation) checkOverlaps() {
	names := sorted(v.entryPoints)
	for i, name := range names {
		ep := v.entryPoints[name]
		a, err := ParseAddress(ep.Address)
		if err != nil {
			continue
		}
		for _, other := range names[:i] {
			o := v.entryPoints[other]
			b, err := ParseAddress(o.Address)
			if err != nil || (ep.ReusePort && o.ReusePort) {
				continue
			}
			if a.overlaps(b) {
				v.err(keyPath{"entryPoints", name, "address"}, CodeAddressInUse,
					fmt.Sprintf("entry point %q listens on %s already", other, b), "")
			} else if http3Overlaps(a, ep, b, o) {
				v.err(keyPath{"entryPoints", name, "address"}, CodeAddressInUse,
					fmt.Sprintf("UDP port %d belongs to HTTP/3 of one of the entry points %q and %q already", a.Port, other, name), "")
			}
		}
	}
}

// http3Overlaps reports whether the QUIC socket of one entry point is the datagram socket of the other.
func http3Overlaps(a Address, ep *EntryPoint, b Address, o *EntryPoint) bool {
	if a.UDP == b.UDP {
		return false
	}
	tcp := ep
	if a.UDP {
		tcp = o
	}
	if tcp.HTTP3 == nil {
		return false
	}
	a.UDP, b.UDP = true, true
	return a.overlaps(b)
}

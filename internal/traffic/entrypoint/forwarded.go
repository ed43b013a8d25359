package entrypoint

import (
	"bytes"
	"net/netip"
	"strings"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// Underscores is what happens to request fields with an underscore in their name.
type Underscores uint8

const (
	// KeepUnderscores forwards them. Names that fold to a framing or forwarded field are dropped all the same.
	KeepUnderscores Underscores = iota
	// DeleteUnderscores drops them.
	DeleteUnderscores
	// RejectUnderscores answers 400.
	RejectUnderscores
)

// ForwardedHeaders says whom the entry point believes about a client it cannot see.
type ForwardedHeaders struct {
	// Insecure believes everybody.
	Insecure bool
	// Trusted are the peers that are believed.
	Trusted []netip.Prefix
	// Connection are field names that a client may list in Connection and keep.
	Connection []string
	// Underscores is the strategy for names with an underscore.
	Underscores Underscores
	// Hostname is the value of X-Forwarded-Server.
	Hostname string
	// KeepFor leaves X-Forwarded-For as it came, instead of the service appending the client's address.
	KeepFor bool
	// AddScheme sets X-Forwarded-Scheme and X-Scheme to the value of X-Forwarded-Proto.
	AddScheme bool
}

// managed are the fields that only a trusted peer may set. Forwarded (RFC 7239) is among them: servers read it.
var managed = httpmsg.SetOf(httpmsg.HdrXForwardedFor, httpmsg.HdrXForwardedHost, httpmsg.HdrXForwardedPort,
	httpmsg.HdrXForwardedProto, httpmsg.HdrXForwardedServer, httpmsg.HdrXForwardedURI, httpmsg.HdrXForwardedMethod,
	httpmsg.HdrXForwardedPrefix, httpmsg.HdrXForwardedTLSClientCert, httpmsg.HdrXForwardedTLSClientCertInfo,
	httpmsg.HdrXRealIP, httpmsg.HdrForwarded)

// protected are the fields that no token of Connection can remove (FLD-02): a client must not be able to take away what
// decides framing, identity or access.
var protected = managed | httpmsg.SetOf(httpmsg.HdrHost, httpmsg.HdrContentLength, httpmsg.HdrTransferEncoding,
	httpmsg.HdrAuthorization, httpmsg.HdrCookie)

func (f *ForwardedHeaders) trusts(peer netip.Addr) bool {
	if f.Insecure {
		return true
	}
	peer = peer.Unmap().WithZone("")
	for _, p := range f.Trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// apply removes what the peer had no right to say, and says the rest ourselves.
func (f *ForwardedHeaders) apply(x *httpmsg.Exchange) error {
	h := &x.Req.Header
	if err := f.underscores(h); err != nil {
		return err
	}
	trusted := f.trusts(x.Peer.Addr())
	if !trusted {
		f.strip(h)
	}
	f.connectionTokens(h)
	if trusted {
		foldForwardedFor(x)
		checkProto(x)
	}
	f.fill(x)
	return nil
}

// underscores applies the strategy and drops names that a server could take for one of ours, such as X_Forwarded_For.
func (f *ForwardedHeaders) underscores(h *httpmsg.Header) error {
	for i := 0; i < h.Len(); i++ {
		field := h.At(i)
		if field.ID != httpmsg.HdrOther || bytes.IndexByte(field.Name, '_') < 0 {
			continue
		}
		if f.Underscores == RejectUnderscores {
			e := fault.New(fault.BadRequest, "request field with an underscore", nil)
			e.Body = "Bad Request"
			return e
		}
		if f.Underscores == DeleteUnderscores || foldsToOurs(field.Name) {
			h.DeleteFunc(i, func(d *httpmsg.Field) bool {
				return d.ID == httpmsg.HdrOther && bytes.IndexByte(d.Name, '_') >= 0 &&
					(f.Underscores == DeleteUnderscores || foldsToOurs(d.Name))
			})
			return nil
		}
	}
	return nil
}

// foldsToOurs reports whether name, with underscores read as hyphens, is a framing or managed field.
func foldsToOurs(name httpmsg.View) bool {
	var buf [64]byte
	if len(name) > len(buf) {
		return false
	}
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		buf[i] = c
	}
	id := httpmsg.IDOfView(buf[:len(name)])
	return protected.Has(id) || httpmsg.HopByHop.Has(id)
}

func (f *ForwardedHeaders) strip(h *httpmsg.Header) {
	for i := 0; i < h.Len(); i++ {
		if managed.Has(h.At(i).ID) {
			h.DeleteFunc(i, func(d *httpmsg.Field) bool { return managed.Has(d.ID) })
			return
		}
	}
}

// connectionTokens drops the fields that the client's Connection field names (RFC 9110 section 7.6.1), apart from
// protected and configured ones. The hop-by-hop fields themselves stay for the codec, which never forwards them.
func (f *ForwardedHeaders) connectionTokens(h *httpmsg.Header) {
	// Connection fields are never deleted here, so their ordinals hold while other fields go.
	for n := 0; ; n++ {
		i := h.IndexID(httpmsg.HdrConnection, 0)
		for k := 0; k < n && i >= 0; k++ {
			i = h.IndexID(httpmsg.HdrConnection, i+1)
		}
		if i < 0 {
			return
		}
		for rest := h.At(i).Value; len(rest) > 0; {
			var token httpmsg.View
			token, rest = cutComma(rest)
			id := httpmsg.IDOfView(token)
			if len(token) == 0 || protected.Has(id) || httpmsg.HopByHop.Has(id) || f.keeps(token) {
				continue
			}
			h.DeleteFunc(0, func(d *httpmsg.Field) bool {
				return d.ID == id && (id != httpmsg.HdrOther || d.Name.EqualFold(string(token)))
			})
		}
	}
}

func (f *ForwardedHeaders) keeps(token httpmsg.View) bool {
	for _, name := range f.Connection {
		if token.EqualFold(name) {
			return true
		}
	}
	return false
}

// cutComma splits off the first list element, spaces trimmed.
func cutComma(v httpmsg.View) (first, rest httpmsg.View) {
	if i := bytes.IndexByte(v, ','); i >= 0 {
		return bytes.Trim(v[:i], " \t"), v[i+1:]
	}
	return bytes.Trim(v, " \t"), nil
}

// foldForwardedFor joins several X-Forwarded-For lines of a trusted peer into one.
func foldForwardedFor(x *httpmsg.Exchange) {
	h := &x.Req.Header
	first := h.IndexID(httpmsg.HdrXForwardedFor, 0)
	if first < 0 {
		return
	}
	second := h.IndexID(httpmsg.HdrXForwardedFor, first+1)
	if second < 0 {
		return
	}
	n := 0
	for i := first; i >= 0; i = h.IndexID(httpmsg.HdrXForwardedFor, i+1) {
		n += len(h.At(i).Value) + 2
	}
	joined := x.Scratch(n)[:0]
	for i := first; i >= 0; i = h.IndexID(httpmsg.HdrXForwardedFor, i+1) {
		if len(joined) > 0 {
			joined = append(joined, ", "...)
		}
		joined = append(joined, h.At(i).Value...)
	}
	h.SetID(httpmsg.HdrXForwardedFor, joined)
}

// checkProto removes an X-Forwarded-Proto that is none of the four known schemes (XFF-04), so that it is set anew.
func checkProto(x *httpmsg.Exchange) {
	h := &x.Req.Header
	if !h.Has(httpmsg.HdrXForwardedProto) {
		return
	}
	switch strings.ToLower(string(h.Get(httpmsg.HdrXForwardedProto))) {
	case "http", "https", "ws", "wss":
	default:
		h.DelID(httpmsg.HdrXForwardedProto)
	}
}

// fill sets what is missing. X-Forwarded-For itself gets the peer at the very end, in the service.
func (f *ForwardedHeaders) fill(x *httpmsg.Exchange) {
	h := &x.Req.Header
	x.Req.KeepForwardedFor = f.KeepFor
	if !h.Has(httpmsg.HdrXRealIP) {
		h.AddID(httpmsg.HdrXRealIP, x.Peer.Addr().Unmap().WithZone("").AppendTo(x.Scratch(46)[:0]))
	}
	if !h.Has(httpmsg.HdrXForwardedProto) {
		h.AddID(httpmsg.HdrXForwardedProto, httpmsg.Text(scheme(x)))
	}
	if !h.Has(httpmsg.HdrXForwardedPort) {
		h.AddID(httpmsg.HdrXForwardedPort, f.port(x))
	}
	if len(x.Req.Host) > 0 && !h.Has(httpmsg.HdrXForwardedHost) {
		h.AddID(httpmsg.HdrXForwardedHost, x.Req.Host)
	}
	h.SetID(httpmsg.HdrXForwardedServer, httpmsg.Text(f.Hostname))
	if f.AddScheme {
		proto := string(h.Get(httpmsg.HdrXForwardedProto))
		h.Set("X-Forwarded-Scheme", proto)
		h.Set("X-Scheme", proto)
	}
}

func scheme(x *httpmsg.Exchange) string {
	ws := x.Req.UpgradeTo.EqualFold("websocket")
	switch {
	case ws && x.Req.TLS:
		return "wss"
	case ws:
		return "ws"
	case x.Req.TLS:
		return "https"
	default:
		return "http"
	}
}

// port returns the port of the Host field, else the usual one of the scheme the client used.
func (f *ForwardedHeaders) port(x *httpmsg.Exchange) httpmsg.View {
	host := x.Req.Host
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && i+1 < len(host) && bytes.IndexByte(host[i:], ']') < 0 {
		return host[i+1:]
	}
	proto := x.Req.Header.Get(httpmsg.HdrXForwardedProto)
	if x.Req.TLS || proto.EqualFold("https") || proto.EqualFold("wss") {
		return httpmsg.Text("443")
	}
	return httpmsg.Text("80")
}

package httpmsg

import (
	"errors"

	"sluice/internal/core/fault"
)

// Target is what of a request is decided by the server it goes to.
type Target struct {
	// Host replaces the request's Host field if it is not empty.
	Host string
	// Prefix is put before the path: "" or a path without a slash at its end.
	Prefix string
	// ForwardPeer appends the client's address to X-Forwarded-For.
	ForwardPeer bool
	// Proxy is set where the request goes to an HTTP proxy as such, not through a tunnel. HTTP/1 only.
	Proxy *Proxy
}

// Proxy is what a request carries for the HTTP proxy that it is sent to (RFC 9112 section 3.2.2).
type Proxy struct {
	// Origin is put before the path: scheme and authority of the server.
	Origin string
	// Authorization is the value of Proxy-Authorization, empty for none.
	Authorization string
}

// Authority returns the host that x's request is sent with.
func (t *Target) Authority(x *Exchange) View {
	if t.Host != "" {
		return viewOf(t.Host)
	}
	return x.Req.Host
}

// AppendTarget appends the request target in origin form (RFC 9112 section 3.2.1) with prefix before its path. It fails if
// that cannot stand in a request line, which only a handler of ours can have caused.
func (x *Exchange) AppendTarget(b []byte, prefix string) ([]byte, *fault.Fault) {
	req := &x.Req
	from := len(b)
	if !req.Path.Is("*") {
		b = append(b, prefix...)
	}
	if len(req.Path) == 0 {
		b = append(b, '/')
	}
	b = append(b, req.Path...)
	if req.HasQuery {
		b = append(b, '?')
		b = append(b, req.Query...)
	}
	for _, c := range b[from:] {
		if c <= ' ' || c == 0x7f {
			return b, fault.New(fault.Internal, "request target holds a space or control character", nil)
		}
	}
	return b, nil
}

// AppendForwardedFor appends the value of X-Forwarded-For: what the request's fields from position first on say (-1: there
// is none), then the client's address. It reports false where no field is to be sent: the address is unknown, or the
// first field's value is nil, not merely empty, which is a middleware's way of asking for that.
func (x *Exchange) AppendForwardedFor(b []byte, first int) ([]byte, bool) {
	h := &x.Req.Header
	if first >= 0 && h.At(first).Value == nil || !x.Peer.IsValid() {
		return b, false
	}
	for i := first; i >= 0; i = h.IndexID(HdrXForwardedFor, i+1) {
		if v := h.At(i).Value; len(v) > 0 {
			b = append(append(b, v...), ',', ' ')
		}
	}
	return x.Peer.Addr().Unmap().WithZone("").AppendTo(b), true
}

// NotSent are the request fields that are written anew or not at all: those of the client's connection, and what frames the
// message.
var NotSent = HopByHop | SetOf(HdrHost, HdrContentLength, HdrExpect)

// NotReturned are the response fields that say something about the server's connection or the framing on it. Trailer stays:
// trailers are passed on, and whoever writes the response knows whether it can have any.
var NotReturned = HopByHop&^SetOf(HdrTrailer) | SetOf(HdrContentLength)

// BodyFault is what ended the source of a request body, as a fault.
func BodyFault(err error) *fault.Fault {
	f := fault.Of(err)
	if f.Kind == fault.Internal && f.Retry == fault.Never && f.Reason == "unexpected error" {
		return fault.New(fault.BodyCut, "reading the request body", err)
	}
	return f
}

// GoneFault is the fault of an exchange that was cancelled with cause while something was being done for it.
func GoneFault(doing string, cause error) *fault.Fault {
	var f *fault.Fault
	if errors.As(cause, &f) {
		return f
	}
	return fault.New(fault.ClientGone, doing, cause)
}

package entrypoint

import (
	"bytes"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// challengePrefix is where an HTTP-01 challenge is answered (RFC 8555 section 8.3).
const challengePrefix = "/.well-known/acme-challenge/"

// maxToken is the longest token that counts as one. Real ones have 43 characters.
const maxToken = 512

// challengeToken returns the token of a request that can be an HTTP-01 challenge. Everything else (other methods, further
// path segments, characters that no token has) is an ordinary request.
func challengeToken(x *httpmsg.Exchange) (token []byte, ok bool) {
	token, ok = bytes.CutPrefix(x.Req.Path, []byte(challengePrefix))
	if !ok || len(token) == 0 || len(token) > maxToken || !(x.Req.Method.Is("GET") || x.Req.Method.Is("HEAD")) {
		return nil, false
	}
	for _, c := range token {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return nil, false
		}
	}
	return token, true
}

// challenge decides who owns a challenge: a pending one of ours for exactly this host, then the router that names the
// host (never the redirection of the entry point), then the machine behind the host's passthrough router. nil means that
// the host has no owner: the request is routed like any other.
func (e *EntryPoint) challenge(x *httpmsg.Exchange, l *lookup, routes *Routes, side *HTTPRoutes, token []byte) httpmsg.Handler {
	if e.challenges != nil && !(e.byPass && side.Table.Owns(&l.req)) {
		if answer, ok := e.challenges.HTTP(string(l.req.Host), string(token)); ok {
			return challengeAnswer(answer)
		}
	}
	if len(l.req.Host) == 0 {
		return nil
	}
	if at, ok := side.Table.LookupOwner(&l.req); ok {
		if h, err := e.take(x, &side.Routers[at]); err == nil {
			return h
		}
		return nil
	}
	if x.Req.TLS {
		return nil
	}
	if r := routes.owner(string(l.req.Host), x.Peer.Addr()); r != nil && r.Machine != nil {
		x.Facts.Router = r.Name
		return r.Machine
	}
	return nil
}

// challengeAnswer is the key authorisation of a pending challenge of our own.
type challengeAnswer []byte

// Serve implements httpmsg.Handler.
func (a challengeAnswer) Serve(x *httpmsg.Exchange) error {
	x.Respond(200, "text/plain", string(a))
	return nil
}

// Machines answers challenges of a passthrough host from its own machines: each is asked in turn until one knows the
// token, since only the one that ordered the certificate does.
type Machines []httpmsg.Handler

// Serve implements httpmsg.Handler. The last machine's answer stands, whatever it is.
func (m Machines) Serve(x *httpmsg.Exchange) error {
	if len(m) == 0 {
		return fault.New(fault.NoServer, "the passthrough service of the host has no server that can be asked", nil)
	}
	mark := x.Mark()
	last := len(m) - 1
	for _, h := range m[:last] {
		err := h.Serve(x)
		if err == nil && x.Res.Status != 404 || x.Cancelled() != nil {
			return err
		}
		x.Rewind(&mark)
	}
	return m[last].Serve(x)
}

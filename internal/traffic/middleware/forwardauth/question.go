package forwardauth

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"sluice/internal/traffic/middleware/spool"
	"sluice/internal/wire/httpmsg"
)

// Names of forwarded headers, as net/http spells them.
const (
	forwardedFor    = "X-Forwarded-For"
	forwardedMethod = "X-Forwarded-Method"
	forwardedProto  = "X-Forwarded-Proto"
	forwardedPort   = "X-Forwarded-Port"
	forwardedHost   = "X-Forwarded-Host"
	forwardedURI    = "X-Forwarded-Uri"
)

// managed are the fields that only a trusted peer may set, see the entry point.
var managed = httpmsg.SetOf(httpmsg.HdrXForwardedFor, httpmsg.HdrXForwardedHost, httpmsg.HdrXForwardedPort,
	httpmsg.HdrXForwardedProto, httpmsg.HdrXForwardedServer, httpmsg.HdrXForwardedURI, httpmsg.HdrXForwardedMethod,
	httpmsg.HdrXForwardedPrefix, httpmsg.HdrXForwardedTLSClientCert, httpmsg.HdrXForwardedTLSClientCertInfo,
	httpmsg.HdrXRealIP, httpmsg.HdrForwarded)

// withheld are the fields that belong to the client's connection or to the framing of its message. Proxy-Authorization is
// not among them: it may be what the auth server looks at.
var withheld = httpmsg.HopByHop&^httpmsg.SetOf(httpmsg.HdrProxyAuthorization) |
	httpmsg.SetOf(httpmsg.HdrContentLength, httpmsg.HdrHost, httpmsg.HdrExpect)

// question makes the request to the auth server. sent is done when nobody reads body any more.
func (g *guard) question(ctx context.Context, x *httpmsg.Exchange, body *spool.Body) (q *http.Request, sent *sync.WaitGroup) {
	method := http.MethodGet
	if g.keepMethod {
		method = x.Req.Method.String()
	}
	address := *g.address
	q = (&http.Request{Method: method, URL: &address, Host: g.address.Host, Header: g.headers(x)}).WithContext(ctx)
	sent = &sync.WaitGroup{}
	if body != nil && body.Size() > 0 {
		q.GetBody = func() (io.ReadCloser, error) {
			sent.Add(1)
			return &upload{Reader: body.Reader(), done: sync.OnceFunc(sent.Done)}, nil
		}
		q.Body, _ = q.GetBody()
		q.ContentLength = body.Size()
	}
	return q, sent
}

// upload is a body on its way to the auth server.
type upload struct {
	io.Reader
	done func()
}

// Close implements io.Closer.
func (u *upload) Close() error { u.done(); return nil }

// headers are those of the question.
func (g *guard) headers(x *httpmsg.Exchange) http.Header {
	out := http.Header{}
	fields := &x.Req.Header
	for i := range fields.Len() {
		f := fields.At(i)
		switch {
		case withheld.Has(f.ID), f.Name.EqualFold("Trailers"):
		case managed.Has(f.ID) && g.trust == distrusted:
		case len(g.asks) > 0 && !g.listed(f.Name) && !(managed.Has(f.ID) && g.trust == trusted):
		default:
			out.Add(f.Name.String(), f.Value.String())
		}
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = []string{""} // keeps the client library from making one up
	}
	g.describe(x, out)
	return out
}

func (g *guard) listed(name httpmsg.View) bool { return slices.ContainsFunc(g.asks, name.EqualFold) }

// describe says in forwarded headers what the client has asked for. With trust, and only then, what is there already stays.
func (g *guard) describe(x *httpmsg.Exchange, out http.Header) {
	say := func(name, value string) {
		switch {
		case g.trust == trusted && out[name] != nil:
		case value != "":
			out[name] = []string{value}
		default:
			delete(out, name)
		}
	}
	peer := ""
	if a := x.Peer.Addr(); a.IsValid() {
		peer = a.Unmap().WithZone("").String()
	}
	if prior := out[forwardedFor]; g.trust == trusted && len(prior) > 0 && peer != "" {
		out[forwardedFor] = []string{strings.Join(prior, ", ") + ", " + peer}
	} else {
		say(forwardedFor, peer)
	}
	say(forwardedMethod, x.Req.Method.String())
	say(forwardedHost, x.Req.Host.String())
	say(forwardedURI, target(x))
	scheme := "http"
	if x.Req.TLS {
		scheme = "https"
	}
	say(forwardedProto, scheme)
	// Nobody but us speaks of WebSocket schemes, and login pages have none.
	switch strings.ToLower(out.Get(forwardedProto)) {
	case "ws":
		out.Set(forwardedProto, "http")
	case "wss":
		out.Set(forwardedProto, "https")
	}
	if g.trust != legacy {
		say(forwardedPort, port(x))
	}
}

func target(x *httpmsg.Exchange) string {
	if !x.Req.HasQuery {
		return x.Req.Path.String()
	}
	return x.Req.Path.String() + "?" + x.Req.Query.String()
}

// port is that of the requested host, or the usual one.
func port(x *httpmsg.Exchange) string {
	if _, p, err := net.SplitHostPort(x.Req.Host.String()); err == nil && p != "" {
		return p
	}
	if x.Req.TLS {
		return "443"
	}
	return "80"
}

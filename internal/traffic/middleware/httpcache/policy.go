package httpcache

import (
	"net/http"
	"time"

	"sluice/internal/wire/httpmsg"
)

// policy is what a response allows the cache to do with it, besides keeping it.
type policy struct {
	lifetime time.Duration // how long it is fresh, from its making on
	// staleWhileRevalidate and staleIfError are how long it may be used beyond, on their conditions (RFC 5861).
	staleWhileRevalidate, staleIfError time.Duration
	// revalidate tells that it is not used once stale, whatever a client says; always, that it is never used unasked.
	revalidate, always bool
	// shared tells that the server allows it for requests with credentials (RFC 9111 section 3.5).
	shared bool
}

// asksAlways reports whether no request is answered without a question to the server.
func (p *policy) asksAlways() bool { return p.always || p.lifetime <= 0 }

// terms are the settings that decide what is kept.
type terms struct {
	defaultTTL, maxTTL time.Duration
	// byCookie tells that Cookie is among the key headers, so that a response belongs to it anyway.
	byCookie bool
}

// usual are the statuses that are kept for the default time where the server does not say for how long. Those that tell about
// this request rather than about the resource (405, 414, 501) are not among them, though RFC 9110 section 15.1 allows it:
// who can cause such an answer would take the page away from all.
func usual(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 410:
		return true
	}
	return false
}

// understood are the statuses of which we know all requirements of caching, for must-understand.
func understood(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// judge decides whether a response may be kept (RFC 9111 section 3), and on which terms it is used then. d are its
// directives; req is the request's header and asked its directives.
func (t *terms) judge(res *httpmsg.Response, d *directives, req *httpmsg.Header, asked *directives) (p policy, keep bool) {
	noStore := d.noStore
	if d.mustUnderstand {
		// RFC 9111 section 5.2.2.3: who understands the status takes no notice of no-store beside it.
		if !understood(res.Status) {
			return p, false
		}
		noStore = false
	}
	switch {
	case !res.Origin, res.Status < 200, res.Status == http.StatusPartialContent, res.Status == http.StatusNotModified,
		noStore, d.private, d.broken, asked.noStore, res.Header.Has(httpmsg.HdrTrailer):
		return p, false
	}
	if _, ok := varying(&res.Header); !ok {
		return p, false
	}
	p.shared = d.public || d.mustRevalidate || d.sMaxAge != unset
	if req.Has(httpmsg.HdrAuthorization) && !p.shared {
		return p, false
	}
	cookies := res.Header.Has(httpmsg.HdrSetCookie)
	if cookies && !d.hides(httpmsg.Text(httpmsg.HdrSetCookie.String())) {
		return p, false
	}
	explicit := true
	switch {
	case d.sMaxAge != unset:
		p.lifetime = time.Duration(d.sMaxAge) * time.Second
	case d.maxAge != unset:
		p.lifetime = time.Duration(d.maxAge) * time.Second
	case res.Header.Lookup("Expires") != nil:
		p.lifetime = untilExpiry(&res.Header)
	default:
		explicit = false
		p.lifetime = t.defaultTTL
	}
	if req.Has(httpmsg.HdrCookie) && !t.byCookie {
		// The server saw who is asking. Without a word that the response is for all it may be about them (and a cookie is
		// an input of an attacker that is no part of the key).
		if !(d.public || d.sMaxAge != unset || d.immutable || lists(&res.Header, httpmsg.HdrVary, "Cookie")) {
			return p, false
		}
	}
	p.always = d.noCache
	p.revalidate = d.mustRevalidate || d.proxyRevalidate || d.sMaxAge != unset || d.noCache
	if !explicit && (!usual(res.Status) || p.lifetime <= 0) && !(d.noCache && res.Status == http.StatusOK) {
		return p, false
	}
	if t.maxTTL > 0 {
		p.lifetime = min(p.lifetime, t.maxTTL)
	}
	// s-maxage alone forbids use beyond it as proxy-revalidate does; beside these two its author means what they say.
	if !d.mustRevalidate && !d.proxyRevalidate && !d.noCache {
		p.staleWhileRevalidate = time.Duration(max(d.staleWhileRevalidate, 0)) * time.Second
		p.staleIfError = time.Duration(max(d.staleIfError, 0)) * time.Second
	}
	if p.asksAlways() {
		// It is of use only if the server can be asked about it, or if it may be used late.
		if !res.Header.Has(httpmsg.HdrETag) && res.Header.Lookup("Last-Modified") == nil && p.staleWhileRevalidate == 0 && p.staleIfError == 0 {
			return p, false
		}
	}
	return p, true
}

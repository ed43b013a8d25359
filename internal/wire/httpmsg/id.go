package httpmsg

import "strings"

// ID is a field name that Sluice itself looks at. Everything else is HdrOther.
type ID uint8

// Known names. Hop-by-hop and framing names come first, so that a set of them fits one word (see Set).
const (
	HdrOther ID = iota
	HdrConnection
	HdrKeepAlive
	HdrProxyConnection
	HdrProxyAuthenticate
	HdrProxyAuthorization
	HdrTE
	HdrTrailer
	HdrTransferEncoding
	HdrUpgrade
	HdrContentLength
	HdrHost
	HdrExpect
	HdrHTTP2Settings

	HdrXForwardedFor
	HdrXForwardedHost
	HdrXForwardedPort
	HdrXForwardedProto
	HdrXForwardedServer
	HdrXForwardedURI
	HdrXForwardedMethod
	HdrXForwardedPrefix
	HdrXForwardedTLSClientCert
	HdrXForwardedTLSClientCertInfo
	HdrXRealIP
	HdrForwarded

	HdrAccept
	HdrAcceptEncoding
	HdrAuthorization
	HdrCacheControl
	HdrContentEncoding
	HdrContentType
	HdrCookie
	HdrDate
	HdrETag
	HdrLocation
	HdrOrigin
	HdrRange
	HdrReferer
	HdrRetryAfter
	HdrSecWebSocketAccept
	HdrSecWebSocketKey
	HdrSecWebSocketProtocol
	HdrSecWebSocketVersion
	HdrServer
	HdrSetCookie
	HdrUserAgent
	HdrVary
	HdrVia
	HdrWWWAuthenticate
	HdrAltSvc
	HdrSluiceError
	idCount
)

var names = [idCount]string{
	HdrConnection: "Connection", HdrKeepAlive: "Keep-Alive", HdrProxyConnection: "Proxy-Connection",
	HdrProxyAuthenticate: "Proxy-Authenticate", HdrProxyAuthorization: "Proxy-Authorization", HdrTE: "TE", HdrTrailer: "Trailer",
	HdrTransferEncoding: "Transfer-Encoding", HdrUpgrade: "Upgrade", HdrContentLength: "Content-Length", HdrHost: "Host",
	HdrExpect: "Expect", HdrHTTP2Settings: "HTTP2-Settings",
	HdrXForwardedFor: "X-Forwarded-For", HdrXForwardedHost: "X-Forwarded-Host", HdrXForwardedPort: "X-Forwarded-Port",
	HdrXForwardedProto: "X-Forwarded-Proto", HdrXForwardedServer: "X-Forwarded-Server", HdrXForwardedURI: "X-Forwarded-Uri",
	HdrXForwardedMethod: "X-Forwarded-Method", HdrXForwardedPrefix: "X-Forwarded-Prefix",
	HdrXForwardedTLSClientCert:     "X-Forwarded-Tls-Client-Cert",
	HdrXForwardedTLSClientCertInfo: "X-Forwarded-Tls-Client-Cert-Info",
	HdrXRealIP:                     "X-Real-Ip", HdrForwarded: "Forwarded",
	HdrAccept: "Accept", HdrAcceptEncoding: "Accept-Encoding", HdrAuthorization: "Authorization", HdrCacheControl: "Cache-Control",
	HdrContentEncoding: "Content-Encoding", HdrContentType: "Content-Type", HdrCookie: "Cookie", HdrDate: "Date", HdrETag: "ETag",
	HdrLocation: "Location", HdrOrigin: "Origin", HdrRange: "Range", HdrReferer: "Referer", HdrRetryAfter: "Retry-After",
	HdrSecWebSocketAccept: "Sec-WebSocket-Accept", HdrSecWebSocketKey: "Sec-WebSocket-Key",
	HdrSecWebSocketProtocol: "Sec-WebSocket-Protocol", HdrSecWebSocketVersion: "Sec-WebSocket-Version", HdrServer: "Server",
	HdrSetCookie: "Set-Cookie", HdrUserAgent: "User-Agent", HdrVary: "Vary", HdrVia: "Via", HdrWWWAuthenticate: "WWW-Authenticate",
	HdrAltSvc: "Alt-Svc", HdrSluiceError: "Sluice-Error",
}

// String returns the canonical spelling; empty for HdrOther.
func (id ID) String() string { return names[id] }

// Lower returns the spelling of HTTP/2, in small letters; empty for HdrOther.
func (id ID) Lower() string { return lowered[id] }

var lowered = func() (t [idCount]string) {
	for id, name := range names {
		t[id] = strings.ToLower(name)
	}
	return t
}()

// slots finds a known name by its length and three letters; names that meet go to the next free slot. The factors were
// chosen so that none meet at present.
var slots = func() (t [256]ID) {
	for id := HdrOther + 1; id < idCount; id++ {
		i := slotOf(viewOf(names[id]))
		for t[i] != HdrOther {
			i++
		}
		t[i] = id
	}
	return t
}()

func slotOf(v View) uint8 {
	n := len(v)
	return uint8(n) + 3*(v[0]|0x20) + (v[n-1] | 0x20) + 31*(v[n-2]|0x20)
}

// IDOf returns the known name equal to s without case, or HdrOther.
func IDOf(s string) ID { return IDOfView(viewOf(s)) }

// IDOfView is IDOf for bytes from the wire.
func IDOfView(v View) ID {
	if len(v) < 2 {
		return HdrOther
	}
	for i := slotOf(v); slots[i] != HdrOther; i++ {
		if id := slots[i]; v.EqualFold(names[id]) {
			return id
		}
	}
	return HdrOther
}

// Set is a set of known names with values below 64.
type Set uint64

// SetOf builds a set.
func SetOf(ids ...ID) Set {
	var s Set
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

// Has reports whether id is in the set; HdrOther never is.
func (s Set) Has(id ID) bool { return s&(1<<id) != 0 && id != HdrOther }

// HopByHop are the fields that belong to one connection and are never forwarded (RFC 9110 section 7.6.1). HdrUpgrade and
// HdrTE: trailers are written anew where they are wanted.
var HopByHop = SetOf(HdrConnection, HdrKeepAlive, HdrProxyConnection, HdrProxyAuthenticate, HdrProxyAuthorization, HdrTE, HdrTrailer,
	HdrTransferEncoding, HdrUpgrade, HdrHTTP2Settings)

// HTTP1Only are the fields that must not appear in HTTP/2 and HTTP/3 (RFC 9113 section 8.2.2).
var HTTP1Only = SetOf(HdrConnection, HdrKeepAlive, HdrProxyConnection, HdrTransferEncoding, HdrUpgrade)

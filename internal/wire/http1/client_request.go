package http1

import (
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// appendRequest appends the head of x's request as it goes to t, up to the framing fields. Nothing of the client's bytes
// is copied as it came: the head is made from the parsed form (INV-1).
func appendRequest(b []byte, x *httpmsg.Exchange, t *Target) ([]byte, *fault.Fault) {
	req := &x.Req
	if !validName(req.Method) {
		return b, fault.New(fault.Internal, "method is not a token", nil)
	}
	b = append(b, req.Method...)
	b = append(b, ' ')
	if t.Proxy != nil && !req.Path.Is("*") {
		b = append(b, t.Proxy.Origin...)
	}
	b, f := x.AppendTarget(b, t.Prefix)
	if f != nil {
		return b, f
	}
	b = append(b, " HTTP/1.1\r\n"...)
	host := httpmsg.Field{Name: hostName, Value: t.Authority(x), ID: httpmsg.HdrHost}
	b = appendField(b, &host)

	h := &req.Header
	forward := t.ForwardPeer && !req.KeepForwardedFor
	peer := forward
	for i := range h.Len() {
		f := h.At(i)
		switch {
		case httpmsg.NotSent.Has(f.ID):
		case f.ID == httpmsg.HdrXForwardedFor && forward:
			if peer {
				b = appendForwardedFor(b, x, i)
				peer = false
			}
		case len(req.UpgradeTo) > 0:
			b = appendField(b, &httpmsg.Field{Name: handshakeName(f), Value: f.Value, ID: f.ID})
		default:
			b = appendField(b, f)
		}
	}
	if peer {
		b = appendForwardedFor(b, x, -1)
	}
	if t.Proxy != nil && t.Proxy.Authorization != "" {
		b = appendField(b, &httpmsg.Field{Name: proxyAuthorizationName, Value: httpmsg.Text(t.Proxy.Authorization), ID: httpmsg.HdrProxyAuthorization})
	}
	switch {
	case len(req.UpgradeTo) > 0:
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, &httpmsg.Field{Name: upgradeName, Value: req.UpgradeTo, ID: httpmsg.HdrUpgrade})
	case req.Trailers:
		// RFC 9110 section 10.1.4: TE goes with its connection option.
		b = append(b, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	return b, nil
}

var hostName, upgradeName, proxyAuthorizationName = httpmsg.Text("Host"), httpmsg.Text("Upgrade"), httpmsg.Text("Proxy-Authorization")

// appendForwardedFor appends X-Forwarded-For with the client's address behind what fields from first on say (-1: none).
func appendForwardedFor(b []byte, x *httpmsg.Exchange, first int) []byte {
	var line [256]byte
	value, wanted := x.AppendForwardedFor(line[:0], first)
	if !wanted {
		return b
	}
	return appendField(b, &httpmsg.Field{Name: forwardedForName, Value: value, ID: httpmsg.HdrXForwardedFor})
}

var forwardedForName = httpmsg.Text("X-Forwarded-For")

// handshakeName is the name of a field in a WebSocket handshake. Some servers compare these names with case.
func handshakeName(f *httpmsg.Field) httpmsg.View {
	const ext = "Sec-WebSocket-Extensions"
	switch f.ID {
	case httpmsg.HdrSecWebSocketKey, httpmsg.HdrSecWebSocketVersion, httpmsg.HdrSecWebSocketProtocol:
		return httpmsg.Text(f.ID.String())
	case httpmsg.HdrOther:
		if f.Name.EqualFold(ext) {
			return httpmsg.Text(ext)
		}
	}
	return f.Name
}

// appendFraming ends the head with the one framing of the message.
func appendFraming(b []byte, req *httpmsg.Request, expect bool) []byte {
	switch {
	case req.Body == nil:
		// RFC 9110 section 8.6: methods that usually have a body say that there is none.
		if m := string(req.Method); m == "POST" || m == "PUT" || m == "PATCH" || req.Header.Has(httpmsg.HdrContentLength) {
			b = appendLength(b, 0)
		}
	case req.ContentLength >= 0:
		b = appendLength(b, req.ContentLength)
	default:
		b = append(b, chunkedField...)
	}
	if expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	return append(b, '\r', '\n')
}

package http1

import (
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// requestHead parses the head of a request. Reset it, then call parse with the same buffer, grown, until it is done or
// refuses. Views in the request point into the buffer.
type requestHead struct {
	head
	empty int // empty lines skipped in front

	// What the parsed head says about its message and connection.
	framing framing
	size    int64      // of a counted body
	persist bool       // the client keeps the connection
	high    bool       // the target has bytes that must be percent-encoded
	refuse  fault.Kind // a message that is sound and that we refuse; Internal for none
	major   byte
}

// reset begins a new head at buf[start:].
func (r *requestHead) reset(start int) { *r = requestHead{head: head{start: start, pos: start}} }

// parse goes on with buf, which must begin with the bytes it had at the last call. When it reports true, req is filled
// but for Body and for the percent-encoding that high asks for, and r.pos is behind
// the head. After a fault the connection cannot be used any more: where the next message begins is not known.
func (r *requestHead) parse(buf []byte, req *httpmsg.Request, lim *Limits) (bool, *fault.Fault) {
	if !r.lined {
		v, reason := r.line(buf, req, lim)
		switch {
		case v == more:
			return false, nil
		case v == large && reason == "":
			return false, fault.New(fault.URITooLong, "request line too long", nil)
		case v == large:
			return false, fault.New(fault.HeaderTooLarge, reason, nil)
		case v == bad && r.major > '1':
			return false, fault.New(fault.VersionNotSupported, reason, nil)
		case v == bad:
			return false, fault.New(fault.BadRequest, reason, nil)
		}
		r.lined = true
	}
	v, reason := r.fields(buf, &req.Header, lim)
	switch v {
	case more:
		return false, nil
	case bad:
		return false, fault.New(fault.BadRequest, reason, nil)
	case large:
		return false, fault.New(fault.HeaderTooLarge, reason, nil)
	}
	if f := r.judge(req); f != nil {
		return false, f
	}
	return true, nil
}

// line reads the request line: method SP target SP version CRLF (RFC 9112 section 3), up to two empty lines in front
// (section 2.2). A large without reason is the line itself.
func (r *requestHead) line(buf []byte, req *httpmsg.Request, lim *Limits) (verdict, string) {
	if r.waiting(buf, min(r.start+lim.Head, r.pos+lim.Line)) {
		return more, ""
	}
	for r.pos < len(buf) && buf[r.pos] == '\r' {
		if r.pos+1 == len(buf) {
			return more, ""
		}
		if r.empty++; buf[r.pos+1] != '\n' || r.empty > 2 {
			return bad, "request line expected"
		}
		r.pos += 2
	}
	b := buf[r.pos:]
	tooLarge := "the head is too large"
	full := len(buf) >= r.start+lim.Head
	if full {
		b = buf[r.pos:max(r.pos, r.start+lim.Head)]
	}
	if len(b) >= lim.Line {
		b, full, tooLarge = b[:lim.Line], true, ""
	}
	n, reason := r.lineOf(b, req)
	switch {
	case reason != "":
		return bad, reason
	case n == 0 && full:
		return large, tooLarge
	case n == 0:
		r.seen = len(buf)
		return more, ""
	}
	r.pos += n
	return done, ""
}

// lineOf reads the request line at the front of b and returns its length, 0 if b ends first.
func (r *requestHead) lineOf(b []byte, req *httpmsg.Request) (int, string) {
	j := 0
	for j < len(b) && isToken[b[j]] {
		j++
	}
	if j > httpmsg.MaxMethod {
		return 0, "method too long"
	}
	if j == len(b) {
		return 0, ""
	}
	if j == 0 || b[j] != ' ' {
		return 0, "malformed method"
	}
	method := httpmsg.View(b[:j:j])
	j++
	from, query := j, -1
	high := false
scan:
	for ; j < len(b); j++ {
		switch targetClass[b[j]] {
		case targetPlain:
		case targetHigh:
			high = true
		case targetQuery:
			if query < 0 {
				query = j
			}
		case targetSlash:
			if query < 0 {
				return 0, "backslash in the path"
			}
		default:
			break scan
		}
	}
	if j == len(b) {
		return 0, ""
	}
	switch {
	case b[j] == '#':
		return 0, "fragment in the request target"
	case b[j] != ' ' && b[j] != '\r':
		return 0, "invalid character in the request target"
	case j == from:
		return 0, "empty request target"
	}
	target := httpmsg.View(b[from:j:j])
	if b[j] == '\r' {
		return 0, "request line without a version"
	}
	n, minor, reason := r.version(b[j+1:], method.Is("PRI") && target.Is("*"))
	if n == 0 || reason != "" {
		return 0, reason
	}
	req.Method = method
	req.Proto = httpmsg.HTTP11
	if minor == '0' {
		req.Proto = httpmsg.HTTP10
	}
	r.high = high
	if query < 0 {
		req.Path = target
	} else {
		req.Path = target[: query-from : query-from]
		req.Query, req.HasQuery = target[query-from+1:], true
	}
	return j + 1 + n, ""
}

// version reads "HTTP/1.x CRLF" (RFC 9112 section 2.3) and returns its length, 0 if b ends first.
func (r *requestHead) version(b []byte, preface bool) (n int, minor byte, reason string) {
	const form = "HTTP/d.d\r\n"
	for i := range len(form) {
		if i == len(b) {
			return 0, 0, ""
		}
		c := b[i]
		if form[i] == 'd' && (c < '0' || c > '9') || form[i] != 'd' && c != form[i] {
			return 0, 0, "malformed version"
		}
	}
	switch major := b[5]; {
	case preface && major == '2':
		return 0, 0, "HTTP/2 preface on an HTTP/1 connection"
	case major == '0':
		r.major = '2' // any that is not ours
		return 0, 0, "unsupported version"
	case major != '1':
		r.major = major
		return 0, 0, "unsupported version"
	}
	return len(form), b[7], ""
}

// judge decides, when all fields are there, about target, host, framing and persistence.
func (r *requestHead) judge(req *httpmsg.Request) *fault.Fault {
	refuse := func(reason string) *fault.Fault { return fault.New(fault.BadRequest, reason, nil) }

	// RFC 9112 section 3.2: exactly one Host, valid, whatever the target says.
	switch {
	case r.hosts > 1:
		return refuse("more than one Host")
	case r.hosts == 0 && req.Proto != httpmsg.HTTP10:
		return refuse("no Host")
	case len(r.host) > 0 && !httpmsg.IsHost(r.host):
		return refuse("malformed Host")
	}
	req.Host = r.host
	if req.Method.Is("CONNECT") {
		return fault.New(fault.MethodNotImplemented, "CONNECT", nil)
	}
	if reason := r.target(req); reason != "" {
		return refuse(reason)
	}
	if len(req.Host) == 0 && req.Proto != httpmsg.HTTP10 {
		return refuse("empty Host")
	}

	switch {
	case r.codings == 0 && r.lengths == 0:
		r.framing = noBody // requests are never delimited by the close (RFC 9112 section 6.3)
	case r.codings > 0 && r.lengths > 0:
		return refuse("Content-Length beside Transfer-Encoding")
	case r.codings > 1:
		return refuse("more than one Transfer-Encoding")
	case r.lengths > 1:
		return refuse("more than one Content-Length")
	case r.codings > 0 && req.Proto == httpmsg.HTTP10:
		return refuse("Transfer-Encoding in HTTP/1.0")
	case r.codings > 0:
		if !r.coding.EqualFold("chunked") {
			if unknownCodings(r.coding) {
				return fault.New(fault.CodingNotImplemented, "unknown transfer coding", nil)
			}
			return refuse("malformed Transfer-Encoding")
		}
		r.framing = chunked
		req.ContentLength = -1
	default:
		n, ok := httpmsg.ParseLength(r.length)
		if !ok {
			return refuse("malformed Content-Length")
		}
		if n > 0 {
			r.framing, r.size = counted, n
		}
		req.ContentLength = n
	}

	r.persist = !r.close && (req.Proto != httpmsg.HTTP10 || r.keepAlive)
	req.Trailers = r.trailers
	if r.expect != nil {
		switch {
		case !r.expect.EqualFold("100-continue"):
			r.refuse = fault.ExpectationFailed
		case req.Proto != httpmsg.HTTP10 && r.framing != noBody:
			req.Continue = true // RFC 9110 section 10.1.1: ignored without a body and in HTTP/1.0
		}
	}
	if req.Method.Is("TRACE") {
		r.refuse = fault.MethodNotAllowed // it would echo credentials
	}
	r.upgradeOf(req)
	return nil
}

// upgradeOf sets UpgradeTo for a handshake that can be tunnelled: WebSocket version 13 (RFC 6455 section 4.2.1). Whatever
// else a client would like to switch to is struck out, and the request is a plain one.
func (r *requestHead) upgradeOf(req *httpmsg.Request) {
	if r.upgrade == nil && !r.settings {
		return
	}
	h := &req.Header
	if r.switching && req.Proto != httpmsg.HTTP10 && r.framing == noBody && req.Method.Is("GET") &&
		hasElement(r.upgrade, "websocket") && h.Get(httpmsg.HdrSecWebSocketVersion).Is("13") && len(h.Get(httpmsg.HdrSecWebSocketKey)) > 0 {
		req.UpgradeTo = httpmsg.Text("websocket")
	} else {
		h.DelID(httpmsg.HdrUpgrade)
	}
	h.DelID(httpmsg.HdrHTTP2Settings)
}

// target turns the request target into Path, Query and, for the absolute form, Host (RFC 9112 section 3.2).
func (r *requestHead) target(req *httpmsg.Request) (reason string) {
	p := req.Path
	switch {
	case len(p) > 0 && p[0] == '/':
		return ""
	case p.Is("*") && !req.HasQuery:
		if !req.Method.Is("OPTIONS") {
			return "asterisk target with another method than OPTIONS"
		}
		return ""
	}
	scheme := 0
	secure := false
	switch {
	case len(p) >= 7 && p[:7].EqualFold("http://"):
		scheme = 7
	case len(p) >= 8 && p[:8].EqualFold("https://"):
		scheme, secure = 8, true
	default:
		return "request target is neither a path nor a URL"
	}
	if secure != req.TLS {
		return "scheme of the request target is not that of the connection"
	}
	host := p[scheme:]
	path := httpmsg.View(nil)
	for i, c := range host {
		if c == '/' {
			host, path = host[:i:i], host[i:]
			break
		}
	}
	if len(host) > 0 {
		if !httpmsg.IsHost(host) {
			return "malformed host in the request target"
		}
		req.Host = host // RFC 9112 section 3.2.2: it replaces the field
	}
	switch {
	case len(path) > 0:
		req.Path = path
	case req.Method.Is("OPTIONS") && !req.HasQuery:
		req.Path = httpmsg.Text("*") // section 3.2.4
	default:
		req.Path = httpmsg.Text("/")
	}
	return ""
}

package http1

import (
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// responseHead parses the head of a response, final or interim. It is used like requestHead. The fields go into the
// response's header as they are, framing fields included (Host, which has no meaning there, is dropped).
type responseHead struct {
	head

	// What the parsed head says; set by parse and, where it depends on the request, by frame.
	proto   httpmsg.Proto
	framing framing
	size    int64 // of a counted body; else the Content-Length given for information, or -1
	persist bool  // the server keeps the connection if the body is read to its end
}

// reset begins a new head at buf[start:].
func (r *responseHead) reset(start int) { *r = responseHead{head: head{start: start, pos: start}} }

// parse goes on with buf, which must begin with the bytes it had at the last call. When it reports true, res.Status and
// res.Header are filled and r.pos is behind the head; call frame next. After a fault (UpstreamProtocol or
// UpstreamTooLarge) the connection cannot be used any more.
func (r *responseHead) parse(buf []byte, res *httpmsg.Response, lim *Limits) (bool, *fault.Fault) {
	var v verdict
	var reason string
	if !r.lined {
		if v, reason = r.line(buf, res, lim); v == done {
			r.lined = true
		}
	}
	if r.lined {
		v, reason = r.fields(buf, &res.Header, lim)
	}
	switch v {
	case bad:
		return false, fault.New(fault.UpstreamProtocol, "response head: "+reason, nil)
	case large:
		return false, fault.New(fault.UpstreamTooLarge, "response head: "+reason, nil)
	}
	return v == done, nil
}

// line reads "HTTP/1.x SP 3DIGIT [SP reason] CRLF" (RFC 9112 section 4). The space before an absent reason may be missing,
// as many servers have it.
func (r *responseHead) line(buf []byte, res *httpmsg.Response, lim *Limits) (verdict, string) {
	limit := min(r.start+lim.Head, r.pos+lim.Line)
	if r.waiting(buf, limit) {
		return more, ""
	}
	full := len(buf) >= limit
	if full {
		buf = buf[:limit]
	}
	b := buf[r.pos:]
	const form = "HTTP/1.d ddd"
	for i := range len(form) {
		switch {
		case i == len(b):
			return r.short(buf, full)
		case form[i] == 'd' && (b[i] < '0' || b[i] > '9') || form[i] != 'd' && b[i] != form[i]:
			return bad, "malformed status line"
		}
	}
	j := len(form)
	if j < len(b) && b[j] != ' ' && b[j] != '\r' {
		return bad, "malformed status line"
	}
	for {
		k := controlAt(b[j:])
		if k < 0 {
			return r.short(buf, full)
		}
		if j += k; b[j] != '\t' {
			break
		}
		j++
	}
	switch {
	case b[j] != '\r':
		return bad, "control character in the status line"
	case j+1 == len(b):
		return r.short(buf, full)
	case b[j+1] != '\n':
		return bad, "bare CR in the head"
	}
	res.Status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	if res.Status < 100 {
		return bad, "status below 100"
	}
	r.proto = httpmsg.HTTP11
	if b[7] == '0' {
		r.proto = httpmsg.HTTP10
	}
	r.pos += j + 2
	return done, ""
}

func (r *responseHead) short(buf []byte, full bool) (verdict, string) {
	if full {
		return large, "status line too long"
	}
	r.seen = len(buf)
	return more, ""
}

// frame decides, once parse is done, where the body of the response to a request ends (RFC 9112 section 6.3): framing, size
// and persist. isHead tells that the request's method was HEAD. For 1xx it is called as well.
func (r *responseHead) frame(status int, isHead bool) *fault.Fault {
	refuse := func(reason string) *fault.Fault { return fault.New(fault.UpstreamProtocol, reason, nil) }
	r.persist = !r.close && (r.proto != httpmsg.HTTP10 || r.keepAlive)
	r.size = -1
	switch {
	case r.codings > 0 && r.lengths > 0:
		return refuse("Content-Length beside Transfer-Encoding in a response")
	case r.codings > 1:
		return refuse("more than one Transfer-Encoding in a response")
	case r.lengths > 1:
		return refuse("more than one Content-Length in a response")
	case r.codings > 0 && !r.coding.EqualFold("chunked"):
		return refuse("unknown transfer coding in a response")
	case r.codings > 0:
		r.framing = chunked
		if r.proto == httpmsg.HTTP10 {
			r.persist = false // faulty framing (RFC 9112 section 6.1): read it, then close
		}
	case r.lengths > 0:
		n, ok := httpmsg.ParseLength(r.length)
		if !ok {
			return refuse("malformed Content-Length in a response")
		}
		r.framing, r.size = counted, n
		if n == 0 {
			r.framing = noBody
		}
	default:
		r.framing = toClose
	}
	switch {
	case isHead || status == 304:
		r.framing = noBody
	case status < 200 || status == 204:
		if r.framing == chunked || r.framing == counted {
			r.persist = false // bytes may follow that belong to nothing
		}
		r.framing, r.size = noBody, -1
	case r.framing == toClose:
		r.persist = false
	}
	return nil
}

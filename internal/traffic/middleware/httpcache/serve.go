package httpcache

import (
	"net/http"
	"strconv"
	"time"

	"sluice/internal/wire/httpmsg"
)

// came is how an answer came about, for Cache-Status (RFC 9211).
type came struct {
	// hit tells that nobody was asked; why is the reason for which somebody was.
	hit bool
	why string
	// status is the server's answer to the question about a kept response, 0 where that is what the client gets.
	status int
	// collapsed tells that another request got the answer, stored that it is kept.
	collapsed, stored bool
}

// serve puts a kept response on x: all of it, a part, or the word that the client has it already.
func (h *handler) serve(x *httpmsg.Exchange, e *entry, now time.Time, how came) {
	skip := func(*httpmsg.Field) bool { return false }
	body := e.body
	switch e.status {
	case http.StatusOK:
		if e.unmodified(&x.Req.Header) {
			x.RespondBytes(http.StatusNotModified, nil)
			skip = aboutContent
			break
		}
		where, verdict := e.part(&x.Req.Header)
		switch {
		case verdict == rangeIgnored || x.Req.Method.Is("HEAD"): // RFC 9110 section 14.2: Range is for GET
			x.RespondBytes(http.StatusOK, body)
		case verdict == rangeOutside:
			x.Respond(http.StatusRequestedRangeNotSatisfiable, "text/plain; charset=utf-8", http.StatusText(http.StatusRequestedRangeNotSatisfiable))
			addContentRange(x, nil, len(body))
			say(x, how, e.left(now))
			return
		default:
			x.RespondBytes(http.StatusPartialContent, body[where.from:where.to])
			addContentRange(x, &where, len(body))
		}
	default:
		x.RespondBytes(e.status, body)
	}
	if x.Req.Method.Is("HEAD") {
		x.Res.Body = nil
	}
	x.Res.Origin = true
	for i := range e.header.Len() {
		if f := e.header.At(i); !skip(f) {
			x.Res.Header.Append(*f)
		}
	}
	age := max(int64(e.age(now)/time.Second), 0)
	x.Res.Header.Append(httpmsg.Field{Name: httpmsg.Text("Age"), Value: httpmsg.AppendInt(x.Scratch(20)[:0], age)})
	say(x, how, e.left(now))
}

// aboutContent reports whether a field is nothing for a 304 (RFC 9110 section 15.4.5).
func aboutContent(f *httpmsg.Field) bool {
	return len(f.Name) > 8 && f.Name[:8].EqualFold("Content-") && !f.Name.EqualFold("Content-Location")
}

func addContentRange(x *httpmsg.Exchange, s *span, size int) {
	b := append(x.Scratch(64)[:0], "bytes "...)
	if s == nil {
		b = append(b, '*')
	} else {
		b = strconv.AppendInt(b, s.from, 10)
		b = append(b, '-')
		b = strconv.AppendInt(b, s.to-1, 10)
	}
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(size), 10)
	x.Res.Header.Append(httpmsg.Field{Name: httpmsg.Text("Content-Range"), Value: b})
}

// left is for how many seconds the response is fresh yet, less than zero once it is not.
func (e *entry) left(now time.Time) int64 {
	d := e.policy.lifetime - e.age(now)
	if d < 0 {
		return -int64((-d + time.Second - 1) / time.Second)
	}
	return int64(d / time.Second)
}

// say adds Cache-Status to the response on x. ttl counts for responses from the store.
func say(x *httpmsg.Exchange, how came, ttl int64) {
	b := append(x.Scratch(128)[:0], "Sluice"...)
	if how.hit {
		b = append(b, "; hit; ttl="...)
		b = strconv.AppendInt(b, ttl, 10)
	} else {
		b = append(append(b, "; fwd="...), how.why...)
		if how.status != 0 {
			b = append(b, "; fwd-status="...)
			b = strconv.AppendInt(b, int64(how.status), 10)
		}
		if how.stored {
			b = append(b, "; stored"...)
		}
		if how.collapsed {
			b = append(b, "; collapsed"...)
		}
	}
	x.Res.Header.Append(httpmsg.Field{Name: httpmsg.Text("Cache-Status"), Value: b})
}

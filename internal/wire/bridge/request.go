package bridge

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// read fills the exchange from r, or says why the request is refused. The verdicts are those of HTTP/1, by the same
// functions; net/http has already refused what its own codec refuses.
func (e *exchange) read(w http.ResponseWriter, r *http.Request) *fault.Fault {
	x, c := &e.x, connOf(r)
	x.Peer, x.Local, x.TLS, x.TLSOptions, x.Conn = c.Peer, c.Local, c.TLS, c.TLSOptions, c.Pin
	e.last = c.Last
	q := &x.Req
	q.Method, q.Host, q.TLS = httpmsg.Text(r.Method), httpmsg.Text(r.Host), c.TLS != nil
	switch {
	case r.ProtoMajor == 2:
		q.Proto = httpmsg.HTTP2
	case r.ProtoMajor == 3:
		q.Proto = httpmsg.HTTP3
	case r.ProtoAtLeast(1, 1):
		q.Proto = httpmsg.HTTP11
	default:
		q.Proto = httpmsg.HTTP10
	}
	if f := httpmsg.CheckMethod(q.Method); f != nil {
		return f
	}
	if f := checkAuthority(q, r); f != nil {
		return f
	}
	if f := x.SetTarget(httpmsg.Text(r.RequestURI)); f != nil {
		return f
	}
	if f := readFields(q, r, e.s.opts.MaxField); f != nil {
		return f
	}
	return e.readBody(w, r)
}

// checkAuthority wants one authority that is a host (RFC 9113 section 8.3.1). net/http put Host in its place where
// :authority was missing.
func checkAuthority(q *httpmsg.Request, r *http.Request) *fault.Fault {
	if !httpmsg.IsHost(q.Host) && (len(q.Host) > 0 || q.Proto != httpmsg.HTTP10) {
		return fault.New(fault.BadRequest, "the authority is not a host", nil)
	}
	if hosts := r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && !q.Host.EqualFold(hosts[0]) {
		return fault.New(fault.BadRequest, "Host differs from :authority", nil)
	}
	return nil
}

// readFields copies the fields. net/http keeps the order of the values of one name but not that of names: they come sorted.
func readFields(q *httpmsg.Request, r *http.Request, maxField int) *fault.Fault {
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		f := httpmsg.Field{Name: httpmsg.Text(name), ID: httpmsg.IDOf(name)}
		if f.ID == httpmsg.HdrHost {
			continue
		}
		if !httpmsg.IsToken(f.Name) {
			return fault.New(fault.BadRequest, "a field name is not a token", nil)
		}
		if httpmsg.HTTP1Only.Has(f.ID) && q.Proto >= httpmsg.HTTP2 {
			return fault.New(fault.BadRequest, f.ID.String()+" is not for this version of HTTP", nil)
		}
		for _, v := range r.Header[name] {
			f.Value = httpmsg.Text(v)
			switch {
			case !httpmsg.IsFieldValue(f.Value):
				return fault.New(fault.BadRequest, "a field value holds what values cannot", nil)
			case q.Header.Len() >= httpmsg.MaxFields || len(name)+len(v) > maxField:
				return fault.New(fault.HeaderTooLarge, "a field is too long, or there are too many", nil)
			}
			q.Header.Append(f)
		}
	}
	for i := q.Header.IndexID(httpmsg.HdrTE, 0); i >= 0; i = q.Header.IndexID(httpmsg.HdrTE, i+1) {
		v := q.Header.At(i).Value
		switch {
		case v.EqualFold("trailers"):
			q.Trailers = true
		case q.Proto >= httpmsg.HTTP2:
			return fault.New(fault.BadRequest, "TE is something else than trailers", nil)
		case strings.Contains(strings.ToLower(v.String()), "trailers"):
			q.Trailers = true
		}
	}
	if q.Header.Has(httpmsg.HdrExpect) {
		if !q.Header.Get(httpmsg.HdrExpect).EqualFold("100-continue") || q.Header.IndexID(httpmsg.HdrExpect, q.Header.IndexID(httpmsg.HdrExpect, 0)+1) >= 0 {
			return fault.New(fault.ExpectationFailed, "an expectation that nobody knows", nil)
		}
		// On HTTP/2 net/http takes the field away and sends the 100 by itself when the body is first read.
		q.Continue = true
	}
	return nil
}

// readBody puts the body source on the request.
func (e *exchange) readBody(w http.ResponseWriter, r *http.Request) *fault.Fault {
	q := &e.x.Req
	declared := int64(-1)
	if i := q.Header.IndexID(httpmsg.HdrContentLength, 0); i >= 0 {
		n, ok := httpmsg.ParseLength(q.Header.At(i).Value)
		if !ok || q.Header.IndexID(httpmsg.HdrContentLength, i+1) >= 0 {
			return fault.New(fault.BadRequest, "Content-Length is not one number", nil)
		}
		declared = n
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		if declared > 0 {
			return fault.New(fault.BadRequest, "Content-Length was announced and no body came", nil)
		}
		return nil
	}
	q.ContentLength = r.ContentLength
	e.body.start(e, w, r)
	q.Body = &e.body
	return nil
}

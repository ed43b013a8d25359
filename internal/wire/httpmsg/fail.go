package httpmsg

import "sluice/internal/core/fault"

// Fail makes x.Res the answer to err, in place of whatever stood there: the only place where a fault becomes a response.
// The body is the bare status text as text/plain, and Sluice-Error tells our answer from a server's. A fault that cannot
// be answered once a message has begun (status 0) becomes 502 here: this is for when nothing was sent yet. The fault is
// kept in Facts.Err. Filters of the response that failed are closed and dropped; edits stay.
func (x *Exchange) Fail(err error) {
	f := fault.Of(err)
	x.Facts.Err = f
	x.CloseFilters()
	status := f.Status()
	if status == 0 {
		status = 502
	}
	text := f.Text()
	if text == "" {
		text = "Bad Gateway"
	}
	x.Respond(status, "text/plain; charset=utf-8", text)
	if f.Kind == fault.MethodNotAllowed {
		// RFC 9110 section 15.5.6 demands the list.
		x.Res.Header.Add("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
	}
	if f.RetryAfter > 0 {
		x.Res.Header.AddID(HdrRetryAfter, AppendInt(nil, int64(f.RetryAfter)))
	}
	x.Res.Header.AddID(HdrSluiceError, Text(f.Kind.Code()))
}

package httpcache

import (
	"sync/atomic"
	"time"

	"sluice/internal/wire/httpmsg"
)

// entry is a kept response. It is immutable once it is in the store, apart from what it holds of the budget, so that any
// number of exchanges may send it while it is replaced or forgotten.
type entry struct {
	status int
	// header and body are copies of what came: nothing in them belongs to an exchange.
	header httpmsg.Header
	body   []byte
	policy policy
	// came is when the response was here, initialAge how old it was then.
	came       time.Time
	initialAge time.Duration

	etag httpmsg.View // nil without one
	// modified is Last-Modified as text and as a time, zero without one.
	modified     httpmsg.View
	modifiedTime time.Time

	budget *httpmsg.Budget
	taken  atomic.Int64 // bytes taken from the budget and not given back
}

// fieldCost is what a field takes besides its text, entryCost an entry.
const (
	fieldCost = 56
	entryCost = 400
)

// neverKept are fields that belong to a connection, or that are written anew from the entry.
var neverKept = httpmsg.HopByHop | httpmsg.SetOf(httpmsg.HdrContentLength)

// newEntry copies the head of a response. d are its directives. The body is put there afterwards.
func newEntry(res *httpmsg.Response, d *directives, p policy, asked, came time.Time) *entry {
	e := &entry{status: res.Status, policy: p, came: came, initialAge: initialAge(&res.Header, asked, came)}
	e.copyFields(&res.Header, d, nil)
	if !e.header.Has(httpmsg.HdrDate) {
		// RFC 9110 section 6.6.1 has a recipient with a clock add it before it keeps a response.
		e.header.Append(httpmsg.Field{ID: httpmsg.HdrDate, Name: httpmsg.Text("Date"),
			Value: came.UTC().AppendFormat(nil, dateFormat)})
	}
	e.index()
	return e
}

// dateFormat is http.TimeFormat, whose users need not know it.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// copyFields appends copies of the fields of h that are kept, but those that skip names, all in one piece of memory.
func (e *entry) copyFields(h *httpmsg.Header, d *directives, skip func(f *httpmsg.Field) bool) {
	keeps := func(f *httpmsg.Field) bool {
		return !neverKept.Has(f.ID) && !f.Name.EqualFold("Age") && !d.hides(f.Name) && (skip == nil || !skip(f))
	}
	size := 0
	for i := range h.Len() {
		if f := h.At(i); keeps(f) {
			size += len(f.Name) + len(f.Value)
		}
	}
	text := make([]byte, 0, size)
	put := func(v httpmsg.View) httpmsg.View {
		from := len(text)
		text = append(text, v...)
		return text[from:len(text):len(text)]
	}
	for i := range h.Len() {
		if f := h.At(i); keeps(f) {
			e.header.Append(httpmsg.Field{ID: f.ID, Name: put(f.Name), Value: put(f.Value)})
		}
	}
}

// index finds the validators.
func (e *entry) index() {
	if v := e.header.Get(httpmsg.HdrETag); isETag(v) {
		e.etag = v
	}
	if t, ok := fieldTime(&e.header, "Last-Modified"); ok {
		e.modified, e.modifiedTime = e.header.Lookup("Last-Modified"), t
	}
}

// freshened returns e as a 304 answer to a question about it makes it (RFC 9111 sections 3.2 and 4.3.4): with the fields
// of the answer in place of its own, from now on. keep tells whether the result may be kept.
func (e *entry) freshened(t *terms, answer *httpmsg.Header, req *httpmsg.Header, r *directives, asked, came time.Time) (f *entry, keep bool) {
	said := answer
	if !answer.Has(httpmsg.HdrCacheControl) {
		said = &e.header
	}
	d := parseDirectives(said)
	f = &entry{status: e.status, body: e.body, came: came, initialAge: initialAge(answer, asked, came)}
	f.copyFields(&e.header, &d, func(own *httpmsg.Field) bool { return !aboutBody(own) && answer.Index(own.Name.String(), 0) >= 0 })
	f.copyFields(answer, &d, aboutBody)
	f.index()
	f.policy, keep = t.judge(&httpmsg.Response{Status: f.status, Header: f.header, Origin: true}, &d, req, r)
	return f, keep
}

// aboutBody reports whether a field describes the body, which a 304 does not bring.
func aboutBody(f *httpmsg.Field) bool {
	switch f.ID {
	case httpmsg.HdrContentEncoding, httpmsg.HdrContentType:
		return true
	}
	return f.Name.EqualFold("Content-Range")
}

// size is about how much memory the entry takes.
func (e *entry) size() int64 {
	n := int64(entryCost + len(e.body))
	for i := range e.header.Len() {
		f := e.header.At(i)
		n += int64(fieldCost + len(f.Name) + len(f.Value))
	}
	return n
}

// take takes n bytes for the entry from its budget.
func (e *entry) take(b *httpmsg.Budget, n int64) bool {
	if !b.Take(n) {
		return false
	}
	e.budget = b
	e.taken.Add(n)
	return true
}

// release gives back what the entry holds of the budget. Calling it again does no harm.
func (e *entry) release() { e.budget.Give(e.taken.Swap(0)) }

package middleware

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// maintenance answers with a notice, except to exempt clients.
type maintenance struct {
	status            int
	contentType, page string
	retryAfter        string // empty if not sent
	file              *fileSwitch
	client            Client
	exempt            *Ranges
	next              httpmsg.Handler
}

func checkMaintenance(c *dynamic.Middleware) diag.List {
	m := c.Maintenance
	l := CheckIPStrategy("maintenance.ipStrategy", m.IPStrategy)
	if _, err := ParseRanges(m.ExemptRange); err != nil {
		l.Add(Bad("maintenance.exemptRange", err.Error(), ""))
	}
	if !KnownStatus(m.StatusCode) {
		l.Add(Bad("maintenance.statusCode", fmt.Sprintf("%d is not a status code for an answer", m.StatusCode), "the usual one is 503"))
	}
	if m.RetryAfter < 0 {
		l.Add(Bad("maintenance.retryAfter", "retryAfter is less than zero", "write a time such as 10m"))
	}
	if m.Page.Written != "" && m.Page.Content.IsZero() {
		l.Add(Bad("maintenance.page", "the page could not be read or is empty", ""))
	}
	if !httpmsg.IsFieldValue(httpmsg.Text(m.ContentType)) {
		l.Add(Bad("maintenance.contentType", "this is not a media type", "a usual one is text/html; charset=utf-8"))
	}
	return l
}

func buildMaintenance(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.Maintenance
	if o.Enabled != nil && !*o.Enabled {
		return next, nil
	}
	m := &maintenance{status: o.StatusCode, contentType: o.ContentType, page: o.Page.Content.Reveal(), next: next}
	if m.page == "" {
		m.contentType, m.page = "text/plain; charset=utf-8", http.StatusText(m.status)
	}
	if o.RetryAfter > 0 {
		m.retryAfter = strconv.FormatInt(int64((o.RetryAfter.Std()+time.Second-1)/time.Second), 10)
	}
	if o.WhenFile != "" {
		m.file = &fileSwitch{path: o.WhenFile}
	}
	var err error
	if m.client, err = NewClient(o.IPStrategy); err != nil {
		return nil, err
	}
	m.exempt, err = ParseRanges(o.ExemptRange)
	return m, err
}

// Serve gives the notice. Caches must not keep it.
func (m *maintenance) Serve(x *httpmsg.Exchange) error {
	if m.file != nil && !m.file.on() {
		return m.next.Serve(x)
	}
	if a, ok := m.client.Addr(x); ok && m.exempt.Contains(a) {
		return m.next.Serve(x)
	}
	x.Respond(m.status, m.contentType, m.page)
	x.Res.Header.AddID(httpmsg.HdrCacheControl, httpmsg.Text("no-store"))
	if m.retryAfter != "" {
		x.Res.Header.AddID(httpmsg.HdrRetryAfter, httpmsg.Text(m.retryAfter))
	}
	return nil
}

// fileSwitch is on while a file exists. It looks once a second at most, and one request at a time does.
type fileSwitch struct {
	path string
	next atomic.Int64 // Unix nanoseconds when to look again
	is   atomic.Bool
}

const lookEvery = time.Second

func (f *fileSwitch) on() bool {
	now, due := time.Now().UnixNano(), f.next.Load()
	if now >= due && f.next.CompareAndSwap(due, now+int64(lookEvery)) {
		_, err := os.Stat(f.path)
		f.is.Store(err == nil)
	}
	return f.is.Load()
}

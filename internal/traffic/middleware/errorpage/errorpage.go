// Package errorpage replaces answers with certain status codes by pages from a service. The middleware's key is errors.
//
// The page is fetched with GET for the original host and sent with the code of the original answer, whatever its own is.
// What tells a client how to go on, such as the challenge of a 401, stays with the answer. If the service has no page to
// give, the client gets the code with its plain text.
package errorpage

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/traffic/middleware"
	"sluice/internal/traffic/middleware/statuses"
	"sluice/internal/wire/httpmsg"
)

// Kind is the row of errors.
func Kind() middleware.Kind {
	return middleware.Kind{Name: "errors", Check: check, Build: build}
}

type pages struct {
	statuses statuses.Set
	rewrites statuses.Rewrites
	query    string
	// headers are the request's that the service gets, where all is false.
	headers []string
	all     bool
	service httpmsg.Handler
	log     *slog.Logger
	next    httpmsg.Handler
}

func check(c *dynamic.Middleware) diag.List {
	var l diag.List
	o := c.Errors
	if _, at, err := statuses.Parse(o.Status); err != nil {
		l.Add(middleware.Bad("errors.status["+strconv.Itoa(at)+"]", err.Error(), "give each code or range its own element"))
	}
	if len(o.Status) == 0 {
		l.Add(middleware.Odd("errors.status", "without a status no answer is replaced", "list codes or ranges, such as 500-599"))
	}
	if _, err := statuses.ParseRewrites(o.StatusRewrites); err != nil {
		l.Add(middleware.Bad("errors.statusRewrites", err.Error(), ""))
	}
	if o.Service == "" {
		l.Add(middleware.Bad("errors.service", "no service is named", "name the service that has the pages"))
	}
	x := httpmsg.Exchange{}
	x.Req.Method = httpmsg.Text("GET")
	if f := x.SetTarget(httpmsg.Text((&pages{query: rooted(o.Query)}).target(500, 500, "http://a/"))); f != nil {
		l.Add(middleware.Bad("errors.query", "this is no path and query: "+f.Reason, "write it like /{status}.html"))
	}
	for i, name := range o.ErrorRequestHeaders {
		if !httpmsg.IsToken(httpmsg.Text(name)) {
			l.Add(middleware.Bad(fmt.Sprintf("errors.errorRequestHeaders[%d]", i), strconv.Quote(name)+" is no name of a header", ""))
		}
	}
	return l
}

func rooted(query string) string {
	if !strings.HasPrefix(query, "/") {
		return "/" + query
	}
	return query
}

func build(c *dynamic.Middleware, env middleware.Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	if err := middleware.Refusal(check(c)); err != nil {
		return nil, err
	}
	if env.Service == nil {
		return nil, fmt.Errorf("errors.service: there is no service %q", c.Errors.Service)
	}
	o := c.Errors
	p := &pages{query: rooted(o.Query), headers: o.ErrorRequestHeaders, all: o.ErrorRequestHeaders == nil, service: env.Service, log: env.Log, next: next}
	p.statuses, _, _ = statuses.Parse(o.Status)
	p.rewrites, _ = statuses.ParseRewrites(o.StatusRewrites)
	return p, nil
}

// Serve implements httpmsg.Handler.
func (p *pages) Serve(x *httpmsg.Exchange) error {
	mark := x.Mark()
	err := p.next.Serve(x)
	status := x.Res.Status
	if err != nil {
		status = fault.Status(err)
	}
	if x.Upgrade != nil || !p.statuses.Has(status) || x.Cancelled() != nil {
		return err
	}
	kept := keep(&x.Res.Header)
	if err != nil {
		f := fault.Of(err)
		x.Facts.Err = f
		kept.AddID(httpmsg.HdrSluiceError, httpmsg.Text(f.Kind.Code()))
	}
	server, origin := x.Facts.Server, x.Facts.OriginStatus
	x.Rewind(&mark)
	code := p.rewrites.Of(status)
	if why := p.fetch(x, code, status); why != nil {
		if p.log != nil {
			p.log.Debug("no error page could be had", "status", status, "err", why)
		}
		x.Respond(code, "text/plain; charset=utf-8", http.StatusText(code))
	}
	x.Facts.Server, x.Facts.OriginStatus = server, origin // the record is about the request, not about the page
	x.Res.Status = code
	for i := range kept.Len() {
		f := kept.At(i)
		if f.ID != httpmsg.HdrWWWAuthenticate {
			x.Res.Header.Del(string(f.Name))
		}
		x.Res.Header.Append(*f)
	}
	return nil
}

// keep returns the fields of an answer without which its status code means little: how to log in (RFC 9110 section 11.6.1
// demands it of a 401), when to come back, what is allowed instead. Their memory lives as long as the exchange.
func keep(h *httpmsg.Header) httpmsg.Header {
	var kept httpmsg.Header
	for i := range h.Len() {
		switch f := h.At(i); {
		case f.ID == httpmsg.HdrWWWAuthenticate, f.ID == httpmsg.HdrRetryAfter, f.ID == httpmsg.HdrSluiceError, f.Name.EqualFold("Allow"):
			kept.Append(*f)
		}
	}
	return kept
}

// fetch puts the page on x as its response. The request is afterwards what it was before.
func (p *pages) fetch(x *httpmsg.Exchange, code, status int) error {
	target := p.target(code, status, addressOf(x)) // of the client's path, which is about to go
	req := x.Req
	var fields httpmsg.Header
	fields.CopyFrom(&x.Req.Header)
	defer func() {
		own := x.Req.Header
		x.Req = req
		x.Req.Header = own
		x.Req.Header.CopyFrom(&fields)
	}()
	x.Req.Method = httpmsg.Text("GET")
	if f := x.SetTarget(httpmsg.Text(target)); f != nil {
		return f
	}
	x.Req.Body, x.Req.ContentLength, x.Req.UpgradeTo, x.Req.Continue = nil, 0, nil, false
	x.Req.Header.DeleteFunc(0, p.drops)
	defer x.HoldInterim()() // hints about the page are of no use with another answer's code
	err := p.service.Serve(x)
	if err == nil && x.Upgrade != nil {
		err = fault.New(fault.UpstreamProtocol, "the service of error pages switched protocols", nil)
	}
	if err == nil && (x.Res.Status == http.StatusNotModified || x.Res.Status == http.StatusNoContent) {
		x.Res.ContentLength = 0 // of the body that this answer does not have
	}
	return err
}

// drops reports whether a field of the request is nothing for the service: it is not listed, or makes the page partial or
// conditional, so that its body would be missing (RFC 9110 sections 13.1 and 14.2).
func (p *pages) drops(f *httpmsg.Field) bool {
	switch {
	case f.ID == httpmsg.HdrRange, f.ID == httpmsg.HdrContentType, f.ID == httpmsg.HdrContentEncoding, f.ID == httpmsg.HdrContentLength,
		f.ID == httpmsg.HdrExpect, f.ID == httpmsg.HdrTransferEncoding, f.ID == httpmsg.HdrUpgrade:
		return true
	case f.ID == httpmsg.HdrOther && len(f.Name) > 3 && f.Name[:3].EqualFold("If-"):
		return true
	case p.all:
		return false
	}
	for _, name := range p.headers {
		if f.Name.EqualFold(name) {
			return false
		}
	}
	return true
}

// target fills the placeholders of the query.
func (p *pages) target(code, status int, address string) string {
	if strings.IndexByte(p.query, '{') < 0 {
		return p.query
	}
	return strings.NewReplacer("{status}", strconv.Itoa(code), "{originalStatus}", strconv.Itoa(status), "{url}", url.QueryEscape(address)).Replace(p.query)
}

// addressOf returns the URL that the client asked for.
func addressOf(x *httpmsg.Exchange) string {
	var u strings.Builder
	u.WriteString("http")
	if x.Req.TLS {
		u.WriteByte('s')
	}
	u.WriteString("://")
	u.Write(x.Req.Host)
	u.Write(x.Req.Path)
	if x.Req.HasQuery {
		u.WriteByte('?')
		u.Write(x.Req.Query)
	}
	return u.String()
}

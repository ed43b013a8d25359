package middleware

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/core/fault"
	"sluice/internal/wire/httpmsg"
)

// headers sets fields of requests and responses, answers CORS preflights and adds security headers.
type headers struct {
	request []setting
	claimed Names // the names of request: the client's copies go in every spelling
	host    httpmsg.View
	alone   bool // X-Forwarded-For: "" also keeps the client's address from being added
	cors    *cors
	hosts   hostCheck
	proxied []setting // fields that say that the client used TLS
	// The response edits without and with TLS; nil where there is nothing to do.
	clear, secure *headerEdit
	next          httpmsg.Handler
}

// setting is a field to set; without a value, to delete.
type setting struct{ name, value string }

func checkHeaders(c *dynamic.Middleware) diag.List {
	h := c.Headers
	var l diag.List
	if reflect.ValueOf(*h).IsZero() {
		l.Add(Bad("headers", "no option is set", "set one, or remove the middleware"))
	}
	l = append(l, checkFields("headers.customRequestHeaders", h.CustomRequestHeaders, true)...)
	l = append(l, checkFields("headers.customResponseHeaders", h.CustomResponseHeaders, false)...)
	l = append(l, checkCORS(h)...)
	return append(l, checkSecurity(h)...)
}

// checkFields looks at headers to be set. Line ends in a value would make fields of their own (FLD-10).
func checkFields(key string, fields map[string]string, request bool) diag.List {
	var l diag.List
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at, value := key+"."+name, strings.TrimSpace(fields[name])
		switch {
		case !httpmsg.IsToken(httpmsg.Text(name)):
			l.Add(Bad(at, fmt.Sprintf("%q is no name of a header", name), ""))
		case !httpmsg.IsFieldValue(httpmsg.Text(value)):
			l.Add(Bad(at, "the value holds a control character", "a header has one line"))
		case request && strings.EqualFold(name, "Host"):
			if value != "" && !httpmsg.IsHost(httpmsg.Text(value)) {
				l.Add(Bad(at, fmt.Sprintf("%q is not a host", value), ""))
			}
		case spelled(fields, name):
			l.Add(Bad(at, "the header is set twice, in two spellings", "remove one"))
		case !Settable(name):
			l.Add(Odd(at, name+" belongs to the connection and cannot be set, so this has no effect", "remove it"))
		}
	}
	return l
}

// spelled reports whether an earlier name of fields is another spelling of name.
func spelled(fields map[string]string, name string) bool {
	for other := range fields {
		if other < name && strings.EqualFold(other, name) {
			return true
		}
	}
	return false
}

// settings returns the fields that can be set, in the order of their names.
func settings(fields map[string]string) []setting {
	var out []setting
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if Settable(name) {
			out = append(out, setting{name, strings.TrimSpace(fields[name])})
		}
	}
	return out
}

func buildHeaders(c *dynamic.Middleware, _ Env, next httpmsg.Handler) (httpmsg.Handler, error) {
	o := c.Headers
	h := &headers{request: settings(o.CustomRequestHeaders), next: next}
	for name, value := range o.CustomRequestHeaders {
		if strings.EqualFold(name, "Host") {
			h.host = httpmsg.Text(strings.TrimSpace(value))
		}
	}
	for _, s := range h.request {
		h.claimed = append(h.claimed, s.name)
		h.alone = h.alone || s.value == "" && strings.EqualFold(s.name, "X-Forwarded-For")
	}
	var err error
	if h.cors, err = newCORS(o); err != nil {
		return nil, err
	}
	h.hosts = newHostCheck(o)
	h.proxied = settings(o.SSLProxyHeaders)
	custom := settings(o.CustomResponseHeaders)
	h.clear = newHeaderEdit(securityHeaders(o, false), custom, h.cors)
	h.secure = newHeaderEdit(securityHeaders(o, true), custom, h.cors)
	return h, nil
}

// Serve answers preflights before anything else, as the reference does: they see neither custom nor security headers.
func (h *headers) Serve(x *httpmsg.Exchange) error {
	if h.cors != nil && h.cors.preflight(x) {
		return nil
	}
	edit := h.clear
	if x.Req.TLS || h.saysTLS(x) {
		edit = h.secure
	}
	h.editRequest(x)
	if edit != nil {
		x.OnCommit(edit)
	}
	if !h.hosts.allow(x) {
		return badHost
	}
	return h.next.Serve(x)
}

// badHost answers a request whose host is not among the allowed ones.
var badHost = func() *fault.Fault {
	f := refuse(500, "the host is not among headers.allowedHosts")
	f.Body = "Bad Host"
	return f
}()

// saysTLS reports whether a field says that the client used TLS up to a proxy in front of us.
func (h *headers) saysTLS(x *httpmsg.Exchange) bool {
	for _, s := range h.proxied {
		if x.Req.Header.Lookup(s.name).Is(s.value) {
			return true
		}
	}
	return false
}

func (h *headers) editRequest(x *httpmsg.Exchange) {
	if len(h.host) > 0 {
		x.Req.Host = h.host
	}
	if len(h.request) == 0 {
		return
	}
	h.claimed.Remove(&x.Req.Header)
	for _, s := range h.request {
		if s.value != "" {
			x.Req.Header.Add(s.name, s.value)
		}
	}
	if h.alone {
		x.Req.KeepForwardedFor = true
	}
}

// headerEdit is what the response gets. It is immutable, so that all requests share it.
type headerEdit struct {
	security []securityHeader
	custom   []setting
	cors     *cors
}

func newHeaderEdit(security []securityHeader, custom []setting, c *cors) *headerEdit {
	if len(security) == 0 && len(custom) == 0 && c == nil {
		return nil
	}
	return &headerEdit{security: security, custom: custom, cors: c}
}

// EditResponse sets the security headers first, so that custom and CORS headers win.
func (e *headerEdit) EditResponse(x *httpmsg.Exchange) {
	setSecurity(x, e.security)
	for _, s := range e.custom {
		if s.value == "" {
			x.Res.Header.Del(s.name)
		} else {
			x.Res.Header.Set(s.name, s.value)
		}
	}
	if e.cors != nil {
		e.cors.edit(x)
	}
}

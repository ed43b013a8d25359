package middleware

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// cors tells browsers which pages of other origins may use the service (Fetch standard, section 3.2). Immutable.
type cors struct {
	credentials              bool
	headers, methods         string // lists to be sent, empty if none
	echoHeaders, echoMethods bool   // "*" beside credentials, which browsers do not understand: what was asked for is allowed
	expose                   string
	maxAge                   string
	origins                  []string
	patterns                 []*regexp.Regexp
	vary                     bool
}

const (
	hdrAllowOrigin      = "Access-Control-Allow-Origin"
	hdrAllowCredentials = "Access-Control-Allow-Credentials"
	hdrAllowHeaders     = "Access-Control-Allow-Headers"
	hdrAllowMethods     = "Access-Control-Allow-Methods"
	hdrExposeHeaders    = "Access-Control-Expose-Headers"
	hdrMaxAge           = "Access-Control-Max-Age"
	hdrRequestHeaders   = "Access-Control-Request-Headers"
	hdrRequestMethod    = "Access-Control-Request-Method"
)

func checkCORS(h *dynamic.Headers) diag.List {
	var l diag.List
	for _, o := range []struct {
		key  string
		list []string
	}{
		{"accessControlAllowHeaders", h.AccessControlAllowHeaders},
		{"accessControlAllowMethods", h.AccessControlAllowMethods},
		{"accessControlExposeHeaders", h.AccessControlExposeHeaders},
		{"accessControlAllowOriginList", h.AccessControlAllowOriginList},
	} {
		for i, v := range o.list {
			if !httpmsg.IsFieldValue(httpmsg.Text(strings.TrimSpace(v))) {
				l.Add(Bad(fmt.Sprintf("headers.%s[%d]", o.key, i), "the value holds a control character", "a header has one line"))
			}
		}
	}
	for i, expr := range h.AccessControlAllowOriginListRegex {
		if _, err := Pattern(expr); err != nil {
			l.Add(Bad(fmt.Sprintf("headers.accessControlAllowOriginListRegex[%d]", i), err.Error(), ""))
		}
	}
	if h.AccessControlAllowCredentials && slices.Contains(h.AccessControlAllowOriginList, "*") {
		l.Add(Odd("headers.accessControlAllowOriginList", `with accessControlAllowCredentials, "*" lets every site read answers that are meant for the user`,
			"list the origins"))
	}
	return l
}

// newCORS returns nil when no option asks for it.
func newCORS(h *dynamic.Headers) (*cors, error) {
	c := &cors{credentials: h.AccessControlAllowCredentials, origins: h.AccessControlAllowOriginList, vary: h.AddVaryHeader,
		headers: joined(h.AccessControlAllowHeaders), methods: joined(h.AccessControlAllowMethods), expose: joined(h.AccessControlExposeHeaders)}
	for _, expr := range h.AccessControlAllowOriginListRegex {
		re, err := Pattern(expr)
		if err != nil {
			return nil, err
		}
		c.patterns = append(c.patterns, re)
	}
	if h.AccessControlMaxAge != nil {
		c.maxAge = strconv.FormatInt(*h.AccessControlMaxAge, 10)
	}
	if c.credentials {
		c.echoHeaders = slices.Contains(h.AccessControlAllowHeaders, "*")
		c.echoMethods = slices.Contains(h.AccessControlAllowMethods, "*")
		if slices.Contains(h.AccessControlExposeHeaders, "*") {
			c.expose = ""
		}
	}
	active := c.credentials || c.headers != "" || c.methods != "" || len(h.AccessControlExposeHeaders) > 0 || c.maxAge != "" ||
		len(c.origins) > 0 || len(c.patterns) > 0 || c.vary
	if !active {
		return nil, nil
	}
	return c, nil
}

// joined makes one field value of a list.
func joined(list []string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = strings.TrimSpace(v)
	}
	return strings.Join(out, ",")
}

// preflight answers a browser's question before a request, also for origins that are not allowed: only Allow-Origin is
// missing then, which is what browsers look for. It reports whether x was one.
func (c *cors) preflight(x *httpmsg.Exchange) bool {
	if !x.Req.Method.Is("OPTIONS") {
		return false
	}
	origin, method := x.Req.Header.Get(httpmsg.HdrOrigin), x.Req.Header.Lookup(hdrRequestMethod)
	if len(origin) == 0 || len(method) == 0 {
		return false
	}
	asked := x.Req.Header.Lookup(hdrRequestHeaders)
	x.Respond(200, "", "")
	h := &x.Res.Header
	if c.credentials {
		h.Add(hdrAllowCredentials, "true")
	}
	if c.echoHeaders {
		if len(asked) > 0 {
			h.Add(hdrAllowHeaders, viewText(asked))
		}
	} else if c.headers != "" {
		h.Add(hdrAllowHeaders, c.headers)
	}
	if c.echoMethods {
		h.Add(hdrAllowMethods, viewText(method))
	} else if c.methods != "" {
		h.Add(hdrAllowMethods, c.methods)
	}
	if v := c.allowed(origin); len(v) > 0 {
		h.Add(hdrAllowOrigin, viewText(v))
	}
	if c.maxAge != "" {
		h.Add(hdrMaxAge, c.maxAge)
	}
	return true
}

// allowed returns the value of Allow-Origin for a request's origin, empty where the origin is not allowed.
func (c *cors) allowed(origin httpmsg.View) httpmsg.View {
	for _, o := range c.origins {
		if o == "*" && !c.credentials {
			return httpmsg.Text("*")
		}
		if o == "*" || origin.Is(o) {
			return origin
		}
	}
	for _, re := range c.patterns {
		if re.Match(origin) {
			return origin
		}
	}
	return nil
}

// edit adds what a response to an actual request needs.
func (c *cors) edit(x *httpmsg.Exchange) {
	h := &x.Res.Header
	if v := c.allowed(x.Req.Header.Get(httpmsg.HdrOrigin)); len(v) > 0 {
		h.Set(hdrAllowOrigin, viewText(v))
	}
	if c.credentials {
		h.Set(hdrAllowCredentials, "true")
	}
	if c.expose != "" {
		h.Set(hdrExposeHeaders, c.expose)
	}
	c.addVary(x)
}

// addVary makes caches keep the answers for several origins apart.
func (c *cors) addVary(x *httpmsg.Exchange) {
	h := &x.Res.Header
	if !c.vary {
		return
	}
	for i := h.IndexID(httpmsg.HdrVary, 0); i >= 0; i = h.IndexID(httpmsg.HdrVary, i+1) {
		for rest := []byte(h.At(i).Value); len(rest) > 0; {
			var one []byte
			one, rest, _ = bytes.Cut(rest, []byte{','})
			if one := httpmsg.View(bytes.TrimSpace(one)); one.EqualFold("Origin") || one.Is("*") {
				return
			}
		}
	}
	h.AddID(httpmsg.HdrVary, httpmsg.Text("Origin"))
}

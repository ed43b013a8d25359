package middleware

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/core/diag"
	"sluice/internal/core/dynamic"
	"sluice/internal/wire/httpmsg"
)

// securityHeader is a response header of the security options. Where the value asks for a nonce, parts are what stands
// around it.
type securityHeader struct {
	name, value string
	parts       []string
}

// nonceMark is what a policy writes for a random value of each response.
const nonceMark = "$NONCE"

func checkSecurity(h *dynamic.Headers) diag.List {
	var l diag.List
	for _, o := range []struct{ key, value string }{
		{"customFrameOptionsValue", h.CustomFrameOptionsValue},
		{"customBrowserXSSValue", h.CustomBrowserXSSValue},
		{"contentSecurityPolicy", h.ContentSecurityPolicy},
		{"contentSecurityPolicyReportOnly", h.ContentSecurityPolicyReportOnly},
		{"publicKey", h.PublicKey},
		{"referrerPolicy", h.ReferrerPolicy},
		{"permissionsPolicy", h.PermissionsPolicy},
	} {
		if !httpmsg.IsFieldValue(httpmsg.Text(strings.TrimSpace(o.value))) {
			l.Add(Bad("headers."+o.key, "the value holds a control character", "a header has one line"))
		}
	}
	if h.STSSeconds < 0 {
		l.Add(Bad("headers.stsSeconds", fmt.Sprintf("%d is less than zero", h.STSSeconds), "zero sends no header"))
	}
	for i, name := range h.HostsProxyHeaders {
		if !httpmsg.IsToken(httpmsg.Text(name)) {
			l.Add(Bad(fmt.Sprintf("headers.hostsProxyHeaders[%d]", i), "this is no name of a header", ""))
		}
	}
	l = append(l, checkFields("headers.sslProxyHeaders", h.SSLProxyHeaders, false)...)
	for _, o := range []struct {
		key  string
		set  bool
		hint string
	}{
		{"sslRedirect", h.SSLRedirect != nil, "use the middleware redirectScheme"},
		{"sslTemporaryRedirect", h.SSLTemporaryRedirect != nil, "use the middleware redirectScheme"},
		{"sslHost", h.SSLHost != nil, "use the middleware redirectRegex"},
		{"sslForceHost", h.SSLForceHost != nil, "use the middleware redirectRegex"},
		{"featurePolicy", h.FeaturePolicy != nil, "use permissionsPolicy"},
	} {
		if o.set {
			l.Add(Odd("headers."+o.key, o.key+" has no effect", o.hint))
		}
	}
	return l
}

// securityHeaders returns what a response gets on connections without or with TLS.
func securityHeaders(h *dynamic.Headers, secure bool) []securityHeader {
	var out []securityHeader
	add := func(name, value string) {
		if value = strings.TrimSpace(value); value == "" {
			return
		}
		s := securityHeader{name: name, value: value}
		if strings.Contains(value, nonceMark) && strings.HasPrefix(name, "Content-Security-Policy") {
			s.parts = strings.Split(value, nonceMark)
		}
		out = append(out, s)
	}
	pick := func(custom string, on bool, usual string) string {
		if custom == "" && on {
			return usual
		}
		return custom
	}
	if !h.IsDevelopment && h.STSSeconds > 0 && (secure || h.ForceSTSHeader) {
		v := "max-age=" + strconv.FormatInt(h.STSSeconds, 10)
		if h.STSIncludeSubdomains {
			v += "; includeSubDomains"
		}
		if h.STSPreload {
			v += "; preload"
		}
		add("Strict-Transport-Security", v)
	}
	add("X-Frame-Options", pick(h.CustomFrameOptionsValue, h.FrameDeny, "DENY"))
	add("X-Content-Type-Options", pick("", h.ContentTypeNosniff, "nosniff"))
	add("X-XSS-Protection", pick(h.CustomBrowserXSSValue, h.BrowserXSSFilter, "1; mode=block"))
	if secure && !h.IsDevelopment {
		add("Public-Key-Pins", h.PublicKey)
	}
	add("Content-Security-Policy", h.ContentSecurityPolicy)
	add("Content-Security-Policy-Report-Only", h.ContentSecurityPolicyReportOnly)
	add("Referrer-Policy", h.ReferrerPolicy)
	add("Permissions-Policy", h.PermissionsPolicy)
	return out
}

// setSecurity sets the headers. All policies of a response share one nonce.
func setSecurity(x *httpmsg.Exchange, list []securityHeader) {
	var nonce []byte
	for i := range list {
		s := &list[i]
		if s.parts == nil {
			x.Res.Header.Set(s.name, s.value)
			continue
		}
		if nonce == nil {
			nonce = newNonce(x)
		}
		v := x.Scratch(len(s.value) + len(s.parts)*len(nonce))[:0]
		for j, part := range s.parts {
			if j > 0 {
				v = append(v, nonce...)
			}
			v = append(v, part...)
		}
		x.Res.Header.Set(s.name, viewText(v))
	}
}

// newNonce returns 128 random bits as text, in the exchange's memory.
func newNonce(x *httpmsg.Exchange) []byte {
	raw := x.Scratch(16)
	rand.Read(raw) // never fails: it ends the process instead
	text := x.Scratch(base64.StdEncoding.EncodedLen(len(raw)))
	base64.StdEncoding.Encode(text, raw)
	return text
}

// hostCheck is the option allowedHosts.
type hostCheck struct {
	allowed []string // empty allows all
	fields  []string // headers that hold the host instead of Host
}

func newHostCheck(h *dynamic.Headers) hostCheck {
	if h.IsDevelopment {
		return hostCheck{}
	}
	return hostCheck{allowed: h.AllowedHosts, fields: h.HostsProxyHeaders}
}

// allow compares the host as it was asked for, port included.
func (c *hostCheck) allow(x *httpmsg.Exchange) bool {
	if len(c.allowed) == 0 {
		return true
	}
	host := x.Req.Host
	for _, name := range c.fields {
		if v := x.Req.Header.Lookup(name); len(v) > 0 {
			host = bytes.TrimSpace(v)
			break
		}
	}
	for _, a := range c.allowed {
		if host.EqualFold(a) {
			return true
		}
	}
	return false
}
